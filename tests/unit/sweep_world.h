#pragma once
/*
 * sweep_world - what tests of the sweep of the index work with: sweep_index.c
 * on a real MongoDB and Redis, calls of the index that go wrong, old rows
 */
#define index_enqueue enqueue_by_test
#include "lib/coord/sweep_index.c"
#undef index_enqueue

#include <signal.h>

#include "tests/unit/home.h"
#include "tests/unit/queue_world.h"

/* The real one */
enum index_result index_enqueue(struct ctx *c, enum job_queue q,
                                enum index_source by,
                                const struct index_job *jobs, size_t n,
                                enum index_seat *seats);

enum {
    PATIENCE_TURNS = 1000,
    MANY = 100000,
    FEW_KEYS = 600 /* of a slice of 500 rows at most */
};

/* What happens to calls of the index. */
static struct {
    int calls;
    ms took_ms;  /* all of them */
    ms most_ms;  /* the longest that one was given */
    int lost_at; /* this call is done, its reply does not come */
    void (*before)(struct ctx *c); /* something happens meanwhile */
} world;

enum index_result enqueue_by_test(struct ctx *c, enum job_queue q,
                                  enum index_source by,
                                  const struct index_job *jobs, size_t n,
                                  enum index_seat *seats)
{
    ms start = clock_mono_ms(), given = c->deadline - start;
    enum index_result result;

    assert_int_not_equal(by, INDEX_BY_FANOUT);
    assert_in_range(n, 1, INDEX_ENQUEUE_MAX);
    if (given > world.most_ms)
        world.most_ms = given;
    if (world.before)
        world.before(c);
    result = index_enqueue(c, q, by, jobs, n, seats);
    world.took_ms += clock_mono_ms() - start;
    return ++world.calls == world.lost_at ? INDEX_UNKNOWN : result;
}

static inline int fresh(void **state)
{
    const struct index_meta meta = {.cap = 1000, .max = MANY};
    struct ctx *c;

    home_redis(state);
    c = *state;
    memset(&world, 0, sizeof world);
    c->conf = mongod.conf;
    mongod.conf->webhook_rate_limit_window_ms = WINDOW_MS;
    assert_int_equal(schema_apply(c), OK);
    world_hook(c, &(struct hook){.n = 1});
    c->index = HOME_ID;
    assert_int_equal(index_meta(c, QUEUE_WEBHOOK, &meta), INDEX_DONE);
    return 0;
}

static inline int ended(void **state)
{
    struct ctx *c = *state;

    c->index = "";
    return home_end(state);
}

#define IN_INDEX(test) cmocka_unit_test_setup_teardown(test, fresh, ended)

/* ---- what is there */

/* Rows that the index is not told of, and that say so. */
static inline str put_unknown(struct ctx *c, const struct put *p)
{
    const char *index = c->index;
    str id;

    c->index = "";
    id = world_put(c, p);
    c->index = index;
    return id;
}

static inline void fill_unknown(struct ctx *c, int n)
{
    const char *index = c->index;

    c->index = "";
    world_fill(c, (struct put){.hook = 1}, 0, n);
    c->index = index;
}

/* A row of webhook 1 that is `age` ms old. */
static inline str old_row(struct ctx *c, int n, ms age)
{
    str id = put_unknown(c, &(struct put){.hook = 1, .n = n});
    ms ts = clock_server_ms() - age;

    coord_change(c, "_jobs", id.p,
                 BCON_NEW("$set", "{", "ts", BCON_DATE_TIME(ts), "runAt",
                          BCON_DATE_TIME(ts), "}"));
    return id;
}

static inline void change(struct ctx *c, str id, bson_t *members)
{
    coord_change(c, "_jobs", id.p, BCON_NEW("$set", BCON_DOCUMENT(members)));
    bson_destroy(members);
}

static inline int64_t asked(struct ctx *c, const str *words, size_t n)
{
    struct rds_reply reply;

    redis_await(c->rds);
    if (rds_call(c->rds, words, n, clock_mono_ms() + 10000, &c->arena,
                 &reply) != RDS_OK)
        fail_msg("%s", rds_reason(c->rds));
    if (reply.kind == RDS_TEXT)
        assert_true(str_to_i64(reply.text, &reply.number));
    return reply.kind == RDS_NIL ? -1 : reply.number;
}

#define GROUP_1   "000000000000000000000001"
#define KEY(what) STR("t:q:webhook:" what)

static inline int64_t rank(struct ctx *c, str id)
{
    return asked(c, WORDS(STR("ZRANK"), KEY("w:" GROUP_1), id));
}

static inline bool is_delayed(struct ctx *c, str id)
{
    return asked(c, WORDS(STR("ZSCORE"), KEY("dly"), id)) > 0;
}

static inline bool is_known(struct ctx *c, str id)
{
    return asked(c, WORDS(STR("EXISTS"),
                          arena_strf(&c->arena, "t:q:webhook:j:" STR_FMT,
                                     STR_ARG(id)))) == 1;
}

static inline bool is_marked(struct ctx *c, str id)
{
    return str_eq(world_text(world_job(c, id), "enq"), str_of(c->index));
}

static inline struct sweep_told swept_young(struct ctx *c, ms young_ms)
{
    struct sweep_told told;
    enum err err = sweep_refill(c, QUEUE_WEBHOOK, young_ms, &told);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return told;
}

static inline struct sweep_told swept(struct ctx *c)
{
    return swept_young(c, SWEEP_YOUNG_MS);
}

static inline int64_t overdue(struct ctx *c, struct sweep_walk *walk)
{
    int64_t n = -1;
    enum err err = sweep_overdue(c, QUEUE_WEBHOOK, walk, &n);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return n;
}
