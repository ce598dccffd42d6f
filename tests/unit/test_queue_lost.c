/* test_queue_lost - replies of the index that are lost: what was asked is done,
 * and comes to nothing or is done once */
#include "lib/coord/queue.h"

#include "tests/unit/queue_paths.h"
#include "tests/unit/relay.h"

static int begin_relayed(void **state)
{
    int failed = world_redis(state);

    relay_begin(*state);
    return failed;
}

static int end_relayed(void **state)
{
    relay_end();
    return world_end(state);
}

#define WITH_RELAY(test)                                                       \
    {                                                                          \
#test, test, begin_relayed, end_relayed, NULL                          \
    }

/* From now on this many replies to scripts with the word are lost. */
static void lose(int n, const char *word)
{
    snprintf(relay.lose->word, sizeof relay.lose->word, "%s", word);
    relay.lose->left = n;
}

static void assert_lost(void)
{
    assert_int_equal(relay.lose->left, 0);
}

/* Redis knows the scripts then: a lost reply is that of a thing done. */
static void rehearse(struct ctx *c, struct claimant *k)
{
    struct job_result r = world_done();
    struct claim cl;
    int64_t n;

    world_hook(c, &(struct hook){.n = 9});
    world_fill(c, (struct put){.hook = 9}, 0, 2);
    cl = world_got(c, k);
    assert_int_equal(queue_recover(c, str_of(cl.token), true, &n), OK);
    cl = world_got(c, k);
    assert_int_equal(queue_recover(c, str_of(cl.token), false, &n), OK);
    for (int i = 0; i < 2; i++) {
        cl = world_got(c, k);
        world_finish(c, k, &cl, &r);
    }
    world_settled(c, k);
    assert_int_equal(queue_unhold(c, QUEUE_WEBHOOK, world_hook_id(c, 9)), OK);
}

