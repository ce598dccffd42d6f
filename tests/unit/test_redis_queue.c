/* test_redis_queue - the scripts of the queue on a real redis-server: turns,
 * order, limits, caps, holds */
#include <poll.h>

#include "tests/unit/queue_redis.h"

#define ASSERT_AUDIT() assert_str(index_audit("1", "1000"), "")

static void job_is_claimed_once_and_ends(void **state)
{
    (void)state;
    assert_int_equal(PUT(.id = "a", .lim = "w"), INDEX_NEW);
    assert_int_equal(PUT(.id = "a", .lim = "w"), INDEX_KNOWN);
    ASSERT_GOT(index_claim("t1", NULL), "a");
    ASSERT_NONE(index_claim("t2", NULL));
    assert_int_equal(PUT(.id = "a", .lim = "w"), INDEX_KNOWN);
    ASSERT_NONE(index_claim("t2", NULL));
    assert_false(index_end_job("a", "t2"));
    ASSERT_AUDIT();
    assert_true(index_end_job("a", "t1"));
    assert_true(index_end_job("a", "t1"));
    ASSERT_NONE(index_claim("t2", NULL));
}

static void another_data_set_is_left_alone(void **state)
{
    struct index_told t = index_told_of("a", "t1", INDEX_ENDED);
    struct index_ask ask = {.token = "t2", .lease_ms = 1000, .want = true};
    struct index_meta m = {.cap = 7};
    struct index_job j = {.id = STR("b"), .lim = STR("w"), .group = STR("w")};
    struct index_stats stats;
    struct index_step step;
    enum index_seat seat;
    int64_t n;
    str was;

    (void)state;
    PUT(.id = "a", .lim = "w");
    ASSERT_GOT(index_claim("t1", NULL), "a");
    redis_do(index_c->rds,
             WORDS(STR("SET"), STR("p:dataset"), STR("00000000000000bb")));
    was = redis_snapshot(index_c->rds);
#define STALE(call) assert_int_equal(call, INDEX_STALE)
    STALE(index_enqueue(index_c, QUEUE_WEBHOOK, INDEX_BY_SWEEP, &j, 1, &seat));
    STALE(index_step(index_c, QUEUE_WEBHOOK, &ask, &t, &step));
    STALE(index_recover(index_c, QUEUE_WEBHOOK, STR("t1"), &n));
    STALE(index_subscriber(index_c, QUEUE_WEBHOOK, STR("w"), INDEX_HOLD, 1000,
                           0, &n));
    STALE(index_cancel(index_c, QUEUE_WEBHOOK, STR("a")));
    STALE(index_meta(index_c, QUEUE_WEBHOOK, &m));
    STALE(index_stats(index_c, QUEUE_WEBHOOK, &stats));
    STALE(index_recent(index_c, QUEUE_WEBHOOK, &j.lim, 1, &n));
    assert_true(str_eq(was, redis_snapshot(index_c->rds)));
    index_c->index = "";
    assert_int_equal(index_step(index_c, QUEUE_WEBHOOK, &ask, &t, &step),
                     INDEX_AWAY);
}

static void urgent_ones_come_first_then_by_time(void **state)
{
    (void)state;
    PUT(.id = "d", .lim = "v", .ts = 1);
    PUT(.id = "c", .lim = "w", .priority = 1023, .ts = 2);
    PUT(.id = "b", .lim = "x", .priority = 1, .ts = 4);
    PUT(.id = "a", .lim = "x", .priority = 1, .ts = 3);
    ASSERT_GOT(index_claim("1", NULL), "a");
    ASSERT_GOT(index_claim("2", NULL), "b");
    ASSERT_GOT(index_claim("3", NULL), "c");
    ASSERT_GOT(index_claim("4", NULL), "d");
    ASSERT_AUDIT();
}

static void urgent_one_moves_its_subscriber_forward(void **state)
{
    (void)state;
    PUT(.id = "a", .lim = "w", .ts = 1);
    PUT(.id = "x", .lim = "v", .priority = 5, .ts = 2);
    PUT(.id = "b", .lim = "w", .priority = 1, .ts = 3);
    ASSERT_AUDIT();
    ASSERT_GOT(index_claim("1", NULL), "b");
    ASSERT_GOT(index_claim("2", NULL), "x");
    ASSERT_GOT(index_claim("3", NULL), "a");
}

