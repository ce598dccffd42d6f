/* test_queue_admin - pause, cancelling, replay, lists */
#include "lib/coord/queue.h"

#include "tests/unit/queue_paths.h"

/* A row that has ended so; n also gives its order. */
static str ended(struct ctx *c, int hook, int n, const char *st)
{
    str id = world_put(c, &(struct put){.hook = hook, .n = n});

    coord_change(c, "_jobs", id.p,
                 BCON_NEW("$set", "{", "st", BCON_UTF8(st), "endAt",
                          BCON_DATE_TIME(1700000000000 + n), "at",
                          BCON_DATE_TIME(1700000000000 + n), "exp",
                          BCON_DATE_TIME(4000000000000), "tries", BCON_INT64(4),
                          "starts", BCON_INT64(5), "stalls", BCON_INT64(1),
                          "reason", "exhausted", "fin", "x", "open", "$$REMOVE",
                          "}"));
    return id;
}

static void pause_is_stored_for_all(void **state)
{
    struct ctx *c = *state;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(queue_pause(c, QUEUE_WEBHOOK, i == 0), OK);
        assert_int_equal(
            world_number(mongod_find(c, "_cluster", "queue:webhook"), "paused",
                         -1),
            i == 0);
    }
}

/* Rows of a webhook that its path may give, and those that run */
static int listed_n(struct ctx *c, int hook)
{
    str keys = arena_strf(&c->arena, "t:q:webhook:j:%024x-*", (unsigned)hook);

    if (!c->index[0])
        return 1;
    return (int)paths_number(
        PATHS_ASK(c, STR("EVAL"), STR("return #redis.call('KEYS', ARGV[1])"),
                  STR("0"), keys));
}

static void waiting_rows_are_cancelled_500_at_a_time(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    struct claim cl;
    int64_t n;

    world_hook(c, &(struct hook){.n = 1});
    world_hook(c, &(struct hook){.n = 2});
    world_fill(c, (struct put){.hook = 1}, 0, 1);
    cl = world_got(c, &k);
    world_fill(c, (struct put){.hook = 1}, 1, 601);
    world_fill(c, (struct put){.hook = 1, .doc = "d", .ord = 1}, 601, 701);
    c->deadline = clock_mono_ms() + 30000;
    (void)world_put(c, &(struct put){.hook = 2});
    assert_int_equal(queue_cancel(c, QUEUE_WEBHOOK, world_hook_id(c, 1), &n),
                     OK);
    assert_int_equal(n, 500);
    assert_true(c->index[0] || world_limits(c, 1));
    assert_int_equal(queue_cancel(c, QUEUE_WEBHOOK, world_hook_id(c, 1), &n),
                     OK);
    assert_int_equal(n, 200);
    assert_null(world_limits(c, 1));
    assert_int_equal(queue_cancel(c, QUEUE_WEBHOOK, world_hook_id(c, 1), &n),
                     OK);
    assert_int_equal(n, 0);
    assert_str(world_text(world_job(c, world_job_id(c, 1, 700)), "st"),
               "cancelled");
    assert_str(world_text(world_job(c, world_job_id(c, 2, 0)), "st"),
               "waiting");
    assert_int_equal(listed_n(c, 1), 1);
    assert_int_equal(listed_n(c, 2), 1);
    /* what runs ends by itself */
    assert_str(world_text(world_job(c, world_job_id(c, 1, 0)), "st"), "leased");
    cl.job.id = world_job_id(c, 1, 0);
    cl.job.lim = world_hook_id(c, 1);
    world_finish(c, &k, &cl, &r);
    assert_null(world_limits(c, 1));
}

/* ---- replay of one */

static void replayed_delivery_begins_again(void **state)
{
    static const char *const states[] = {"dead", "done"};
    struct ctx *c = *state;
    struct claimant k = world_worker();
    const bson_t *row;
    struct claim cl;

    world_hook(c, &(struct hook){.n = 1});
    for (int i = 0; i < 2; i++) {
        str id = ended(c, 1, i, states[i]);

        assert_int_equal(queue_replay(c, id, &row), OK);
        assert_string_equal(job_status(row), "pending");
        assert_int_equal(world_number(row, "replays", -1), 1);
        assert_int_equal(world_number(row, "tries", -1), 0);
        assert_int_equal(world_number(row, "starts", -1), 0);
        assert_int_equal(world_number(row, "stalls", -1), 0);
        assert_false(world_has(row, "endAt") || world_has(row, "exp") ||
                     world_has(row, "reason") || world_has(row, "fin"));
        assert_true(world_has(row, "open"));
        cl = world_got(c, &k);
        assert_str(cl.job.id, id.p);
        assert_str(cl.job.message_id, "msg_x");
        assert_str(cl.job.body, "{\"a\":1}");
    }
}

