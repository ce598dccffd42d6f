/* test_queue_recover - deliveries that come back: given back, of workers that
 * died, started once, of webhooks that are gone */
#include "lib/coord/queue.h"

#include "tests/unit/queue_paths.h"

/* ---- given back, recovered */

static void what_is_given_back_cost_nothing(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    const bson_t *row;
    struct claim cl;
    str id;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1});
    (void)world_put(c, &(struct put){.hook = 1, .n = 1});
    (void)world_got(c, &k);
    for (int i = 0; i < 15; i++) {
        cl = world_got(c, &k);
        assert_int_equal(queue_give_back(c, &k, &cl), FINISH_DONE);
        assert_int_equal(queue_give_back(c, &k, &cl), FINISH_DONE);
    }
    world_settled(c, &k);
    row = world_job(c, cl.job.id);
    assert_str(world_text(row, "st"), "waiting");
    assert_false(world_has(row, "lease"));
    assert_int_equal(world_number(row, "starts", -1), 0);
    assert_int_equal(world_number(row, "tries", -1), 0);
    assert_int_equal(world_grants(c, 1), 1);
    assert_int_equal(world_flying(c, 1), 1);
    assert_str(world_text(world_job(c, id), "st"), "leased");
}

/* The receiver has seen a request: it counts in the window. */
static void what_was_sent_and_is_given_back_keeps_its_grant(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;

    world_hook(c, &(struct hook){.n = 1, .limit = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    cl.sent = true;
    assert_int_equal(queue_give_back(c, &k, &cl), FINISH_DONE);
    world_settled(c, &k);
    assert_str(world_text(world_job(c, cl.job.id), "st"), "waiting");
    assert_int_equal(world_number(world_job(c, cl.job.id), "starts", -1), 0);
    assert_int_equal(world_grants(c, 1), 1);
    assert_int_equal(world_flying(c, 1), 0);
    world_none(c, &k);
}

static void lost_claim_is_taken_back(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;
    int64_t n;

    world_hook(c, &(struct hook){.n = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    assert_int_equal(queue_recover(c, str_of(cl.token), false, &n), OK);
    assert_int_equal(n, 1);
    assert_int_equal(world_number(world_job(c, cl.job.id), "starts", -1), 0);
    assert_int_equal(world_number(world_job(c, cl.job.id), "stalls", -1), 0);
    assert_int_equal(world_grants(c, 1), 0);
    assert_int_equal(world_flying(c, 1), 0);
    assert_int_equal(queue_recover(c, str_of(cl.token), false, &n), OK);
    assert_int_equal(n, 0);
    (void)world_got(c, &k);
}

static void charge_without_a_start_is_removed(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct candidate job = {.lim = world_hook_id(c, 1)};
    struct charge how = {.limit = 5, .window_ms = 60000};
    int64_t n;

    world_hook(c, &(struct hook){.n = 1});
    job.id = world_put(c, &(struct put){.hook = 1});
    mongod.conf->webhooks_global_rate_limit_per_minute = 10;
    assert_int_equal(mongo_queue_charge(c, &k, &job, "tok", &how),
                     CHARGE_GRANTED);
    assert_int_equal(queue_recover(c, STR("tok"), true, &n), OK);
    assert_int_equal(n, 0);
    assert_int_equal(world_count(world_limits(c, 1), "grants"), 0);
    assert_int_equal(
        world_count(mongod_find(c, "_limits", "webhook:*"), "grants"), 0);
    assert_int_equal(world_count(mongod_find(c, "_limits", "webhook:*"), "fl"),
                     0);
}

static void second_death_is_poison(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    const bson_t *row;
    struct claim cl;
    int64_t n;

    world_hook(c, &(struct hook){.n = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    assert_int_equal(queue_recover(c, str_of(cl.token), true, &n), OK);
    assert_int_equal(n, 1);
    row = world_job(c, cl.job.id);
    assert_str(world_text(row, "st"), "waiting");
    assert_int_equal(world_number(row, "stalls", -1), 1);
    assert_int_equal(world_number(row, "tries", -1), 0);
    /* its request may have been sent: the grant stays */
    assert_int_equal(world_grants(c, 1), 1);
    assert_int_equal(world_flying(c, 1), 0);
    cl = world_got(c, &k);
    assert_int_equal(queue_recover(c, str_of(cl.token), true, &n), OK);
    row = world_job(c, cl.job.id);
    assert_str(world_text(row, "st"), "dead");
    assert_str(world_text(row, "reason"), "poison");
    assert_false(world_has(row, "open") || world_has(row, "lease"));
    assert_int_equal(world_number(world_limits(c, 1), "dead", -1), 1);
    world_none(c, &k);
}

static void started_too_often_is_poison(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    const bson_t *row;
    str id;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1, .tries_max = 1});
    for (int i = 0; i < 11; i++) { /* hosts that were lost */
        (void)world_got(c, &k);
        world_lapse(c, id);
    }
    world_none(c, &k);
    world_settled(c, &k);
    row = world_job(c, id);
    assert_str(world_text(row, "st"), "dead");
    assert_str(world_text(row, "reason"), "poison");
    assert_int_equal(world_number(row, "exp", 0) -
                         world_number(row, "endAt", 0),
                     INT64_C(30) * 24 * 3600 * 1000);
    assert_int_equal(world_grants(c, 1), 11);
}

/* ---- started once */

static void test_of_a_webhook_is_started_once(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;
    int64_t n;
    str id[2];

    world_hook(c, &(struct hook){.n = 1, .disabled = true});
    id[0] = world_put(c, &(struct put){.hook = 1, .once = true});
    cl = world_got(c, &k);
    assert_true(cl.job.once);
    assert_int_equal(queue_recover(c, str_of(cl.token), true, &n), OK);
    assert_int_equal(n, 1);
    assert_str(world_text(world_job(c, id[0]), "st"), "lost");
    id[1] = world_put(c, &(struct put){.hook = 1, .n = 1, .once = true});
    (void)world_got(c, &k);
    world_lapse(c, id[1]);
    world_none(c, &k);
    assert_str(world_text(world_job(c, id[1]), "st"), "lost");
    assert_null(world_limits(c, 1));
}

static struct job_new test_of(struct ctx *c, int n)
{
    str id = world_job_id(c, 1, n);

    return (struct job_new){
        .id = id,
        .message_id = STR("msg_t"),
        .subscriber = world_hook_id(c, 1),
        .lim = arena_strf(&c->arena, "test:" STR_FMT, STR_ARG(id)),
        .group = arena_strf(&c->arena, "test:" STR_FMT, STR_ARG(id)),
        .ts = clock_wall_ms() - 10,
        .tries_max = 1,
        .once = true,
        .event = STR("test"),
        .collection = STR("things"),
        .body = STR("{}")};
}

static void result_of_a_test_travels_in_its_row(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    struct job_new n = test_of(c, 0);
    const bson_t *row;
    struct claim cl;
    bool started, was;

    world_hook(c, &(struct hook){.n = 1});
    assert_int_equal(queue_insert_test(c, &n), OK);
    assert_int_equal(queue_insert_test(c, &n), OK);
    assert_int_equal(queue_look_at_test(c, n.id, &started, &row), OK);
    assert_true(!started && !row);
    cl = world_got(c, &k);
    assert_str(cl.job.event, "test");
    assert_int_equal(queue_look_at_test(c, n.id, &started, &row), OK);
    assert_true(started && !row);
    assert_int_equal(queue_withdraw_test(c, n.id, &was), OK);
    assert_false(was);
    r.result = STR("{\"statusCode\":200}");
    world_finish(c, &k, &cl, &r);
    assert_int_equal(queue_look_at_test(c, n.id, &started, &row), OK);
    assert_true(started);
    assert_str(world_text(row, "result"), "{\"statusCode\":200}");
    assert_int_equal(queue_look_at_test(c, STR("none"), &started, &row),
                     ERR_DELIVERY_NOT_FOUND);
    ctx_forgive(c);
    assert_null(world_limits(c, 1));
}

static void test_that_failed_is_no_dead_letter(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_failed(0);
    struct job_new n = test_of(c, 0);
    const bson_t *rows;
    struct claim cl;
    int64_t total;

    r.verdict = VERDICT_DEAD;
    r.reason = "exhausted";
    world_hook(c, &(struct hook){.n = 1});
    assert_int_equal(queue_insert_test(c, &n), OK);
    cl = world_got(c, &k);
    world_finish(c, &k, &cl, &r);
    world_finish(c, &k, &cl, &r);
    assert_str(world_text(world_job(c, n.id), "st"), "lost");
    assert_int_equal(queue_list_dead(c, QUEUE_WEBHOOK, STR(""), 10, INT64_MAX,
                                     &rows, &total),
                     OK);
    assert_int_equal(total, 0);
}

static void test_that_nobody_starts_is_withdrawn(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_new n = test_of(c, 0);
    bool was = false;

    world_hook(c, &(struct hook){.n = 1});
    assert_int_equal(queue_insert_test(c, &n), OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(queue_withdraw_test(c, n.id, &was), OK);
        assert_true(was);
    }
    world_none(c, &k);
    assert_true(world_number(world_job(c, n.id), "exp", 0) <=
                clock_wall_ms() + 24 * 3600 * 1000);
}

/* ---- webhooks that are gone */

static void deliveries_of_a_deleted_webhook_are_cancelled(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    str id, ordered, test;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1});
    ordered =
        world_put(c, &(struct put){.hook = 1, .n = 1, .doc = "d", .ord = 1});
    test = world_put(c, &(struct put){.hook = 1, .n = 2, .once = true});
    world_unhook(c, 1);
    world_none(c, &k);
    assert_str(world_text(world_job(c, id), "st"), "cancelled");
    assert_str(world_text(world_job(c, ordered), "st"), "cancelled");
    assert_str(world_text(world_job(c, test), "st"), "cancelled");
    assert_false(world_has(world_job(c, id), "open"));
}

static void webhook_that_the_snapshot_lacks_is_no_deleted_one(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    str id = world_put(c, &(struct put){.hook = 7});

    world_hook(c, &(struct hook){.n = 1});
    world_none(c, &k); /* of 7 nothing is known */
    assert_str(world_text(world_job(c, id), "st"), "cancelled");
    id = world_put(c, &(struct put){.hook = 8});
    {
        bson_oid_t oid;

        bson_oid_init_from_string(&oid, world_hook_id(c, 8).p);
        coord_put(c, "_webhooks", /* and nobody has told so far */
                  BCON_NEW("_id", BCON_OID(&oid), "url", "http://127.0.0.1:9/",
                           "collection", "things", "events", "[", "create",
                           "]"));
    }
    world_none(c, &k);
    assert_str(world_text(world_job(c, id), "st"), "waiting");
    k.skips_n = 0;
    world_raise(c);
    world_due_now(c, id);
    world_reset(c);
    (void)world_got(c, &k);
}

static void deliveries_of_a_disabled_webhook_wait(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    str id;

    world_hook(c, &(struct hook){.n = 1, .disabled = true});
    world_hook(c, &(struct hook){.n = 2});
    id = world_put(c, &(struct put){.hook = 1});
    (void)world_put(c, &(struct put){.hook = 2});
    assert_str(world_got(c, &k).target->webhook.id, world_hook_id(c, 2).p);
    world_none(c, &k);
    assert_int_equal(world_number(world_job(c, id), "starts", -1), 0);
    world_hook(c, &(struct hook){.n = 1});
    assert_int_equal(queue_unhold(c, QUEUE_WEBHOOK, world_hook_id(c, 1)), OK);
    world_reset(c);
    k.skips_n = 0; /* a second later */
    (void)world_got(c, &k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BOTH(what_is_given_back_cost_nothing),
        IN_BOTH(what_was_sent_and_is_given_back_keeps_its_grant),
        IN_BOTH(lost_claim_is_taken_back),
        IN_MONGO(charge_without_a_start_is_removed),
        IN_BOTH(second_death_is_poison),
        IN_BOTH(started_too_often_is_poison),
        IN_BOTH(test_of_a_webhook_is_started_once),
        IN_BOTH(result_of_a_test_travels_in_its_row),
        IN_BOTH(test_that_failed_is_no_dead_letter),
        IN_BOTH(test_that_nobody_starts_is_withdrawn),
        IN_BOTH(deliveries_of_a_deleted_webhook_are_cancelled),
        IN_BOTH(webhook_that_the_snapshot_lacks_is_no_deleted_one),
        IN_BOTH(deliveries_of_a_disabled_webhook_wait),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, world_main_setup, mongod_teardown);
}
