#pragma once
/*
 * queue_world - what tests of the queue work with: webhooks and deliveries in
 * a real MongoDB, and workers that claim
 *
 *   IN_QUEUE(test): *state is a struct ctx; collections are made and empty
 *
 * For tests that run on both claim paths see queue_paths.h.
 */
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/metrics.h"
#include "lib/coord/queue_inside.h"
#include "lib/data/schema.h"
#include "tests/unit/coord.h"

enum {
    LEASE_MS = 15000,
    WINDOW_MS = 60000,
    WORLD_DOC_MAX = 80
};

/* As ctx_reset; with 30 s left. */
static inline void world_reset(struct ctx *c)
{
    ctx_reset(c);
    c->deadline = clock_mono_ms() + 30000;
}

/* A webhook, and a delivery to it; zeroed members have defaults. */
struct hook {
    int n; /* its id ends so */
    int limit;
    bool disabled;
    int priority;
};
struct put {
    int hook, n;
    int priority;
    const char *doc; /* ordered: its document */
    int64_t ord;
    int64_t tries_max; /* 4 */
    ms in_ms;          /* due so much later */
    bool once;
};

static int64_t world_ver;

static inline str world_hook_id(struct ctx *c, int n)
{
    return arena_strf(&c->arena, "%024x", (unsigned)n);
}

static inline str world_job_id(struct ctx *c, int hook, int n)
{
    return arena_strf(&c->arena, "%024x-1700000000000-%09d", (unsigned)hook, n);
}

static inline void world_raise(struct ctx *c)
{
    coord_put(c, "_cluster",
              BCON_NEW("_id", "subs", "ver", BCON_INT64(++world_ver)));
    subs_raise(world_ver);
}

static inline void world_hook(struct ctx *c, const struct hook *h)
{
    bson_oid_t oid;

    bson_oid_init_from_string(&oid, world_hook_id(c, h->n).p);
    coord_put(c, "_webhooks",
              BCON_NEW("_id", BCON_OID(&oid), "name", "w", "url",
                       "http://127.0.0.1:9/", "collection", "things", "events",
                       "[", "create", "]", "enabled", BCON_BOOL(!h->disabled),
                       "priority", BCON_INT32(h->priority), "rateLimit", "{",
                       "maxRequestsPerMinute",
                       BCON_INT32(h->limit ? h->limit : 300), "}"));
    world_raise(c);
}

static inline void world_unhook(struct ctx *c, int n)
{
    bson_oid_t oid;

    bson_oid_init_from_string(&oid, world_hook_id(c, n).p);
    (void)mongod_do(c, BCON_NEW("delete", "_webhooks", "deletes", "[", "{", "q",
                                "{", "_id", BCON_OID(&oid), "}", "limit",
                                BCON_INT32(1), "}", "]"));
    world_raise(c);
}

static inline bson_t *world_row(struct ctx *c, const struct put *p)
{
    str hook = world_hook_id(c, p->hook), id = world_job_id(c, p->hook, p->n);
    str lim =
        p->once ? arena_strf(&c->arena, "test:" STR_FMT, STR_ARG(id)) : hook;
    struct job_new n = {.id = id,
                        .message_id = STR("msg_x"),
                        .subscriber = hook,
                        .lim = lim,
                        .group = p->doc ? arena_strf(&c->arena, STR_FMT ":%s",
                                                     STR_ARG(hook), p->doc)
                                        : lim,
                        .ord = p->ord,
                        .cls = job_class(p->priority),
                        .ts = clock_wall_ms() - 1000 + p->n % 900 +
                              (p->in_ms ? 1000 : 0) + p->in_ms,
                        .tries_max = p->tries_max ? p->tries_max : 4,
                        .once = p->once,
                        .enq = str_of(c->index),
                        .event = STR("create"),
                        .collection = STR("things"),
                        .body = STR("{\"a\":1}")};
    bson_t *row;

    if (p->once)
        n.cls = 0;
    assert_int_equal(job_row(c, &n, &row), OK);
    return row;
}

/* The index hears of rows, where it is in use. */
static inline void world_list(struct ctx *c, str id)
{
    bson_t *ids = mongo_bson(c);

    BSON_APPEND_UTF8(ids, "0", id.p);
    queue_list_ids(c, QUEUE_WEBHOOK, ids);
}

static inline str world_put(struct ctx *c, const struct put *p)
{
    str id = world_job_id(c, p->hook, p->n);

    (void)mongod_do(c, BCON_NEW("insert", "_jobs", "documents", "[",
                                BCON_DOCUMENT(world_row(c, p)), "]"));
    world_list(c, id);
    return id;
}

