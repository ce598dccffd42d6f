/* test_lock_away - lost replies, and homes that do not answer */
#include <signal.h>

#include "lib/base/clock.h"
#include "tests/unit/home.h"
#include "tests/unit/relay.h"

enum {
    LONG_MS = 60000,
    ANSWER_MS = 1500, /* 900 are meant */
    PATIENT_MS = 20000,
    TRY_MS = 150,
    GIVE_BACK_LEAST_MS = 100 /* of 150: less is no lack of time */
};

static int begin_relayed(void **state)
{
    int failed = home_redis_stands(state);

    relay_begin(home.c);
    mongod.conf->redis_retry_delay =
        0; /* it would not pass: the clock stands */
    return failed;
}

static int end_relayed(void **state)
{
    relay_end();
    return home_end(state);
}

#define WITH_RELAY(test)                                                       \
    cmocka_unit_test_setup_teardown(test, begin_relayed, end_relayed)

/* Redis knows the scripts then: a lost reply is that of a thing done. */
static void rehearse(void)
{
    struct lock l = home_take("a", LONG_MS);

    assert_int_equal(home_renew(&l, LONG_MS), OK);
    assert_int_equal(home_release(&l), OK);
}

static int64_t last_fence(void)
{
    struct rds_reply reply;
    int64_t v = 0;

    assert_int_equal(rds_call(rds_find(home.c),
                              WORDS(STR("GET"), STR("t:l:fence")),
                              clock_mono_ms() + 5000, &home.c->arena, &reply),
                     RDS_OK);
    assert_true(str_to_i64(reply.text, &v));
    return v;
}

static void lost_grant_is_had_by_the_same_token(void **state)
{
    int64_t last = 0;
    struct lock l;

    (void)state;
    rehearse();
    for (int losses = 1; losses <= 3; losses++) {
        relay.lose->left = losses;
        l = home_take("a", LONG_MS);
        assert_int_equal(relay.lose->left, 0);
        assert_true(l.fence > last);
        assert_int_equal(l.fence, last_fence()); /* it was granted once */
        last = l.fence;
        assert_int_equal(home_release(&l), OK);
    }
}

static void lost_renewal_and_release_are_done(void **state)
{
    struct lock l, other;
    int64_t fence;

    (void)state;
    rehearse();
    l = other = home_take("a", LONG_MS);
    fence = l.fence;
    relay.lose->left = 1;
    assert_int_equal(home_renew(&l, 2 * LONG_MS), OK);
    assert_int_equal(relay.lose->left, 0);
    assert_int_equal(l.fence, fence);
    assert_in_range(home_row("a")->left_ms, LONG_MS + 1, 2 * LONG_MS);
    relay.lose->left = 1;
    other.token[0] = '\0';
    assert_int_equal(home_release(&other), ERR_LOCK_NOT_HELD);
    relay.lose->left = 1;
    assert_int_equal(home_release(&l), OK);
    assert_int_equal(l.held_ms, -1);
    assert_null(home_row("a"));
    assert_int_equal(home_release(&l), ERR_LOCK_NOT_FOUND);
}

/* Past the scripts */
static void forget(void)
{
    redis_do(rds_find(home.c),
             WORDS(STR("DEL"), STR("t:l:k:a"), STR("t:l:idx")));
}

/*
 * One try that hears nothing: true when it was granted and given back. All of
 * it takes TRY_MS and little more, unless giving back had no time left, which
 * is for the end of the ttl then and shows nothing.
 */
static bool is_given_back(const struct lock_ask *ask)
{
    struct lock_holder holder;
    int64_t fence;
    struct lock l;
    ms took;

    fence = last_fence();
    relay.lose->left = 1000000;
    clock_unset();
    took = -clock_mono_ms();
    home.c->deadline = clock_mono_ms() + TRY_MS;
    assert_int_equal(home_acquire(ask, &l, &holder), ERR_REDIS_UNAVAILABLE);
    took += clock_mono_ms();
    relay.lose->left = 0;
    redis_await(home.c->rds);
    home_stop_clock();
    home.c->deadline = clock_mono_ms() + PATIENT_MS;
    if (!home_row("a"))
        return last_fence() > fence;
    assert_true(took >= TRY_MS + GIVE_BACK_LEAST_MS);
    forget();
    return false;
}

/*
 * What cannot be cleared up is no grant, and is not left behind. Only replies
 * to an acquire are lost, which alone tells the owner.
 */
