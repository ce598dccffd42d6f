/* test_queue - the moves of a delivery: by token only, repeated without harm */
#include "lib/coord/queue.h"

#include <pthread.h>

#include "tests/unit/queue_paths.h"

enum {
    RACERS = 5,
    RACES = 30,
    JUST_THEN = 100
};

/* ---- claim, finish */

static void delivery_runs_to_its_end(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_counting();
    struct job_result r = world_done();
    const bson_t *row;
    struct claim cl;
    str id;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    assert_str(cl.job.id, id.p);
    assert_str(cl.job.body, "{\"a\":1}");
    assert_str(cl.job.message_id, "msg_x");
    assert_int_equal(cl.job.starts, 1);
    assert_str(cl.target->webhook.url, "http://127.0.0.1:9/");
    assert_in_range(cl.lease_end_boot - clock_boot_ms(), LEASE_MS - 10000,
                    LEASE_MS);
    assert_int_equal(cl.slack_ms, 1000);
    row = world_job(c, id);
    assert_str(world_text(row, "st"), "leased");
    assert_str(world_text(row, "lease.tok"), cl.token);
    world_none(c, &k);
    world_finish(c, &k, &cl, &r);
    row = world_job(c, id);
    assert_str(world_text(row, "st"), "done");
    assert_false(world_has(row, "open") || world_has(row, "lease"));
    assert_int_equal(world_number(row, "tries", -1), 1);
    assert_int_equal(world_number(row, "attempts.0.code", -1), 200);
    assert_int_equal(world_number(row, "exp", 0) -
                         world_number(row, "endAt", 0),
                     INT64_C(7) * 24 * 3600 * 1000);
    world_settled(c, &k);
    assert_int_equal(world_flying(c, 1), 0);
    assert_int_equal(world_grants(c, 1), 1);
    row = world_limits(c, 1);
    assert_int_equal(world_number(row, "delivered", -1), 1);
    assert_int_equal(world_number(row, "attempts", -1), 1);
    assert_int_equal(world_number(row, "tookMs", -1), 5);
    world_none(c, &k);
}

static void failed_try_comes_again_when_due(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_counting();
    struct job_result r = world_failed(60000);
    const bson_t *row;
    struct claim cl;
    ms due;
    str id;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    world_finish(c, &k, &cl, &r);
    row = world_job(c, id);
    due = world_number(row, "runAt", 0) - clock_wall_ms();
    assert_in_range(due, 45000, 60000);
    assert_str(world_text(row, "st"), "waiting");
    assert_str(world_text(row, "attempts.0.error"), "http-status");
    world_none(c, &k);
    world_due_now(c, id);
    cl = world_got(c, &k);
    assert_int_equal(cl.job.tries, 1);
    world_settled(c, &k);
    assert_int_equal(world_number(world_limits(c, 1), "failed", -1), 1);
}

static void log_keeps_the_last_ten(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_failed(0);
    const bson_t *row;
    str id;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1, .tries_max = 20});
    r.health = HEALTH_SAME;
    for (int i = 0; i < 12; i++) {
        struct claim cl = world_got(c, &k);

        world_finish(c, &k, &cl, &r);
    }
    row = world_job(c, id);
    assert_int_equal(world_number(row, "tries", -1), 12);
    assert_int_equal(world_count(row, "attempts"), 10);
    assert_int_equal(world_number(row, "attempts.9.n", -1), 12);
}

static void never_before_it_is_due(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;
    str id;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1, .in_ms = 40});
    /* a client whose clock is wrong finds it early: the server judges */
    clock_note_offset(-3600000);
    while (world_claim(c, &k, &cl) != CLAIM_GOT)
        assert_true(cl.wait_ms > 0);
    clock_note_offset(0);
    assert_true(world_number(world_job(c, id), "lease.until", 0) - LEASE_MS >=
                world_number(world_job(c, id), "runAt", 0));
}

/* ---- one row, several workers */

static struct {
    pthread_barrier_t begin;
    const struct ctx *like;
    int got[RACERS];
} race;

