#pragma once
/*
 * conf_row - inside of conf: the row of the settings table and what its types
 * and forms do with a value
 */
#include "lib/base/buf.h"
#include "lib/base/conf.h"

enum conf_type {
    CONF_INT,
    CONF_MS,
    CONF_SIZE,
    CONF_SPAN,
    CONF_OCTAL,
    CONF_BOOL,
    CONF_FLOAT,
    CONF_ENUM,
    CONF_CHAR,
    CONF_CIDRS,
    CONF_STR, /* from here on: const char * */
    CONF_SECRET,
    CONF_URI,
    CONF_URL,
    CONF_PATH
};

enum conf_form {
    CONF_FREE,
    CONF_ID,
    CONF_HOST,
    CONF_DATABASE,
    CONF_LISTEN,
    CONF_ORIGINS,
    CONF_ZONE,
    CONF_JSON,
    CONF_PEM,
    CONF_MONGO,
    CONF_REDIS,
    CONF_HTTP,
    CONF_MOUNT,
    CONF_SLASH,
    CONF_FORM_N
};

enum {
    CONF_NAME_MAX = 64,     /* of any known name, with the NUL */
    CONF_TEXT_FREE = 65536, /* max of a text without a range of its own */
};

struct conf_row {
    const char *name;
    const char *aliases; /* blank list; the S twins are not in it */
    enum conf_type type;
    enum conf_form form;
    size_t offset;   /* in struct conf */
    const char *def; /* "" = none */
    int64_t min;
    int64_t max;       /* of bytes for texts, of the index for words */
    const char *words; /* those of an enum, ", " between */
    const char *module;
    const char *meaning;
};

struct conf_origin {
    const char *source; /* NULL = default */
    const char *name;   /* the name that set it */
    const char *text;   /* the value as it was written, or the default */
    bool is_bad;
};

extern const struct conf_row conf_rows[];
extern const size_t conf_rows_n;

/* May the row's value come from the file that NAME_FILE names? */
bool conf_row_has_file(const struct conf_row *row);

/*
 * The k-th name that sets the row, by falling precedence: its name, NAME_FILE,
 * then the aliases, each followed by its twin (WEBHOOK_X and WEBHOOKS_X).
 * False when there is none.
 */
bool conf_row_name(const struct conf_row *row, int k, char out[CONF_NAME_MAX]);

/* Judges `v` by type, form and range, and stores it. */
bool conf_value_set(struct conf *c, const struct conf_row *row, str v);

/* "int 1-256": what is expected of the row's value. */
void conf_value_expect(const struct conf_row *row, struct buf *b);

/* The value held, as it would be written, unmasked. */
void conf_value_write(const struct conf *c, const struct conf_row *row,
                      struct buf *b);

/* Adds `v` as it may be shown: masked, without control characters. */
void conf_value_show(const struct conf_row *row, str v, struct buf *b);

bool conf_form_ok(enum conf_form form, str v, struct arena *a);
const char *conf_form_expect(enum conf_form form); /* "" = nothing special */

/* Splits "[tcp:]HOST:PORT"; brackets of IPv6 are dropped. */
bool conf_form_host_port(str v, str *out_host, int64_t *out_port);

/* What was given: all names and values of the environment and the file. */
struct conf_var {
    str name, value;
    const char *source;
    bool is_known; /* the name is one of ours */
    bool is_named; /* it was in a warning already */
};

struct conf_vars {
    struct conf_var *v;
    size_t n, cap;
};

/* Settings that follow from others, then the rules between settings. */
struct conf_judge {
    struct conf *conf;
    FILE *out;
    int problems;
};
void conf_set(struct conf_judge *j, struct conf_vars *vars,
              const struct conf_row *row);
void conf_vars_read(struct conf_judge *j, char **env, const char *env_file,
                    struct conf_vars *out);
void conf_vars_warn_unknown(struct conf_judge *j, const struct conf_vars *vars);

/* A whole file of at most `max` bytes, in the arena of the settings. */
bool conf_file_read(struct conf *c, const char *path, size_t max, str *out);

void conf_derive(struct conf_judge *j);
void conf_check(struct conf_judge *j);

/* One printed line each; row's value is shown by conf_value_show. */
void conf_problem(struct conf_judge *j, const struct conf_row *row, str value,
                  const char *expected);
void conf_warn(struct conf_judge *j, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The row of the member at `offset`; never NULL. */
const struct conf_row *conf_row_at(size_t offset);
struct conf_origin *conf_origin_at(const struct conf *c, size_t offset);