static void who_was_served_least_recently_is_next(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        PUT(.id = arena_strf(&index_c->arena, "a%d", i).p, .lim = "v");
        PUT(.id = arena_strf(&index_c->arena, "b%d", i).p, .lim = "w");
    }
    ASSERT_GOT(index_claim("1", NULL), "a0");
    poll(NULL, 0, 2); /* times of turns are whole ms */
    for (int i = 0; i < 2; i++) {
        ASSERT_GOT(index_claim("2", NULL), i ? "b1" : "b0");
        poll(NULL, 0, 2);
        ASSERT_GOT(index_claim("3", NULL), i ? "a2" : "a1");
        poll(NULL, 0, 2);
    }
}

static void group_runs_in_order_one_at_a_time(void **state)
{
    struct index_told t;

    (void)state;
    PUT(.id = "b", .lim = "w", .group = "w:1", .ord = 2, .ts = 1);
    PUT(.id = "a", .lim = "w", .group = "w:1", .ord = 1, .ts = 2);
    PUT(.id = "x", .lim = "w", .group = "w:2", .ord = 9, .ts = 3);
    ASSERT_GOT(index_claim("1", NULL), "a");
    ASSERT_GOT(index_claim("2", NULL), "x");
    ASSERT_NONE(index_claim("3", NULL));
    t = index_told_of("a", "1", INDEX_RETRY);
    t.delay_ms = 600000;
    assert_true(index_tell(&t)); /* the head blocks the group */
    ASSERT_NONE(index_claim("3", NULL));
    ASSERT_AUDIT();
    assert_int_equal(index_cancel(index_c, QUEUE_WEBHOOK, STR("a")),
                     INDEX_DONE);
    redis_do(index_c->rds, WORDS(STR("ZADD"), STR("p:q:webhook:hold"), STR("1"),
                                 STR("gw:1")));
    redis_do(index_c->rds,
             WORDS(STR("HSET"), STR("p:q:webhook:meta"), STR("due"), STR("0")));
    ASSERT_GOT(index_claim("3", NULL), "b");
}

static void head_that_is_not_due_blocks_its_group(void **state)
{
    (void)state;
    PUT(.id = "b", .lim = "w", .group = "w:1", .ord = 2, .delay_ms = 600000);
    PUT(.id = "c", .lim = "w", .group = "w:1", .ord = 3);
    ASSERT_NONE(index_claim("1", NULL));
    ASSERT_AUDIT();
}

static void cap_is_of_the_subscriber_not_of_its_groups(void **state)
{
    (void)state;
    index_settings((struct index_meta){.cap = 2, .max = 1000});
    PUT(.id = "a", .lim = "w", .group = "w:1", .ord = 1);
    PUT(.id = "b", .lim = "w", .group = "w:2", .ord = 1);
    PUT(.id = "c", .lim = "w", .group = "w:3", .ord = 1);
    PUT(.id = "d", .lim = "w", .ts = 9);
    ASSERT_GOT(index_claim("1", NULL), "a");
    ASSERT_GOT(index_claim("2", NULL), "b");
    ASSERT_NONE(index_claim("3", NULL));
    assert_str(index_audit("2", "2"), "");
    index_settings((struct index_meta){.cap = 1, .max = 1000});
    assert_true(index_end_job("a", "1"));
    ASSERT_NONE(index_claim("3", NULL));
    assert_true(index_end_job("b", "2"));
    assert_true(index_claim("3", NULL).claimed);
    index_settings((struct index_meta){.cap = 2, .max = 1000});
    PUT(.id = "e", .lim = "w", .ts = 10); /* may be served */
    redis_do(index_c->rds, WORDS(STR("HDEL"), STR("p:q:webhook:meta"),
                                 STR("cap"))); /* lost: it is 1 */
    ASSERT_NONE(index_claim("4", NULL));
}

/* Instances came: those in flight go on for long. */
static void raised_cap_counts_at_once(void **state)
{
    (void)state;
    index_settings((struct index_meta){.cap = 1, .max = 1000});
    PUT(.id = "a", .lim = "w");
    PUT(.id = "b", .lim = "w");
    ASSERT_GOT(index_claim("1", NULL), "a");
    ASSERT_NONE(index_claim("2", NULL));
    index_settings((struct index_meta){.cap = 2, .max = 1000});
    ASSERT_GOT(index_claim("2", NULL), "b");
    ASSERT_AUDIT();
}

