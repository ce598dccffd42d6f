#pragma once
/*
 * refresh - the poll thread: looks at MongoDB and Redis once a second and
 * keeps what it saw, so that no request ever waits to know.
 */
#include "lib/base/conf.h"
#include "lib/base/str.h"

struct mongo_pool;

enum refresh_redis {
    REFRESH_REDIS_OFF,
    REFRESH_REDIS_UP,
    REFRESH_REDIS_DOWN
};

struct refresh_view {
    bool started; /* MongoDB was reached once */
    bool gave_up; /* MongoDB was not reached in all tries at start */
    bool stopping;
    bool db_up;
    bool db_lost;    /* unreachable for 10 s */
    bool locked_out; /* access is on, and nobody has a key or token */
    bool standalone; /* no replica set: no transactions */
    enum refresh_redis redis;
    bool redis_evicts;
};

struct refresh_view refresh_view(void);

enum refresh_mode {
    REFRESH_SINGLE,
    REFRESH_DEGRADED,
    REFRESH_CLUSTER
};
enum refresh_mode refresh_mode(const struct refresh_view *v);
const char *refresh_mode_text(const struct refresh_view *v);

/* Runs until refresh_stop(); the thread's body. arg: struct refresh_task. */
struct refresh_task {
    const struct conf *conf;
    struct mongo_pool *pool;
    void (*on_state)(void); /* called after start succeeded or failed */
};
void *refresh_run(void *arg);

/* Readiness fails from now on; the poll thread ends soon. */
void refresh_stop(void);
