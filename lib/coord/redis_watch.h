#pragma once
/*
 * redis_watch - one connection that looks at Redis again and again
 *
 * A look is one round trip (the script dataset_look), every minute and after
 * each connect one INFO more.
 */
#include "lib/coord/rds.h"
#include "lib/coord/usable.h"

struct redis_sight {
    bool answers, fit, evicts;
    char held[DATASET_ID_MAX]; /* P:dataset, "" none; another's is cut */
    int64_t fence, fence_max;  /* P:l:fence, P:l:max; 0 absent */
    int64_t time_us;           /* TIME of Redis */
    int64_t locks, locks_owned, locks_expired;
    ms rtt_ms;
    char reason[160]; /* why it does not answer or is not fit */
};

struct redis_watch {
    const struct conf *conf;
    struct rds *rds;
    struct usable state;
    struct redis_sight sight;
    ms next_info; /* boot clock */
    char told[160];
};

/* False in mode single: there is nothing to watch. */
bool redis_watch_init(struct redis_watch *w, const struct conf *conf);
void redis_watch_done(struct redis_watch *w);

/*
 * One look, at most within_ms; then judges. c: arena and nothing else. Logs
 * each change (redis.up, redis.down, redis.usable, redis.away) once. instance:
 * whose locks are counted in locks_owned.
 */
void redis_watch_look(struct redis_watch *w, struct ctx *c,
                      const struct dataset *d, ms within_ms);
