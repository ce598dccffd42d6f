#pragma once
/*
 * members - what a handler asks of its body: each member read and judged, and
 * all that is wrong named at once in `details`
 *
 *   members_read -> { members_text | members_ms | members_time |
 *                     members_texts | members_wrong }* -> members_end
 *
 * A member that is null counts as absent.
 */
#include "fcgi-app/reply.h"

typedef struct _bson_t bson_t;

struct members {
    const bson_t *doc;
    bool form; /* all leaves are texts, numbers too */
    struct buf wrong;
};

/* The body as guard_object() gives it. */
MUST_CHECK enum err members_read(struct ctx *c, const struct request *q,
                                 struct members *out);

bool members_has(const struct members *m, const char *name);

/* False: it is no text. Borrowed until ctx_reset, with a NUL behind. */
bool members_text(const struct members *m, const char *name, str *out);

/*
 * A whole number from least to most; else it is wrong. Absent: *inout stays,
 * and is wrong when it is out of range, too.
 */
void members_ms(struct members *m, const char *name, ms least, ms most,
                ms *inout);

/* ISO 8601; else it is wrong. Absent: *inout stays. */
void members_time(struct members *m, const char *name, ms *inout);

/*
 * A list of 1 to `most` texts; else it is wrong. Absent: *out_n is 0. They are
 * borrowed until ctx_reset.
 */
void members_texts(struct ctx *c, struct members *m, const char *name,
                   size_t most, const str **out, size_t *out_n);

/* The message: what is expected; no text of the caller's. */
void members_wrong(struct members *m, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* OK when nothing was wrong, else ERR_VALIDATION_ERROR with this message. */
MUST_CHECK enum err members_end(struct ctx *c, const struct members *m,
                                struct reply *out, const char *message);
