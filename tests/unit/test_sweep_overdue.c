/* test_sweep_overdue - rows that the index has lost come
 * back; what the sweep costs */
#include "tests/unit/sweep_world.h"

enum {
    SOME = 10000
};

/* ---- the safety net */

static void lost_rows_that_are_overdue_come_back(void **state)
{
    struct ctx *c = *state;
    struct sweep_walk walk = {0};
    str late = old_row(c, 1, 40000), soon = old_row(c, 2, 20000);
    str held = old_row(c, 3, 40000), orphan = old_row(c, 4, 40000);
    str ids[] = {late, soon, held, orphan};
    ms now = clock_server_ms();

    for (int i = 0; i < 4; i++)
        change(c, ids[i], BCON_NEW("enq", HOME_ID));
    for (int i = 2; i < 4; i++)
        change(c, ids[i],
               BCON_NEW("st", "leased", "lease", "{", "tok",
                        BCON_UTF8(i == 2 ? "a" : "b"), "until",
                        BCON_DATE_TIME(now + (i == 2 ? 60000 : -1000)), "}"));
    assert_int_equal(swept(c).n, 0); /* all are said to be known */
    assert_int_equal(overdue(c, &walk), 2);
    assert_true(is_known(c, late) && is_known(c, orphan));
    assert_false(is_known(c, soon) || is_known(c, held));
    assert_false(is_delayed(c, orphan));
    assert_int_equal(overdue(c, &walk), 2); /* again, and nothing new */
    assert_int_equal(asked(c, WORDS(STR("HGET"), KEY("meta"), STR("len"))), 2);
}

/* Rows of the same time too, however many, and then anew. */
static void walk_meets_each_row_and_begins_again(void **state)
{
    struct ctx *c = *state;
    struct sweep_walk walk = {0};
    int64_t all = 0, n;
    int turns = 0;

    fill_unknown(c, 1700);
    (void)mongod_do(c,
                    BCON_NEW("update", "_jobs", "updates", "[", "{", "q", "{",
                             "}", "u", "{", "$set", "{", "enq", HOME_ID,
                             "runAt", BCON_DATE_TIME(clock_server_ms() - 90000),
                             "}", "}", "multi", BCON_BOOL(true), "}", "]"));
    for (int i = 0; i < 300; i++)
        (void)mongod_do(c,
                        BCON_NEW("update", "_jobs", "updates", "[", "{", "q",
                                 "{", "_id", BCON_UTF8(world_job_id(c, 1, i).p),
                                 "}", "u", "{", "$set", "{", "runAt",
                                 BCON_DATE_TIME(clock_server_ms() - 95000 + i),
                                 "}", "}", "}", "]"));
    do {
        n = overdue(c, &walk);
        assert_in_range(n, 0, SLICE_ROWS);
        all += n;
    } while (walk.run_at != 0 && ++turns < 20);
    assert_int_equal(all, 1700);
    assert_int_equal(asked(c, WORDS(STR("HGET"), KEY("meta"), STR("len"))),
                     1700);
    assert_int_equal(overdue(c, &walk), SLICE_ROWS);
}

static void walk_stays_where_redis_was_lost(void **state)
{
    struct ctx *c = *state;
    struct sweep_walk walk = {0};

    (void)old_row(c, 1, 40000);
    world.lost_at = 1;
    (void)overdue(c, &walk);
    assert_true(walk.run_at == 0 && walk.skip == 0);
    assert_int_equal(overdue(c, &walk), 1);
}

/* ---- what it costs */

