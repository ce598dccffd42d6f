#pragma once
/*
 * redis_watch - one connection that looks at Redis again and again
 *
 * A look is one round trip (the script dataset_look), every 5 s and after each
 * connect one INFO more, unless REDIS_READY_CHECK is off.
 */
#include "lib/coord/rds.h"
#include "lib/coord/usable.h"

enum {
    REDIS_WATCH_INFO_MS = 5000,
    REDIS_WATCH_REASON_MAX = 256
};

struct redis_sight {
    ms boot; /* clock_boot_ms before it was asked; 0: never */
    bool answers, fit, evicts;
    char held[DATASET_ID_MAX]; /* P:dataset; "" none, "?" nonsense */
    int64_t fence, fence_max;  /* P:l:fence, P:l:max; 0 absent */
    int64_t time_us; /* TIME of Redis, and what fences are ahead of it */
    int64_t locks, locks_owned, locks_expired;
    ms rtt_ms;
    char reason[REDIS_WATCH_REASON_MAX]; /* why it does not answer, is unfit */
};

struct redis_watch {
    const struct conf *conf;
    struct rds *rds;
    struct usable state;
    struct redis_sight sight;
    /* what the last INFO said, of this connection */
    unsigned connected;
    ms next_info; /* boot clock */
    bool fit, evicts;
    char unfit[REDIS_WATCH_REASON_MAX];
    char told[REDIS_WATCH_REASON_MAX]; /* the last reason in the log */
};

/* False in mode single, in which there is nothing to watch, and without
 * memory. Contacts nobody. */
bool redis_watch_init(struct redis_watch *w, const struct conf *conf);
void redis_watch_done(struct redis_watch *w);

/*
 * One look, at most within_ms; then judges. c: arena and settings, nothing
 * else. Logs each change (redis.up, redis.down, redis.unfit, redis.usable,
 * redis.away) once.
 */
void redis_watch_look(struct redis_watch *w, struct ctx *c,
                      const struct dataset *d, ms within_ms);

/* The data set whose index of the queue this program may use now: as the last
 * look judged, and d, the data set as MongoDB names it now. w: NULL in mode
 * single. "": none. */
const char *redis_watch_index(const struct redis_watch *w,
                              const struct dataset *d);
