/* test_sweep_index - the index in Redis comes to know
 * every open row that it was not told of */
#include "tests/unit/sweep_world.h"

/* ---- refill */

static void unknown_rows_are_told_and_marked(void **state)
{
    struct ctx *c = *state;
    str newer = old_row(c, 1, 5000), older = old_row(c, 2, 9000);
    str other = old_row(c, 3, 7000), young = old_row(c, 4, 0);
    str known = old_row(c, 5, 8000), ended_one = old_row(c, 6, 8000);
    struct sweep_told told;

    change(c, other, BCON_NEW("enq", HOME_OTHER));
    change(c, known, BCON_NEW("enq", HOME_ID));
    coord_change(c, "_jobs", ended_one.p,
                 BCON_NEW("$set", "{", "st", "done", "open", "$$REMOVE", "}"));
    told = swept(c);
    assert_int_equal(told.n, 3);
    assert_true(told.over && !told.more);
    assert_int_equal(rank(c, older), 0);
    assert_int_equal(rank(c, other), 1);
    assert_int_equal(rank(c, newer), 2);
    assert_true(is_marked(c, older) && is_marked(c, other) &&
                is_marked(c, newer));
    assert_false(is_known(c, young) || is_known(c, known) ||
                 is_known(c, ended_one));
    assert_false(is_marked(c, young));
    told = swept(c);
    assert_true(told.n == 0 && told.over && !told.more);
    assert_int_equal(swept_young(c, 0).n, 1);
    assert_true(is_marked(c, young));
}

static void row_with_a_live_lease_waits_for_its_end(void **state)
{
    struct ctx *c = *state;
    str leased = old_row(c, 1, 9000), later = old_row(c, 2, 9000);
    ms score, now = clock_server_ms();

    change(c, leased,
           BCON_NEW("st", "leased", "lease", "{", "tok", "t", "until",
                    BCON_DATE_TIME(now + 60000), "}"));
    change(c, later, BCON_NEW("runAt", BCON_DATE_TIME(now + 30000)));
    assert_int_equal(swept(c).n, 2);
    assert_true(is_marked(c, leased) && is_marked(c, later));
    score = asked(c, WORDS(STR("ZSCORE"), KEY("dly"), leased));
    assert_in_range(score, now + 55000, now + 65000);
    score = asked(c, WORDS(STR("ZSCORE"), KEY("dly"), later));
    assert_in_range(score, now + 25000, now + 35000);
}

static void ordered_rows_come_with_their_group(void **state)
{
    struct ctx *c = *state;
    str id =
        put_unknown(c, &(struct put){.hook = 1, .n = 1, .doc = "d", .ord = 77});

    assert_int_equal(swept_young(c, 0).n, 1);
    assert_int_equal(asked(c, WORDS(STR("ZSCORE"), KEY("w:" GROUP_1 ":d"), id)),
                     77);
}

static void without_an_index_nothing_is_swept(void **state)
{
    struct ctx *c = *state;
    str id = old_row(c, 1, 9000);
    struct sweep_walk walk = {0};
    struct sweep_told told;

    c->index = "";
    told = swept(c);
    assert_true(told.n == 0 && !told.more && !told.over);
    assert_int_equal(overdue(c, &walk), 0);
    assert_int_equal(world.calls, 0);
    assert_false(world_has(world_job(c, id), "enq"));
}

static void full_index_ends_the_slice(void **state)
{
    struct ctx *c = *state;
    struct index_meta meta = {.cap = 9, .max = 60};
    struct sweep_told told;

    fill_unknown(c, 70);
    assert_int_equal(index_meta(c, QUEUE_WEBHOOK, &meta), INDEX_DONE);
    told = swept_young(c, 0);
    assert_int_equal(told.n, 60);
    assert_true(!told.more && !told.over);
    for (int i = 0; i < 70; i++)
        assert_int_equal(is_marked(c, world_job_id(c, 1, i)), i < 60);
    told = swept_young(c, 0);
    assert_true(told.n == 0 && !told.more && !told.over);
    meta.max = 100;
    assert_int_equal(index_meta(c, QUEUE_WEBHOOK, &meta), INDEX_DONE);
    told = swept_young(c, 0);
    assert_true(told.n == 10 && told.over);
}

