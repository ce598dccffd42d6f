/* test_figures - what the queue is said to hold, and what it costs to know */
#include "lib/coord/figures.c"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/coord/view.h"
#include "lib/data/schema.h"
#include "tests/unit/coord.h"

#define HOOK_A "aaaaaaaaaaaaaaaaaaaaaaaa"
#define HOOK_B "bbbbbbbbbbbbbbbbbbbbbbbb"

enum {
    MINUTE = 60000
};

static int64_t version = 1; /* of the subscriptions; it only ever grows */

static int prepared(void **state)
{
    (void)mongod_fresh(state);
    if (schema_apply(*state) != OK)
        fail_msg("no schema");
    return 0;
}

/* A webhook that may send `limit` a minute. */
static void webhook(struct ctx *c, const char *id, int limit)
{
    bson_oid_t oid;

    bson_oid_init_from_string(&oid, id);
    coord_put(c, "_webhooks",
              BCON_NEW("_id", BCON_OID(&oid), "name", "w", "url",
                       "http://example.com/", "collection", "users", "events",
                       "[", "create", "]", "rateLimit", "{",
                       "maxRequestsPerMinute", BCON_INT32(limit), "}"));
    coord_put(c, "_cluster",
              BCON_NEW("_id", "subs", "ver", BCON_INT64(++version)));
    subs_raise(version);
}

/* `more` are members beside those that each row has. */
static void job(struct ctx *c, const char *lim, ms run_at, bson_t *more)
{
    bson_t *row = BCON_NEW("q", "webhook", "lim", BCON_UTF8(lim), "g",
                           BCON_UTF8(lim), "cls", BCON_INT32(JOB_CLASS_LAST),
                           "runAt", BCON_DATE_TIME(run_at));
    bson_oid_t oid;
    char id[25];

    bson_oid_init(&oid, NULL);
    bson_oid_to_string(&oid, id);
    BSON_APPEND_UTF8(row, "_id", id);
    bson_concat(row, more);
    bson_destroy(more);
    coord_put(c, "_jobs", row);
}

static void waits(struct ctx *c, const char *lim, ms run_at)
{
    job(c, lim, run_at,
        BCON_NEW("st", "waiting", "open", BCON_BOOL(true), "lease", BCON_NULL));
}

static void runs(struct ctx *c, const char *lim, ms run_at)
{
    job(c, lim, run_at,
        BCON_NEW("st", "leased", "open", BCON_BOOL(true), "lease", "{", "tok",
                 "t", "until", BCON_DATE_TIME(run_at + MINUTE), "}"));
}

static void ended(struct ctx *c, const char *state)
{
    job(c, HOOK_A, clock_wall_ms(),
        BCON_NEW("st", BCON_UTF8(state), "endAt",
                 BCON_DATE_TIME(clock_wall_ms())));
}

static struct figures counted(struct ctx *c)
{
    struct figures f;
    enum err err = figures_count(c, QUEUE_WEBHOOK, &f);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return f;
}

static void empty_queue_is_all_zeros(void **state)
{
    static const struct figures none;
    struct figures f = counted(*state);

    assert_memory_equal(&f, &none, sizeof f);
}

static void each_row_is_counted_where_it_stands(void **state)
{
    struct ctx *c = *state;
    ms now = clock_wall_ms();
    struct figures f;

    waits(c, HOOK_A, now - MINUTE);
    waits(c, HOOK_A, now - 2000);
    waits(c, HOOK_B, now - 3000);
    waits(c, HOOK_B, now + MINUTE);
    waits(c, "test:1", now + MINUTE);
    runs(c, HOOK_A, now - 5 * MINUTE);
    runs(c, HOOK_B, now - 5 * MINUTE);
    for (int i = 0; i < 3; i++)
        ended(c, "dead");
    ended(c, "done");
    ended(c, "cancelled");
    f = counted(c);
    assert_int_equal(f.waiting, 3);
    assert_int_equal(f.active, 2);
    assert_int_equal(f.delayed, 2);
    assert_int_equal(f.dead, 3);
    assert_true(f.oldest_ms >= MINUTE && f.oldest_ms < 2 * MINUTE);
}