static void only_ended_deliveries_are_replayed(void **state)
{
    struct ctx *c = *state;
    const bson_t *row;
    str id;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1});
    assert_int_equal(queue_replay(c, id, &row), ERR_WRONG_STATE);
    ctx_forgive(c);
    id = ended(c, 1, 1, "cancelled");
    assert_int_equal(queue_replay(c, id, &row), ERR_WRONG_STATE);
    ctx_forgive(c);
    assert_int_equal(queue_replay(c, STR("x"), &row), ERR_BAD_ID);
    ctx_forgive(c);
    assert_int_equal(queue_replay(c, world_job_id(c, 1, 77), &row),
                     ERR_DELIVERY_NOT_FOUND);
    ctx_forgive(c);
    id = ended(c, 9, 1, "dead");
    assert_int_equal(queue_replay(c, id, &row), ERR_WEBHOOK_NOT_FOUND);
    ctx_forgive(c);
    assert_str(world_text(world_job(c, id), "st"), "dead");
}

/* ---- replay of dead letters */

static struct queue_replayed replay(struct ctx *c, struct queue_dead which)
{
    struct queue_replayed out;

    assert_int_equal(queue_replay_dead(c, QUEUE_WEBHOOK, &which, &out), OK);
    return out;
}

static bool is_dead(struct ctx *c, int hook, int n)
{
    return str_eq(world_text(world_job(c, world_job_id(c, hook, n)), "st"),
                  STR("dead"));
}

static void dead_letters_are_chosen_by_all_conditions(void **state)
{
    const struct queue_dead all = {.webhook_id = STR(""), .since = INT64_MIN};
    struct ctx *c = *state;
    struct queue_replayed got;
    struct queue_dead which;
    str ids[3];

    world_hook(c, &(struct hook){.n = 1});
    world_hook(c, &(struct hook){.n = 2});
    for (int n = 0; n < 6; n++) {
        (void)ended(c, 1, n, "dead");
        (void)ended(c, 2, n, "dead");
        (void)ended(c, 3, n, "dead"); /* its webhook is gone */
    }
    (void)ended(c, 1, 6, "done");
    which = all;
    which.webhook_id = world_hook_id(c, 1);
    which.since = 1700000000003;
    got = replay(c, which);
    assert_int_equal(got.replayed, 3);
    assert_int_equal(got.skipped, 0);
    assert_int_equal(got.remaining, 0);
    assert_true(is_dead(c, 1, 2) && !is_dead(c, 1, 3) && is_dead(c, 2, 3));
    ids[0] = world_job_id(c, 2, 1);
    ids[1] = world_job_id(c, 3, 1);
    ids[2] = world_job_id(c, 1, 5); /* dead no more */
    which = all;
    which.ids = ids;
    which.ids_n = 3;
    got = replay(c, which);
    assert_int_equal(got.replayed, 1);
    assert_int_equal(got.skipped, 1);
    assert_int_equal(got.remaining, 0);
    assert_true(!is_dead(c, 2, 1) && is_dead(c, 3, 1));
    got = replay(c, all);
    assert_int_equal(got.replayed, 3 + 5);
    assert_int_equal(got.skipped, 6);
    assert_int_equal(got.remaining, 0);
    got = replay(c, all);
    assert_int_equal(got.replayed, 0);
    which = all;
    which.webhook_id = STR("nonsense");
    assert_int_equal(replay(c, which).replayed, 0);
}

static void dead_letters_are_replayed_1000_at_a_time_oldest_first(void **state)
{
    const struct queue_dead all = {.webhook_id = STR(""), .since = INT64_MIN};
    struct ctx *c = *state;
    struct queue_replayed got;

    world_hook(c, &(struct hook){.n = 1});
    world_fill(c, (struct put){.hook = 3}, 0, 1100);
    world_fill(c, (struct put){.hook = 1}, 0, 1050);
    (void)mongod_do(
        c, BCON_NEW("update", "_jobs", "updates", "[", "{", "q", "{", "}", "u",
                    "[", "{", "$set", "{", "st", "dead", "open", "$$REMOVE",
                    "endAt", "{", "$add", "[", BCON_DATE_TIME(1700000000000),
                    "{", "$toInt", "{", "$arrayElemAt", "[", "{", "$split", "[",
                    "$_id", "-", "]", "}", BCON_INT32(2), "]", "}", "}", "]",
                    "}", "}", "}", "]", "multi", BCON_BOOL(true), "}", "]"));
    if (c->index[0])
        paths_open(c, PATHS_ID);
    got = replay(c, all);
    assert_int_equal(got.replayed, 1000);
    assert_in_range(got.skipped, 1000, 1100);
    assert_in_range(got.remaining, 50, 150);
    assert_true(!is_dead(c, 1, 999) && is_dead(c, 1, 1000));
    if (c->index[0])
        assert_int_equal(listed_n(c, 1), 1000);
    got = replay(c, all);
    assert_int_equal(got.replayed, 50);
    assert_int_equal(got.skipped, 1100);
    assert_int_equal(got.remaining, 0);
}

