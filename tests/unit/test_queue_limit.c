/* test_queue_limit - how many may run: limits in every window, caps, holds,
 * breakers */
#include "lib/coord/mongo_queue.h"

#include <poll.h>
#include <pthread.h>

#include "tests/unit/queue_paths.h"

enum {
    CLAIMANTS = 8,
    SMALL_MS = 1000
};

/* ---- limits */

struct grants {
    pthread_t thread;
    const struct ctx *like;
    ms end;
    ms at[4000]; /* as stored with the charge */
    int n;
    bool unknown;
};
static struct grants grants[CLAIMANTS];
static ms all[CLAIMANTS * 4000];

/* The time that the charge of this token has, where the limit is. */
static ms charged_at(struct ctx *c, const struct claim *cl)
{
    bool by_all = c->conf->webhooks_global_rate_limit_per_minute > 0;
    str id = arena_strf(&c->arena, "webhook:" STR_FMT,
                        STR_ARG(by_all ? STR("*") : cl->job.lim));
    bson_t *cmd = mongo_bson(c), *reply;
    bson_iter_t it, at;

    BCON_APPEND(cmd, "aggregate", QUEUE_LIMITS, "pipeline", "[", "{", "$match",
                "{", "_id", BCON_UTF8(id.p), "}", "}", "{", "$unwind", "$fl",
                "}", "{", "$match", "{", "fl.tok", BCON_UTF8(cl->token), "}",
                "}", "]", "cursor", "{", "}");
    assert_int_equal(mongo_read(c, cmd, &reply), OK);
    assert_true(bson_iter_init(&it, reply));
    assert_true(
        bson_iter_find_descendant(&it, "cursor.firstBatch.0.fl.at", &at));
    return bson_iter_date_time(&at);
}

static ms granted_at(struct ctx *c, const struct claim *cl)
{
    if (!c->index[0])
        return charged_at(c, cl);
    return paths_number(
        PATHS_ASK(c, STR("HGET"), paths_key(c, "j:", cl->job.id), STR("gt")));
}

/* Claims and finishes all the time; one in ten is given back. */
static void *claim_all(void *arg)
{
    struct grants *g = arg;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    struct claim cl;
    struct ctx c;

    world_join(&c, g->like);
    k.tally = tally_new();
    for (int turn = 0; clock_mono_ms() < g->end; turn++) {
        enum claim_result result = world_claim(&c, &k, &cl);

        g->unknown = g->unknown || result == CLAIM_UNKNOWN;
        if (result == CLAIM_GOT && turn % 10 == 0) {
            assert_int_equal(queue_give_back(&c, &k, &cl), FINISH_DONE);
        } else if (result == CLAIM_GOT) {
            g->at[g->n++] = granted_at(&c, &cl);
            world_finish(&c, &k, &cl, &r);
        } else {
            poll(NULL, 0, 1);
            k.skips_n = 0; /* as many tries as can be */
        }
        world_reset(&c);
    }
    world_settled(&c, &k);
    tally_free(k.tally);
    world_leave(&c);
    return NULL;
}