/* The same time, more leased than waiting, and leased ones alone. */
static void oldest_is_one_that_waits(void **state)
{
    struct ctx *c = *state;
    ms now = clock_wall_ms();
    struct figures f;

    for (int i = 0; i < 3; i++)
        runs(c, HOOK_A, now - 5 * MINUTE);
    f = counted(c);
    assert_true(f.waiting == 0 && f.active == 3 && f.oldest_ms == 0);
    waits(c, HOOK_A, now - MINUTE);
    f = counted(c);
    assert_true(f.waiting == 1 && f.oldest_ms >= MINUTE &&
                f.oldest_ms < 2 * MINUTE);
    waits(c, HOOK_A, now - 5 * MINUTE);
    f = counted(c);
    assert_true(f.waiting == 2 && f.oldest_ms >= 5 * MINUTE);
}

static void limits(struct ctx *c, const char *id, int grants, bson_t *more)
{
    bson_t *row = BCON_NEW("_id", BCON_UTF8(id)), list;
    char key[16];

    BSON_APPEND_ARRAY_BEGIN(row, "grants", &list);
    for (int i = 0; i < grants; i++) {
        (void)snprintf(key, sizeof key, "%d", i);
        /* the first one has left the window */
        BSON_APPEND_DATE_TIME(&list, key,
                              clock_wall_ms() - (i ? 1000 : 2 * MINUTE));
    }
    bson_append_array_end(row, &list);
    bson_concat(row, more);
    bson_destroy(more);
    coord_put(c, "_limits", row);
}

static void totals_are_those_of_all_subscribers(void **state)
{
    struct ctx *c = *state;
    struct figures f;

    limits(c, "webhook:" HOOK_A, 0,
           BCON_NEW("delivered", BCON_INT64(7), "failed", BCON_INT64(2), "pc",
                    BCON_INT32(1)));
    limits(c, "webhook:" HOOK_B, 0,
           BCON_NEW("delivered", BCON_INT32(1), "failed", BCON_INT64(3), "pc",
                    BCON_NULL));
    limits(c, "webhook:*", 0, bson_new());
    limits(c, "webhoox:other", 0, BCON_NEW("delivered", BCON_INT64(100)));
    f = counted(c);
    assert_int_equal(f.completed, 8);
    assert_int_equal(f.failed, 5);
    assert_int_equal(f.breakers, 1);
    assert_int_equal(f.limited, 0);
}

static void limited_is_who_waits_and_may_not(void **state)
{
    struct ctx *c = *state;

    webhook(c, HOOK_A, 3);
    webhook(c, HOOK_B, 3);
    limits(c, "webhook:" HOOK_A, 4, bson_new()); /* three in the window */
    limits(c, "webhook:" HOOK_B, 3, bson_new()); /* two */
    limits(c, "webhook:gone", 4, bson_new());
    assert_int_equal(counted(c).limited, 0);
    waits(c, HOOK_A, clock_wall_ms() - 1000);
    waits(c, HOOK_B, clock_wall_ms() - 1000);
    waits(c, "gone", clock_wall_ms() - 1000);
    assert_int_equal(counted(c).limited, 1);
}

static void strangers_values_count_as_nothing(void **state)
{
    struct ctx *c = *state;

    webhook(c, HOOK_A, 1);
    waits(c, HOOK_A, clock_wall_ms() - 1000);
    for (int i = 0; i < COORD_HOSTILE_N; i++) {
        bson_t *row = BCON_NEW("_id", "webhook:" HOOK_A);
        struct figures f;

        coord_hostile(row, "delivered", i);
        coord_hostile(row, "failed", i);
        coord_hostile(row, "pc", i);
        coord_hostile(row, "grants", i);
        (void)mongod_do(
            c, BCON_NEW("update", "_limits", "updates", "[", "{", "q", "{",
                        "_id", "webhook:" HOOK_A, "}", "u", BCON_DOCUMENT(row),
                        "upsert", BCON_BOOL(true), "}", "]",
                        "bypassDocumentValidation", BCON_BOOL(true)));
        bson_destroy(row);
        f = counted(c);
        assert_true(f.completed >= 0 && f.failed >= 0 && f.waiting == 1);
    }
}

/* ---- what it costs */

/* How many commands the profiler saw that meet the query. */
static int64_t profiled(struct ctx *c, bson_t *query)
{
    const bson_t *reply = mongod_do(
        c, BCON_NEW("count", "system.profile", "query", BCON_DOCUMENT(query)));

    bson_destroy(query);
    return number_of(reply, "n");
}