static void limit_is_exact_and_holds_the_subscriber(void **state)
{
    struct index_step step;
    struct index_stats stats;
    int64_t recent[2];
    const str lims[] = {STR("w"), STR("v")};

    (void)state;
    for (int i = 0; i < 5; i++)
        PUT(.id = arena_strf(&index_c->arena, "a%d", i).p, .lim = "w",
            .limit = 3);
    PUT(.id = "b", .lim = "v", .priority = 5);
    for (int i = 0; i < 4; i++)
        assert_true(index_claim("1", NULL).claimed);
    step = index_claim("2", NULL);
    ASSERT_NONE(step);
    assert_int_equal(step.limited, 1);
    assert_in_range(step.due_ms, 1, INDEX_WINDOW_MS + 1);
    ASSERT_AUDIT();
    assert_int_equal(index_recent(index_c, QUEUE_WEBHOOK, lims, 2, recent),
                     INDEX_DONE);
    assert_int_equal(recent[0], 3);
    assert_int_equal(recent[1], 0);
    assert_int_equal(index_stats(index_c, QUEUE_WEBHOOK, &stats), INDEX_DONE);
    assert_int_equal(stats.limited, 1);
    assert_int_equal(stats.active, 4);
    assert_int_equal(stats.jobs, 6);
    /* one more, from now on */
    assert_int_equal(index_subscriber(index_c, QUEUE_WEBHOOK, STR("w"),
                                      INDEX_LIMIT, 4, INDEX_WINDOW_MS, recent),
                     INDEX_DONE);
    step = index_claim("2", NULL);
    ASSERT_GOT(step, "a3");
    assert_int_equal(step.limit, 4);
    assert_int_equal(step.window_ms, INDEX_WINDOW_MS);
    ASSERT_NONE(index_claim("2", NULL));
}

/* Grants of a subscriber whose limit is 1: how many until it is held. */
static void what_did_not_run_costs_no_limit(void **state)
{
    struct index_told t;
    int64_t n;

    (void)state;
    PUT(.id = "a", .lim = "w", .limit = 1);
    ASSERT_GOT(index_claim("1", NULL), "a");
    PUT(.id = "b", .lim = "w", .ts = 1, .limit = 1);
    ASSERT_NONE(index_claim("2", NULL)); /* held until the grant is old */
    t = index_told_of("a", "1", INDEX_BACK);
    assert_true(index_tell(&t));
    ASSERT_GOT(index_claim("2", NULL), "a");
    t = index_told_of("a", "2", INDEX_GONE);
    assert_true(index_tell(&t));
    PUT(.id = "a", .lim = "w", .limit = 1);
    ASSERT_GOT(index_claim("2", NULL), "a");
    assert_int_equal(index_recover(index_c, QUEUE_WEBHOOK, STR("2"), &n),
                     INDEX_DONE);
    assert_int_equal(n, 1);
    ASSERT_GOT(index_claim("3", NULL), "a");
    assert_int_equal(index_recover_ran(index_c, QUEUE_WEBHOOK, STR("3"), &n),
                     INDEX_DONE);
    assert_int_equal(n, 1);
    ASSERT_NONE(index_claim("4", NULL));
    assert_int_equal(index_recover(index_c, QUEUE_WEBHOOK, STR("3"), &n),
                     INDEX_DONE);
    assert_int_equal(n, 0);
    ASSERT_AUDIT();
}

static void limit_over_all_counts_all_but_tests(void **state)
{
    struct index_told t = index_told_of("a0", "1", INDEX_BACK);
    struct index_step step;

    (void)state;
    index_settings((struct index_meta){
        .cap = 9, .max = 1000, .limit_all = 2, .window_ms = INDEX_WINDOW_MS});
    for (int i = 0; i < 4; i++)
        PUT(.id = arena_strf(&index_c->arena, "a%d", i).p,
            .lim = arena_strf(&index_c->arena, "w%d", i).p, .limit = 9);
    ASSERT_GOT(index_claim("1", NULL), "a0");
    ASSERT_GOT(index_claim("2", NULL), "a1");
    step = index_claim("3", NULL);
    ASSERT_NONE(step);
    assert_in_range(step.due_ms, 1, INDEX_WINDOW_MS + 1);
    PUT(.id = "t", .lim = "test:t", .priority = 1, .once = true);
    step = index_claim("3", NULL);
    ASSERT_GOT(step, "t");
    assert_true(step.once);
    assert_true(index_tell(&t));
    assert_true(index_claim("4", NULL).claimed);
    ASSERT_NONE(index_claim("5", NULL));
}

