#pragma once
/*
 * stores - the coordinator's handles of MongoDB and Redis
 *
 *   stores_open -> stores_reach (first start only) ...
 *
 * Two clients of MongoDB: a quick one for what a term hangs on, a calm one for
 * work. Each unit of work has a ctx; a look lives until the next one of its
 * kind, so that there are two ctxs for looks, used in turn.
 */
#include "lib/coord/redis_watch.h"
#include "lib/coord/view.h"
#include "lib/data/mongo.h"

enum {
    STORES_QUICK_MS = 500,
    STORES_CALM_MS = 2000
};

struct stores {
    const struct conf *conf;
    struct mongo_pool *quick_pool, *calm_pool;
    struct ctx look[2]; /* quick: views */
    struct ctx quick;   /* terms, roster */
    struct ctx calm;    /* duties */
    struct ctx redis;   /* looks at Redis; no MongoDB */
    bool has_redis;     /* else mode single */
    bool transactions;  /* MongoDB has them: known once it was reached */
    ms clock_offset;    /* wall clock - MongoDB's, when it was reached */
    struct redis_watch watch;
};

/* What another life of the child has found out, or this one. */
void stores_set_transactions(struct stores *s, bool on);

/* Contacts nobody. False without memory or with a refused connection string;
 * the log says why. */
bool stores_open(struct stores *s, const struct conf *conf);

/* A ctx for its next unit of work, which has most ms. */
struct ctx *stores_begin(struct ctx *c, ms most);

/* c may use the index of the queue, if that is to be had, with the connection
 * of the watch: until the next stores_begin. d: as the last view says. */
struct ctx *stores_lend(struct ctx *c, const struct stores *s,
                        const struct dataset *d);

/*
 * Reaches MongoDB and makes the collections that are needed, and, where it is
 * required, finds Redis fit: once, then DB_MAX_RECONNECT_ATTEMPTS times, the
 * waits doubling. may_go_on waits and is false when the program stops. False
 * when it stops or all tries failed; the log says why.
 */
bool stores_reach(struct stores *s, bool (*may_go_on)(void *arg, ms wait),
                  void *arg);
