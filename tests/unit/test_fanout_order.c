/* test_fanout_order - older events of a document first; what does not belong in
 * the outbox, and what is large, holds up nobody */
#include "tests/unit/fanout_world.h"

/* ---- order */

/* `n` events of other documents whose time is `ts` or soon after. */
static void fill(struct ctx *c, int n, ms ts)
{
    for (int i = 0; i < n; i++) {
        struct event e = event_of(1000 + i);

        e.ts = ts + i;
        put(c, &e);
    }
}

static void older_comes_first_though_its_time_is_later(void **state)
{
    struct ctx *c = *state;
    struct event older, newer;

    ordered(c, HOOK_A);
    newer = event_of(1);
    newer.ord = 200;
    older = event_of(1);
    older.ord = 100;
    older.ts = newer.ts + 1000;
    put(c, &older);
    put(c, &newer);
    fill(c, FANOUT_EVENTS_MAX - 1, newer.ts + 1);
    assert_int_equal(turn(c).events, FANOUT_EVENTS_MAX + 1);
    assert_int_equal(jobs_of(c, 1), 2);
}

static void older_without_a_number_comes_first(void **state)
{
    struct ctx *c = *state;
    struct event older, newer;

    ordered(c, HOOK_A);
    newer = event_of(1);
    older = event_of(1);
    older.ts = newer.ts + 1000; /* and 1 us before the number of the newer */
    newer.ord = older.ts * 1000 + 1;
    put(c, &older);
    put(c, &newer);
    fill(c, FANOUT_EVENTS_MAX - 1, newer.ts + 1);
    (void)turn(c);
    assert_int_equal(jobs_of(c, 1), 2);
}

static void older_of_another_share_comes_first(void **state)
{
    static const struct fanout_share first = {0, 2};
    struct ctx *c = *state;
    struct event older, newer, unordered;

    ordered(c, HOOK_A);
    webhook_with(c, HOOK_B, BCON_NEW("collection", "others"));
    older = event_of(1);
    older.ord = 100;
    older.ts += 60000;
    newer = event_of(1);
    newer.ord = 200;
    unordered = older;
    bson_oid_init(&unordered.id, NULL);
    unordered.collection = STR("others");
    put_part(c, &older, 1023);
    put_part(c, &newer, 0);
    put_part(c, &unordered, 1023);
    assert_int_equal(turn_of(c, &first).events, 2);
    assert_int_equal(jobs_of(c, 1), 2);
    assert_int_equal(waiting_events(c), 1);
}

static void put_at(struct ctx *c, const char *collection, ms ts, int64_t ord,
                   int64_t ver)
{
    struct event e = event_of(1);

    e.collection = str_of(collection);
    e.ts = ts;
    e.ord = ord;
    e.ver = ver;
    put(c, &e);
}

/* What is taken along tells of subscriptions under which order counts where it
 * did not when older events were looked for. */
static void order_that_is_met_on_the_way_counts_from_the_next_turn(void **state)
{
    struct ctx *c = *state;
    ms ts = now_ms();
    int64_t known;

    ordered(c, HOOK_A);
    known = version;
    await_version(c);
    put_at(c, "users", ts, 200, known);
    put_at(c, "others", ts, 200, known);
    fill(c, FANOUT_EVENTS_MAX - 2, ts + 1);
    webhook_with(c, HOOK_B,
                 BCON_NEW("collection", "others", "ordered", BCON_BOOL(true)));
    put_at(c, "users", ts + 1000, 100, version);
    put_at(c, "others", ts + 1000, 100, known);
    assert_int_equal(turn(c).events, 0);
    (void)turn(c);
    assert_int_equal(count(c, "_jobs", BCON_NEW("coll", "others")), 2);
}

/* So many that they are not read at once: the newer one waits for all. */
static void newer_waits_for_many_older_ones(void **state)
{
    enum {
        OLDER = FANOUT_EVENTS_MAX + 10
    };
    struct ctx *c = *state;
    struct event newer;
    struct fanout_batch out;
    int turns = 0;

    ordered(c, HOOK_A);
    newer = event_of(1);
    newer.ord = 1000000;
    put(c, &newer);
    fill(c, FANOUT_EVENTS_MAX - 1, newer.ts);
    for (int i = 0; i < OLDER; i++) {
        struct event e = event_of(1);

        e.ts = newer.ts + 60000 - i;
        e.ord = i + 1;
        put(c, &e);
    }
    do {
        int64_t made = jobs_of(c, 1);

        out = turn(c);
        assert_true(++turns < TURNS_MOST);
        /* a row exists: all that are older do */
        assert_int_equal(
            count(c, "_jobs",
                  BCON_NEW("docId", BCON_INT64(1), "ord", "{", "$lte",
                           BCON_INT64(jobs_of(c, 1)), "}")),
            jobs_of(c, 1) <= OLDER ? jobs_of(c, 1) : OLDER);
        assert_true(jobs_of(c, 1) >= made);
    } while (out.more);
    assert_int_equal(jobs_of(c, 1), OLDER + 1);
    assert_int_equal(waiting_events(c), 0);
}

