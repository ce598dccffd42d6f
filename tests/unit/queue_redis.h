#pragma once
/*
 * queue_redis - what tests of the index of the queue work with: a redis-server
 * with an open data set, jobs and workers
 *
 *   IN_INDEX(test): index_c is a ctx whose index is open and empty
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/coord/rds_script.h"
#include "lib/coord/redis_queue.h"
#include "tests/unit/redis.h"

#define INDEX_ID "00000000000000aa"

enum {
    INDEX_LEASE_MS = 600000,
    INDEX_WINDOW_MS = 600000
};

static struct conf index_conf;
static struct ctx index_ctx, *const index_c = &index_ctx;

/* Memory and time for the next calls; what was given before is gone. */
static inline void index_reset(void)
{
    ctx_reset(index_c);
    index_c->deadline = clock_mono_ms() + 30000;
}

static inline void index_settings(struct index_meta m)
{
    assert_int_equal(index_meta(index_c, QUEUE_WEBHOOK, &m), INDEX_DONE);
}

/* As index_fresh, on a connection that is there. */
static inline void index_open(void)
{
    redis_do(index_c->rds, WORDS(STR("FLUSHALL")));
    redis_do(index_c->rds, WORDS(STR("SET"), STR("p:dataset"), STR(INDEX_ID)));
    index_settings((struct index_meta){
        .cap = 1000, .max = 100000, .window_ms = INDEX_WINDOW_MS});
}

static inline int index_begin(void **state)
{
    redis_begin(state);
    index_conf.redis_key_prefix = "p";
    index_conf.redis_command_timeout = 10000;
    ctx_init(index_c, &index_conf, 1 << 22);
    index_reset();
    index_c->index = INDEX_ID;
    index_c->rds = redis_open("s3cret");
    redis_await(index_c->rds);
    index_open();
    return 0;
}

static inline int index_end(void **state)
{
    rds_free(index_c->rds);
    index_c->rds = NULL;
    ctx_done(index_c);
    return redis_end(state);
}

#define IN_INDEX(test)                                                         \
    cmocka_unit_test_setup_teardown(test, index_begin, index_end)

/* What a command gives, as text; numbers too; "" for nil */
static inline str index_ask_text(const str *words, size_t n)
{
    struct rds_reply reply;

    if (rds_call(index_c->rds, words, n, clock_mono_ms() + 10000,
                 &index_c->arena, &reply) != RDS_OK)
        fail_msg("%s", rds_reason(index_c->rds));
    if (reply.kind == RDS_INT)
        return arena_strf(&index_c->arena, "%lld", (long long)reply.number);
    return reply.kind == RDS_TEXT ? reply.text : STR("");
}
#define INDEX_ASK(...) index_ask_text(WORDS(__VA_ARGS__))

/* ---- jobs */

/* A job of a subscriber; group: NULL unordered. */
struct index_put {
    const char *id, *lim, *group;
    int priority;
    ms ts;
    int64_t ord;
    ms delay_ms;
    int64_t limit;
    bool once;
};

static inline struct index_job index_job_of(const struct index_put *p)
{
    return (struct index_job){.id = str_of(p->id),
                              .lim = str_of(p->lim),
                              .group = str_of(p->group ? p->group : p->lim),
                              .cls = job_class(p->priority),
                              .ts = 1735689600000 + p->ts,
                              .ord = p->ord,
                              .delay_ms = p->delay_ms,
                              .once = p->once,
                              .limit = p->limit,
                              .window_ms = INDEX_WINDOW_MS};
}

static inline enum index_seat index_put_by(enum index_source by,
                                           struct index_put p)
{
    const struct index_job j = index_job_of(&p);
    enum index_seat seat;

    assert_int_equal(index_enqueue(index_c, QUEUE_WEBHOOK, by, &j, 1, &seat),
                     INDEX_DONE);
    return seat;
}
#define PUT(...) index_put_by(INDEX_BY_FANOUT, (struct index_put){__VA_ARGS__})

/* ---- workers */

/* Claims under the token; *told NULL: tells nothing. */
static inline struct index_step index_claim(const char *token,
                                            const struct index_told *told)
{
    const struct index_ask ask = {
        .token = token, .lease_ms = INDEX_LEASE_MS, .want = true};
    struct index_step step;

    assert_int_equal(index_step(index_c, QUEUE_WEBHOOK, &ask, told, &step),
                     INDEX_DONE);
    return step;
}

#define ASSERT_GOT(step, wanted)                                               \
    do {                                                                       \
        const struct index_step s_ = (step);                                   \
        assert_true(s_.claimed);                                               \
        if (!str_eq(s_.id, str_of(wanted)))                                    \
            fail_msg("%s, not " STR_FMT, wanted, STR_ARG(s_.id));              \
    } while (0)
#define ASSERT_NONE(step) assert_false((step).claimed)

static inline struct index_told index_told_of(const char *id, const char *token,
                                              enum index_verdict verdict)
{
    struct index_told t = {.dataset = INDEX_ID, .verdict = verdict};

    snprintf(t.id, sizeof t.id, "%s", id);
    snprintf(t.token, sizeof t.token, "%s", token);
    return t;
}

/* Tells without a claim; was it known? */
static inline bool index_tell(const struct index_told *t)
{
    const struct index_ask ask = {.token = "teller", .lease_ms = 1};
    struct index_step step;

    assert_int_equal(index_step(index_c, QUEUE_WEBHOOK, &ask, t, &step),
                     INDEX_DONE);
    assert_false(step.claimed);
    return step.known;
}

static inline bool index_end_job(const char *id, const char *token)
{
    const struct index_told t = index_told_of(id, token, INDEX_ENDED);

    return index_tell(&t);
}

/* ---- the audit */

/* What is wrong with the index (tests/unit/queue_audit.lua); "" nothing. The
 * caps are the least and the greatest that it had; but: "len" is not held
 * against the jobs. */
static inline str index_audit_but(const char *cap_low, const char *cap_high,
                                  const char *but)
{
    static char text[16384];
    const char *root = getenv("ROOT");

    if (!text[0]) {
        str path = arena_strf(&index_c->arena, "%s/tests/unit/queue_audit.lua",
                              root ? root : ".");
        FILE *f = fopen(path.p, "r");
        size_t n;

        assert_non_null(f);
        n = fread(text, 1, sizeof text - 1, f);
        assert_in_range(n, 1, sizeof text - 2);
        text[n] = '\0';
        fclose(f);
    }
    return INDEX_ASK(STR("EVAL"), str_of(text), STR("0"), STR("p:q:webhook"),
                     str_of(cap_low), str_of(cap_high), str_of(but));
}
static inline str index_audit(const char *cap_low, const char *cap_high)
{
    return index_audit_but(cap_low, cap_high, "");
}
