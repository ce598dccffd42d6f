#pragma once
/*
 * refresh - the poll threads: one looks at MongoDB, one at Redis, twice a
 * second; what they saw is here and in cluster.h, so that no request ever
 * waits to know, and no look at one store for the other
 *
 *   starting --both stores that are needed answer--> started
 *            --all tries failed--> gave_up
 */
#include "lib/base/conf.h"
#include "lib/base/str.h"

struct mongo_pool;

enum {
    REFRESH_CLIENTS = 2 /* of MongoDB, at most */
};

enum refresh_redis {
    REFRESH_REDIS_OFF,
    REFRESH_REDIS_UP, /* it answers */
    REFRESH_REDIS_DOWN
};

struct refresh_view {
    bool started; /* MongoDB was reached once, Redis too where required */
    bool gave_up; /* not in all tries at start */
    bool stopping;
    bool db_up;
    bool db_lost;    /* unreachable for 10 s */
    bool locked_out; /* access is on, and nobody has a key or token */
    bool standalone; /* no replica set: no transactions */
    enum refresh_redis redis;
    bool redis_fit;    /* it answers and is of a kind that can be used */
    bool redis_usable; /* and holds the data set that MongoDB names */
};

struct refresh_view refresh_view(void);

enum refresh_mode {
    REFRESH_SINGLE,
    REFRESH_DEGRADED,
    REFRESH_CLUSTER
};
enum refresh_mode refresh_mode(const struct refresh_view *v);
const char *refresh_mode_text(const struct refresh_view *v);

struct refresh_task {
    const struct conf *conf;
    struct mongo_pool *pool;
    void (*on_state)(void); /* called after start succeeded or failed */
};

/* Starts the threads, which run until refresh_stop(). Borrows t until then. */
bool refresh_start(const struct refresh_task *t);

/* Readiness fails from now on; the poll threads end soon. */
void refresh_stop(void);
