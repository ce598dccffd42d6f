/* test_sweep_index - the index in Redis comes to know every open row, whatever
 * it has lost */
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
    ms most_ms;  /* the longest that one was given */
    int lost_at; /* this call is done, its reply does not come */
    void (*before)(struct ctx *c); /* something happens meanwhile */
} world;

enum index_result enqueue_by_test(struct ctx *c, enum job_queue q,
                                  enum index_source by,
                                  const struct index_job *jobs, size_t n,
                                  enum index_seat *seats)
{
    ms given = c->deadline - clock_mono_ms();
    enum index_result result;

    assert_int_equal(by, INDEX_BY_SWEEP);
    assert_in_range(n, 1, INDEX_ENQUEUE_MAX);
    if (given > world.most_ms)
        world.most_ms = given;
    if (world.before)
        world.before(c);
    result = index_enqueue(c, q, by, jobs, n, seats);
    return ++world.calls == world.lost_at ? INDEX_UNKNOWN : result;
}

static int fresh(void **state)
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

static int ended(void **state)
{
    struct ctx *c = *state;

    c->index = "";
    return home_end(state);
}

#define IN_INDEX(test) cmocka_unit_test_setup_teardown(test, fresh, ended)

/* ---- what is there */

/* A row of webhook 1 that is `age` ms old. */
static str old_row(struct ctx *c, int n, ms age)
{
    str id = world_put(c, &(struct put){.hook = 1, .n = n});
    ms ts = clock_server_ms() - age;

    coord_change(c, "_jobs", id.p,
                 BCON_NEW("$set", "{", "ts", BCON_DATE_TIME(ts), "runAt",
                          BCON_DATE_TIME(ts), "}"));
    return id;
}

static void change(struct ctx *c, str id, bson_t *members)
{
    coord_change(c, "_jobs", id.p, BCON_NEW("$set", BCON_DOCUMENT(members)));
    bson_destroy(members);
}

static int64_t asked(struct ctx *c, const str *words, size_t n)
{
    struct rds_reply reply;

    redis_await(c->rds);
    if (rds_call(c->rds, words, n, clock_mono_ms() + 10000, &c->arena,
                 &reply) != RDS_OK)
        fail_msg("%s", rds_reason(c->rds));
    if (reply.kind == RDS_TEXT)
        assert_true(str_i64(reply.text, &reply.number));
    return reply.kind == RDS_NIL ? -1 : reply.number;
}

#define GROUP_1   "000000000000000000000001"
#define KEY(what) STR("t:q:webhook:" what)

static int64_t rank(struct ctx *c, str id)
{
    return asked(c, WORDS(STR("ZRANK"), KEY("w:" GROUP_1), id));
}

static bool is_delayed(struct ctx *c, str id)
{
    return asked(c, WORDS(STR("ZSCORE"), KEY("dly"), id)) > 0;
}

static bool is_known(struct ctx *c, str id)
{
    return asked(c, WORDS(STR("EXISTS"),
                          arena_strf(&c->arena, "t:q:webhook:j:" STR_FMT,
                                     STR_ARG(id)))) == 1;
}

static bool is_marked(struct ctx *c, str id)
{
    return str_eq(world_text(world_job(c, id), "enq"), str_of(c->index));
}

static struct sweep_told swept_young(struct ctx *c, ms young_ms)
{
    struct sweep_told told;
    enum err err = sweep_refill(c, QUEUE_WEBHOOK, young_ms, &told);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return told;
}

static struct sweep_told swept(struct ctx *c)
{
    return swept_young(c, SWEEP_YOUNG_MS);
}

static int64_t overdue(struct ctx *c, struct sweep_walk *walk)
{
    int64_t n = -1;
    enum err err = sweep_overdue(c, QUEUE_WEBHOOK, walk, &n);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return n;
}

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
                 BCON_NEW("$set", "{", "st", "done", "}", "$unset", "{", "open",
                          "", "}"));
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
        world_put(c, &(struct put){.hook = 1, .n = 1, .doc = "d", .ord = 77});

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
    struct index_meta meta = {.cap = 9, .max = 3};
    str ids[5];
    struct sweep_told told;

    for (int i = 0; i < 5; i++)
        ids[i] = old_row(c, i, 9000 - 100 * i);
    assert_int_equal(index_meta(c, QUEUE_WEBHOOK, &meta), INDEX_DONE);
    told = swept(c);
    assert_int_equal(told.n, 3);
    assert_true(!told.more && !told.over);
    for (int i = 0; i < 5; i++)
        assert_int_equal(is_marked(c, ids[i]), i < 3);
    told = swept(c);
    assert_true(told.n == 0 && !told.more && !told.over);
    meta.max = 100;
    assert_int_equal(index_meta(c, QUEUE_WEBHOOK, &meta), INDEX_DONE);
    told = swept(c);
    assert_true(told.n == 2 && told.over);
}

