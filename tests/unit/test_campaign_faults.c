/* test_campaign_faults - processes that die, answers that get lost, documents
 * that vanish, and all of that at random */
#include "lib/base/metrics.h"
#include "tests/unit/rig.h"

enum {
    RANDOM_STEPS = 300
};

static void next_process_goes_on_with_the_term(void **state)
{
    struct ctx *c = *state;
    int64_t begun;
    struct rig r;

    rig_init(&r, "me");
    rig_turn(&r, c);
    begun = metrics_sum(METRIC_LEADER_CHANGES, LEADER_CRON);
    for (int i = 0; i < 4; i++) { /* more than a lease between them */
        rig_come(&r, LEADER_CRON);
        rig_time(c);
        (void)campaign_turn(&r.k, c, NULL, true); /* without a look */
        assert_int_equal(r.starts, 1);
        assert_int_equal(r.term, 1);
        rig_step(RIG_TTL + 1);
    }
    assert_int_equal(metrics_sum(METRIC_LEADER_CHANGES, LEADER_CRON), begun);
    rig_come(&r, LEADER_CRON);
    assert_true(rig_lose_to_other(c) > 0);
    (void)rig_turn_when(&r, c, true);
    assert_int_equal(r.starts, 0);
    assert_false(rig_has_claim(&r));
}

static void third_restart_within_a_lease_resigns(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    rig_turn(&r, c);
    for (int i = 1; i < 3; i++) {
        rig_come(&r, LEADER_CRON);
        (void)rig_turn_when(&r, c, true);
        assert_int_equal(r.starts, 1);
    }
    rig_come(&r, LEADER_CRON);
    (void)rig_turn_when(&r, c, true);
    assert_int_equal(r.starts, 0);
    assert_true(rig_stored(c).left_ms <= 0);
    rig_turn(&r, c);
    assert_int_equal(r.starts, 0);
    rig_step(RIG_COOL_MS);
    rig_turn(&r, c);
    assert_int_equal(r.term, 2);
}

static void lost_answer_is_asked_for_again(void **state)
{
    struct ctx *c = *state;
    char token[ID_TOKEN_MAX];
    struct leader_term t;
    struct rig r;
    bool mine;

    rig_init(&r, "me");
    (void)campaign_turn(&r.k, c, &(struct view){.taken_boot = rig_boot}, false);
    rig_set_away(true);
    (void)campaign_turn(&r.k, c, &(struct view){.taken_boot = rig_boot}, true);
    rig_set_away(false);
    assert_true(rig_has_claim(&r)); /* saved before it was sent */
    assert_int_equal(r.saved.claim.term, 0);
    memcpy(token, r.saved.claim.token, sizeof token);
    /* it did arrive */
    rig_be(&r);
    rig_time(c);
    assert_int_equal(leader_take(c, LEADER_CRON,
                                 &(struct leader_try){token, RIG_TTL, 0}, &t,
                                 &mine),
                     OK);
    rig_come(&r, LEADER_CRON); /* and the process died as well */
    (void)rig_turn_when(&r, c, true);
    assert_int_equal(r.starts, 1);
    assert_int_equal(r.term, 1);
    assert_string_equal(r.saved.claim.token, token);
}

static void unknown_claim_is_repeated_with_its_token(void **state)
{
    struct ctx *c = *state;
    char token[ID_TOKEN_MAX];
    struct rig r;

    rig_init(&r, "me");
    rig_set_away(true);
    (void)campaign_turn(&r.k, c, &(struct view){.taken_boot = rig_boot}, true);
    memcpy(token, r.saved.claim.token, sizeof token);
    rig_set_away(false);
    rig_step(RIG_AGAIN_MS);
    rig_turn(&r, c);
    assert_int_equal(r.term, 1);
    assert_str(rig_stored(c).token, token);
}

static void term_that_is_not_wanted_any_more_is_freed(void **state)
{
    struct ctx *c = *state;
    struct leader_term t;
    struct rig r;
    bool mine;

    rig_init(&r, "me");
    assert_int_equal(id_token(r.saved.claim.token), OK);
    rig_be(&r);
    assert_int_equal(
        leader_take(c, LEADER_CRON,
                    &(struct leader_try){r.saved.claim.token, RIG_TTL, 0}, &t,
                    &mine),
        OK);
    (void)rig_turn_when(&r, c, false);
    assert_int_equal(r.starts, 0);
    assert_true(rig_stored(c).left_ms <= 0);
}

static void resignation_that_failed_is_sent_again(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    rig_turn(&r, c);
    rig_set_away(true);
    campaign_resign(&r.k, c, 0);
    assert_int_equal(c->err, OK);
    assert_int_equal(r.stops, 1);
    rig_turn(&r, c);
    rig_set_away(false);
    assert_true(rig_stored(c).left_ms > 0);
    rig_step(RIG_AGAIN_MS);
    (void)rig_turn_when(&r, c, true);
    assert_true(rig_stored(c).left_ms <= 0);
    assert_int_equal(r.starts, 1);
    rig_turn(&r, c);
    assert_int_equal(r.term, 2);
}

static void follower_resigns_nothing(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    campaign_resign(&r.k, c, 0);
    campaign_step_down(&r.k);
    assert_int_equal(r.stops, 0);
    rig_turn(&r, c);
    assert_int_equal(r.term, 1);
}

static void next_term_is_above_who_wrote(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    rig_come(&r, LEADER_MAINTENANCE);
    rig_turn(&r, c);
    assert_int_equal(r.term, 1);
    /* `_leader` came back from a backup, the data set knows later terms */
    coord_put(c, "_cluster", BCON_NEW("_id", "redis", "term", BCON_INT64(50)));
    campaign_step_down(&r.k);
    assert_int_equal(r.stops, 1);
    rig_turn(&r, c);
    rig_turn(&r, c);
    assert_int_equal(r.starts, 2);
    assert_int_equal(r.term, 51);
}