static void grant_never_heard_of_is_given_back(void **state)
{
    struct lock_ask ask = home_ask("a");
    int tries = 0;

    (void)state;
    rehearse();
    ask.owner = STR("loser");
    memcpy(relay.lose->word, "loser", 6);
    while (!is_given_back(&ask))
        assert_true(++tries < 100);
}

/* ---- Redis does not answer, or is not there */

static enum err acquire(void)
{
    struct lock_ask ask = home_ask("x");
    struct lock_holder holder;
    struct lock l;

    ask.wait_ms = PATIENT_MS;
    return home_acquire(&ask, &l, &holder);
}

static enum err renew(void)
{
    struct lock l = {.name = "a", .token = "t"};

    return home_renew(&l, LONG_MS);
}

static enum err release(void)
{
    struct lock l = {.name = "a", .token = "t"};

    return home_release(&l);
}

static enum err list(void)
{
    struct lock_row *rows;
    size_t n;
    enum err err = lock_list(home.c, &home.place, &rows, &n);

    ctx_forgive(home.c);
    return err;
}

/* Each call says so soon, but for pauses of the machine: one of several. */
static void assert_away_at_once(void)
{
    static enum err (*const calls[])(void) = {acquire, renew, release, list};

    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        ms best = PATIENT_MS;

        for (int tries = 0; tries < 10 && best > ANSWER_MS; tries++) {
            ms start = clock_mono_ms(), took;

            assert_int_equal(calls[i](), ERR_REDIS_UNAVAILABLE);
            took = clock_mono_ms() - start;
            best = took < best ? took : best;
        }
        assert_true(best <= ANSWER_MS);
    }
    assert_null(mongod_find(home.c, "_locks", "x"));
    assert_null(mongod_find(home.c, "_locks", "a"));
}

static void hung_redis_is_away(void **state)
{
    struct lock l = home_take("a", LONG_MS);

    (void)state;
    clock_unset();
    kill(redis.pid, SIGSTOP);
    assert_away_at_once();
    kill(redis.pid, SIGCONT);
    redis_await(home.c->rds);
    home_stop_clock();
    assert_int_equal(home_renew(&l, LONG_MS), OK);
    assert_int_equal(home_release(&l), OK);
}

static void dead_redis_is_away_and_an_empty_one_not_used(void **state)
{
    struct lock l = home_take("a", LONG_MS), next;

    (void)state;
    clock_unset();
    redis_stop();
    assert_away_at_once();
    redis_start("--appendonly", "no");
    redis_await(home.c->rds);
    assert_away_at_once(); /* without a data set */
    home_name("redis", HOME_OTHER);
    home_open(HOME_OTHER);
    home_stop_clock();
    home.place = (struct lock_place){0};
    assert_int_equal(home_renew(&l, LONG_MS), ERR_LOCK_NOT_FOUND);
    next = home_take("a", LONG_MS);
    assert_true(next.fence > l.fence);
    assert_int_equal(home_renew(&l, LONG_MS), ERR_LOCK_NOT_HELD);
}

/* Whoever cannot read where the locks are does not touch them. */
static void without_mongodb_there_is_no_home(void **state)
{
    enum err away = home.backend == &redis_lock ? ERR_REDIS_UNAVAILABLE
                                                : ERR_DB_UNAVAILABLE;
    ms now = clock_mono_ms();
    struct lock l;

    (void)state;
    clock_set(now, now);
    home.c->deadline = now + PATIENT_MS;
    l = home_take("a", LONG_MS);
    mongo_set_away(mongod.pool, true);
    assert_int_equal(home_renew(&l, LONG_MS),
                     home.backend == &redis_lock ? OK : away);
    clock_set(now + 1001, now);
    assert_int_equal(home_renew(&l, LONG_MS), away);
    assert_int_equal(home_release(&l), away);
    mongo_set_away(mongod.pool, false);
    assert_int_equal(home_release(&l), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_RELAY(lost_grant_is_had_by_the_same_token),
        WITH_RELAY(lost_renewal_and_release_are_done),
        WITH_RELAY(grant_never_heard_of_is_given_back),
        IN_REDIS(hung_redis_is_away),
        IN_REDIS(dead_redis_is_away_and_an_empty_one_not_used),
        IN_BOTH(without_mongodb_there_is_no_home),
    };

    redis_setup();
    relay_setup();
    return cmocka_run_group_tests(tests, mongod_setup, mongod_teardown);
}
