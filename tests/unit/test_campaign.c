/*
 * test_campaign - a coordinator's belief in its term, on a real mongod
 *
 * The boot clock stands still but for step(); the server's runs. Terms end
 * when the test says so: the settings' lease is longer than a test.
 */
#include "lib/coord/campaign.c"

#include "lib/base/conf.h"
#include "tests/unit/coord.h"

enum {
    TTL = 60000,
    VALID = TTL - TTL / 10,
    START_BOOT = 1000000,
    RANDOM_STEPS = 300
};

#define OTHER "zzzzzzzzzzzzzzzzzzzzzzzz"

/* One coordinator's process. */
struct rig {
    struct conf conf;
    struct campaign k;
    struct campaign_saved saved;
    int starts, stops;
    int64_t term; /* of the last start */
};

static ms boot;

static void step(ms by)
{
    boot += by;
    clock_set(boot, 0); /* the wall clock is wrong on purpose */
}

static void started(void *arg, enum leader_service s, int64_t term)
{
    struct rig *r = arg;

    assert_int_equal(s, r->k.service);
    assert_int_equal(r->starts, r->stops);
    assert_true(campaign_is_valid(&r->k));
    assert_true(term >= r->term && term > 0);
    r->term = term;
    r->starts++;
}

static void stopped(void *arg, enum leader_service s, int64_t term)
{
    struct rig *r = arg;

    assert_int_equal(s, r->k.service);
    assert_int_equal(r->starts, r->stops + 1);
    assert_false(campaign_is_valid(&r->k));
    assert_int_equal(term, r->term);
    r->stops++;
}

/* A coordinator comes (again): what was saved is all that it knows. */
static void come(struct rig *r, enum leader_service s)
{
    campaign_init(&r->k, s, &r->conf, &r->saved);
    r->k.on_start = started;
    r->k.on_stop = stopped;
    r->k.arg = r;
    r->starts = r->stops = 0;
}

static void rig_init(struct rig *r, const char *instance)
{
    *r = (struct rig){.conf = *mongod.conf};
    r->conf.cluster_instance_id = instance;
    r->conf.cluster_leader_ttl_ms = TTL;
    come(r, LEADER_CRON);
}

static void renew_deadline(struct ctx *c)
{
    ctx_reset(c);
    c->deadline = clock_mono_ms() + 30000;
}

static void be(const struct rig *r)
{
    mongod.conf->cluster_instance_id = r->conf.cluster_instance_id;
}

/* A look by the real server, when it can be reached, and a turn. */
static ms turn_when(struct rig *r, struct ctx *c, bool may)
{
    struct view v;
    ms next;
    bool seen;

    step(1);
    renew_deadline(c);
    be(r);
    seen = view_read(c, str_of(r->conf.cluster_instance_id), &v) == OK;
    ctx_forgive(c);
    next = campaign_turn(&r->k, c, seen ? &v : NULL, may);
    assert_int_equal(c->err, OK);
    assert_true(next <= boot + VALID);
    return next;
}

/* Past the jitter: what is free is taken. */
static void turn(struct rig *r, struct ctx *c)
{
    (void)turn_when(r, c, true);
    step(JITTER_MS);
    (void)turn_when(r, c, true);
}

static struct leader_term stored(struct ctx *c)
{
    struct view v;

    renew_deadline(c);
    assert_int_equal(view_read(c, STR("me"), &v), OK);
    return v.terms[LEADER_CRON];
}

static void let_lapse(struct ctx *c)
{
    coord_change(c, "_leader", "cron",
                 BCON_NEW("$set", "{", "until", "{", "$subtract", "[", "$$NOW",
                          BCON_INT32(1), "]", "}", "}"));
}

/* Another instance takes the term, which ends for that. */
static int64_t lose_to_other(struct ctx *c)
{
    struct leader_try try = {OTHER, TTL, 0};
    struct leader_term t;
    bool mine;

    renew_deadline(c);
    let_lapse(c);
    mongod.conf->cluster_instance_id = "other";
    assert_int_equal(leader_take(c, LEADER_CRON, &try, &t, &mine), OK);
    return mine ? t.term : 0;
}