static void breaker_opens_at_the_tenth_failure(void **state)
{
    struct index_stats stats;
    struct index_told t = index_told_of("a", "1", INDEX_RETRY);
    int64_t left;

    (void)state;
    PUT(.id = "a", .lim = "w");
    t.health = HEALTH_FAILED;
    for (int i = 0; i < 10; i++) {
        ASSERT_GOT(index_claim("1", NULL), "a");
        assert_true(index_tell(&t));
    }
    ASSERT_NONE(index_claim("1", NULL));
    assert_int_equal(index_stats(index_c, QUEUE_WEBHOOK, &stats), INDEX_DONE);
    assert_int_equal(stats.breakers, 1);
    ASSERT_AUDIT();
    assert_int_equal(index_subscriber(index_c, QUEUE_WEBHOOK, STR("w"),
                                      INDEX_UNHOLD, 0, 0, &left),
                     INDEX_DONE);
    ASSERT_GOT(index_claim("1", NULL), "a");
    t.health = HEALTH_OK;
    assert_true(index_tell(&t));
    t.health = HEALTH_FAILED;
    for (int i = 0; i < 9; i++) {
        ASSERT_GOT(index_claim("1", NULL), "a");
        assert_true(index_tell(&t));
    }
    ASSERT_GOT(index_claim("1", NULL), "a");
}

static void subscriber_is_held_as_told(void **state)
{
    struct index_told t = index_told_of("a", "1", INDEX_RETRY);

    (void)state;
    PUT(.id = "a", .lim = "w");
    PUT(.id = "b", .lim = "w", .ts = 1);
    ASSERT_GOT(index_claim("1", NULL), "a");
    t.hold_ms = 600000;
    assert_true(index_tell(&t));
    ASSERT_NONE(index_claim("1", NULL));
    PUT(.id = "c", .lim = "w", .ts = 2);
    ASSERT_NONE(index_claim("1", NULL));
    ASSERT_AUDIT();
}

static void lease_that_ended_frees_the_job(void **state)
{
    struct index_ask ask = {.token = "1", .lease_ms = 1, .want = true};
    ms end = clock_mono_ms() + 10000;
    struct index_step step;

    (void)state;
    PUT(.id = "a", .lim = "w", .group = "w:1", .ord = 1);
    assert_int_equal(index_step(index_c, QUEUE_WEBHOOK, &ask, NULL, &step),
                     INDEX_DONE);
    ASSERT_GOT(step, "a");
    do
        step = index_claim("2", NULL);
    while (!step.claimed && clock_mono_ms() < end);
    ASSERT_GOT(step, "a");
    assert_false(index_end_job("a", "1"));
    ASSERT_AUDIT();
}

static void fanout_is_refused_until_the_sweep_is_through(void **state)
{
    struct index_meta m = {.cap = 9, .max = 2};
    struct index_stats stats;

    (void)state;
    index_settings(m);
    assert_int_equal(PUT(.id = "a", .lim = "w"), INDEX_NEW);
    assert_int_equal(PUT(.id = "b", .lim = "w"), INDEX_NEW);
    assert_int_equal(PUT(.id = "a", .lim = "w"), INDEX_KNOWN);
    assert_int_equal(PUT(.id = "c", .lim = "w"), INDEX_FULL);
    ASSERT_GOT(index_claim("1", NULL), "a");
    assert_true(index_end_job("a", "1"));
    assert_int_equal(PUT(.id = "d", .lim = "w"), INDEX_FULL);
    assert_int_equal(index_stats(index_c, QUEUE_WEBHOOK, &stats), INDEX_DONE);
    assert_true(stats.spill);
    assert_false(stats.complete);
    assert_int_equal(
        index_put_by(INDEX_BY_SWEEP, (struct index_put){.id = "c", .lim = "w"}),
        INDEX_NEW);
    m.spill_over = true;
    m.max = 9;
    index_settings(m);
    assert_int_equal(PUT(.id = "d", .lim = "w"), INDEX_NEW);
    assert_int_equal(index_stats(index_c, QUEUE_WEBHOOK, &stats), INDEX_DONE);
    assert_false(stats.spill);
    assert_true(stats.complete);
}

/* Each lasts as long as it was to, whatever ends the other. */
static void wait_that_was_asked_for_outlives_that_of_the_limit(void **state)
{
    struct index_told t = index_told_of("a", "1", INDEX_RETRY);
    int64_t left;

    (void)state;
    for (int i = 0; i < 3; i++)
        PUT(.id = (const char *[]){"a", "b", "c"}[i], .lim = "w", .ts = i,
            .limit = 2);
    ASSERT_GOT(index_claim("1", NULL), "a");
    ASSERT_GOT(index_claim("2", NULL), "b");
    ASSERT_NONE(index_claim("3", NULL)); /* by its limit, for 600 s */
    t.hold_ms = 60000;
    assert_true(index_tell(&t));
    t = index_told_of("b", "2", INDEX_BACK); /* a grant comes free */
    assert_true(index_tell(&t));
    ASSERT_NONE(index_claim("3", NULL));
    assert_int_equal(index_subscriber(index_c, QUEUE_WEBHOOK, STR("w"),
                                      INDEX_LIMIT, 9, INDEX_WINDOW_MS, &left),
                     INDEX_DONE);
    ASSERT_NONE(index_claim("3", NULL));
}

