/* stores - see stores.h */
#include "workers/stores.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/data/schema.h"

enum {
    LOOK_BYTES = 16 << 20, /* a view of a thousand instances */
    WORK_BYTES = 16 << 20,
    PREPARE_MS = 10000
};

static bool open_mongo(struct stores *s)
{
    struct mongo_limits quick = mongo_limits_brief(1, STORES_QUICK_MS);
    struct mongo_limits calm = mongo_limits_brief(1, STORES_CALM_MS);
    struct mongo *m;

    s->quick_pool = mongo_pool_new(s->conf, &quick);
    s->calm_pool = s->quick_pool ? mongo_pool_new(s->conf, &calm) : NULL;
    if (!s->calm_pool)
        return false;
    m = mongo_client_new(s->quick_pool);
    s->look[0].mongo = s->look[1].mongo = s->quick.mongo = m;
    s->calm.mongo = mongo_client_new(s->calm_pool);
    return m && s->calm.mongo;
}

bool stores_open(struct stores *s, const struct conf *conf)
{
    *s = (struct stores){.conf = conf};
    ctx_init(&s->look[0], conf, LOOK_BYTES);
    ctx_init(&s->look[1], conf, LOOK_BYTES);
    ctx_init(&s->quick, conf, WORK_BYTES);
    ctx_init(&s->calm, conf, WORK_BYTES);
    ctx_init(&s->redis, conf, WORK_BYTES);
    s->has_redis = dataset_home_of(conf) == DATASET_REDIS;
    if (open_mongo(s) && (!s->has_redis || redis_watch_init(&s->watch, conf)))
        return true;
    log_note(LOG_ERROR, "coordinator.failed", "the stores cannot be opened");
    return false;
}

void stores_set_transactions(struct stores *s, bool on)
{
    s->transactions = on;
    mongo_set_transactions(s->quick_pool, on);
    mongo_set_transactions(s->calm_pool, on);
}

struct ctx *stores_begin(struct ctx *c, ms most)
{
    ctx_reset(c);
    c->deadline = clock_mono_ms() + most;
    c->op_ms = most;
    c->index = ""; /* lent for one unit of work, as its connection is */
    c->rds = NULL;
    return c;
}

struct ctx *stores_lend(struct ctx *c, const struct stores *s,
                        const struct dataset *d)
{
    c->index = redis_watch_index(s->has_redis ? &s->watch : NULL, d);
    c->rds = c->index[0] ? s->watch.rds : NULL;
    return c;
}

/* ---- the start */

static bool reach_mongo(struct stores *s, char *why, size_t why_n)
{
    struct ctx *c = stores_begin(&s->calm, PREPARE_MS);
    struct mongo_info info;

    if (mongo_ping(s->calm_pool, &info) != OK) {
        snprintf(why, why_n, "MongoDB does not answer: %s", info.reason);
        return false;
    }
    if (schema_apply(c) != OK) {
        snprintf(why, why_n, "collections cannot be made: %s", c->reason);
        return false;
    }
    stores_set_transactions(s, info.replica_set);
    s->clock_offset = info.clock_offset;
    if (!info.replica_set)
        log_note(LOG_WARN, "mongo.standalone",
                 "MongoDB is not a replica set: events are best effort");
    return true;
}

/* What is only asked for by CLUSTER_REQUIRE_REDIS. */
static bool reach_redis(struct stores *s, char *why, size_t why_n)
{
    static const struct dataset unknown;

    if (!s->has_redis || !s->conf->cluster_require_redis)
        return true;
    redis_watch_look(&s->watch, stores_begin(&s->redis, STORES_CALM_MS),
                     &unknown, STORES_CALM_MS);
    if (s->watch.sight.answers && s->watch.sight.fit)
        return true;
    snprintf(why, why_n, "CLUSTER_REQUIRE_REDIS is true, but Redis %s: %s",
             s->watch.sight.answers ? "cannot be used" : "does not answer",
             s->watch.sight.reason);
    return false;
}

bool stores_reach(struct stores *s, bool (*may_go_on)(void *arg, ms wait),
                  void *arg)
{
    ms wait = s->conf->db_reconnect_initial_delay;
    char why[640] = "";

    for (int64_t tried = 0;; tried++) {
        bool mongo = reach_mongo(s, why, sizeof why);

        if (mongo && reach_redis(s, why, sizeof why))
            return true;
        /* what Redis is will not change by itself */
        if (tried >= s->conf->db_max_reconnect_attempts ||
            (mongo && s->watch.sight.evicts))
            break;
        log_note(LOG_WARN, "coordinator.waiting", "%s", why);
        if (!may_go_on(arg, wait))
            return false;
        wait *= 2;
        if (wait > s->conf->db_reconnect_max_delay)
            wait = s->conf->db_reconnect_max_delay;
    }
    log_note(LOG_ERROR, "coordinator.gave_up", "%s", why);
    return false;
}
