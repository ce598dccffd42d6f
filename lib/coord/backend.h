#pragma once
/*
 * backend - what a home of locks does: one round trip each, safe to repeat
 *
 * redis_lock.c and mongo_lock.c hold the round trips, lock.c the rules. A call
 * ends by deadline_mono and by LOCK_CALL_MS.
 */
#include "lib/coord/lock.h"

enum lock_result {
    LOCK_DONE,
    LOCK_BUSY,   /* another token has it */
    LOCK_LOST,   /* renew, release: it is another token's */
    LOCK_GONE,   /* renew, release: there is none */
    LOCK_STALE,  /* another data set is open here: read it again, repeat once */
    LOCK_CLOSED, /* refused for now: no fence reserved, no memory */
    LOCK_AWAY,   /* not reached: nothing was done */
    LOCK_UNKNOWN, /* done or not: repeat with the same token */
};

struct lock_backend {
    /* l: name, token, ttl_ms in; fence out */
    enum lock_result (*acquire)(struct ctx *c, const struct dataset *d,
                                struct lock *l, const struct lock_ask *ask,
                                struct lock_holder *out_holder);
    enum lock_result (*renew)(struct ctx *c, const struct dataset *d,
                              struct lock *l);
    enum lock_result (*release)(struct ctx *c, const struct dataset *d,
                                struct lock *l);
    /* rows from the from-th on, at most max; fewer: there are no more */
    enum lock_result (*list)(struct ctx *c, const struct dataset *d,
                             size_t from, size_t max, struct lock_row *out,
                             size_t *out_n);
    /* one batch; *out_removed below LOCK_CLEAN_BATCH: there is no more */
    enum lock_result (*clean)(struct ctx *c, const struct dataset *d,
                              int64_t *out_removed);
    enum lock_result (*count)(struct ctx *c, const struct dataset *d,
                              str instance, struct lock_count *out);
    ms wait_least_ms, wait_most_ms; /* between two tries of a waiter */
};

enum {
    LOCK_CLEAN_BATCH = 500,
    LOCK_LIST_BATCH = 200
};

extern const struct lock_backend redis_lock, mongo_lock;