static int by_time(const void *a, const void *b)
{
    const ms *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* All grants in order of time into all[]. */
static int run_claimants(const struct ctx *c, ms for_ms)
{
    int n = 0;

    memset(grants, 0, sizeof grants);
    for (int i = 0; i < CLAIMANTS; i++) {
        grants[i].like = c;
        grants[i].end = clock_mono_ms() + for_ms;
        assert_int_equal(
            pthread_create(&grants[i].thread, NULL, claim_all, &grants[i]), 0);
    }
    for (int i = 0; i < CLAIMANTS; i++) {
        pthread_join(grants[i].thread, NULL);
        assert_false(grants[i].unknown);
        memcpy(all + n, grants[i].at, (size_t)grants[i].n * sizeof *all);
        n += grants[i].n;
    }
    qsort(all, (size_t)n, sizeof *all, by_time);
    return n;
}

static void assert_exact(int n, int limit, ms least)
{
    for (int i = limit; i < n; i++)
        if (all[i] - all[i - limit] <= least)
            fail_msg("%d grants in %lld ms", limit + 1,
                     (long long)(all[i] - all[i - limit]));
}

/*
 * Never more than the limit, and in one of several runs as much: in a pause of
 * the machine nobody claims. Gives the number of all grants.
 */
static int run_at_limit(const struct ctx *c, int limit, ms window, ms for_ms)
{
    ms least = window + queue_slack_ms(mongod.conf);
    int sum = 0;

    for (int i = 0; i < 5; i++) {
        int n = run_claimants(c, for_ms);

        assert_exact(n, limit, least);
        sum += n;
        if (n >= limit * (int)(for_ms / least))
            return sum;
        poll(NULL, 0, (int)least + 1); /* or the next would begin with less */
    }
    fail_msg("%d grants in 5 runs of %lld ms", sum, (long long)for_ms);
    return 0;
}

static void limit_holds_in_every_window(void **state)
{
    enum {
        LIMIT = 25,
        RAN_MS = 3600
    };
    struct ctx *c = *state;
    int n;

    world_window(c, SMALL_MS);
    world_hook(c, &(struct hook){.n = 1, .limit = LIMIT});
    world_fill(c, (struct put){.hook = 1}, 0, 1000);
    n = run_at_limit(c, LIMIT, SMALL_MS, RAN_MS);
    world_reset(c);
    assert_int_equal(world_number(world_limits(c, 1), "delivered", 0), n);
    if (c->index[0])
        return;
    assert_true(world_number(world_limits(c, 1), "limited", 0) > 0);
    assert_int_equal(world_grants(c, 1), LIMIT);
}

static void limit_over_all_holds_in_every_window(void **state)
{
    enum {
        LIMIT = 30,
        RAN_MS = 2500
    };
    struct ctx *c = *state;

    world_window(c, SMALL_MS);
    world_limit_all(c, LIMIT);
    for (int i = 1; i <= 4; i++) {
        world_hook(c, &(struct hook){.n = i});
        world_fill(c, (struct put){.hook = i}, 0, 200);
    }
    (void)run_at_limit(c, LIMIT, SMALL_MS, RAN_MS);
}

static void great_limit_over_all_is_kept_by_each_second_grant(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct candidate job = {.id = STR("j"), .lim = STR("s")};
    const struct settlement s = {.attempts = 1};
    struct charge how = {.limit = 100000, .window_ms = WINDOW_MS};
    int n = 0;

    mongod.conf->webhooks_global_rate_limit_per_minute = 1100;
    for (; n < 1200; n++) {
        char token[ID_TOKEN_MAX];

        assert_int_equal(id_token(token), OK);
        if (mongo_queue_charge(c, &k, &job, token, &how) != CHARGE_GRANTED)
            break;
        assert_int_equal(
            mongo_queue_settle(c, QUEUE_WEBHOOK, job.lim, str_of(token), &s),
            OK);
        world_reset(c);
    }
    assert_true(how.all && how.limited);
    assert_in_range(n, 1099, 1101);
    assert_in_range(
        world_count(mongod_find(c, "_limits", "webhook:*"), "grants"), 549,
        551);
}

static void refused_says_how_long(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct candidate job = {.id = STR("j"), .lim = STR("s")};
    struct charge how = {.limit = 2, .window_ms = 700};
    enum charge_result third = CHARGE_GRANTED;

    /* in a pause of the machine the window ends: once more */
    for (int i = 0; i < 20 && third == CHARGE_GRANTED; i++) {
        job.lim = arena_strf(&c->arena, "s%d", i);
        for (int n = 0; n < 2; n++)
            assert_int_equal(
                mongo_queue_charge(c, &k, &job, n ? "a" : "b", &how),
                CHARGE_GRANTED);
        third = mongo_queue_charge(c, &k, &job, "c", &how);
    }
    assert_int_equal(third, CHARGE_REFUSED);
    assert_true(how.limited && !how.all);
    assert_in_range(how.wait_ms, 1, 701);
    how.window_ms = 3600000;
    assert_int_equal(mongo_queue_charge(c, &k, &job, "c", &how),
                     CHARGE_REFUSED);
    assert_int_equal(how.wait_ms, 1000);
    assert_int_equal(mongo_queue_charge(c, &k, &job, "a", &how),
                     CHARGE_GRANTED);
}

static void grants_of_a_clock_far_ahead_do_not_count(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct candidate job = {.id = STR("j"), .lim = STR("s")};
    struct charge how = {.limit = 2, .window_ms = 1000};
    ms ahead = clock_wall_ms() + 3600000;

    coord_put(c, "_limits",
              BCON_NEW("_id", "webhook:s", "grants", "[", BCON_DATE_TIME(ahead),
                       BCON_DATE_TIME(ahead), "]"));
    assert_int_equal(mongo_queue_charge(c, &k, &job, "a", &how),
                     CHARGE_GRANTED);
}

/* ---- caps, holds, breaker */

static void no_more_in_flight_than_the_cap(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    struct claim first, second;

    world_cap(c, &k, 2);
    world_hook(c, &(struct hook){.n = 1});
    world_fill(c, (struct put){.hook = 1}, 0, 5);
    first = world_got(c, &k);
    second = world_got(c, &k);
    world_none(c, &k);
    assert_int_equal(world_flying(c, 1), 2);
    assert_int_equal(world_number(world_limits(c, 1), "limited", 0), 0);
    world_finish(c, &k, &first, &r);
    k.skips_n = 0;
    (void)world_got(c, &k);
    k.skips_n = 0;
    world_none(c, &k);
    /* what dead workers had in flight ends by itself */
    world_lapse(c, second.job.id);
    if (!c->index[0])
        coord_change(c, "_limits", world_limits_id(c, 1).p,
                     BCON_NEW("$set", "{", "fl.until", "$$NOW", "}"));
    k.skips_n = 0;
    (void)world_got(c, &k);
}

/* Of webhook 1 */
static int64_t kept(struct ctx *c, const char *in_limits, const char *in_index)
{
    if (!c->index[0])
        return world_number(world_limits(c, 1), in_limits, 0);
    return paths_number(PATHS_ASK(c, STR("HGET"),
                                  paths_key(c, "l:", world_hook_id(c, 1)),
                                  str_of(in_index)));
}

static int64_t own_cap(struct ctx *c)
{
    return kept(c, "pc", "pc");
}

static int64_t held_until(struct ctx *c)
{
    return kept(c, "hold", "h");
}

static void breaker_lets_one_try_a_minute_pass(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result bad = world_failed(3600000), good = world_done();
    struct claim cl;

    world_hook(c, &(struct hook){.n = 1});
    world_fill(c, (struct put){.hook = 1}, 0, 30);
    for (int i = 0; i < QUEUE_BREAKER_FAILURES; i++) {
        assert_int_equal(own_cap(c), 0);
        cl = world_got(c, &k);
        world_finish(c, &k, &cl, &bad);
        world_settled(c, &k);
    }
    for (int i = 0; i < 2; i++) {
        ms held = held_until(c) - clock_wall_ms();

        assert_int_equal(own_cap(c), 1);
        assert_in_range(held, QUEUE_BREAKER_MS - 10000, QUEUE_BREAKER_MS);
        k.skips_n = 0;
        world_none(c, &k);
        world_end_hold(c, &k, 1);
        cl = world_got(c, &k);
        world_none(c, &k);
        world_finish(c, &k, &cl, i == 0 ? &bad : &good);
        world_settled(c, &k);
    }
    assert_int_equal(own_cap(c), 0);
    assert_true(held_until(c) <= clock_wall_ms());
    assert_int_equal(kept(c, "fails", "fails"), 0);
    k.skips_n = 0;
    (void)world_got(c, &k);
    (void)world_got(c, &k);
}

static void receiver_that_says_wait_is_left_alone(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result wait = world_failed(0), good = world_done();
    struct claim cl, other;

    wait.hold_ms = 3600000;
    world_hook(c, &(struct hook){.n = 1});
    world_fill(c, (struct put){.hook = 1}, 0, 5);
    cl = world_got(c, &k);
    other = world_got(c, &k);
    world_finish(c, &k, &cl, &wait);
    world_finish(c, &k, &other, &good); /* does not end that wait */
    world_none(c, &k);
    k.skips_n = 0;
    world_none(c, &k);
    assert_int_equal(queue_unhold(c, QUEUE_WEBHOOK, world_hook_id(c, 1)), OK);
    assert_int_equal(queue_unhold(c, QUEUE_WEBHOOK, world_hook_id(c, 9)), OK);
    assert_null(world_limits(c, 9));
    k.skips_n = 0;
    (void)world_got(c, &k);
}

static void hold_is_never_shortened_by_another(void **state)
{
    struct ctx *c = *state;
    str lim = world_hook_id(c, 1);

    assert_int_equal(mongo_queue_hold(c, QUEUE_WEBHOOK, lim, 60000), OK);
    assert_int_equal(mongo_queue_hold(c, QUEUE_WEBHOOK, lim, 1000), OK);
    assert_true(world_number(world_limits(c, 1), "hold", 0) >
                clock_wall_ms() + 30000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BOTH(limit_holds_in_every_window),
        IN_BOTH(limit_over_all_holds_in_every_window),
        IN_MONGO(great_limit_over_all_is_kept_by_each_second_grant),
        IN_MONGO(refused_says_how_long),
        IN_MONGO(grants_of_a_clock_far_ahead_do_not_count),
        IN_BOTH(no_more_in_flight_than_the_cap),
        IN_BOTH(breaker_lets_one_try_a_minute_pass),
        IN_BOTH(receiver_that_says_wait_is_left_alone),
        IN_MONGO(hold_is_never_shortened_by_another),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, world_main_setup, mongod_teardown);
}