static void *racer(void *arg)
{
    int i = (int)(intptr_t)arg;
    struct claimant k = world_worker();
    struct claim cl;
    struct ctx c;

    world_join(&c, race.like);
    for (int n = 0; n < RACES; n++) {
        pthread_barrier_wait(&race.begin);
        race.got[i] += world_claim(&c, &k, &cl) == CLAIM_GOT;
        pthread_barrier_wait(&race.begin);
        world_reset(&c);
    }
    world_leave(&c);
    return NULL;
}

static void one_of_many_gets_a_row(void **state)
{
    struct ctx *c = *state;
    pthread_t threads[RACERS];
    int sum = 0;

    world_hook(c, &(struct hook){.n = 1});
    race.like = c;
    pthread_barrier_init(&race.begin, NULL, RACERS + 1);
    memset(race.got, 0, sizeof race.got);
    for (int i = 0; i < RACERS; i++)
        pthread_create(&threads[i], NULL, racer, (void *)(intptr_t)i);
    for (int n = 0; n < RACES; n++) {
        (void)world_put(c, &(struct put){.hook = 1, .n = n});
        pthread_barrier_wait(&race.begin);
        pthread_barrier_wait(&race.begin);
        sum = 0;
        for (int i = 0; i < RACERS; i++)
            sum += race.got[i];
        assert_int_equal(sum, n + 1);
        world_reset(c);
    }
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(world_grants(c, 1), RACES);
    assert_int_equal(world_flying(c, 1), RACES);
}

/* ---- rows that somebody else was quicker with */

/* A worker whose clock is wrong takes leases for over: it finds such rows, and
 * does not get them. */
static enum claim_result claim_late(struct ctx *c, struct claimant *k,
                                    struct claim *out)
{
    enum claim_result result;

    clock_note_offset(-3600000);
    result = world_claim(c, k, out);
    clock_note_offset(0);
    return result;
}

static void loser_takes_another_under_the_same_charge(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker(), other = world_worker();
    struct job_result r = world_done();
    const bson_t *limits;
    struct claim cl;
    int64_t n;
    str first;

    world_hook(c, &(struct hook){.n = 1});
    world_fill(c, (struct put){.hook = 1}, 0, 4);
    first = world_job_id(c, 1, 0);
    assert_str(world_got(c, &other).job.id, first.p);
    while (claim_late(c, &k, &cl) != CLAIM_GOT)
        k.rivals = 0; /* none of those that chance has chosen was left */
    limits = world_limits(c, 1);
    assert_str(world_text(limits, "fl.1.ids.0"), first.p);
    assert_true(str_eq(cl.job.id, world_text(limits, "fl.1.ids.1")) ||
                str_eq(cl.job.id, world_text(limits, "fl.1.ids.2")) ||
                str_eq(cl.job.id, world_text(limits, "fl.1.ids.3")));
    assert_str(world_text(limits, "fl.1.tok"), cl.token);
    assert_int_equal(world_count(limits, "grants"), 2);
    assert_int_equal(k.rivals, 1);
    /* its worker dies between the two writes of the finish */
    world_finish(c, &k, &cl, &r);
    coord_put(c, "_limits", bson_copy(limits));
    assert_int_equal(queue_recover(c, str_of(cl.token), true, &n), OK);
    limits = world_limits(c, 1);
    assert_int_equal(world_number(limits, "delivered", -1), 1);
    assert_int_equal(world_count(limits, "fl"), 1);
    assert_int_equal(world_count(limits, "grants"), 2);
}

static void charge_for_rows_that_are_all_lost_is_given_back(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker(), other = world_worker();
    struct claim cl;

    world_hook(c, &(struct hook){.n = 1});
    world_fill(c, (struct put){.hook = 1}, 0, 4);
    for (int i = 0; i < 4; i++)
        (void)world_got(c, &other);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(claim_late(c, &k, &cl), CLAIM_NONE);
        assert_int_equal(world_count(world_limits(c, 1), "grants"), 4);
        assert_int_equal(world_count(world_limits(c, 1), "fl"), 4);
    }
    assert_int_equal(k.rivals, QUEUE_RIVALS_MAX);
    world_fill(c, (struct put){.hook = 1}, 4, 30);
    for (int i = 1; i <= 20; i++) {
        (void)world_got(c, &k);
        assert_int_equal(k.rivals,
                         i < QUEUE_RIVALS_MAX ? QUEUE_RIVALS_MAX - i : 0);
    }
}

