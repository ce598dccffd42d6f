#pragma once
/*
 * cluster - what the poll threads saw last of the other instances, as one
 * immutable snapshot; no request does I/O to know it
 *
 *   cluster_publish (poll threads) ... cluster_get (requests)
 */
#include "lib/coord/lock.h"
#include "lib/coord/redis_watch.h"
#include "lib/coord/view.h"

/* Parts older than 2 s count as not known. */
enum {
    CLUSTER_FRESH_MS = 2000
};

struct cluster {
    bool seen;        /* MongoDB was looked at */
    struct view view; /* as of view.taken_boot */
    bool redis_on;    /* Redis is configured */
    struct redis_sight redis;
    ms redis_boot;           /* of the sight; 0: never */
    bool usable;             /* Redis, from here */
    struct lock_count locks; /* of home MongoDB: counted with the look */
    int64_t collections;     /* of the database; -1: not known */
    ms clock_offset_ms;      /* wall clock - MongoDB's; median of 5 */
    bool clock_known;
};

/* Borrowed until ctx_reset; never NULL (zeroed before the first look). */
const struct cluster *cluster_get(struct ctx *c);

/* Is what was seen at this time still to be shown. */
bool cluster_is_fresh(ms seen_boot);

/* This instance's own `workers` are alive. */
bool cluster_has_workers(const struct cluster *k, const struct conf *conf);

/*
 * For a lock call: ERR_LOCKING_DISABLED, ERR_REDIS_UNAVAILABLE or
 * ERR_DB_UNAVAILABLE with a reason when there is no use in trying.
 */
MUST_CHECK enum err cluster_place(struct ctx *c, struct lock_place *out);