/* ---- lists */

static void dead_letters_are_listed_newest_first(void **state)
{
    struct ctx *c = *state;
    const bson_t *rows;
    int64_t total;
    bson_t row;

    for (int n = 0; n < 5; n++)
        (void)ended(c, 1, n, "dead");
    (void)ended(c, 2, 2, "dead");
    (void)ended(c, 1, 9, "done");
    assert_int_equal(
        queue_list_dead(c, QUEUE_WEBHOOK, STR(""), 3, INT64_MAX, &rows, &total),
        OK);
    assert_int_equal(total, 6);
    assert_int_equal(bson_count_keys(rows), 3);
    assert_true(mongo_reply_doc(rows, "0", &row));
    assert_str(world_text(&row, "_id"), world_job_id(c, 1, 4).p);
    assert_false(world_has(&row, "body"));
    assert_int_equal(queue_list_dead(c, QUEUE_WEBHOOK, world_hook_id(c, 1), 10,
                                     1700000000003, &rows, &total),
                     OK);
    assert_int_equal(total, 5);
    assert_int_equal(bson_count_keys(rows), 3);
    assert_true(mongo_reply_doc(rows, "0", &row));
    assert_str(world_text(&row, "_id"), world_job_id(c, 1, 2).p);
}

static int listed(struct ctx *c, const char *status, int64_t limit, ms before)
{
    const bson_t *rows;

    assert_int_equal(queue_list(c, world_hook_id(c, 1), str_of(status), limit,
                                before, &rows),
                     OK);
    return (int)bson_count_keys(rows);
}

static void deliveries_are_listed_by_status(void **state)
{
    struct ctx *c = *state;
    const bson_t *rows;
    str retrying, delivering;

    for (int n = 0; n < 3; n++)
        (void)ended(c, 1, n, "done");
    (void)ended(c, 1, 3, "dead");
    (void)ended(c, 1, 4, "lost");
    (void)ended(c, 1, 5, "cancelled");
    (void)ended(c, 2, 0, "done");
    (void)world_put(c, &(struct put){.hook = 1, .n = 6});
    retrying = world_put(c, &(struct put){.hook = 1, .n = 7});
    coord_change(c, "_jobs", retrying.p,
                 BCON_NEW("$set", "{", "tries", BCON_INT64(1), "}"));
    delivering = world_put(c, &(struct put){.hook = 1, .n = 8});
    coord_change(c, "_jobs", delivering.p,
                 BCON_NEW("$set", "{", "st", "leased", "}"));
    assert_int_equal(listed(c, "", 100, INT64_MAX), 9);
    assert_int_equal(listed(c, "", 4, INT64_MAX), 4);
    assert_int_equal(listed(c, "", 100, 1700000000002), 2);
    assert_int_equal(listed(c, "success", 100, INT64_MAX), 3);
    assert_int_equal(listed(c, "dead", 100, INT64_MAX), 2);
    assert_int_equal(listed(c, "cancelled", 100, INT64_MAX), 1);
    assert_int_equal(listed(c, "pending", 100, INT64_MAX), 1);
    assert_int_equal(listed(c, "retrying", 100, INT64_MAX), 1);
    assert_int_equal(listed(c, "delivering", 100, INT64_MAX), 1);
    assert_int_equal(
        queue_list(c, world_hook_id(c, 1), STR("x"), 1, INT64_MAX, &rows),
        ERR_BAD_QUERY);
    ctx_forgive(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_MONGO(pause_is_stored_for_all),
        IN_BOTH(waiting_rows_are_cancelled_500_at_a_time),
        IN_BOTH(replayed_delivery_begins_again),
        IN_MONGO(only_ended_deliveries_are_replayed),
        IN_BOTH(dead_letters_are_chosen_by_all_conditions),
        IN_BOTH(dead_letters_are_replayed_1000_at_a_time_oldest_first),
        IN_MONGO(dead_letters_are_listed_newest_first),
        IN_MONGO(deliveries_are_listed_by_status),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, world_main_setup, mongod_teardown);
}