static void workers_begin_at_different_subscribers(void **state)
{
    struct ctx *c = *state;
    bool begun[6] = {false};
    int n = 0;

    for (int i = 1; i <= 5; i++) {
        world_hook(c, &(struct hook){.n = i});
        world_fill(c, (struct put){.hook = i}, 0, 40);
    }
    for (int i = 0; i < 40; i++) {
        struct claimant k = world_worker();
        struct claim cl;
        int at;

        k.served[0] = '\0';
        cl = world_got(c, &k);
        at = (int)str_from(cl.job.subscriber, 23).p[0] - '0';
        assert_in_range(at, 1, 5);
        n += !begun[at];
        begun[at] = true;
    }
    assert_true(n > 2);
}

/* ---- tokens */

/* Of webhook 1 by its path, to the last byte */
static str what_is_kept(struct ctx *c)
{
    const bson_t *limits = world_limits(c, 1);
    char *text = limits ? bson_as_json(limits, NULL) : NULL;
    str kept = arena_strf(&c->arena, "%s %d %d", text ? text : "",
                          world_flying(c, 1), world_grants(c, 1));

    bson_free(text);
    return kept;
}

static void stale_token_changes_nothing(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker(), other = world_worker();
    struct job_result r = world_done();
    const bson_t *row;
    struct claim old, cl;
    int64_t n;
    str id, limits;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1});
    old = world_got(c, &k);
    world_lapse(c, id);
    cl = world_got(c, &other);
    assert_str(cl.job.id, id.p);
    assert_int_equal(cl.job.starts, 2);
    assert_int_equal(cl.job.stalls, 0);
    row = world_job(c, id);
    assert_int_equal(queue_finish(c, &k, &old, &r), FINISH_LATE);
    assert_true(bson_equal(row, world_job(c, id)));
    (void)queue_give_back(c, &k, &old);
    assert_int_equal(queue_recover(c, str_of(old.token), true, &n), OK);
    assert_int_equal(n, 0);
    assert_true(bson_equal(row, world_job(c, id)));
    world_settled(c, &k);
    assert_int_equal(world_flying(c, 1), 1);
    world_finish(c, &other, &cl, &r);
    world_settled(c, &other);
    row = world_job(c, id);
    limits = what_is_kept(c);
    assert_int_equal(queue_finish(c, &k, &old, &r), FINISH_LATE);
    (void)queue_give_back(c, &k, &old);
    assert_int_equal(queue_recover(c, str_of(old.token), true, &n), OK);
    assert_true(bson_equal(row, world_job(c, id)));
    world_settled(c, &k);
    assert_true(str_eq(limits, what_is_kept(c)));
}