static void lost_claim_comes_to_nothing(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl, next;
    int64_t n;

    rehearse(c, &k);
    world_hook(c, &(struct hook){.n = 1, .limit = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    lose(1, "");
    assert_int_equal(world_claim(c, &k, &cl), CLAIM_UNKNOWN);
    assert_lost();
    assert_int_equal(world_flying(c, 1), 1);
    lose(1, cl.token); /* the undoing, too */
    assert_int_equal(queue_recover(c, str_of(cl.token), false, &n), OK);
    assert_lost();
    assert_int_equal(n, 0);
    assert_int_equal(world_flying(c, 1), 0);
    assert_int_equal(world_grants(c, 1), 0);
    next = world_got(c, &k);
    assert_int_equal(next.job.starts, 1);
}

/* The step has told the last one, and nobody knows: it is told again. */
static void finish_told_by_a_lost_claim_is_told_once(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_counting();
    struct job_result again = world_failed(0);
    struct claim cl;
    int64_t n;

    rehearse(c, &k);
    world_hook(c, &(struct hook){.n = 1, .limit = 9});
    world_fill(c, (struct put){.hook = 1, .tries_max = 9}, 0, 2);
    cl = world_got(c, &k);
    world_finish(c, &k, &cl, &again);
    lose(1, "");
    assert_int_equal(world_claim(c, &k, &cl), CLAIM_UNKNOWN);
    assert_lost();
    assert_true(k.has_told);
    assert_int_equal(queue_recover(c, str_of(cl.token), false, &n), OK);
    cl = world_got(c, &k);
    assert_false(k.has_told);
    world_finish(c, &k, &cl, &again);
    world_settled(c, &k);
    assert_int_equal(world_number(world_limits(c, 1), "failed", -1), 2);
    assert_int_equal(
        paths_number(PATHS_ASK(c, STR("HGET"),
                               paths_key(c, "l:", world_hook_id(c, 1)),
                               STR("fails"))),
        2);
    assert_int_equal(world_grants(c, 1), 2);
    assert_int_equal(world_flying(c, 1), 0);
}

static void finish_of_which_the_telling_was_lost_is_told_again(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    struct claim cl;

    rehearse(c, &k);
    world_hook(c, &(struct hook){.n = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    world_finish(c, &k, &cl, &r);
    lose(1, cl.token);
    queue_settle_up(c, &k);
    assert_lost();
    assert_true(k.has_told);
    assert_int_equal(world_flying(c, 1), 0);
    queue_settle_up(c, &k);
    assert_false(k.has_told);
    assert_int_equal(world_grants(c, 1), 1);
}

/* A row that waits is told of by the next turn, whose reply is lost. */
static void turn_that_is_lost_in_the_middle_leaves_nothing(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;
    int64_t n;
    str late, id;

    rehearse(c, &k);
    world_hook(c, &(struct hook){.n = 1, .limit = 1});
    late = world_put(c, &(struct put){.hook = 1, .n = 0});
    id = world_put(c, &(struct put){.hook = 1, .n = 800});
    coord_change(c, "_jobs", late.p,
                 BCON_NEW("$set", "{", "runAt", "{", "$add", "[", "$$NOW",
                          BCON_INT64(60000), "]", "}", "}"));
    lose(1, "back");
    assert_int_equal(world_claim(c, &k, &cl), CLAIM_UNKNOWN);
    assert_lost();
    assert_true(k.has_told);
    assert_int_equal(queue_recover(c, str_of(cl.token), false, &n), OK);
    assert_int_equal(world_flying(c, 1), 0);
    assert_int_equal(world_grants(c, 1), 0);
    cl = world_got(c, &k);
    assert_str(cl.job.id, id.p);
    assert_false(k.has_told);
    assert_int_equal(world_grants(c, 1), 1);
    assert_int_equal(world_number(world_job(c, late), "starts", -1), 0);
}

/* The row was not started: MongoDB did not answer. */
static void start_that_is_lost_comes_to_nothing(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;
    int64_t n;

    rehearse(c, &k);
    world_hook(c, &(struct hook){.n = 1, .limit = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    mongod_fail(c, "findAndModify", 10, 0, NULL);
    c->deadline = clock_mono_ms() + 300;
    assert_int_equal(world_claim(c, &k, &cl), CLAIM_UNKNOWN);
    mongod_fail(c, "findAndModify", 0, 0, NULL);
    c->deadline = clock_mono_ms() + 30000;
    assert_int_equal(world_flying(c, 1), 1);
    assert_int_equal(queue_recover(c, str_of(cl.token), false, &n), OK);
    assert_int_equal(world_flying(c, 1), 0);
    assert_int_equal(world_grants(c, 1), 0);
    (void)world_got(c, &k);
}

/* Its worker dies between the finish of the row and the telling of it. */
static void finish_that_nobody_tells_is_found_by_the_token(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker(), other = world_worker();
    struct job_result r = world_done();
    struct claim cl;
    int64_t n;

    rehearse(c, &k);
    world_hook(c, &(struct hook){.n = 1, .limit = 2});
    world_fill(c, (struct put){.hook = 1}, 0, 1);
    cl = world_got(c, &k);
    world_finish(c, &k, &cl, &r);
    lose(1, cl.token);
    assert_int_equal(queue_recover(c, str_of(cl.token), true, &n), OK);
    assert_lost();
    assert_int_equal(n, 0);
    assert_int_equal(world_flying(c, 1), 0);
    assert_int_equal(world_grants(c, 1), 1); /* a request was sent */
    world_none(c, &other);
    assert_int_equal(world_grants(c, 1), 1);
    assert_str(world_text(world_job(c, cl.job.id), "st"), "done");
    /* it comes back to life, and tells what is known by now */
    world_settled(c, &k);
    assert_int_equal(world_flying(c, 1), 0);
}

static void commands_of_others_do_not_wait_for_a_lost_reply(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    const bson_t *row;
    struct claim cl;
    int64_t n;

    rehearse(c, &k);
    world_hook(c, &(struct hook){.n = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    world_finish(c, &k, &cl, &r);
    world_settled(c, &k);
    lose(1, "");
    assert_int_equal(queue_replay(c, cl.job.id, &row), OK);
    assert_lost();
    assert_str(world_got(c, &k).job.id, cl.job.id.p);
    lose(1, "unhold");
    assert_int_equal(queue_unhold(c, QUEUE_WEBHOOK, world_hook_id(c, 1)), OK);
    assert_lost();
    (void)world_put(c, &(struct put){.hook = 1, .n = 1});
    lose(1, "remove");
    assert_int_equal(queue_cancel(c, QUEUE_WEBHOOK, world_hook_id(c, 1), &n),
                     OK);
    assert_lost();
    assert_int_equal(n, 1);
    world_none(c, &k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RELAY(lost_claim_comes_to_nothing),
        WITH_RELAY(finish_told_by_a_lost_claim_is_told_once),
        WITH_RELAY(finish_of_which_the_telling_was_lost_is_told_again),
        WITH_RELAY(turn_that_is_lost_in_the_middle_leaves_nothing),
        WITH_RELAY(start_that_is_lost_comes_to_nothing),
        WITH_RELAY(finish_that_nobody_tells_is_found_by_the_token),
        WITH_RELAY(commands_of_others_do_not_wait_for_a_lost_reply),
    };

    redis_setup();
    relay_setup();
    return cmocka_run_group_tests(tests, world_main_setup, mongod_teardown);
}