/* Rows of webhook 1 that are known, made by MongoDB itself. */
static void make_many(struct ctx *c, int n, ms age, const char *dataset)
{
    ms ts = clock_server_ms() - age;

    coord_put(c, "one", BCON_NEW("_id", "one"));
    (void)mongod_do(
        c, BCON_NEW("aggregate", "one", "pipeline", "[", "{", "$project", "{",
                    "i", "{", "$range", "[", BCON_INT32(0), BCON_INT32(n), "]",
                    "}", "}", "}", "{", "$unwind", "$i", "}", "{", "$project",
                    "{", "_id", "{", "$concat", "[", GROUP_1 "-1700000000000-",
                    "{", "$substrBytes", "[", "{", "$toString", "{", "$add",
                    "[", BCON_INT32(100000000), "$i", "]", "}", "}",
                    BCON_INT32(0), BCON_INT32(9), "]", "}", "]", "}", "q",
                    "webhook", "lim", GROUP_1, "g", GROUP_1, "cls", "{",
                    "$literal", BCON_INT32(1023), "}", "ts", "{", "$add", "[",
                    BCON_DATE_TIME(ts), "$i", "]", "}", "runAt", "{", "$add",
                    "[", BCON_DATE_TIME(ts), "$i", "]", "}", "st", "waiting",
                    "open", "{", "$literal", BCON_BOOL(true), "}", "body", "x",
                    "enq", BCON_UTF8(dataset), "}", "}", "{", "$merge", "{",
                    "into", "_jobs", "}", "}", "]", "cursor", "{", "}"));
    world_reset(c);
    c->index = HOME_ID;
}

/* The most keys that a find on _jobs has looked at since the profiler began. */
static void assert_few_keys(struct ctx *c, int finds)
{
    const bson_t *reply;
    bson_iter_t it;
    int64_t n;

    for (int few = 0; few < 2; few++) {
        reply = mongod_do(
            c, BCON_NEW("count", "system.profile", "query", "{", "command.find",
                        "_jobs", "keysExamined", "{", "$lte",
                        BCON_INT32(few ? FEW_KEYS : INT32_MAX), "}", "}"));
        assert_true(bson_iter_init_find(&it, reply, "n"));
        n = bson_iter_as_int64(&it);
        assert_int_equal(n, finds);
    }
}

static void slices_look_at_few_keys(void **state)
{
    struct ctx *c = *state;
    struct sweep_walk walk = {0};

    make_many(c, MANY, 2 * MANY, HOME_ID);
    for (int i = 0; i < 5; i++)
        (void)old_row(c, i, 9000);
    (void)mongod_do(c, BCON_NEW("profile", BCON_INT32(2)));
    assert_int_equal(swept(c).n, 5);
    assert_int_equal(swept(c).n, 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(overdue(c, &walk), SLICE_ROWS);
    (void)mongod_do(c, BCON_NEW("profile", BCON_INT32(0)));
    assert_few_keys(c, 2 + 1 + 3);
}

/* The time is printed; the benchmark judges it. */
static void refill_of_many_is_complete(void **state)
{
    struct ctx *c = *state;
    struct sweep_told told;
    ms start, took;
    int64_t all = 0;

    make_many(c, SOME, 2 * MANY, HOME_OTHER);
    start = clock_mono_ms();
    do {
        world_reset(c);
        c->index = HOME_ID;
        told = swept(c);
        all += told.n;
    } while (told.more);
    took = clock_mono_ms() - start;
    print_message("%d rows told in %lld ms, %lld of them in Redis\n", SOME,
                  (long long)took, (long long)world.took_ms);
    assert_true(told.over);
    assert_int_equal(all, SOME);
    assert_int_equal(asked(c, WORDS(STR("HGET"), KEY("meta"), STR("len"))),
                     SOME);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_INDEX(lost_rows_that_are_overdue_come_back),
        IN_INDEX(walk_meets_each_row_and_begins_again),
        IN_INDEX(walk_stays_where_redis_was_lost),
        IN_INDEX(slices_look_at_few_keys),
        IN_INDEX(refill_of_many_is_complete),
    };

    redis_setup();
    return cmocka_run_group_tests_name("sweep_overdue", tests, world_main_setup,
                                       mongod_teardown);
}
