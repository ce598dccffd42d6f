/* test_campaign - how a term is taken, kept, given up and lost */
#include "lib/coord/campaign.c"

#include "tests/unit/rig.h"

static void free_term_is_taken(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    assert_false(campaign_is_valid(&r.k));
    (void)rig_turn_when(&r, c, true);
    assert_true(campaign_is_valid(&r.k));
    assert_int_equal(r.starts, 1);
    assert_int_equal(r.term, 1);
    assert_str(rig_stored(c).holder, "me");
    assert_int_equal(metrics_sum(METRIC_LEADER, LEADER_CRON), 1);
    campaign_resign(&r.k, c, 0);
    assert_int_equal(metrics_sum(METRIC_LEADER, LEADER_CRON), 0);
}

static void without_a_look_nothing_is_sent(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    assert_true(campaign_turn(&r.k, c, NULL, true) > rig_boot);
    assert_false(rig_has_claim(&r));
    assert_false(rig_stored(c).known);
}

static void who_may_not_does_not(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    (void)rig_turn_when(&r, c, false);
    assert_false(rig_stored(c).known);
    rig_turn(&r, c);
    assert_true(campaign_is_valid(&r.k));
    (void)rig_turn_when(&r, c, false);
    assert_int_equal(r.stops, 1);
    assert_true(rig_stored(c).left_ms <= 0);
    rig_turn(&r, c); /* no cool-off: it may again */
    assert_int_equal(r.term, 2);
}

static void live_term_is_left_alone_until_its_end(void **state)
{
    struct ctx *c = *state;
    struct rig r;
    ms next;

    rig_init(&r, "me");
    assert_int_equal(rig_lose_to_other(c), 1);
    next = rig_turn_when(&r, c, true);
    assert_true(next > rig_boot && next <= rig_boot + 500);
    assert_false(rig_has_claim(&r));
    rig_let_lapse(c);
    rig_turn(&r, c);
    assert_int_equal(r.term, 2);
}

static void free_term_is_not_put_off_by_looks(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    assert_int_equal(rig_lose_to_other(c), 1);
    (void)rig_turn_when(&r, c, true);
    rig_let_lapse(c);
    for (int i = 0; i < 4; i++) { /* a look and a turn each 60 ms */
        rig_step(60);
        (void)rig_turn_when(&r, c, true);
    }
    assert_int_equal(r.starts, 1);
}

static void renewed_every_quarter(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    rig_turn(&r, c);
    for (int i = 0; i < 9; i++) {
        ms until = r.k.valid_until;

        rig_step(r.k.next_renewal - rig_boot - 10);
        (void)rig_turn_when(&r, c, true);
        assert_true(r.k.valid_until == until);
        rig_step(10);
        (void)rig_turn_when(&r, c, true);
        assert_true(r.k.valid_until == rig_boot + RIG_VALID);
        assert_true(r.k.next_renewal == rig_boot + RIG_TTL / 4);
    }
    assert_int_equal(r.starts, 1);
    assert_int_equal(r.stops, 0);
}

static void failed_renewals_are_no_loss_until_validity_ends(void **state)
{
    struct ctx *c = *state;
    struct rig r;
    ms end;

    rig_init(&r, "me");
    rig_turn(&r, c);
    end = r.k.valid_until;
    rig_set_away(true);
    rig_step(RIG_TTL / 4);
    while (rig_boot + RIG_AGAIN_MS < end - 10) {
        assert_true(rig_turn_when(&r, c, true) <= rig_boot + RIG_AGAIN_MS);
        assert_true(campaign_is_valid(&r.k));
        rig_step(RIG_AGAIN_MS);
    }
    rig_step(end - rig_boot);
    assert_false(campaign_is_valid(&r.k)); /* before any turn */
    assert_int_equal(r.stops, 0);
    (void)rig_turn_when(&r, c, true);
    assert_int_equal(r.stops, 1);
    (void)rig_turn_when(&r, c, true);
    assert_int_equal(r.starts, 1);
    /* nobody took it: the same term goes on, although its time is over */
    rig_let_lapse(c);
    rig_set_away(false);
    rig_step(RIG_AGAIN_MS);
    (void)rig_turn_when(&r, c, true);
    assert_int_equal(r.starts, 2);
    assert_int_equal(r.term, 1);
    assert_int_equal(rig_stored(c).term, 1);
}

static void renewal_in_time_prevents_the_end(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    rig_turn(&r, c);
    rig_set_away(true);
    rig_step(RIG_VALID - 1000);
    (void)rig_turn_when(&r, c, true);
    rig_set_away(false);
    rig_step(RIG_AGAIN_MS);
    (void)rig_turn_when(&r, c, true);
    rig_step(RIG_VALID - 1000);
    assert_true(campaign_is_valid(&r.k));
    assert_int_equal(r.stops, 0);
}