static bool take_marker(void)
{
    return str_eq(INDEX_ASK(STR("DEL"), STR("p:q:webhook:mk")), STR("1"));
}

static void marker_is_set_for_one_sleeper_at_a_time(void **state)
{
    const struct index_ask ask = {
        .token = "w", .lease_ms = INDEX_LEASE_MS, .want = true, .woken = true};
    struct index_told t;
    struct index_step step;
    int64_t n;

    (void)state;
    take_marker();
    PUT(.id = "a", .lim = "w");
    PUT(.id = "b", .lim = "w");
    assert_true(take_marker());
    assert_int_equal(index_step(index_c, QUEUE_WEBHOOK, &ask, NULL, &step),
                     INDEX_DONE);
    assert_true(take_marker()); /* b is there */
    assert_int_equal(index_step(index_c, QUEUE_WEBHOOK, &ask, NULL, &step),
                     INDEX_DONE);
    assert_false(take_marker());
    t = index_told_of("a", "w", INDEX_BACK);
    assert_true(index_tell(&t)); /* by who does not claim */
    assert_true(take_marker());
    assert_int_equal(index_recover(index_c, QUEUE_WEBHOOK, STR("w"), &n),
                     INDEX_DONE);
    assert_true(take_marker());
    PUT(.id = "c", .lim = "v", .delay_ms = 60000);
    assert_true(take_marker()); /* a timer came nearer */
}

static void what_waits_is_cancelled_what_runs_is_not(void **state)
{
    int64_t left;

    (void)state;
    PUT(.id = "a", .lim = "w");
    PUT(.id = "b", .lim = "w", .ts = 1);
    PUT(.id = "c", .lim = "w", .group = "w:1", .ord = 1, .ts = 2);
    PUT(.id = "d", .lim = "w", .delay_ms = 600000);
    ASSERT_GOT(index_claim("1", NULL), "a");
    assert_int_equal(index_cancel(index_c, QUEUE_WEBHOOK, STR("a")),
                     INDEX_DONE);
    assert_int_equal(index_cancel(index_c, QUEUE_WEBHOOK, STR("d")),
                     INDEX_DONE);
    assert_int_equal(index_subscriber(index_c, QUEUE_WEBHOOK, STR("w"),
                                      INDEX_REMOVE, 0, 0, &left),
                     INDEX_DONE);
    assert_int_equal(left, 0);
    ASSERT_NONE(index_claim("2", NULL));
    ASSERT_AUDIT();
    assert_true(index_end_job("a", "1"));
    assert_str(INDEX_ASK(STR("HGET"), STR("p:q:webhook:meta"), STR("len")),
               "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_INDEX(job_is_claimed_once_and_ends),
        IN_INDEX(another_data_set_is_left_alone),
        IN_INDEX(urgent_ones_come_first_then_by_time),
        IN_INDEX(urgent_one_moves_its_subscriber_forward),
        IN_INDEX(who_was_served_least_recently_is_next),
        IN_INDEX(group_runs_in_order_one_at_a_time),
        IN_INDEX(head_that_is_not_due_blocks_its_group),
        IN_INDEX(cap_is_of_the_subscriber_not_of_its_groups),
        IN_INDEX(raised_cap_counts_at_once),
        IN_INDEX(limit_is_exact_and_holds_the_subscriber),
        IN_INDEX(what_did_not_run_costs_no_limit),
        IN_INDEX(limit_over_all_counts_all_but_tests),
        IN_INDEX(breaker_opens_at_the_tenth_failure),
        IN_INDEX(subscriber_is_held_as_told),
        IN_INDEX(lease_that_ended_frees_the_job),
        IN_INDEX(fanout_is_refused_until_the_sweep_is_through),
        IN_INDEX(wait_that_was_asked_for_outlives_that_of_the_limit),
        IN_INDEX(marker_is_set_for_one_sleeper_at_a_time),
        IN_INDEX(what_waits_is_cancelled_what_runs_is_not),
    };

    redis_setup();
    return cmocka_run_group_tests_name("redis_queue", tests, NULL, NULL);
}
