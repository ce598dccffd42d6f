#pragma once
/*
 * webhook - a subscription of `_webhooks`: judged, stored, read
 *
 *   body -> webhook_judge -> row -> webhook_insert | webhook_change
 *   row  -> webhook_read (lenient: rows of the Node version, too)
 *
 * Every change raises `_cluster.subs.ver` in the same transaction (right after
 * it where there are none), then this program's version word (subs.h). The
 * secret leaves here only by webhook_insert, webhook_rotate and the snapshot
 * that deliveries are signed from; no answer and no log has it.
 */
#include "lib/base/backoff.h"
#include "lib/base/buf.h"
#include "lib/data/event.h"

struct match;

enum {
    WEBHOOK_NAME_MAX = 128,   /* bytes */
    WEBHOOK_URL_MAX = 2048,   /* bytes */
    WEBHOOK_HEADERS_MAX = 20, /* pairs */
    WEBHOOK_HEADERS_BYTES = 4096,
    WEBHOOK_EXCLUDE_MAX = 100,        /* names */
    WEBHOOK_EXCLUDE_BYTES = 256,      /* of one */
    WEBHOOK_DEFINITION_BYTES = 65536, /* as it is stored */
    WEBHOOK_SECRET_MAX = 64, /* "whsec_" and base64 of 32 bytes, with NUL */
    WEBHOOK_PRIORITY_MAX = 1023,
    WEBHOOK_OVERLAP_HOURS_MAX = 168
};

struct webhook_header {
    str name, value;
};

/* As it is used; all borrowed from the row and the arena. */
struct webhook {
    str id; /* 24 hex digits, with a NUL behind */
    str name, url, collection;
    unsigned events;       /* bit 1 << event_kind */
    const bson_t *filters; /* never NULL */
    const str *exclude;    /* names, dotted or not */
    size_t exclude_n;
    const struct webhook_header *headers;
    size_t headers_n;
    bool ordered, enabled;
    bool gone;              /* disabledReason: gone */
    int priority;           /* 0-1023 */
    int64_t max_per_window; /* maxRequestsPerMinute */
    int64_t max_retries;
    struct backoff backoff;
    str secret;          /* "" none: unsigned */
    str previous_secret; /* "" none */
    ms previous_expires; /* wall */
};

/*
 * False: it cannot be used (no id, no url, no collection); what is missing
 * else has its default, numbers are clamped. Borrows row.
 */
bool webhook_read(struct arena *a, const struct conf *conf, const bson_t *row,
                  struct webhook *out);

/* One thing that is wrong with a body. */
struct webhook_fault {
    const char *member;
    const char *message; /* what is expected */
};
enum {
    WEBHOOK_FAULTS_MAX = 16
};
struct webhook_faults {
    struct webhook_fault v[WEBHOOK_FAULTS_MAX];
    size_t n;
};

/*
 * Judges a body of create (all members) or change (any subset) and gives the
 * members to be set, defaults filled in for create; unknown members are
 * dropped. `form`: leaves are texts. ERR_VALIDATION_ERROR with all that is
 * wrong in *faults; ERR_BAD_OPERATOR, ERR_FILTER_TOO_COMPLEX by match_check.
 * The url is judged by its form only: the caller asks target.h and egress.h.
 */
MUST_CHECK enum err webhook_judge(struct ctx *c, const bson_t *body, bool form,
                                  bool creates, bson_t **out_set,
                                  struct webhook_faults *faults);

/* Stores a new one with a secret; *out_row is as stored. */
MUST_CHECK enum err webhook_insert(struct ctx *c, const bson_t *set,
                                   const bson_t **out_row);

/* ERR_BAD_ID, ERR_WEBHOOK_NOT_FOUND. *out_row: after the change. */
MUST_CHECK enum err webhook_change(struct ctx *c, str id, const bson_t *set,
                                   const bson_t **out_row);
MUST_CHECK enum err webhook_get(struct ctx *c, str id, const bson_t **out_row);
MUST_CHECK enum err webhook_remove(struct ctx *c, str id);

/* All, by _id; *out_rows is an array document of rows. */
MUST_CHECK enum err webhook_list(struct ctx *c, const bson_t **out_rows);

/*
 * A new secret; the old one is valid beside it for `overlap` more. *out_row has
 * `secret` and `previousExpiresAt`.
 */
MUST_CHECK enum err webhook_rotate(struct ctx *c, str id, ms overlap,
                                   const bson_t **out_row);

/* The receiver said 410: disabled, disabledReason gone. Repeated: no harm. */
MUST_CHECK enum err webhook_mark_gone(struct ctx *c, str id);

/*
 * The row as clients see it, as one JSON object: without secrets, with
 * hasSecret; with_secret: `secret` as its last member.
 */
void webhook_write(struct buf *b, const struct conf *conf, const bson_t *row,
                   bool with_secret);
