/* test_queue_told - what the index is told, and when; what a delivery costs;
 * totals */
#include "lib/coord/queue.h"

#include "lib/coord/board.h"
#include "tests/unit/queue_paths.h"

#define OTHER_ID "00000000000000bb"

static bool has_job(struct ctx *c, str id)
{
    return PATHS_ASK(c, STR("EXISTS"), paths_key(c, "j:", id)).p[0] == '1';
}

/* When a job that waits for its time may run, in ms from now; 0: it does not */
static ms delay_of(struct ctx *c, str id)
{
    str at = PATHS_ASK(c, STR("ZSCORE"), STR("t:q:webhook:dly"), id);
    int64_t v;

    return at.n > 0 && str_to_i64(at, &v) ? v - clock_wall_ms() : 0;
}

static bool is_listed(struct ctx *c, str id)
{
    return world_has(world_job(c, id), "enq");
}

/* ---- marks */

static void what_the_index_is_told_of_stays_listed(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result again = world_failed(0);
    struct claim cl;
    int64_t n;

    again.health = HEALTH_SAME;
    world_hook(c, &(struct hook){.n = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    assert_string_equal(cl.dataset, PATHS_ID);
    world_finish(c, &k, &cl, &again);
    assert_true(is_listed(c, cl.job.id));
    cl = world_got(c, &k);
    assert_int_equal(cl.job.tries, 1);
    assert_int_equal(queue_give_back(c, &k, &cl), FINISH_DONE);
    assert_true(is_listed(c, cl.job.id));
    cl = world_got(c, &k);
    assert_int_equal(queue_recover(c, str_of(cl.token), false, &n), OK);
    assert_false(is_listed(c, cl.job.id)); /* the index may not have heard */
    cl = world_got(c, &k);
    c->index = "";
    assert_int_equal(queue_give_back(c, &k, &cl), FINISH_DONE);
    c->index = PATHS_ID;
    cl = world_got(c, &k);
    assert_string_equal(cl.dataset, PATHS_ID);
}

static void
replayed_row_for_which_there_is_no_room_is_left_to_the_sweep(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    const bson_t *row;
    struct claim cl;

    world_hook(c, &(struct hook){.n = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    world_finish(c, &k, &cl, &r);
    world_settled(c, &k);
    paths_meta.max = 1;
    paths_set_meta(c);
    (void)world_put(c, &(struct put){.hook = 1, .n = 1});
    assert_int_equal(queue_replay(c, cl.job.id, &row), OK);
    assert_false(has_job(c, cl.job.id));
    assert_false(is_listed(c, cl.job.id));
    assert_str(world_text(world_job(c, cl.job.id), "st"), "waiting");
}

static void test_of_a_webhook_is_listed_and_taken_out_at_once(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    str id = world_job_id(c, 1, 0);
    const struct job_new n = {
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
    bool was = false;

    world_hook(c, &(struct hook){.n = 1});
    assert_int_equal(queue_insert_test(c, &n), OK);
    assert_true(has_job(c, id));
    assert_int_equal(queue_withdraw_test(c, id, &was), OK);
    assert_true(was);
    assert_false(has_job(c, id));
    world_none(c, &k);
}

/* ---- what is told */

static void second_thing_to_tell_pushes_the_first_one_out(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    struct claim a, b;

    world_hook(c, &(struct hook){.n = 1});
    world_fill(c, (struct put){.hook = 1}, 0, 2);
    a = world_got(c, &k);
    b = world_got(c, &k);
    world_finish(c, &k, &a, &r);
    assert_int_equal(world_flying(c, 1), 2);
    world_finish(c, &k, &b, &r);
    assert_int_equal(world_flying(c, 1), 1);
    world_settled(c, &k);
    assert_int_equal(world_flying(c, 1), 0);
}

/* What was sent counts, whatever became of who sent it. */
static void death_before_it_was_told_gives_no_grant_back(void **state)
{
    static const char token[] = "aaaaaaaaaaaaaaaaaaaaaaaa";
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    struct board *b = board_new(1);
    struct board_dead dead;
    struct claim cl;
    int64_t n;

    world_hook(c, &(struct hook){.n = 1, .limit = 1});
    world_fill(c, (struct put){.hook = 1}, 0, 2);
    board_begin(b, 0);
    board_claiming(b, 0, token);
    assert_int_equal(queue_claim(c, &k, token, &cl), CLAIM_GOT);
    board_busy(b, 0);
    world_finish(c, &k, &cl, &r);
    board_untold(b, 0);
    board_died(b, 0);
    assert_true(board_next_dead(b, 0, &dead));
    assert_int_equal(queue_recover(c, str_of(dead.token), dead.ran, &n), OK);
    board_free(b);
    assert_int_equal(world_flying(c, 1), 0);
    assert_int_equal(world_grants(c, 1), 1);
    k = world_worker();
    world_none(c, &k);
}

static void data_set_that_is_another_by_now_is_told_nothing(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_counting();
    struct job_result again = world_failed(0);
    struct claim cl;
    str id;

    again.health = HEALTH_SAME;
    world_hook(c, &(struct hook){.n = 1, .limit = 1});
    id = world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    paths_open(c, OTHER_ID);
    world_list(c, id); /* by the sweep: it has a lease */
    world_finish(c, &k, &cl, &again);
    assert_true(k.has_told);
    world_settled(c, &k);
    assert_int_equal(world_number(world_limits(c, 1), "failed", -1), 1);
    assert_true(delay_of(c, id) > 0); /* it is not changed by that */
    world_due_now(c, id);
    cl = world_got(c, &k);
    assert_string_equal(cl.dataset, OTHER_ID);
    assert_str(cl.job.id, id.p);
    assert_int_equal(cl.job.tries, 1);
}

/* The coordinator has not seen it yet. */
static void data_set_that_this_worker_does_not_know_gives_nothing(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;

    world_hook(c, &(struct hook){.n = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    (void)PATHS_ASK(c, STR("SET"), STR("t:dataset"), STR(OTHER_ID));
    assert_int_equal(world_claim(c, &k, &cl), CLAIM_AWAY);
    (void)PATHS_ASK(c, STR("DEL"), STR("t:dataset"));
    assert_int_equal(world_claim(c, &k, &cl), CLAIM_AWAY);
}

static void finish_does_not_need_redis(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_counting();
    struct job_result r = world_done();
    struct claim cl;
    int64_t n;

    world_hook(c, &(struct hook){.n = 1});
    world_fill(c, (struct put){.hook = 1}, 0, 3);
    cl = world_got(c, &k);
    redis_stop();
    world_finish(c, &k, &cl, &r);
    assert_str(world_text(world_job(c, cl.job.id), "st"), "done");
    queue_settle_up(c, &k);
    assert_true(k.has_told);
    while (world_claim(c, &k, &cl) == CLAIM_UNKNOWN)
        assert_int_equal(queue_recover(c, str_of(cl.token), false, &n), OK);
    assert_int_equal(world_claim(c, &k, &cl), CLAIM_AWAY);
    c->index = "";
    cl = world_got(c, &k);
    assert_string_equal(cl.dataset, "");
    world_finish(c, &k, &cl, &r);
    c->index = PATHS_ID;
    redis_start("--appendonly", "no");
    redis_await(rds_find(c));
    paths_open(c, OTHER_ID);
    world_none(c, &k);
    assert_false(k.has_told);
}

/* ---- cost */

struct cost {
    int64_t scripts, changes, updates, finds;
};

static int64_t commands(struct ctx *c, const bson_t *status, const char *name)
{
    str path = arena_strf(&c->arena, "metrics.commands.%s.total", name);

    return world_number(status, path.p, 0);
}

static int64_t scripts(struct ctx *c)
{
    str text = PATHS_ASK(c, STR("INFO"), STR("commandstats"));
    size_t at = str_find(text, 'c', 0);
    int64_t n = 0;

    while (at != SIZE_MAX) {
        str from = str_from(text, at);

        if (str_starts(from, STR("cmdstat_evalsha:calls=")))
            n += strtoll(from.p + strlen("cmdstat_evalsha:calls="), NULL, 10);
        at = str_find(text, 'c', at + 1);
    }
    return n;
}

static struct cost cost(struct ctx *c)
{
    const bson_t *status =
        mongod_do(c, BCON_NEW("serverStatus", BCON_INT32(1)));

    return (struct cost){scripts(c), commands(c, status, "findAndModify"),
                         commands(c, status, "update"),
                         commands(c, status, "find")};
}

static void delivery_costs_a_script_a_start_and_an_end(void **state)
{
    enum {
        N = 40
    };
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    struct cost before, after;
    struct claim cl;

    world_hook(c, &(struct hook){.n = 1});
    world_fill(c, (struct put){.hook = 1}, 0, N + 1);
    cl = world_got(c, &k); /* what is read once, and the scripts */
    world_finish(c, &k, &cl, &r);
    world_settled(c, &k);
    before = cost(c);
    for (int i = 0; i < N; i++) {
        cl = world_got(c, &k);
        world_finish(c, &k, &cl, &r);
    }
    after = cost(c);
    assert_int_equal(after.scripts - before.scripts, N);
    assert_int_equal(after.changes - before.changes, N);
    assert_int_equal(after.updates - before.updates, N);
    assert_in_range(after.finds - before.finds, 0, 5); /* the server's own */
    assert_null(world_limits(c, 1));
}

/* ---- totals */

static void totals_are_written_once_a_second(void **state)
{
    struct ctx *c = *state;
    struct settlement s = {.attempts = 1, .delivered = 1, .took_ms = 3};
    ms now = clock_mono_ms(), boot = clock_boot_ms();
    struct tally *t = tally_new();
    str lim = world_hook_id(c, 1);

    clock_set(now, boot);
    tally_flush(t, c, true); /* from now on a second */
    for (int i = 0; i < 5; i++) {
        tally_add(t, c, QUEUE_WEBHOOK, lim, &s, 2);
        tally_flush(t, c, false);
    }
    assert_null(world_limits(c, 1));
    clock_set(now + 1000, boot + 1000);
    mongod_fail(c, "update", 10, 0, NULL);
    c->deadline = now + 1000 + 300;
    tally_flush(t, c, false);
    assert_int_equal(c->err, OK);
    mongod_fail(c, "update", 0, 0, NULL);
    c->deadline = now + 60000;
    clock_set(now + 2000, boot + 2000);
    tally_flush(t, c, false);
    tally_flush(t, c, false);
    tally_flush(t, c, true);
    assert_int_equal(world_number(world_limits(c, 1), "delivered", -1), 5);
    assert_int_equal(world_number(world_limits(c, 1), "attempts", -1), 5);
    assert_int_equal(world_number(world_limits(c, 1), "limited", -1), 10);
    assert_int_equal(world_number(world_limits(c, 1), "tookMs", -1), 15);
    assert_true(world_has(world_limits(c, 1), "last"));
    clock_unset();
    tally_free(t);
}

/* One row that cannot be counted in does not stop the others. */
static void
more_subscribers_than_there_is_room_for_are_all_counted(void **state)
{
    struct ctx *c = *state;
    struct settlement s = {.attempts = 1, .failed = 1, .dead = 1};
    struct tally *t = tally_new();

    (void)mongod_do(c, BCON_NEW("insert", "_limits", "documents", "[", "{",
                                "_id", BCON_UTF8(world_limits_id(c, 3).p),
                                "failed", "x", "}", "]",
                                "bypassDocumentValidation", BCON_BOOL(true)));
    for (int i = 1; i <= 150; i++)
        for (int n = 0; n < 2; n++)
            tally_add(t, c, QUEUE_WEBHOOK, world_hook_id(c, i), &s, 0);
    tally_flush(t, c, true);
    for (int i = 1; i <= 150; i++)
        assert_int_equal(world_number(world_limits(c, i), "dead", -1),
                         i == 3 ? -1 : 2);
    tally_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_REDIS(what_the_index_is_told_of_stays_listed),
        IN_REDIS(replayed_row_for_which_there_is_no_room_is_left_to_the_sweep),
        IN_REDIS(test_of_a_webhook_is_listed_and_taken_out_at_once),
        IN_REDIS(second_thing_to_tell_pushes_the_first_one_out),
        IN_REDIS(death_before_it_was_told_gives_no_grant_back),
        IN_REDIS(data_set_that_is_another_by_now_is_told_nothing),
        IN_REDIS(data_set_that_this_worker_does_not_know_gives_nothing),
        IN_REDIS(finish_does_not_need_redis),
        IN_REDIS(delivery_costs_a_script_a_start_and_an_end),
        IN_MONGO(totals_are_written_once_a_second),
        IN_MONGO(more_subscribers_than_there_is_room_for_are_all_counted),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, world_main_setup, mongod_teardown);
}
