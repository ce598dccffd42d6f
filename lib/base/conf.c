/* conf - the settings of a program, read once at start and then constant */
#include "lib/base/conf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>

#include "lib/base/conf_row.h"

enum {
    ARENA_MAX = 32 << 20,
    SHOWN_MAX = 200, /* bytes of a bad value in a problem line */
    PRINT_MAX = 8 * CONF_TEXT_FREE,
};

bool conf_row_has_file(const struct conf_row *row)
{
    static const char *const names[] = {"MONGODB_CONNECTION_STRING",
                                        "REDIS_URL", "REDIS_PASSWORD",
                                        "JWT_SECRET", "JWT_PUBLIC_KEY"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(row->name, names[i]) == 0)
            return true;
    return false;
}

static bool name_put(char out[CONF_NAME_MAX], str a, str b, str c)
{
    int n = snprintf(out, CONF_NAME_MAX, STR_FMT STR_FMT STR_FMT, STR_ARG(a),
                     STR_ARG(b), STR_ARG(c));

    return n > 0 && n < CONF_NAME_MAX;
}

/* WEBHOOK_X for WEBHOOKS_X and the other way round; false for other names. */
static bool twin_put(char out[CONF_NAME_MAX], str name)
{
    static const str one[] = {{"WEBHOOK_", 8}, {"SCRIPT_", 7}};
    static const str many[] = {{"WEBHOOKS_", 9}, {"SCRIPTS_", 8}};

    for (size_t i = 0; i < 2; i++) {
        if (str_starts(name, one[i]))
            return name_put(out, many[i], str_from(name, one[i].n), STR(""));
        if (str_starts(name, many[i]))
            return name_put(out, one[i], str_from(name, many[i].n), STR(""));
    }
    return false;
}

bool conf_row_name(const struct conf_row *row, int k, char out[CONF_NAME_MAX])
{
    str rest = str_of(row->aliases), name = str_of(row->name);

    if (k == 0)
        return name_put(out, name, STR(""), STR(""));
    k--;
    if (conf_row_has_file(row) && k-- == 0)
        return name_put(out, name, STR("_FILE"), STR(""));
    do {
        if (str_eq(name, str_of(row->name))) {
            if (twin_put(out, name) && k-- == 0)
                return true;
            continue;
        }
        if (name.n > 0 && k-- == 0)
            return name_put(out, name, STR(""), STR(""));
        if (twin_put(out, name) && k-- == 0)
            return true;
    } while (str_cut(&rest, ' ', &name));
    return false;
}

const struct conf_row *conf_row_at(size_t offset)
{
    size_t i = 0;

    while (conf_rows[i].offset != offset)
        i++;
    return &conf_rows[i];
}

struct conf_origin *conf_origin_at(const struct conf *c, size_t offset)
{
    return &c->origins[conf_row_at(offset) - conf_rows];
}

static void problem_show(struct conf_judge *j, const char *name,
                         const struct conf_row *row, str value,
                         const char *expected)
{
    struct buf b;
    str shown;

    buf_init(&b, PRINT_MAX, ERR_INTERNAL);
    conf_value_show(row, value, &b);
    shown = buf_str(&b);
    fprintf(j->out, "config: %s: \"" STR_FMT "%s\": expected %s\n", name,
            STR_ARG(str_head(shown, SHOWN_MAX)),
            shown.n > SHOWN_MAX ? "..." : "", expected);
    buf_done(&b);
    j->problems++;
}

void conf_problem(struct conf_judge *j, const struct conf_row *row, str value,
                  const char *expected)
{
    struct conf_origin *origin = &j->conf->origins[row - conf_rows];
    const char *name = origin->name ? origin->name : row->name;

    origin->is_bad = true;
    problem_show(j, name, row, value, expected);
}

void conf_warn(struct conf_judge *j, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fputs("config: warning: ", j->out);
    vfprintf(j->out, fmt, args);
    fputc('\n', j->out);
    va_end(args);
}

/* A tab may separate columns; a value of one byte is not trimmed then. */
static str value_trim(const struct conf_row *row, str v)
{
    return row->type == CONF_CHAR && v.n == 1 ? v : str_trim(v);
}

static bool is_given(const struct conf_row *row, const struct conf_var *var)
{
    /* what Kubernetes makes for a Service called "redis" */
    if (strcmp(row->name, "REDIS_PORT") == 0 &&
        str_starts(str_trim(var->value), STR("tcp://")))
        return false;
    return value_trim(row, var->value).n > 0;
}

/*
 * Finds what sets the row: the environment before the file, then the order of
 * the names. Those that lose with another value are named.
 */
static struct conf_var *winner(struct conf_judge *j, struct conf_vars *vars,
                               const struct conf_row *row, bool is_env,
                               struct conf_var *won)
{
    char name[CONF_NAME_MAX];

