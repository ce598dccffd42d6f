#pragma once
/*
 * backend - what a home of locks does: one round trip each, safe to repeat
 *
 * redis_lock.c and mongo_lock.c hold the round trips, lock.c the rules. A call
 * ends by c->deadline, which lock.c has set for it, and leaves no failure noted
 * in c. An acquire in MongoDB is three round trips (mongo_lock.c).
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

/* A page of a listing, and the place behind it, where the next one begins. */
struct lock_page {
    struct lock_row *rows;
    size_t max, rows_n;
    size_t entries; /* with and without a lock; below max: the last page */
    ms end;         /* of the last entry, by the clock of the home */
    size_t known;   /* entries with that end */
    str name;       /* of the last one */
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
    /* the page after *p, which is zero at first but for rows and max */
    enum lock_result (*list)(struct ctx *c, const struct dataset *d,
                             struct lock_page *p);
    /* one batch; *place: 0 at first, -1 when there is no more */
    enum lock_result (*clean)(struct ctx *c, const struct dataset *d,
                              int64_t *place, int64_t *out_removed);
    enum lock_result (*count)(struct ctx *c, const struct dataset *d,
                              str instance, struct lock_count *out);
    ms wait_least_ms, wait_most_ms; /* between two tries of a waiter */
    ms settle_ms;                   /* for one call and its repeats */
};

enum {
    LOCK_CLEAN_BATCH = 500,
    LOCK_LIST_BATCH = 200
};

/* One entry more; they come by end and name. */
static inline void lock_page_note(struct lock_page *p, ms end, str name)
{
    p->known = end == p->end ? p->known + 1 : 1;
    p->end = end;
    p->name = name;
    p->entries++;
}

extern const struct lock_backend redis_lock, mongo_lock;