static void answer_later_than_the_lease_starts_nothing(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    assert_int_equal(id_token(r.saved.claim.token), OK);
    keep(&r.k, rig_boot - RIG_VALID, 1, "late");
    assert_false(campaign_is_valid(&r.k));
    assert_int_equal(r.starts, 0);
    assert_true(r.k.next_renewal <= rig_boot);
    keep(&r.k, rig_boot - RIG_VALID + 1, 1, "just in time");
    assert_int_equal(r.starts, 1);
    rig_step(1);
    (void)rig_turn_when(&r, c, true);
    assert_int_equal(r.stops, 1);
}

static void refusal_ends_it(void **state)
{
    struct ctx *c = *state;
    struct leader_claim old;
    struct rig r;

    rig_init(&r, "me");
    rig_turn(&r, c);
    old = r.saved.claim;
    assert_int_equal(rig_lose_to_other(c), 2);
    rig_step(RIG_TTL / 4);
    rig_time(c); /* without a look: the renewal finds out */
    (void)campaign_turn(&r.k, c, NULL, true);
    assert_int_equal(r.stops, 1);
    assert_false(rig_has_claim(&r));
    rig_let_lapse(c);
    rig_turn(&r, c);
    assert_int_equal(r.term, 3);
    assert_string_not_equal(r.saved.claim.token, old.token);
}

static void greater_term_in_a_look_ends_it_at_once(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    rig_turn(&r, c);
    assert_int_equal(rig_lose_to_other(c), 2);
    (void)rig_turn_when(&r, c, true);
    assert_int_equal(r.stops, 1);
    (void)rig_turn_when(&r, c, true);
    assert_str(rig_stored(c).holder, "other");
    assert_true(rig_stored(c).left_ms > 0);
    assert_false(rig_has_claim(&r));
}

static void asked_to_resign_it_stands_back(void **state)
{
    struct ctx *c = *state;
    struct rig r;
    bool asked;

    rig_init(&r, "me");
    rig_turn(&r, c);
    assert_int_equal(leader_ask_resign(c, LEADER_CRON, 1, &asked), OK);
    (void)rig_turn_when(&r, c, true);
    assert_int_equal(r.stops, 1);
    assert_true(rig_stored(c).left_ms <= 0);
    rig_step(RIG_COOL_MS - 500);
    rig_turn(&r, c);
    assert_int_equal(r.starts, 1);
    rig_step(500);
    rig_turn(&r, c);
    assert_int_equal(r.term, 2);
}

static void ask_of_another_term_is_not_heard(void **state)
{
    struct ctx *c = *state;
    struct rig r;
    bool asked;

    rig_init(&r, "me");
    rig_turn(&r, c);
    assert_int_equal(leader_ask_resign(c, LEADER_CRON, 1, &asked), OK);
    coord_change(c, "_leader", "cron",
                 BCON_NEW("$set", "{", "ask.term", BCON_INT64(9), "}"));
    rig_turn(&r, c);
    assert_int_equal(r.stops, 0);
}

static void forced_term_goes_to_who_forces(void **state)
{
    struct ctx *c = *state;
    struct rig one, two, three;

    rig_init(&one, "one");
    rig_init(&two, "two");
    rig_init(&three, "three");
    rig_turn(&two, c);
    campaign_resign(&two.k, c, RIG_COOL_MS); /* it stands back */
    rig_turn(&one, c);
    rig_turn(&two, c);
    assert_int_equal(one.term, 2);
    assert_int_equal(two.starts, 1);
    assert_int_equal(leader_ask_force(c, LEADER_CRON, STR("two")), OK);
    (void)rig_turn_when(&one, c, true);
    assert_int_equal(one.stops, 1);
    coord_change(c, "_leader", "cron", /* a slow machine must not outlive it */
                 BCON_NEW("$set", "{", "reserve.until", "{", "$add", "[",
                          "$$NOW", BCON_INT32(9000), "]", "}", "}"));
    rig_turn(&three, c);
    rig_turn(&one, c);
    (void)rig_turn_when(&two, c,
                        true); /* at once, whatever it stood back from */
    assert_int_equal(one.starts, 1);
    assert_int_equal(three.starts, 0);
    assert_int_equal(two.term, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_CASE(free_term_is_taken),
        RIG_CASE(without_a_look_nothing_is_sent),
        RIG_CASE(who_may_not_does_not),
        RIG_CASE(live_term_is_left_alone_until_its_end),
        RIG_CASE(free_term_is_not_put_off_by_looks),
        RIG_CASE(renewed_every_quarter),
        RIG_CASE(failed_renewals_are_no_loss_until_validity_ends),
        RIG_CASE(renewal_in_time_prevents_the_end),
        RIG_CASE(answer_later_than_the_lease_starts_nothing),
        RIG_CASE(refusal_ends_it),
        RIG_CASE(greater_term_in_a_look_ends_it_at_once),
        RIG_CASE(asked_to_resign_it_stands_back),
        RIG_CASE(ask_of_another_term_is_not_heard),
        RIG_CASE(forced_term_goes_to_who_forces),
    };

    return rig_run("campaign", tests, sizeof tests / sizeof *tests);
}