    for (int k = 0; conf_row_name(row, k, name); k++)
        for (size_t i = 0; i < vars->n; i++) {
            struct conf_var *var = &vars->v[i];

            if (is_env != (strcmp(var->source, "environment") == 0) ||
                !str_eq(var->name, str_of(name)))
                continue;
            var->is_known = true;
            if (!is_given(row, var) || var == won)
                continue;
            if (won == NULL) {
                won = var;
            } else if (!str_eq(won->name, var->name) && !var->is_named &&
                       !str_eq(value_trim(row, won->value),
                               value_trim(row, var->value))) {
                var->is_named = true;
                conf_warn(
                    j, "%s: has another value and is ignored, " STR_FMT " wins",
                    name, STR_ARG(won->name));
            }
        }
    return won;
}

/* The value itself, or that of the file that NAME_FILE names. */
static bool value_get(struct conf_judge *j, const struct conf_row *row,
                      const struct conf_var *var, str *out)
{
    char name[CONF_NAME_MAX];
    str path;

    *out = value_trim(row, var->value);
    if (!conf_row_has_file(row) || !conf_row_name(row, 1, name) ||
        !str_eq(var->name, str_of(name)))
        return true;
    path = arena_str(&j->conf->arena, *out);
    if (path.p == NULL ||
        !conf_file_read(j->conf, path.p, CONF_TEXT_FREE, out)) {
        problem_show(j, name, row, path,
                     "path, a readable file of at most 64kb");
        j->conf->origins[row - conf_rows].is_bad = true;
        return false;
    }
    if (out->n > 0 && out->p[out->n - 1] == '\n')
        out->n--;
    if (out->n > 0 && out->p[out->n - 1] == '\r')
        out->n--;
    return true;
}

static void default_set(struct conf *c, const struct conf_row *row)
{
    void *at = (char *)c + row->offset;
    static const char none[] = "";

    if (row->def[0] != '\0') {
        bool is_ok = conf_value_set(c, row, str_of(row->def));

        assert(is_ok);
        (void)is_ok;
    } else if (row->type >= CONF_STR) {
        *(const char **)at = none;
    }
    c->origins[row - conf_rows].text = row->def;
}

void conf_set(struct conf_judge *j, struct conf_vars *vars,
              const struct conf_row *row)
{
    struct conf_origin *origin = &j->conf->origins[row - conf_rows];
    struct conf_var *var;
    struct buf b;
    str value;

    default_set(j->conf, row);
    var = winner(j, vars, row, true, NULL);
    var = winner(j, vars, row, false, var);
    if (var == NULL || !value_get(j, row, var, &value) || value.n == 0)
        return;
    origin->source = var->source;
    origin->name = arena_str(&j->conf->arena, var->name).p;
    origin->text = arena_str(&j->conf->arena, value).p;
    if (conf_value_set(j->conf, row, value))
        return;
    buf_init(&b, PRINT_MAX, ERR_INTERNAL);
    conf_value_expect(row, &b);
    buf_add_char(&b, '\0');
    conf_problem(j, row, value, b.p ? b.p : "another value");
    buf_done(&b);
}

struct conf *conf_new(char **env, const char *env_file, FILE *out,
                      int *out_problems)
{
    struct conf *c = calloc(1, sizeof *c);
    struct conf_judge j = {c, out, 0};
    struct conf_vars vars = {NULL, 0, 0};

    *out_problems = 1;
    if (c == NULL)
        return NULL;
    arena_init(&c->arena, ARENA_MAX);
    c->origins = arena_alloc(&c->arena, conf_rows_n * sizeof *c->origins);
    if (c->origins == NULL) {
        conf_free(c);
        return NULL;
    }
    conf_vars_read(&j, env, env_file, &vars);
    for (size_t i = 0; i < conf_rows_n; i++)
        conf_set(&j, &vars, &conf_rows[i]);
    conf_vars_warn_unknown(&j, &vars);
    conf_derive(&j);
    conf_check(&j);
    fflush(out);
    *out_problems = j.problems;
    return c;
}

void conf_free(struct conf *c)
{
    if (c != NULL)
        arena_done(&c->arena);
    free(c);
}

static void row_print(const struct conf *c, const struct conf_row *row,
                      FILE *out)
{
    const struct conf_origin *origin = &c->origins[row - conf_rows];
    bool is_none = row->type < CONF_STR && origin->text[0] == '\0';
    struct buf value, shown;

    buf_init(&value, PRINT_MAX, ERR_INTERNAL);
    buf_init(&shown, PRINT_MAX, ERR_INTERNAL);
    if (!is_none)
        conf_value_write(c, row, &value);
    conf_value_show(row, buf_str(&value), &shown);
    fprintf(out, "%s=" STR_FMT "  # %s, %s", row->name,
            STR_ARG(buf_str(&shown)), row->module,
            origin->source ? origin->source : "default");
    if (origin->source && strcmp(origin->name, row->name) != 0)
        fprintf(out, " as %s", origin->name);
    fputc('\n', out);
    buf_done(&value);
    buf_done(&shown);
}

void conf_print(const struct conf *c, FILE *out)
{
    for (size_t i = 0; i < conf_rows_n; i++)
        row_print(c, &conf_rows[i], out);
}
