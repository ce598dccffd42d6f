/* test_deliver - how a worker hears of work on the claim path through Redis,
 * and what it leaves when it stops */
#include "tests/unit/deliver_world.h"

/* ---- the marker */

static void marker_wakes_and_is_handed_on_by_the_index(void **state)
{
    (void)state;
    fall_asleep();
    assert_false(d.woken);
    mark();
    doze(&d, PATIENCE_MS);
    assert_true(d.woken && d.marked);
    world.result = CLAIM_NONE;
    assert_false(work(&d));
    assert_true(world.woken);
    assert_false(d.woken || d.marked);
    assert_false(is_marked());
    assert_false(is_poked());
    assert_true(info_says("commandstats", "cmdstat_zadd:calls=1,"));
}

/* Two know of work then, and only one of them is still idle. */
static void marker_popped_while_it_claims_goes_back(void **state)
{
    (void)state;
    fall_asleep();
    board_poke(d.w.board, 1);
    doze(&d, PATIENCE_MS);
    assert_true(d.woken);
    world.result = CLAIM_GOT;
    world.during = mark_that_it_pops;
    assert_true(work(&d));
    assert_true(is_marked());
    assert_int_equal(waiter_fd(&d.marker), -1);
    assert_false(is_poked()); /* the index wakes, not the program */
}

static void busy_one_pops_no_marker(void **state)
{
    (void)state;
    fall_asleep();
    board_poke(d.w.board, 1);
    doze(&d, PATIENCE_MS);
    world.result = CLAIM_GOT;
    assert_true(work(&d));
    assert_int_equal(waiter_fd(&d.marker), -1);
    assert_false(is_marked()); /* nothing was popped: nothing is put back */
    mark();
    assert_true(is_marked());
}

static void look_for_nothing_leaves_the_wait_out(void **state)
{
    (void)state;
    fall_asleep();
    board_poke(d.w.board, 1);
    doze(&d, PATIENCE_MS);
    world.result = CLAIM_NONE;
    world.wait_ms = 50;
    assert_false(work(&d));
    assert_true(waiter_fd(&d.marker) >= 0);
    assert_false(info_says("commandstats", "client|unblock"));
}

static void paused_one_pops_no_marker(void **state)
{
    (void)state;
    fall_asleep();
    mark_that_it_pops();
    d.w.words.paused[QUEUE_WEBHOOK] = true;
    doze(&d, 0);
    assert_int_equal(waiter_fd(&d.marker), -1);
    assert_true(is_marked());
}

static void marker_of_one_that_may_not_claim_by_then_goes_back(void **state)
{
    ms wait;

    (void)state;
    fall_asleep();
    mark();
    doze(&d, PATIENCE_MS);
    assert_true(d.woken);
    d.w.words.open = false; /* the words came later */
    assert_false(is_due(&d, &wait));
    doze(&d, 0);
    assert_true(is_marked());
    d.w.words.open = true;
    assert_true(is_due(&d, &wait)); /* whoever wanted it to look, still does */
}

static void without_the_index_no_marker_is_waited_for(void **state)
{
    (void)state;
    fall_asleep();
    mark_that_it_pops();
    d.w.words.dataset[0] = '\0';
    doze(&d, 0);
    assert_int_equal(waiter_fd(&d.marker), -1);
    assert_true(is_marked());
    world.result = CLAIM_GOT;
    assert_true(work(&d));
    assert_true(is_poked()); /* the others hear of it by the program */
}

static void one_that_ends_tells_all_and_hands_the_marker_on(void **state)
{
    static char some;

    (void)state;
    fall_asleep();
    mark_that_it_pops();
    d.w.stopping = true;
    d.k.tally = (struct tally *)(void *)&some;
    d.k.has_told = true;
    loop(&d);
    assert_int_equal(waiter_fd(&d.marker), -1);
    assert_true(is_marked());
    assert_int_equal(world.settled, 2);
    assert_int_equal(world.flushed, 1);
    assert_false(d.k.has_told);
}

static void claim_that_is_undone_leaves_the_marker_to_others(void **state)
{
    (void)state;
    fall_asleep();
    mark();
    doze(&d, PATIENCE_MS);
    assert_true(d.marked);
    world.result = CLAIM_UNKNOWN;
    assert_false(work(&d));
    assert_true(is_marked());
    assert_true(d.woken); /* and looks itself when it is undone */
}

static void index_that_is_away_is_asked_again(void **state)
{
    ms wait;

    (void)state;
    d.woken = true;
    world.result = CLAIM_AWAY;
    assert_false(work(&d));
    assert_true(is_due(&d, &wait));
    world.result = CLAIM_NONE;
    assert_false(work(&d));
    assert_false(d.woken);
}

/* ---- timers */

static void sleeper_is_woken_when_something_becomes_due(void **state)
{
    ms wait = 0;

    (void)state;
    assert_true(is_due(&d, &wait)); /* the net: this one's turn */
    d.woken = false;
    assert_false(is_due(&d, &wait));
    fall_asleep();
    board_look_by(d.w.board, clock_boot_ms() + 20); /* by another one */
    doze(&d, PATIENCE_MS);
    assert_true(is_due(&d, &wait));
}

/* ---- tokens */

static int held(void)
{
    struct board_dead dead;
    int n = 0;

    for (int at = 0; board_next_live(d.w.board, at, &dead); at = dead.at + 1)
        n++;
    return n;
}

static void finish_not_told_is_held_until_the_next_claim(void **state)
{
    (void)state;
    world.result = CLAIM_GOT;
    world.has_told = true;
    assert_true(work(&d));
    assert_int_equal(held(), 1);
    world.result = CLAIM_NONE; /* the claim has told it */
    assert_false(work(&d));
    assert_int_equal(held(), 0);
}

static void finish_that_is_told_is_not_held(void **state)
{
    (void)state;
    world.result = CLAIM_GOT;
    assert_true(work(&d));
    assert_int_equal(held(), 0);
}

static void idle_one_tells_what_no_claim_has_told(void **state)
{
    (void)state;
    world.result = CLAIM_GOT;
    world.has_told = true;
    assert_true(work(&d));
    d.w.words.paused[QUEUE_WEBHOOK] = true;
    doze(&d, 0);
    assert_int_equal(world.settled, 1);
    assert_int_equal(held(), 0);
}

#define DELIVER_CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DELIVER_CASE(marker_wakes_and_is_handed_on_by_the_index),
        DELIVER_CASE(marker_popped_while_it_claims_goes_back),
        DELIVER_CASE(busy_one_pops_no_marker),
        DELIVER_CASE(look_for_nothing_leaves_the_wait_out),
        DELIVER_CASE(paused_one_pops_no_marker),
        DELIVER_CASE(marker_of_one_that_may_not_claim_by_then_goes_back),
        DELIVER_CASE(without_the_index_no_marker_is_waited_for),
        DELIVER_CASE(one_that_ends_tells_all_and_hands_the_marker_on),
        DELIVER_CASE(claim_that_is_undone_leaves_the_marker_to_others),
        DELIVER_CASE(index_that_is_away_is_asked_again),
        DELIVER_CASE(sleeper_is_woken_when_something_becomes_due),
        DELIVER_CASE(finish_not_told_is_held_until_the_next_claim),
        DELIVER_CASE(finish_that_is_told_is_not_held),
        DELIVER_CASE(idle_one_tells_what_no_claim_has_told),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