static void what_was_not_told_is_not_marked(void **state)
{
    struct ctx *c = *state;
    struct sweep_told told;

    world_fill(c, (struct put){.hook = 1}, 0, 120);
    c->index = HOME_ID;
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
                 BCON_NEW("$set", "{", "st", "done", "}", "$unset", "{", "open",
                          "", "}"));
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

    world_fill(c, (struct put){.hook = 1}, 0, 120);
    c->index = HOME_ID;
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

    world_fill(c, (struct put){.hook = 1}, 0, 1700);
    c->index = HOME_ID;
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
        c, BCON_NEW(
               "aggregate", "one", "pipeline", "[", "{", "$project", "{", "i",
               "{", "$range", "[", BCON_INT32(0), BCON_INT32(n), "]", "}", "}",
               "}", "{", "$unwind", "$i", "}", "{", "$project", "{", "_id", "{",
               "$concat", "[", GROUP_1 "-1700000000000-", "{", "$substrBytes",
               "[", "{", "$toString", "{", "$add", "[", BCON_INT32(100000000),
               "$i", "]", "}", "}", BCON_INT32(0), BCON_INT32(9), "]", "}", "]",
               "}", "q", "webhook", "lim", GROUP_1, "g", GROUP_1, "cls", "{",
               "$literal", BCON_INT32(1023), "}", "ts", "{", "$add", "[",
               BCON_DATE_TIME(ts), "$i", "]", "}", "runAt", "{", "$add", "[",
               BCON_DATE_TIME(ts), "$i", "]", "}", "st", "waiting", "open", "{",
               "$literal", BCON_BOOL(true), "}", "body", "{\"a\":1}", "enq",
               BCON_UTF8(dataset), "}", "}", "{", "$merge", "{", "into",
               "_jobs", "}", "}", "]", "cursor", "{", "}"));
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

/* Printed, judged by the benchmark. */
static void refill_of_many_is_complete(void **state)
{
    struct ctx *c = *state;
    struct sweep_told told;
    ms start, took;
    int64_t all = 0;

    make_many(c, MANY, 2 * MANY, HOME_OTHER);
    start = clock_mono_ms();
    do {
        world_reset(c);
        c->index = HOME_ID;
        told = swept(c);
        all += told.n;
    } while (told.more);
    took = clock_mono_ms() - start;
    print_message("%d rows told in %lld ms\n", MANY, (long long)took);
    assert_true(told.over);
    assert_int_equal(all, MANY);
    assert_int_equal(asked(c, WORDS(STR("HGET"), KEY("meta"), STR("len"))),
                     MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_INDEX(unknown_rows_are_told_and_marked),
        IN_INDEX(row_with_a_live_lease_waits_for_its_end),
        IN_INDEX(ordered_rows_come_with_their_group),
        IN_INDEX(without_an_index_nothing_is_swept),
        IN_INDEX(full_index_ends_the_slice),
        IN_INDEX(what_was_not_told_is_not_marked),
        IN_INDEX(data_set_changed_meanwhile_is_not_marked),
        IN_INDEX(row_that_ended_meanwhile_is_not_marked),
        IN_INDEX(hung_redis_costs_half_a_second),
        IN_INDEX(strangers_rows_stand_in_nobodys_way),
        IN_INDEX(hostile_members_do_no_harm),
        IN_INDEX(lost_rows_that_are_overdue_come_back),
        IN_INDEX(walk_meets_each_row_and_begins_again),
        IN_INDEX(walk_stays_where_redis_was_lost),
        IN_INDEX(slices_look_at_few_keys),
        IN_INDEX(refill_of_many_is_complete),
    };

    redis_setup();
    return cmocka_run_group_tests_name("sweep_index", tests, world_main_setup,
                                       mongod_teardown);
}
