/* test_totals - what was counted for each subscriber, what is open, whatever
 * else stands in these collections */
#include "lib/coord/totals.h"

#include "lib/base/clock.h"
#include "lib/data/schema.h"
#include "tests/unit/coord.h"

#define A "665f1d009b1e8a0012ab34d0"
#define B "665f1d009b1e8a0012ab34d1"

static const struct totals *find(struct ctx *c, const char *id)
{
    const struct totals *rows;
    size_t n;

    assert_int_equal(totals_read(c, QUEUE_WEBHOOK, &rows, &n), OK);
    return totals_find(rows, n, str_of(id));
}

static size_t rows_n(struct ctx *c)
{
    const struct totals *rows;
    size_t n;

    assert_int_equal(totals_read(c, QUEUE_WEBHOOK, &rows, &n), OK);
    return n;
}

static void put_totals(struct ctx *c, const char *id)
{
    ms now = clock_wall_ms();

    coord_put(c, "_limits",
              BCON_NEW("_id", BCON_UTF8(id), "grants", "[",
                       BCON_DATE_TIME(now - 3600000),
                       BCON_DATE_TIME(now - 1000), BCON_DATE_TIME(now), "]",
                       "fl", "[", "]", "attempts", BCON_INT64(10), "delivered",
                       BCON_INT64(7), "failed", BCON_INT64(3), "dead",
                       BCON_INT32(1), "limited", BCON_INT64(5), "tookMs",
                       BCON_INT64(1800), "last", BCON_DATE_TIME(now)));
}

static void counted_is_shown_by_subscriber(void **state)
{
    struct ctx *c = *state;
    const struct totals *t;

    put_totals(c, "webhook:" B);
    put_totals(c, "webhook:" A);
    t = find(c, A);
    assert_non_null(t);
    assert_str(t->subscriber, A);
    assert_int_equal(t->attempts, 10);
    assert_int_equal(t->delivered, 7);
    assert_int_equal(t->failed, 3);
    assert_int_equal(t->dead, 1);
    assert_int_equal(t->limited, 5);
    assert_int_equal(t->took_ms, 1800);
    assert_int_equal(t->recent, 2); /* of a minute */
    assert_true(t->last_wall > 0);
    assert_non_null(find(c, B));
    assert_null(find(c, "665f1d009b1e8a0012ab34d2"));
}

static void nobody_served_is_no_row(void **state)
{
    assert_int_equal(rows_n(*state), 0);
    assert_null(find(*state, A));
}

static void limit_over_all_and_tests_are_no_subscribers(void **state)
{
    struct ctx *c = *state;

    put_totals(c, "webhook:*");
    put_totals(c, "webhook:test:" A "-1-abcdefghi");
    put_totals(c, "webhooks:" A);
    put_totals(c, "webhook");
    put_totals(c, "script:" A);
    assert_int_equal(rows_n(c), 0);
}

static void values_of_strangers_count_as_nothing(void **state)
{
    struct ctx *c = *state;

    for (int i = 0; i < COORD_HOSTILE_N; i++) {
        static const char *const names[] = {"grants", "attempts", "delivered",
                                            "tookMs", "last"};
        bson_t *doc = BCON_NEW("_id", "webhook:" A);
        const struct totals *t;

        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            coord_hostile(doc, names[k], i);
        coord_put(c, "_limits", doc);
        t = find(c, A);
        assert_non_null(t);
        assert_true(t->attempts >= 0 && t->took_ms >= 0);
        assert_true(t->recent >= 0 && t->recent <= 1);
        assert_true(t->last_wall >= 0);
    }
}

static void put_job(struct ctx *c, int i, const char *lim, int tries, bool open,
                    bool once)
{
    char id[16];
    bson_t *row;

    snprintf(id, sizeof id, "j%d", i);
    row = BCON_NEW("_id", BCON_UTF8(id), "q", "webhook", "lim", BCON_UTF8(lim),
                   "g", BCON_UTF8(lim), "cls", BCON_INT32(1023), "st",
                   BCON_UTF8(open ? "waiting" : "done"), "runAt",
                   BCON_DATE_TIME(clock_wall_ms()), "tries", BCON_INT64(tries));
    if (open)
        BSON_APPEND_BOOL(row, "open", true);
    if (once)
        BSON_APPEND_BOOL(row, "once", true);
    coord_put(c, "_jobs", row);
}

static void open_ones_are_counted(void **state)
{
    struct ctx *c = *state;
    const struct backlog *rows, *a;
    size_t n;

    assert_int_equal(schema_apply(c), OK);
    put_job(c, 1, A, 0, true, false);
    put_job(c, 2, A, 1, true, false);
    put_job(c, 3, A, 2, true, false);
    put_job(c, 4, A, 2, false, false);
    put_job(c, 5, B, 0, true, false);
    put_job(c, 6, "test:x", 0, true, true);
    assert_int_equal(backlog_read(c, QUEUE_WEBHOOK, &rows, &n), OK);
    assert_int_equal(n, 2);
    a = backlog_find(rows, n, STR(A));
    assert_non_null(a);
    assert_int_equal(a->pending, 3);
    assert_int_equal(a->retrying, 2);
    assert_int_equal(backlog_find(rows, n, STR(B))->pending, 1);
    assert_null(backlog_find(rows, n, STR("test:x")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MONGOD(counted_is_shown_by_subscriber),
        WITH_MONGOD(nobody_served_is_no_row),
        WITH_MONGOD(limit_over_all_and_tests_are_no_subscribers),
        WITH_MONGOD(values_of_strangers_count_as_nothing),
        WITH_MONGOD(open_ones_are_counted),
    };

    return cmocka_run_group_tests_name("totals", tests, mongod_setup,
                                       mongod_teardown);
}
