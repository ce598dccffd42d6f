#pragma once
/*
 * rds_script - the Lua scripts of sql-free-schemas/redis, by digest
 *
 * A server that does not know a script (restarted, SCRIPT FLUSH) is sent its
 * text within the same call, so that nobody has to load any.
 */
#include "lib/coord/rds.h"

enum lua {
    LUA_DATASET_CLEAR,
    LUA_DATASET_LOOK,
    LUA_DATASET_OPEN,
    LUA_DATASET_RESERVE,
    LUA_LOCK_ACQUIRE,
    LUA_LOCK_CLEAN,
    LUA_LOCK_LIST,
    LUA_LOCK_RELEASE,
    LUA_LOCK_RENEW,
    LUA_QUEUE_CANCEL,
    LUA_QUEUE_ENQUEUE,
    LUA_QUEUE_META,
    LUA_QUEUE_RECENT,
    LUA_QUEUE_RECOVER,
    LUA_QUEUE_STATS,
    LUA_QUEUE_STEP,
    LUA_QUEUE_SUBSCRIBER,
    LUA_RATE_TAKE,
    LUA_N
};

struct rds_script {
    enum lua lua;
    const str *keys, *args;
    size_t keys_n, args_n;
};

/* As rds_call; keys and arguments together at most RDS_WORDS_MAX - 3. */
enum rds_result rds_run(struct rds *r, const struct rds_script *s,
                        ms deadline_mono, struct arena *a,
                        struct rds_reply *out);