static void set_away(bool away)
{
    mongo_set_away(mongod.pool, away);
}

static int fresh(void **state)
{
    set_away(false);
    clock_unset();
    (void)mongod_fresh(state);
    boot = START_BOOT;
    step(0);
    return 0;
}

static void free_term_is_taken(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    assert_false(campaign_is_valid(&r.k));
    (void)turn_when(&r, c, true);
    assert_true(campaign_is_valid(&r.k));
    assert_int_equal(r.starts, 1);
    assert_int_equal(r.term, 1);
    assert_str(stored(c).holder, "me");
    assert_int_equal(metrics_sum(METRIC_LEADER, LEADER_CRON), 1);
    campaign_resign(&r.k, c, 0);
    assert_int_equal(metrics_sum(METRIC_LEADER, LEADER_CRON), 0);
}

static void without_a_look_nothing_is_sent(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    assert_true(campaign_turn(&r.k, c, NULL, true) > boot);
    assert_false(has_claim(&r.k));
    assert_false(stored(c).known);
}

static void who_may_not_does_not(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    (void)turn_when(&r, c, false);
    assert_false(stored(c).known);
    turn(&r, c);
    assert_true(campaign_is_valid(&r.k));
    (void)turn_when(&r, c, false);
    assert_int_equal(r.stops, 1);
    assert_true(stored(c).left_ms <= 0);
    turn(&r, c); /* no cool-off: it may again */
    assert_int_equal(r.term, 2);
}

static void live_term_is_left_alone_until_its_end(void **state)
{
    struct ctx *c = *state;
    struct rig r;
    ms next;

    rig_init(&r, "me");
    assert_int_equal(lose_to_other(c), 1);
    next = turn_when(&r, c, true);
    assert_true(next > boot && next <= boot + LOOK_MS);
    assert_false(has_claim(&r.k));
    let_lapse(c);
    turn(&r, c);
    assert_int_equal(r.term, 2);
}

static void free_term_is_not_put_off_by_looks(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    assert_int_equal(lose_to_other(c), 1);
    (void)turn_when(&r, c, true);
    let_lapse(c);
    for (int i = 0; i < 4; i++) { /* a look and a turn each 60 ms */
        step(60);
        (void)turn_when(&r, c, true);
    }
    assert_int_equal(r.starts, 1);
}