static void repeated_finish_knows_itself(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_counting();
    struct job_result r = world_failed(60000);
    const bson_t *row;
    struct claim cl;
    str kept;

    world_hook(c, &(struct hook){.n = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    world_finish(c, &k, &cl, &r);
    world_settled(c, &k);
    row = world_job(c, cl.job.id);
    kept = what_is_kept(c);
    world_finish(c, &k, &cl, &r);
    world_settled(c, &k);
    assert_true(bson_equal(row, world_job(c, cl.job.id)));
    assert_true(str_eq(kept, what_is_kept(c)));
    assert_int_equal(world_number(world_limits(c, 1), "failed", -1), 1);
}

static void
finish_of_which_only_the_row_was_written_is_counted_once(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    const bson_t *charged;
    struct claim cl;
    int64_t n;

    world_hook(c, &(struct hook){.n = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    charged = world_limits(c, 1);
    world_finish(c, &k, &cl, &r);
    for (int i = 0; i < 2; i++) { /* as if it had died between the two */
        coord_put(c, "_limits", bson_copy(charged));
        if (i == 0)
            assert_int_equal(queue_recover(c, str_of(cl.token), true, &n), OK);
        else
            world_finish(c, &k, &cl, &r);
        assert_int_equal(world_number(world_limits(c, 1), "delivered", -1), 1);
        assert_int_equal(world_count(world_limits(c, 1), "fl"), 0);
        assert_int_equal(world_count(world_limits(c, 1), "grants"), 1);
    }
    assert_int_equal(queue_recover(c, str_of(cl.token), true, &n), OK);
    assert_int_equal(world_number(world_limits(c, 1), "delivered", -1), 1);
}

static void repeated_claim_is_one(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct candidate job;
    struct start s = {.token = "aaaaaaaaaaaaaaaaaaaaaaaa",
                      .lease_ms = LEASE_MS};
    struct charge how = {.limit = 5, .window_ms = 60000};
    str id;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1});
    for (int i = 0; i < 2; i++) {
        job = (struct candidate){
            .id = id, .lim = world_hook_id(c, 1), .group = world_hook_id(c, 1)};
        assert_int_equal(mongo_queue_charge(c, &k, &job, s.token, &how),
                         CHARGE_GRANTED);
        assert_int_equal(queue_start(c, &job, &s), START_OK);
        assert_int_equal(world_count(world_limits(c, 1), "fl"), 1);
        assert_int_equal(world_count(world_limits(c, 1), "grants"), 1);
        assert_int_equal(world_number(world_job(c, id), "starts", -1), 1);
    }
    s.token = "bbbbbbbbbbbbbbbbbbbbbbbb";
    assert_int_equal(queue_start(c, &job, &s), START_WAIT);
    assert_in_range(s.wait_ms, LEASE_MS - 10000, LEASE_MS);
}

/* Between the refusal of a start and the question why. */
static void row_that_gets_free_just_then_is_not_taken_as_ended(void **state)
{
    struct ctx *c = *state;
    struct start s = {.token = "aaaaaaaaaaaaaaaaaaaaaaaa",
                      .lease_ms = LEASE_MS};
    enum start_result r = START_WAIT;

    world_hook(c, &(struct hook){.n = 1});
    for (int i = 0; i < JUST_THEN; i++) {
        struct candidate job = {.lim = world_hook_id(c, 1),
                                .group = world_hook_id(c, 1)};
        ms end = clock_mono_ms() + 10000;

        job.id = world_put(c, &(struct put){.hook = 1, .n = i});
        (void)mongod_do(
            c, BCON_NEW("update", "_jobs", "updates", "[", "{", "q", "{", "_id",
                        BCON_UTF8(job.id.p), "}", "u", "[", "{", "$set", "{",
                        "lease.tok", "bbbbbbbbbbbbbbbbbbbbbbbb", "lease.until",
                        QUEUE_NOW_AND((int64_t)3), "}", "}", "]", "}", "]"));
        do
            r = queue_start(c, &job, &s);
        while (r == START_WAIT && clock_mono_ms() < end);
        assert_int_equal(r, START_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BOTH(delivery_runs_to_its_end),
        IN_BOTH(failed_try_comes_again_when_due),
        IN_BOTH(log_keeps_the_last_ten),
        IN_BOTH(never_before_it_is_due),
        IN_BOTH(one_of_many_gets_a_row),
        IN_MONGO(loser_takes_another_under_the_same_charge),
        IN_MONGO(charge_for_rows_that_are_all_lost_is_given_back),
        IN_MONGO(workers_begin_at_different_subscribers),
        IN_BOTH(stale_token_changes_nothing),
        IN_BOTH(repeated_finish_knows_itself),
        IN_MONGO(finish_of_which_only_the_row_was_written_is_counted_once),
        IN_MONGO(repeated_claim_is_one),
        IN_MONGO(row_that_gets_free_just_then_is_not_taken_as_ended),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, world_main_setup, mongod_teardown);
}