/* Of an earlier data set, or of none: what is made now does not overtake. */
static void rows_of_all_kinds_come_by_age(void **state)
{
    struct ctx *c = *state;
    str newest = old_row(c, 1, 3000), older = old_row(c, 2, 7000),
        oldest = old_row(c, 3, 9000), known = old_row(c, 4, 9500);
    const str wanted[] = {oldest, older, newest};
    bson_t rows, row;
    struct porter p;
    bson_iter_t it;
    int n = 0;

    change(c, oldest, BCON_NEW("enq", HOME_OTHER));
    change(c, older, BCON_NEW("enq", "0000000000000001"));
    coord_change(c, "_jobs", old_row(c, 5, 9900).p,
                 BCON_NEW("$set", "{", "enq", "{", "$literal", "{", "$in",
                          BCON_INT32(1), "}", "}", "}"));
    change(c, known, BCON_NEW("enq", HOME_ID));
    assert_int_equal(porter_init(&p, c, QUEUE_WEBHOOK), OK);
    assert_int_equal(read_unknown(&p, 0, &rows), OK);
    bson_iter_init(&it, &rows);
    for (; mongo_next_doc(&it, &row); n++) {
        assert_in_range(n, 0, 2);
        assert_str(queue_text(&row, "_id"), wanted[n].p);
    }
    assert_int_equal(n, 3);
    bson_destroy(&p.taken);
}

/* One that is disabled, or at its limit, may have more than all there is room
 * for. */
static void who_fills_the_index_does_not_stop_the_others(void **state)
{
    struct ctx *c = *state;
    struct index_meta meta = {.cap = 9, .max = 60};
    str other;

    world_hook(c, &(struct hook){.n = 2});
    fill_unknown(c, 200);
    other = put_unknown(c, &(struct put){.hook = 2, .n = 899});
    assert_int_equal(index_meta(c, QUEUE_WEBHOOK, &meta), INDEX_DONE);
    for (int i = 0; i < 3; i++)
        (void)swept_young(c, 0);
    assert_true(is_known(c, other) && is_marked(c, other));
    assert_int_equal(asked(c, WORDS(STR("ZCARD"), KEY("w:" GROUP_1))), 60);
}

static void what_was_not_told_is_not_marked(void **state)
{
    struct ctx *c = *state;
    struct sweep_told told;

    fill_unknown(c, 120);
    world.lost_at = 2;
    told = swept_young(c, 0);
    assert_int_equal(told.n, 50);
    assert_true(!told.more && !told.over);
    assert_int_equal(world.calls, 2);
    told = swept_young(c, 0); /* those of the lost reply are known */
    assert_int_equal(told.n, 70);
    assert_true(told.over);
    assert_int_equal(asked(c, WORDS(STR("ZCARD"), KEY("w:" GROUP_1))), 120);
}

static void open_other(struct ctx *c)
{
    (void)c;
    home_open(HOME_OTHER);
}

static void data_set_changed_meanwhile_is_not_marked(void **state)
{
    struct ctx *c = *state;
    str id = old_row(c, 1, 9000);
    struct sweep_told told;

    world.before = open_other;
    told = swept(c);
    assert_true(told.n == 0 && !told.more && !told.over);
    assert_false(world_has(world_job(c, id), "enq"));
    world.before = NULL;
    c->index = HOME_OTHER;
    assert_int_equal(swept(c).n, 1);
    assert_true(is_marked(c, id));
}

/* It ended between the look and the mark. */
static void end_row(struct ctx *c)
{
    coord_change(c, "_jobs", world_job_id(c, 1, 1).p,
                 BCON_NEW("$set", "{", "st", "done", "open", "$$REMOVE", "}"));
}

static void row_that_ended_meanwhile_is_not_marked(void **state)
{
    struct ctx *c = *state;
    str id = old_row(c, 1, 9000);

    world.before = end_row;
    (void)swept(c);
    assert_false(world_has(world_job(c, id), "enq"));
}

