#pragma once
/*
 * cluster - what the poll threads saw last of the other instances; no request
 * does I/O to know it
 *
 *   cluster_look, cluster_watch (each by its poll thread) ... cluster_get
 *
 * The look at MongoDB and the one at Redis are published each for itself, so
 * that neither waits for the other; each is replaced as a whole, and whoever
 * got it keeps it until ctx_reset.
 */
#include "lib/coord/lock.h"
#include "lib/coord/redis_watch.h"
#include "lib/coord/view.h"

/* Parts older than 2 s count as not known. */
enum {
    CLUSTER_FRESH_MS = 2000
};

struct cluster {
    bool seen;        /* MongoDB, at most 2 s ago: what the view says holds */
    struct view view; /* as of view.taken_boot; zeroed before the first */
    int64_t collections; /* of the database; -1: not known */
    bool redis_on;       /* Redis is configured */
    bool redis_seen;     /* it was looked at in the last 2 s */
    struct redis_sight redis;
    bool usable;      /* Redis, from here */
    bool locks_known; /* counted at home in the last 2 s */
    struct lock_count locks;
    bool workers_up; /* this instance's own were seen in the last 2 s */
    bool clock_known;
    ms clock_offset_ms; /* wall clock - MongoDB's; median of 5 at most */
};

/* Borrowed until ctx_reset; never NULL (nothing known before a look). */
const struct cluster *cluster_get(struct ctx *c);

/* Is what was seen at this time still to be shown. */
bool cluster_is_fresh(ms seen_boot);

/* Time since the look at MongoDB. */
ms cluster_age_ms(const struct cluster *k);

/* The row of this instance's own `workers`; NULL: they are not alive. */
const struct view_instance *cluster_workers(const struct cluster *k,
                                            const struct conf *conf);
bool cluster_has_workers(const struct cluster *k, const struct conf *conf);

/*
 * Where locks are, for a lock call, which looks again when that is old.
 * ERR_LOCKING_DISABLED, ERR_REDIS_UNAVAILABLE or ERR_DB_UNAVAILABLE with a
 * reason when there is no use in trying.
 */
MUST_CHECK enum err cluster_place(struct ctx *c, struct lock_place *out);

/* Sets c->index, and c->rds with it, if the queue's index in Redis may be used
 * now. Until ctx_reset. */
void cluster_use_index(struct ctx *c);

/* ---- the poll threads */

/*
 * One look at MongoDB, then it is published. c: with a client of brief
 * patience; its arena is given away. A failure: what was seen before stays.
 */
MUST_CHECK enum err cluster_look(struct ctx *c);

/* What the first answer of MongoDB says of this machine's clock: it counts
 * until a look knows better. */
void cluster_meet(ms clock_offset);

/* Instead of a look, when there was none. */
void cluster_look_failed(void);

/* One look at Redis, then it is published. c: arena and nothing else. */
void cluster_watch(struct ctx *c, struct redis_watch *w);