static void renewed_every_quarter(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    turn(&r, c);
    for (int i = 0; i < 9; i++) {
        ms until = r.k.valid_until;

        step(r.k.next_renewal - boot - 10);
        (void)turn_when(&r, c, true);
        assert_true(r.k.valid_until == until);
        step(10);
        (void)turn_when(&r, c, true);
        assert_true(r.k.valid_until == boot + VALID);
        assert_true(r.k.next_renewal == boot + TTL / 4);
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
    turn(&r, c);
    end = r.k.valid_until;
    set_away(true);
    step(TTL / 4);
    while (boot + AGAIN_MS < end - 10) {
        assert_true(turn_when(&r, c, true) <= boot + AGAIN_MS);
        assert_true(campaign_is_valid(&r.k));
        step(AGAIN_MS);
    }
    step(end - boot);
    assert_false(campaign_is_valid(&r.k)); /* before any turn */
    assert_int_equal(r.stops, 0);
    (void)turn_when(&r, c, true);
    assert_int_equal(r.stops, 1);
    (void)turn_when(&r, c, true);
    assert_int_equal(r.starts, 1);
    /* nobody took it: the same term goes on, although its time is over */
    let_lapse(c);
    set_away(false);
    step(AGAIN_MS);
    (void)turn_when(&r, c, true);
    assert_int_equal(r.starts, 2);
    assert_int_equal(r.term, 1);
    assert_int_equal(stored(c).term, 1);
}

static void renewal_in_time_prevents_the_end(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    turn(&r, c);
    set_away(true);
    step(VALID - 1000);
    (void)turn_when(&r, c, true);
    set_away(false);
    step(AGAIN_MS);
    (void)turn_when(&r, c, true);
    step(VALID - 1000);
    assert_true(campaign_is_valid(&r.k));
    assert_int_equal(r.stops, 0);
}

static void answer_later_than_the_lease_starts_nothing(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    assert_int_equal(draw_token(&r.k), OK);
    keep(&r.k, boot - VALID, 1, "late");
    assert_false(campaign_is_valid(&r.k));
    assert_int_equal(r.starts, 0);
    assert_true(r.k.next_renewal <= boot);
    keep(&r.k, boot - VALID + 1, 1, "just in time");
    assert_int_equal(r.starts, 1);
    step(1);
    (void)turn_when(&r, c, true);
    assert_int_equal(r.stops, 1);
}

static void refusal_ends_it(void **state)
{
    struct ctx *c = *state;
    struct leader_claim old;
    struct rig r;

    rig_init(&r, "me");
    turn(&r, c);
    old = r.saved.claim;
    assert_int_equal(lose_to_other(c), 2);
    step(TTL / 4);
    renew_deadline(c); /* without a look: the renewal finds out */
    (void)campaign_turn(&r.k, c, NULL, true);
    assert_int_equal(r.stops, 1);
    assert_false(has_claim(&r.k));
    let_lapse(c);
    turn(&r, c);
    assert_int_equal(r.term, 3);
    assert_string_not_equal(r.saved.claim.token, old.token);
}

static void greater_term_in_a_look_ends_it_at_once(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    turn(&r, c);
    assert_int_equal(lose_to_other(c), 2);
    (void)turn_when(&r, c, true);
    assert_int_equal(r.stops, 1);
    (void)turn_when(&r, c, true);
    assert_str(stored(c).holder, "other");
    assert_true(stored(c).left_ms > 0);
    assert_false(has_claim(&r.k));
}

static void asked_to_resign_it_stands_back(void **state)
{
    struct ctx *c = *state;
    struct rig r;
    bool asked;

    rig_init(&r, "me");
    turn(&r, c);
    assert_int_equal(leader_ask_resign(c, LEADER_CRON, 1, &asked), OK);
    (void)turn_when(&r, c, true);
    assert_int_equal(r.stops, 1);
    assert_true(stored(c).left_ms <= 0);
    step(COOL_MS - 500);
    turn(&r, c);
    assert_int_equal(r.starts, 1);
    step(500);
    turn(&r, c);
    assert_int_equal(r.term, 2);
}

static void ask_of_another_term_is_not_heard(void **state)
{
    struct ctx *c = *state;
    struct rig r;
    bool asked;

    rig_init(&r, "me");
    turn(&r, c);
    assert_int_equal(leader_ask_resign(c, LEADER_CRON, 1, &asked), OK);
    coord_change(c, "_leader", "cron",
                 BCON_NEW("$set", "{", "ask.term", BCON_INT64(9), "}"));
    turn(&r, c);
    assert_int_equal(r.stops, 0);
}

static void forced_term_goes_to_who_forces(void **state)
{
    struct ctx *c = *state;
    struct rig one, two, three;

    rig_init(&one, "one");
    rig_init(&two, "two");
    rig_init(&three, "three");
    turn(&two, c);
    campaign_resign(&two.k, c, COOL_MS); /* it stands back */
    turn(&one, c);
    turn(&two, c);
    assert_int_equal(one.term, 2);
    assert_int_equal(two.starts, 1);
    assert_int_equal(leader_ask_force(c, LEADER_CRON, STR("two")), OK);
    (void)turn_when(&one, c, true);
    assert_int_equal(one.stops, 1);
    coord_change(c, "_leader", "cron", /* a slow machine must not outlive it */
                 BCON_NEW("$set", "{", "reserve.until", "{", "$add", "[",
                          "$$NOW", BCON_INT32(9000), "]", "}", "}"));
    turn(&three, c);
    turn(&one, c);
    (void)turn_when(&two, c, true); /* at once, whatever it stood back from */
    assert_int_equal(one.starts, 1);
    assert_int_equal(three.starts, 0);
    assert_int_equal(two.term, 3);
}

static void next_process_goes_on_with_the_term(void **state)
{
    struct ctx *c = *state;
    int64_t begun;
    struct rig r;

    rig_init(&r, "me");
    turn(&r, c);
    begun = metrics_sum(METRIC_LEADER_CHANGES, LEADER_CRON);
    for (int i = 0; i < 4; i++) { /* more than a lease between them */
        come(&r, LEADER_CRON);
        renew_deadline(c);
        (void)campaign_turn(&r.k, c, NULL, true); /* without a look */
        assert_int_equal(r.starts, 1);
        assert_int_equal(r.term, 1);
        step(TTL + 1);
    }
    assert_int_equal(metrics_sum(METRIC_LEADER_CHANGES, LEADER_CRON), begun);
    come(&r, LEADER_CRON);
    assert_true(lose_to_other(c) > 0);
    (void)turn_when(&r, c, true);
    assert_int_equal(r.starts, 0);
    assert_false(has_claim(&r.k));
}

static void third_restart_within_a_lease_resigns(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    turn(&r, c);
    for (int i = 1; i < RESTARTS_MOST; i++) {
        come(&r, LEADER_CRON);
        (void)turn_when(&r, c, true);
        assert_int_equal(r.starts, 1);
    }
    come(&r, LEADER_CRON);
    (void)turn_when(&r, c, true);
    assert_int_equal(r.starts, 0);
    assert_true(stored(c).left_ms <= 0);
    turn(&r, c);
    assert_int_equal(r.starts, 0);
    step(COOL_MS);
    turn(&r, c);
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
    (void)campaign_turn(&r.k, c, &(struct view){.taken_boot = boot}, false);
    set_away(true);
    (void)campaign_turn(&r.k, c, &(struct view){.taken_boot = boot}, true);
    set_away(false);
    assert_true(has_claim(&r.k)); /* saved before it was sent */
    assert_int_equal(r.saved.claim.term, 0);
    memcpy(token, r.saved.claim.token, sizeof token);
    /* it did arrive */
    be(&r);
    renew_deadline(c);
    assert_int_equal(leader_take(c, LEADER_CRON,
                                 &(struct leader_try){token, TTL, 0}, &t,
                                 &mine),
                     OK);
    come(&r, LEADER_CRON); /* and the process died as well */
    (void)turn_when(&r, c, true);
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
    set_away(true);
    (void)campaign_turn(&r.k, c, &(struct view){.taken_boot = boot}, true);
    memcpy(token, r.saved.claim.token, sizeof token);
    set_away(false);
    step(AGAIN_MS);
    turn(&r, c);
    assert_int_equal(r.term, 1);
    assert_str(stored(c).token, token);
}

static void term_that_is_not_wanted_any_more_is_freed(void **state)
{
    struct ctx *c = *state;
    struct leader_term t;
    struct rig r;
    bool mine;

    rig_init(&r, "me");
    assert_int_equal(draw_token(&r.k), OK);
    be(&r);
    assert_int_equal(
        leader_take(c, LEADER_CRON,
                    &(struct leader_try){r.saved.claim.token, TTL, 0}, &t,
                    &mine),
        OK);
    (void)turn_when(&r, c, false);
    assert_int_equal(r.starts, 0);
    assert_true(stored(c).left_ms <= 0);
}

static void resignation_that_failed_is_sent_again(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    turn(&r, c);
    set_away(true);
    campaign_resign(&r.k, c, 0);
    assert_int_equal(c->err, OK);
    assert_int_equal(r.stops, 1);
    turn(&r, c);
    set_away(false);
    assert_true(stored(c).left_ms > 0);
    step(AGAIN_MS);
    (void)turn_when(&r, c, true);
    assert_true(stored(c).left_ms <= 0);
    assert_int_equal(r.starts, 1);
    turn(&r, c);
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
    turn(&r, c);
    assert_int_equal(r.term, 1);
}

static void next_term_is_above_who_wrote(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    come(&r, LEADER_MAINTENANCE);
    turn(&r, c);
    assert_int_equal(r.term, 1);
    /* `_leader` came back from a backup, the data set knows later terms */
    coord_put(c, "_cluster", BCON_NEW("_id", "redis", "term", BCON_INT64(50)));
    campaign_step_down(&r.k);
    assert_int_equal(r.stops, 1);
    turn(&r, c);
    turn(&r, c);
    assert_int_equal(r.starts, 2);
    assert_int_equal(r.term, 51);
}

static void terms_never_fall_while_programs_run(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    for (int i = 1; i <= 3; i++) {
        turn(&r, c);
        assert_int_equal(r.term, i);
        if (i == 2) /* known to the next process as well */
            come(&r, LEADER_CRON);
        turn(&r, c);
        coord_drop(c, "_leader");
        step(TTL / 4);
        (void)turn_when(&r, c, true);
        assert_int_equal(r.starts, r.stops);
    }
}

static void end_that_no_lease_has_is_waited_for_once(void **state)
{
    struct ctx *c = *state;
    struct rig r;

    rig_init(&r, "me");
    coord_put(c, "_leader",
              BCON_NEW("_id", "cron", "term", BCON_INT64(3), "tok", OTHER,
                       "holder", "other", "until", BCON_DATE_TIME(INT64_MAX)));
    turn(&r, c);
    assert_int_equal(r.starts, 0);
    assert_true(stored(c).left_ms > 0 && stored(c).left_ms <= TTL);
    let_lapse(c);
    step(AGAIN_MS);
    turn(&r, c);
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

    renew_deadline(c);
    switch (chance(14)) {
    case 0:
        (void)lose_to_other(c);
        break;
    case 1:
    case 2:
        let_lapse(c);
        break;
    case 3:
        set_away(true);
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
        (void)turn_when(r, c, false);
        break;
    case 9:
        step(chance(2 * TTL));
        break;
    case 10: /* its process ends; the next one has no stop to call */
        come(r, LEADER_CRON);
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
            (void)turn_when(&r, c, true);
            step(chance(AGAIN_MS));
        }
        assert_true(r.starts == r.stops + (r.k.leading ? 1 : 0));
        led += campaign_is_valid(&r.k);
        set_away(false);
    }
    assert_true(led > 0);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup(test, fresh)
    const struct CMUnitTest tests[] = {
        CASE(free_term_is_taken),
        CASE(without_a_look_nothing_is_sent),
        CASE(who_may_not_does_not),
        CASE(live_term_is_left_alone_until_its_end),
        CASE(free_term_is_not_put_off_by_looks),
        CASE(renewed_every_quarter),
        CASE(failed_renewals_are_no_loss_until_validity_ends),
        CASE(renewal_in_time_prevents_the_end),
        CASE(answer_later_than_the_lease_starts_nothing),
        CASE(refusal_ends_it),
        CASE(greater_term_in_a_look_ends_it_at_once),
        CASE(asked_to_resign_it_stands_back),
        CASE(ask_of_another_term_is_not_heard),
        CASE(forced_term_goes_to_who_forces),
        CASE(next_process_goes_on_with_the_term),
        CASE(third_restart_within_a_lease_resigns),
        CASE(lost_answer_is_asked_for_again),
        CASE(unknown_claim_is_repeated_with_its_token),
        CASE(term_that_is_not_wanted_any_more_is_freed),
        CASE(resignation_that_failed_is_sent_again),
        CASE(follower_resigns_nothing),
        CASE(next_term_is_above_who_wrote),
        CASE(terms_never_fall_while_programs_run),
        CASE(end_that_no_lease_has_is_waited_for_once),
        CASE(callbacks_alternate_whatever_happens),
    };
    struct metric_labels none = {NULL, 0};

    if (metrics_setup(1, none, none) != OK)
        return 1;
    metrics_join(0);
    return cmocka_run_group_tests_name("campaign", tests, mongod_setup,
                                       mongod_teardown);
}