static void hung_redis_costs_half_a_second(void **state)
{
    struct ctx *c = *state;
    struct sweep_walk walk = {0};
    struct sweep_told told;

    fill_unknown(c, 120);
    redis_await(c->rds);
    kill(redis.pid, SIGSTOP);
    told = swept_young(c, 0);
    kill(redis.pid, SIGCONT);
    assert_true(told.n == 0 && !told.more && !told.over);
    assert_int_equal(world.calls, 1);
    assert_in_range(world.most_ms, 1, REDIS_MS);
    redis_stop();
    told = swept_young(c, 0);
    assert_true(told.n == 0 && !told.more && !told.over);
    assert_int_equal(overdue(c, &walk), 0);
}

/* What somebody else put into the collection, 500 of them in front. */
static void strangers_rows_stand_in_nobodys_way(void **state)
{
    struct ctx *c = *state;
    bson_t *rows = bson_new(), *cmd;
    char key[16], id[64];
    struct sweep_told told;
    str mine;

    for (int i = 0; i < 500; i++) {
        bool long_group = i % 4 == 0;

        (void)snprintf(key, sizeof key, "%d", i);
        (void)snprintf(id, sizeof id, i % 2 ? "odd %d" : "odd%d\xc3\xa4", i);
        BCON_APPEND(rows, key, "{", "_id", BCON_UTF8(id), "q", "webhook", "lim",
                    i % 3 ? "x" : "", "g", long_group ? "another" : "x", "cls",
                    BCON_INT32(-5), "st", "waiting", "open", BCON_BOOL(true),
                    "runAt", BCON_DATE_TIME(INT64_MIN), "ts",
                    i % 5 ? "text" : "", "}");
    }
    cmd = BCON_NEW("insert", "_jobs", "documents", BCON_ARRAY(rows),
                   "bypassDocumentValidation", BCON_BOOL(true));
    bson_destroy(rows);
    (void)mongod_do(c, cmd);
    mine = old_row(c, 1, 9000);
    told = swept(c);
    assert_true(told.n == 0 && told.more);
    told = swept(c);
    assert_true(told.n == 1 && told.over);
    assert_true(is_marked(c, mine));
    assert_int_equal(asked(c, WORDS(STR("HGET"), KEY("meta"), STR("len"))), 1);
}

/* Members of any type in a row of whose id and webhook make sense. */
static void hostile_members_do_no_harm(void **state)
{
    static const char *const names[] = {"ts",   "ord",   "cls",
                                        "once", "runAt", "lease"};
    struct ctx *c = *state;
    int rows = 0;

    for (int i = 0; i < COORD_HOSTILE_N; i++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
            str id = world_job_id(c, 1, ++rows);
            bson_t *row = BCON_NEW("_id", BCON_UTF8(id.p), "q", "webhook",
                                   "lim", GROUP_1, "g", GROUP_1 ":d", "st",
                                   "waiting", "open", BCON_BOOL(true));

            coord_hostile(row, names[k], i);
            (void)mongod_do(c, BCON_NEW("insert", "_jobs", "documents", "[",
                                        BCON_DOCUMENT(row), "]",
                                        "bypassDocumentValidation",
                                        BCON_BOOL(true)));
            bson_destroy(row);
        }
    for (int turns = 0; turns < PATIENCE_TURNS && !swept_young(c, 0).over;)
        turns++;
    assert_true(swept_young(c, 0).over);
    assert_int_equal(asked(c, WORDS(STR("HGET"), KEY("meta"), STR("len"))),
                     rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_INDEX(unknown_rows_are_told_and_marked),
        IN_INDEX(row_with_a_live_lease_waits_for_its_end),
        IN_INDEX(ordered_rows_come_with_their_group),
        IN_INDEX(without_an_index_nothing_is_swept),
        IN_INDEX(full_index_ends_the_slice),
        IN_INDEX(rows_of_all_kinds_come_by_age),
        IN_INDEX(who_fills_the_index_does_not_stop_the_others),
        IN_INDEX(what_was_not_told_is_not_marked),
        IN_INDEX(data_set_changed_meanwhile_is_not_marked),
        IN_INDEX(row_that_ended_meanwhile_is_not_marked),
        IN_INDEX(hung_redis_costs_half_a_second),
        IN_INDEX(strangers_rows_stand_in_nobodys_way),
        IN_INDEX(hostile_members_do_no_harm),
    };

    redis_setup();
    return cmocka_run_group_tests_name("sweep_index", tests, world_main_setup,
                                       mongod_teardown);
}