static void rows_are_counted_from_keys_alone(void **state)
{
    struct ctx *c = *state;
    ms now = clock_wall_ms();
    struct figures f;

    webhook(c, HOOK_A, 1);
    limits(c, "webhook:" HOOK_A, 2, bson_new());
    for (int i = 0; i < 50; i++) {
        waits(c, HOOK_A, now - 1000);
        waits(c, HOOK_B, now + MINUTE);
        ended(c, "dead");
    }
    for (int i = 0; i < 3; i++)
        runs(c, HOOK_A, now - MINUTE);
    (void)mongod_do(c, BCON_NEW("profile", BCON_INT32(2)));
    f = counted(c);
    (void)mongod_do(c, BCON_NEW("profile", BCON_INT32(0)));
    assert_true(f.waiting == 50 && f.delayed == 50 && f.active == 3);
    assert_true(f.dead == 50 && f.limited == 1);
    /* due, delayed, dead, those of who is at its limit */
    assert_int_equal(
        profiled(c, BCON_NEW("command.count", "_jobs", "docsExamined",
                             BCON_INT32(0), "keysExamined", "{", "$gt",
                             BCON_INT32(0), "}")),
        4);
    /* leased ones; the oldest, behind them */
    assert_int_equal(
        profiled(c, BCON_NEW("command.find", "_jobs", "docsExamined", "{",
                             "$lte", BCON_INT32(4), "}")),
        2);
    assert_int_equal(profiled(c, BCON_NEW("ns", "unit._jobs")), 6);
}

/* ---- stored and read */

static const struct figures some = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1000};

static bool store(struct ctx *c, int64_t term)
{
    bool lost;
    enum err err = figures_store(c, QUEUE_WEBHOOK, term, &some, &lost);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return !lost;
}

static struct view_queue seen(struct ctx *c)
{
    struct view v;

    assert_int_equal(view_read(c, STR("me"), &v), OK);
    return v.queues[QUEUE_WEBHOOK];
}

static void stored_figures_are_seen_by_all(void **state)
{
    struct ctx *c = *state;
    struct view_queue q;

    coord_change(c, "_cluster", "queue:webhook",
                 BCON_NEW("$set", "{", "paused", BCON_BOOL(true), "}"));
    for (int i = 0; i < 2; i++) { /* the second time over the first ones */
        assert_true(store(c, 5));
        q = seen(c);
        assert_true(q.known && q.paused && q.counted && q.fresh);
        assert_memory_equal(&q.figures, &some, sizeof some);
    }
    coord_drop(c, "_cluster");
    assert_true(store(c, 5));
    q = seen(c);
    assert_true(q.known && !q.paused && q.fresh);
}

static void greater_term_stays(void **state)
{
    struct ctx *c = *state;

    assert_true(store(c, 5));
    assert_true(store(c, 5));
    assert_false(store(c, 4));
    assert_true(store(c, 6));
    assert_false(store(c, 5));
}

static void nonsense_for_a_term_is_none(void **state)
{
    struct ctx *c = *state;

    for (int i = 0; i < COORD_HOSTILE_N; i++) {
        bson_t *row = BCON_NEW("_id", "queue:webhook");

        if (i == 10) { /* a document may hold no such names there */
            bson_destroy(row);
            continue;
        }
        coord_hostile(row, "term", i);
        (void)mongod_do(
            c, BCON_NEW("update", "_cluster", "updates", "[", "{", "q", "{",
                        "_id", "queue:webhook", "}", "u", BCON_DOCUMENT(row),
                        "upsert", BCON_BOOL(true), "}", "]",
                        "bypassDocumentValidation", BCON_BOOL(true)));
        bson_destroy(row);
        if (!store(c, 5))
            fail_msg("hostile %d", i);
        assert_true(seen(c).fresh);
    }
}

#define CASE(test) cmocka_unit_test_setup(test, prepared)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(empty_queue_is_all_zeros),
        CASE(each_row_is_counted_where_it_stands),
        CASE(oldest_is_one_that_waits),
        CASE(totals_are_those_of_all_subscribers),
        CASE(limited_is_who_waits_and_may_not),
        CASE(strangers_values_count_as_nothing),
        CASE(rows_are_counted_from_keys_alone),
        CASE(stored_figures_are_seen_by_all),
        CASE(greater_term_stays),
        CASE(nonsense_for_a_term_is_none),
    };

    return cmocka_run_group_tests_name("figures", tests, mongod_setup,
                                       mongod_teardown);
}