/* Neither the length of the outbox nor other documents matter. */
static void looks_cost_what_they_find(void **state)
{
    static const struct fanout_share half = {0, 2};
    struct ctx *c = *state;
    struct event e;

    ordered(c, HOOK_A);
    for (int i = 0; i < 5; i++) {
        e = event_of(i % 2);
        e.ord = i + 1;
        put_part(c, &e, 0);
    }
    fill(c, 500, e.ts + 60000);
    (void)mongod_do(c, BCON_NEW("profile", BCON_INT32(2)));
    (void)turn_of(c, &half);
    (void)mongod_do(c, BCON_NEW("profile", BCON_INT32(0)));
    assert_int_equal(
        count(c, "system.profile",
              BCON_NEW("command.find", COLLECTION, "planSummary",
                       "IXSCAN { ts: 1 }", "hasSortStage", BCON_NULL)),
        1);
    assert_int_equal(
        count(c, "system.profile",
              BCON_NEW("command.aggregate", COLLECTION, "keysExamined", "{",
                       "$lt", BCON_INT32(200), "}")),
        1);
}

static void group_is_of_webhook_and_document(void **state)
{
    struct ctx *c = *state;
    char longer[80];
    bson_value_t ids[5] = {
        {.value_type = BSON_TYPE_OID},
        {.value_type = BSON_TYPE_UTF8, .value.v_utf8 = {(char[]){"user-7"}, 6}},
        {.value_type = BSON_TYPE_UTF8, .value.v_utf8 = {longer, sizeof longer}},
        number(12),
        {.value_type = BSON_TYPE_UTF8, .value.v_utf8 = {(char[]){"a\0b"}, 3}}};

    memset(longer, 'x', sizeof longer);
    bson_oid_init_from_string(&ids[0].value.v_oid, "0123456789abcdef01234567");
    ordered(c, HOOK_A);
    for (int i = 0; i < 5; i++) {
        struct event e = event_of(0);
        const bson_t *row;
        bson_iter_t it;
        uint32_t n;
        str key, g;

        e.doc_id = ids[i];
        e.ord = i % 2 ? 0 : 77;
        put(c, &e);
        assert_int_equal(turn(c).jobs, 1);
        row = job_at(c, 0);
        assert_int_equal(event_document_key(c, &ids[i], &key), OK);
        assert_true(bson_iter_init_find(&it, row, "g"));
        g.p = bson_iter_utf8(&it, &n);
        g.n = n;
        assert_true(str_starts(g, STR(HOOK_A ":")));
        assert_true(str_eq(str_from(g, 25), key));
        assert_str(text(row, "lim"), HOOK_A);
        assert_true(whole_number(row, "ord") == event_place(&e));
        if (i == 0)
            assert_str(g, HOOK_A ":0123456789abcdef01234567");
        if (i == 1)
            assert_str(g, HOOK_A ":user-7");
        assert_true((i >= 2) == (g.n == 25 + 64));
        coord_drop(c, "_jobs");
    }
}

/* ---- what does not belong there */

static void hostile_row(struct ctx *c, const char *member, int i)
{
    struct event e = event_of(1);
    bson_t *row, other = BSON_INITIALIZER;

    e.ts -= 60000; /* before all others */
    assert_int_equal(event_row(c, &e, &row), OK);
    bson_copy_to_excluding_noinit(row, &other, member, (char *)NULL);
    coord_hostile(&other, member, i);
    insert(c, &other);
    bson_destroy(&other);
}

static void rows_of_strangers_hold_up_nobody(void **state)
{
    static const char *const members[] = {"event", "collection", "docId",
                                          "ts",    "ord",        "ver",
                                          "doc",   "part",       "cut"};
    struct ctx *c = *state;
    int turns = 0;

    ordered(c, HOOK_A);
    for (size_t m = 0; m < sizeof members / sizeof *members; m++)
        for (int i = 0; i < COORD_HOSTILE_N; i++)
            hostile_row(c, members[m], i);
    (void)put_new(c, 4711);
    while (turn(c).more)
        assert_true(++turns < TURNS_MOST);
    assert_int_equal(jobs_of(c, 4711), 1);
    /* and from then on they are not even looked at */
    assert_int_equal(count(c, COLLECTION,
                           BCON_NEW("ts", "{", "$gte", BCON_DATE_TIME(0), "$lt",
                                    BCON_DATE_TIME(FANOUT_ASIDE_TS), "}", "ver",
                                    "{", "$lte", BCON_INT64(version), "}")),
                     0);
    assert_true(count(c, COLLECTION,
                      BCON_NEW("aside", "{", "$type", "date", "}")) > 50);
}

