#pragma once
/*
 * queue_paths - the same tests on both claim paths: through MongoDB alone, and
 * through the index in a real Redis with an open data set
 *
 *   int main: redis_setup(); cmocka_run_group_tests(t, world_main_setup, ..)
 *      IN_MONGO(test), IN_REDIS(test), IN_BOTH(test)
 *
 * A path keeps what it has granted in its own way; what is asked here is the
 * same for both.
 */
#include "tests/unit/queue_world.h"
#include "tests/unit/redis.h"

#define PATHS_ID "00000000000000aa"

enum {
    PATHS_MS = 10000
};

static struct index_meta paths_meta;
static struct tally *paths_tally;

/* ---- Redis */

static inline str paths_ask(struct ctx *c, const str *words, size_t n)
{
    struct rds_reply reply;

    if (rds_call(rds_find(c), words, n, clock_mono_ms() + PATHS_MS, &c->arena,
                 &reply) != RDS_OK)
        fail_msg("%s", rds_reason(c->rds));
    if (reply.kind == RDS_INT)
        return arena_strf(&c->arena, "%lld", (long long)reply.number);
    return reply.kind == RDS_TEXT ? reply.text : STR("");
}
#define PATHS_ASK(c, ...) paths_ask(c, WORDS(__VA_ARGS__))

static inline int64_t paths_number(str text)
{
    int64_t v = 0;

    return str_to_i64(text, &v) ? v : 0;
}

/* T:<name> */
static inline str paths_key(struct ctx *c, const char *name, str of)
{
    return arena_strf(&c->arena, "t:q:webhook:%s" STR_FMT, name, STR_ARG(of));
}

/* What it has to do some time it does at its next step. */
static inline void paths_look(struct ctx *c)
{
    (void)PATHS_ASK(c, STR("HSET"), STR("t:q:webhook:meta"), STR("due"),
                    STR("0"));
}

static inline void paths_expire(struct ctx *c, const char *key, str member)
{
    (void)PATHS_ASK(c, STR("ZADD"), paths_key(c, key, STR("")), STR("XX"),
                    STR("1"), member);
    paths_look(c);
}

static inline void paths_set_meta(struct ctx *c)
{
    if (c->index[0])
        assert_int_equal(index_meta(c, QUEUE_WEBHOOK, &paths_meta), INDEX_DONE);
}

/* ---- settings of either path */

static inline void world_cap(struct ctx *c, struct claimant *k, int64_t cap)
{
    k->cap = paths_meta.cap = cap;
    paths_set_meta(c);
}

static inline void world_limit_all(struct ctx *c, int64_t limit)
{
    mongod.conf->webhooks_global_rate_limit_per_minute = (int)limit;
    paths_meta.limit_all = limit;
    paths_set_meta(c);
}

static inline void world_window(struct ctx *c, ms window)
{
    mongod.conf->webhook_rate_limit_window_ms = (int)window;
    paths_meta.window_ms = window + queue_slack_ms(mongod.conf);
    paths_set_meta(c);
}

/* ---- what either path has of a webhook */

static inline int world_flying(struct ctx *c, int hook)
{
    if (!c->index[0])
        return world_count(world_limits(c, hook), "fl");
    return (int)paths_number(PATHS_ASK(
        c, STR("HGET"), paths_key(c, "l:", world_hook_id(c, hook)), STR("n")));
}

static inline int world_grants(struct ctx *c, int hook)
{
    if (!c->index[0])
        return world_count(world_limits(c, hook), "grants");
    return (int)paths_number(
        PATHS_ASK(c, STR("LLEN"), paths_key(c, "rl:", world_hook_id(c, hook))));
}

/* As if its worker did not claim any more; totals by paths_tally. */
static inline void world_settled(struct ctx *c, struct claimant *k)
{
    queue_settle_up(c, k);
    assert_false(k->has_told);
    if (k->tally)
        tally_flush(k->tally, c, true);
}

/* ---- time passes */

/* The row is due now. */
static inline void world_due_now(struct ctx *c, str id)
{
    coord_change(c, "_jobs", id.p,
                 BCON_NEW("$set", "{", "runAt", "$$NOW", "}"));
    if (!c->index[0])
        return;
    paths_expire(c, "dly", id);
    paths_expire(c, "hold",
                 arena_strf(&c->arena, "g" STR_FMT,
                            STR_ARG(world_text(world_job(c, id), "g"))));
}

/* Its lease is over, for the index too. */
static inline void world_lapse(struct ctx *c, str id)
{
    world_end_lease(c, id);
    if (c->index[0])
        paths_expire(c, "act", id);
}

/* The hold of a webhook is over. */
static inline void world_end_hold(struct ctx *c, struct claimant *k, int hook)
{
    str lim = world_hook_id(c, hook);

    k->skips_n = 0;
    if (!c->index[0]) {
        coord_change(c, "_limits", world_limits_id(c, hook).p,
                     BCON_NEW("$set", "{", "hold", "$$NOW", "}"));
        return;
    }
    (void)PATHS_ASK(c, STR("HSET"), paths_key(c, "l:", lim), STR("h"),
                    STR("1"));
    paths_expire(c, "hold", arena_strf(&c->arena, "l" STR_FMT, STR_ARG(lim)));
}

/* ---- the tests' own worker: it counts */

static inline struct claimant world_counting(void)
{
    struct claimant k = world_worker();

    k.tally = paths_tally;
    return k;
}

/* One more ctx, of the same path. */
static inline void world_join(struct ctx *c, const struct ctx *like)
{
    mongod_open(c);
    c->index = like->index;
}

static inline void world_leave(struct ctx *c)
{
    rds_free(c->rds);
    c->rds = NULL;
    mongod_close(c);
}

/* ---- beginning, end */

static inline int paths_begin(void **state, const char *url)
{
    struct conf *conf = mongod.conf;
    int failed;

    conf->redis_url = url;
    conf->redis_password = "s3cret";
    conf->redis_key_prefix = "t";
    conf->redis_connection_timeout = conf->redis_command_timeout = PATHS_MS;
    conf->redis_retry_delay = 20;
    conf->redis_ready_check = true;
    paths_meta = (struct index_meta){.cap = 1000, .max = 100000};
    paths_tally = tally_new();
    failed = world_fresh(state);
    ((struct ctx *)*state)->index = "";
    return failed;
}

static inline int world_mongo(void **state)
{
    return paths_begin(state, "none");
}

/* An empty index of this id is open. */
static inline void paths_open(struct ctx *c, const char *id)
{
    redis_do(rds_find(c), WORDS(STR("FLUSHALL")));
    redis_do(rds_find(c), WORDS(STR("SET"), STR("t:dataset"), str_of(id)));
    c->index = id;
    world_window(c, WINDOW_MS);
}

static inline int world_redis(void **state)
{
    struct ctx *c;
    int failed;

    redis_begin(state);
    failed = paths_begin(state, redis.url);
    c = *state;
    redis_await(rds_find(c));
    paths_open(c, PATHS_ID);
    return failed;
}

static inline int world_end(void **state)
{
    struct ctx *c = *state;

    rds_free(c->rds);
    c->rds = NULL;
    c->index = "";
    tally_free(paths_tally);
    paths_tally = NULL;
    return redis.pid > 0 ? redis_end(state) : 0;
}

#define IN_REDIS(test)                                                         \
    {                                                                          \
#test " [redis]", test, world_redis, world_end, NULL                   \
    }
#define IN_MONGO(test)                                                         \
    {                                                                          \
#test " [mongo]", test, world_mongo, world_end, NULL                   \
    }
#define IN_BOTH(test) IN_REDIS(test), IN_MONGO(test)