/* Rows from..to-1 of a kind in few commands */
static inline void world_fill(struct ctx *c, struct put p, int from, int to)
{
    while (from < to) {
        bson_t *rows = bson_new(), *ids = mongo_bson(c);
        int n = 0;

        for (; from < to && n < 1000; n++) {
            const char *index;
            char text[16];

            p.n = from++;
            bson_uint32_to_string((uint32_t)n, &index, text, sizeof text);
            BSON_APPEND_DOCUMENT(rows, index, world_row(c, &p));
            BSON_APPEND_UTF8(ids, index, world_job_id(c, p.hook, p.n).p);
        }
        (void)mongod_do(
            c, BCON_NEW("insert", "_jobs", "documents", BCON_ARRAY(rows)));
        bson_destroy(rows);
        queue_list_ids(c, QUEUE_WEBHOOK, ids);
        world_reset(c);
    }
}

static inline const bson_t *world_job(struct ctx *c, str id)
{
    return mongod_find(c, "_jobs", id.p);
}

static inline str world_limits_id(struct ctx *c, int hook)
{
    return arena_strf(&c->arena, "webhook:%024x", (unsigned)hook);
}

static inline const bson_t *world_limits(struct ctx *c, int hook)
{
    return mongod_find(c, "_limits", world_limits_id(c, hook).p);
}

/* By path; dates and numbers; `none` when there is no such member */
static inline int64_t world_number(const bson_t *doc, const char *path,
                                   int64_t none)
{
    bson_iter_t it, at;

    if (!doc || !bson_iter_init(&it, doc) ||
        !bson_iter_find_descendant(&it, path, &at))
        return none;
    return BSON_ITER_HOLDS_DATE_TIME(&at) ? bson_iter_date_time(&at)
                                          : bson_iter_as_int64(&at);
}

static inline str world_text(const bson_t *doc, const char *path)
{
    bson_iter_t it, at;

    if (!doc || !bson_iter_init(&it, doc) ||
        !bson_iter_find_descendant(&it, path, &at) ||
        !BSON_ITER_HOLDS_UTF8(&at))
        return STR("");
    return str_of(bson_iter_utf8(&at, NULL));
}

static inline bool world_has(const bson_t *doc, const char *path)
{
    bson_iter_t it, at;

    return doc && bson_iter_init(&it, doc) &&
           bson_iter_find_descendant(&it, path, &at);
}

static inline int world_count(const bson_t *doc, const char *name)
{
    bson_t array;

    return doc && mongo_reply_doc(doc, name, &array)
               ? (int)bson_count_keys(&array)
               : 0;
}

/* ---- workers */

static inline struct claimant world_worker(void)
{
    return (struct claimant){.queue = QUEUE_WEBHOOK,
                             .lease_ms = LEASE_MS,
                             .cap = 1000,
                             .served = "0"};
}

static inline enum claim_result world_claim(struct ctx *c, struct claimant *k,
                                            struct claim *out)
{
    char token[ID_TOKEN_MAX];

    assert_int_equal(id_token(token), OK);
    return queue_claim(c, k, token, out);
}

static inline struct claim world_got(struct ctx *c, struct claimant *k)
{
    struct claim cl;

    assert_int_equal(world_claim(c, k, &cl), CLAIM_GOT);
    return cl;
}

static inline void world_none(struct ctx *c, struct claimant *k)
{
    struct claim cl;

    assert_int_equal(world_claim(c, k, &cl), CLAIM_NONE);
}

static inline struct job_result world_done(void)
{
    return (struct job_result){.verdict = VERDICT_DONE,
                               .health = HEALTH_OK,
                               .started_wall = clock_wall_ms(),
                               .took_ms = 5,
                               .code = 200,
                               .result = STR("")};
}

static inline struct job_result world_failed(ms delay_ms)
{
    return (struct job_result){.verdict = VERDICT_RETRY,
                               .health = HEALTH_FAILED,
                               .delay_ms = delay_ms,
                               .started_wall = clock_wall_ms(),
                               .took_ms = 5,
                               .code = 500,
                               .error = "http-status",
                               .result = STR("")};
}

static inline void world_finish(struct ctx *c, struct claimant *k,
                                const struct claim *cl,
                                const struct job_result *r)
{
    assert_int_equal(queue_finish(c, k, cl, r), FINISH_DONE);
}

/* The lease of a row is over now. */
static inline void world_end_lease(struct ctx *c, str id)
{
    coord_change(c, "_jobs", id.p,
                 BCON_NEW("$set", "{", "lease.until", "{", "$subtract", "[",
                          "$$NOW", BCON_INT64(1), "]", "}", "}"));
}

static inline int world_fresh(void **state)
{
    struct ctx *c;

    (void)mongod_fresh(state);
    c = *state;
    mongod.conf->webhook_rate_limit_window_ms = WINDOW_MS;
    mongod.conf->webhooks_global_rate_limit_per_minute = 0;
    assert_int_equal(schema_apply(c), OK);
    world_raise(c);
    return 0;
}

#define IN_QUEUE(test) cmocka_unit_test_setup(test, world_fresh)

static inline int world_main_setup(void **state)
{
    assert_true(subs_setup());
    return mongod_setup(state);
}