static void ids_of_strangers_hold_up_nobody(void **state)
{
    struct ctx *c = *state;

    webhook(c, HOOK_A);
    for (int i = 0; i < COORD_HOSTILE_N; i++)
        if (i != 2 && i != 4 && i != 8 && i != 9) /* one it may be; none */
            hostile_row(c, "_id", i);
    (void)put_new(c, 4711);
    (void)turn(c);
    assert_int_equal(jobs(c), 1);
    assert_int_equal(
        count(c, COLLECTION,
              BCON_NEW("ts", "{", "$lt", BCON_DATE_TIME(FANOUT_ASIDE_TS), "}")),
        0);
    assert_false(turn(c).more);
}

static void event_whose_delivery_is_refused_is_set_aside(void **state)
{
    struct ctx *c = *state;
    struct fanout_batch out;
    struct event e;

    webhook(c, HOOK_A);
    (void)mongod_do(c, BCON_NEW("collMod", "_jobs", "validator", "{", "docId",
                                "{", "$ne", BCON_INT64(2), "}", "}"));
    (void)put_new(c, 1);
    e = put_new(c, 2);
    (void)put_new(c, 3);
    out = turn(c);
    assert_int_equal(out.events, 2);
    assert_int_equal(out.jobs, 2);
    assert_int_equal(waiting_events(c), 1);
    assert_int_equal(
        count(c, COLLECTION,
              BCON_NEW("_id", BCON_OID(&e.id), "aside", BCON_DATE_TIME(e.ts),
                       "ts", BCON_DATE_TIME(FANOUT_ASIDE_TS))),
        1);
    assert_int_equal(jobs_of(c, 1) + jobs_of(c, 3), 2);
    assert_int_equal(turn(c).events, 0);
}

/* ---- sizes */

static void many_rows_go_in_several_commands(void **state)
{
    struct ctx *c = *state;
    struct fanout_batch out;
    char id[25];

    for (int i = 0; i < FANOUT_ROWS_MAX / FANOUT_EVENTS_MAX + 1; i++) {
        (void)snprintf(id, sizeof id, "%024d", i + 1);
        webhook(c, id);
    }
    for (int i = 0; i < FANOUT_EVENTS_MAX; i++)
        (void)put_new(c, i);
    out = turn(c);
    assert_int_equal(out.events, FANOUT_EVENTS_MAX);
    assert_int_equal(out.jobs, FANOUT_ROWS_MAX + FANOUT_EVENTS_MAX);
    assert_int_equal(jobs(c), FANOUT_ROWS_MAX + FANOUT_EVENTS_MAX);
    assert_true(out.more);
    out = turn(c);
    assert_false(out.more || out.events);
}

static void large_rows_go_in_several_commands(void **state)
{
    enum {
        LARGE = 6 << 20
    };
    struct ctx *c = *state;
    char *bytes = ctx_alloc(c, LARGE);
    bson_t doc = BSON_INITIALIZER;
    int64_t events = 0, turns = 0;

    mongod.conf->webhook_max_payload_bytes = 8 << 20;
    webhook(c, HOOK_A);
    webhook(c, HOOK_B);
    memset(bytes, 'x', LARGE);
    bson_append_utf8(&doc, "text", -1, bytes, LARGE);
    for (int i = 0; i < 4; i++) {
        struct event e = event_of(i);

        e.doc = &doc;
        put(c, &e);
    }
    bson_destroy(&doc);
    while (events < 4 && ++turns < TURNS_MOST) {
        struct fanout_batch out = turn(c);

        assert_true(out.events > 0);
        events += out.events;
        assert_true(out.more || events == 4);
    }
    assert_int_equal(jobs(c), 8);
    assert_true(text(job_at(c, 0), "body").n > LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(older_comes_first_though_its_time_is_later),
        CASE(older_without_a_number_comes_first),
        CASE(older_of_another_share_comes_first),
        CASE(order_that_is_met_on_the_way_counts_from_the_next_turn),
        CASE(newer_waits_for_many_older_ones),
        CASE(looks_cost_what_they_find),
        CASE(group_is_of_webhook_and_document),
        CASE(rows_of_strangers_hold_up_nobody),
        CASE(ids_of_strangers_hold_up_nobody),
        CASE(event_whose_delivery_is_refused_is_set_aside),
        CASE(many_rows_go_in_several_commands),
        CASE(large_rows_go_in_several_commands),
    };

    return cmocka_run_group_tests_name("fanout_order", tests, mongod_setup,
                                       mongod_teardown);
}