static void strangers_greatest_term_does_no_harm(void **state)
{
    static const int64_t terms[] = {LEADER_TERM_MAX, INT64_MAX, -5};
    struct ctx *c = *state;
    struct dataset d;
    struct rig r;
    bool done;

    rig_init(&r, "me");
    rig_come(&r, LEADER_MAINTENANCE);
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        rig_turn(&r, c);
        rig_turn(&r, c);
        assert_true(campaign_is_valid(&r.k));
        coord_change(c, "_leader", "maintenance",
                     BCON_NEW("$set", "{", "term", BCON_INT64(terms[i]),
                              "until", "$$NOW", "}"));
        coord_put(c, "_cluster",
                  BCON_NEW("_id", "redis", "term", BCON_INT64(terms[i])));
        rig_step(RIG_TTL / 4);
        (void)rig_turn_when(&r, c, true);
        assert_false(campaign_is_valid(&r.k));
        rig_turn(&r, c);
        rig_turn(&r, c);
        assert_int_equal(r.term, i + 2);
        rig_time(c);
        assert_int_equal(dataset_write(c, "", r.term, DATASET_REDIS,
                                       "0011223344556677", &done),
                         OK);
        assert_true(done);
        assert_int_equal(dataset_read(c, &d), OK);
        assert_string_equal(d.id, "0011223344556677");
    }
}

static void terms_never_fall_while_programs_run(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    for (int i = 1; i <= 3; i++) {
        rig_turn(&r, c);
        assert_int_equal(r.term, i);
        if (i == 2) /* known to the next process as well */
            rig_come(&r, LEADER_CRON);
        rig_turn(&r, c);
        coord_drop(c, "_leader");
        rig_step(RIG_TTL / 4);
        (void)rig_turn_when(&r, c, true);
        assert_int_equal(r.starts, r.stops);
    }
}

static void end_that_no_lease_has_is_waited_for_once(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    coord_put(c, "_leader",
              BCON_NEW("_id", "cron", "term", BCON_INT64(3), "tok", RIG_OTHER,
                       "holder", "other", "until", BCON_DATE_TIME(INT64_MAX)));
    rig_turn(&r, c);
    assert_int_equal(r.starts, 0);
    assert_true(rig_stored(c).left_ms > 0 && rig_stored(c).left_ms <= RIG_TTL);
    rig_let_lapse(c);
    rig_step(RIG_AGAIN_MS);
    rig_turn(&r, c);
    assert_int_equal(r.term, 4);
}

static uint32_t chance_state;

static uint32_t chance(uint32_t n)
{
    chance_state = chance_state * 1664525 + 1013904223;
    return (chance_state >> 8) % n;
}

static void random_event(struct rig *r, struct ctx *c)
{
    bool asked;

    rig_time(c);
    switch (chance(14)) {
    case 0:
        (void)rig_lose_to_other(c);
        break;
    case 1:
    case 2:
        rig_let_lapse(c);
        break;
    case 3:
        rig_set_away(true);
        break;
    case 4:
        campaign_resign(&r->k, c, chance(300));
        break;
    case 5:
        campaign_step_down(&r->k);
        break;
    case 6:
        assert_int_equal(leader_ask_resign(c, LEADER_CRON, r->term, &asked),
                         OK);
        break;
    case 7:
        assert_int_equal(leader_ask_force(c, LEADER_CRON, STR("me")), OK);
        break;
    case 8:
        (void)rig_turn_when(r, c, false);
        break;
    case 9:
        rig_step(chance(2 * RIG_TTL));
        break;
    case 10: /* its process ends; the next one has no stop to call */
        rig_come(r, LEADER_CRON);
        break;
    case 11:
        if (mongod_find(c, "_leader", "cron"))
            coord_drop(c, "_leader");
        break;
    }
}

/* started() and stopped() judge; terms that begin anew are greater. */
static void callbacks_alternate_whatever_happens(void **state)
{
    struct ctx *c = *state;
    struct rig r;
    int led = 0;

    chance_state = id_chance();
    print_message("seed %u\n", chance_state);
    rig_init(&r, "me");
    for (int i = 0; i < RANDOM_STEPS; i++) {
        random_event(&r, c);
        for (uint32_t turns = chance(3); turns > 0; turns--) {
            (void)rig_turn_when(&r, c, true);
            rig_step(chance(RIG_AGAIN_MS));
        }
        assert_true(r.starts == r.stops + (r.k.leading ? 1 : 0));
        led += campaign_is_valid(&r.k);
        rig_set_away(false);
    }
    assert_true(led > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RIG_CASE(next_process_goes_on_with_the_term),
        RIG_CASE(third_restart_within_a_lease_resigns),
        RIG_CASE(lost_answer_is_asked_for_again),
        RIG_CASE(unknown_claim_is_repeated_with_its_token),
        RIG_CASE(term_that_is_not_wanted_any_more_is_freed),
        RIG_CASE(resignation_that_failed_is_sent_again),
        RIG_CASE(follower_resigns_nothing),
        RIG_CASE(next_term_is_above_who_wrote),
        RIG_CASE(strangers_greatest_term_does_no_harm),
        RIG_CASE(terms_never_fall_while_programs_run),
        RIG_CASE(end_that_no_lease_has_is_waited_for_once),
        RIG_CASE(callbacks_alternate_whatever_happens),
    };

    return rig_run("campaign_faults", tests, sizeof tests / sizeof *tests);
}
