/* test_lock - the rules of one lock, in Redis and in MongoDB alike */
#include <stdio.h>

#include "lib/base/clock.h"
#include "tests/unit/home.h"

enum {
    LONG_MS = 60000,
    SHORT_MS = 150,
    PATIENT_MS = 20000
};

static enum err acquire_once(const char *name, struct lock *out,
                             struct lock_holder *holder)
{
    struct lock_ask ask = home_ask(name);

    return home_acquire(&ask, out, holder);
}

static struct lock of_stranger(const struct lock *l)
{
    struct lock other = *l;

    memset(other.token, 'z', sizeof other.token - 1);
    return other;
}

/* ---- one lock */

static void lock_is_one_holders(void **state)
{
    struct lock mine = home_take("a/b", LONG_MS), other;
    struct lock_holder holder;

    (void)state;
    assert_true(mine.fence > 0);
    assert_int_equal(strlen(mine.token), ID_TOKEN_MAX - 1);
    assert_int_equal(acquire_once("a/b", &other, &holder), ERR_LOCK_HELD);
    assert_str(holder.owner, "me");
    assert_str(holder.instance, "here");
    assert_in_range(holder.left_ms, 1, LONG_MS);
    assert_int_equal(acquire_once("a", &other, &holder), OK);
    assert_int_equal(home_release(&mine), OK);
    assert_int_equal(acquire_once("a/b", &other, &holder), OK);
    assert_string_not_equal(other.token, mine.token);
}

static void same_token_gets_the_same_fence(void **state)
{
    struct lock first = home_take("a", LONG_MS), again = first;
    struct lock_ask ask = home_ask("a");
    struct lock_holder holder;

    (void)state;
    again.fence = 0;
    again.ttl_ms = 2 * LONG_MS;
    assert_int_equal(home.backend->acquire(home.c, &home.place.dataset, &again,
                                           &ask, &holder),
                     LOCK_DONE);
    assert_int_equal(again.fence, first.fence);
    assert_in_range(home_row("a")->left_ms, LONG_MS + 1, 2 * LONG_MS);
}

static void texts_of_users_are_kept(void **state)
{
    static const char *const owners[] = {"", "$tok", "$$NOW", "a \"b\" {c}",
                                         "\xc3\xa4\xe2\x82\xac"};
    struct lock_holder holder;
    struct lock l;

    (void)state;
    for (size_t i = 0; i < sizeof owners / sizeof *owners; i++) {
        struct lock_ask ask = home_ask("a");

        ask.owner = str_of(owners[i]);
        ask.instance = STR("$inst");
        assert_int_equal(home_acquire(&ask, &l, &holder), OK);
        assert_int_equal(home_acquire(&ask, &l, &holder), ERR_LOCK_HELD);
        assert_str(holder.owner, owners[i]);
        assert_str(holder.instance, "$inst");
        assert_str(home_row("a")->owner, owners[i]);
        assert_int_equal(home_release(&l), OK);
    }
}

static void renewal_keeps_the_fence(void **state)
{
    struct lock l = home_take("a", LONG_MS);
    int64_t fence = l.fence;

    (void)state;
    l.fence = 0;
    assert_int_equal(home_renew(&l, 5 * LONG_MS), OK);
    assert_int_equal(l.fence, fence);
    assert_int_equal(l.ttl_ms, 5 * LONG_MS);
    assert_in_range(home_row("a")->left_ms, 4 * LONG_MS, 5 * LONG_MS);
    assert_int_equal(home_renew(&l, LONG_MS), OK);
    assert_in_range(home_row("a")->left_ms, 1, LONG_MS);
}

static void stranger_neither_renews_nor_releases(void **state)
{
    struct lock mine = home_take("a", LONG_MS), other = of_stranger(&mine);

    (void)state;
    assert_int_equal(home_renew(&other, 5 * LONG_MS), ERR_LOCK_NOT_HELD);
    assert_in_range(home_row("a")->left_ms, 1, LONG_MS);
    assert_int_equal(home_release(&other), ERR_LOCK_NOT_HELD);
    other = mine;
    other.token[0] = '\0';
    assert_int_equal(home_renew(&other, LONG_MS), ERR_LOCK_NOT_HELD);
    assert_int_equal(home_release(&other), ERR_LOCK_NOT_HELD);
    assert_int_equal(home_release(&mine), OK);
    assert_int_equal(home_release(&mine), ERR_LOCK_NOT_FOUND);
    assert_int_equal(home_renew(&mine, LONG_MS), ERR_LOCK_NOT_FOUND);
    assert_null(home_row("a"));
}

static void ended_lock_is_never_revived(void **state)
{
    struct lock gone = home_take("a", SHORT_MS), next;

    (void)state;
    home_await_end("a");
    assert_int_equal(home_renew(&gone, LONG_MS), ERR_LOCK_NOT_FOUND);
    assert_int_equal(home_release(&gone), ERR_LOCK_NOT_FOUND);
    assert_null(home_row("a"));
    next = home_take("a", LONG_MS);
    assert_true(next.fence > gone.fence);
    assert_int_equal(home_renew(&gone, LONG_MS), ERR_LOCK_NOT_HELD);
    assert_int_equal(home_release(&gone), ERR_LOCK_NOT_HELD);
    assert_int_equal(home_renew(&next, LONG_MS), OK);
}

/* A late acquire of who had it is a new grant, not the old one. */
static void same_token_after_the_end_is_a_new_grant(void **state)
{
    struct lock l = home_take("a", SHORT_MS), again = l;
    struct lock_ask ask = home_ask("a");
    struct lock_holder holder;

    (void)state;
    home_await_end("a");
    assert_int_equal(home.backend->acquire(home.c, &home.place.dataset, &again,
                                           &ask, &holder),
                     LOCK_DONE);
    assert_true(again.fence > l.fence);
}

static void fences_grow_with_each_grant(void **state)
{
    int64_t last = 0;
    struct lock l;

    (void)state;
    for (int i = 0; i < 12; i++) {
        char name[8];

        snprintf(name, sizeof name, "n%d", i % 3);
        l = home_take(name, i % 3 ? LONG_MS : SHORT_MS);
        assert_true(l.fence > last);
        last = l.fence;
        if (i % 3)
            assert_int_equal(home_release(&l), OK);
        else
            home_await_end(name);
    }
    assert_true(last < DATASET_FENCE_END);
}

static void validity_ends_before_the_lock(void **state)
{
    static const struct {
        ms ttl, margin;
    } rows[] = {{100, 250}, {2400, 250}, {10000, 1000}, {3600000, 360000}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ms before = clock_boot_ms(), valid = rows[i].ttl - rows[i].margin;
        struct lock l = home_take("a", rows[i].ttl);

        assert_true(l.valid_until >= before + valid);
        assert_true(l.valid_until <= clock_boot_ms() + valid);
        before = clock_boot_ms();
        if (rows[i].ttl > 250) {
            assert_int_equal(home_renew(&l, rows[i].ttl), OK);
            assert_true(l.valid_until >= before + valid);
            assert_true(l.valid_until <= clock_boot_ms() + valid);
            assert_int_equal(home_release(&l), OK);
        } else {
            home_await_end("a");
        }
    }
}

static void release_tells_how_long_it_was_held(void **state)
{
    struct lock l;
    ms start;

    (void)state;
    clock_unset();
    start = clock_mono_ms();
    home_stop_clock();
    l = home_take("a", LONG_MS);
    assert_int_equal(l.held_ms, -1);
    home_nap(30);
    assert_int_equal(home_release(&l), OK);
    clock_unset();
    assert_in_range(l.held_ms, 25, clock_mono_ms() - start + 25);
}

/* ---- waiting */

static void end_of_the_ttl_is_awaited(void **state)
{
    struct lock first = home_take("a", SHORT_MS), l;
    struct lock_ask ask = home_ask("a");
    struct lock_holder holder;

    (void)state;
    ask.wait_ms = PATIENT_MS;
    assert_int_equal(home_acquire(&ask, &l, &holder), OK);
    assert_true(l.fence > first.fence);
}

struct scene {
    struct ctx *other;
    struct lock l; /* to be released */
    int calls, at; /* at which call something happens */
    bool stops;
};

/* At its `at`-th call somebody else releases the lock, or nobody waits. */
static bool on_stop(void *arg)
{
    struct scene *s = arg;
    struct lock_place place = {0};

    if (++s->calls != s->at)
        return false;
    if (s->other)
        assert_int_equal(lock_release(s->other, &place, &s->l), OK);
    return s->stops;
}

static void waiter_gets_it_when_it_is_released(void **state)
{
    struct ctx other;
    struct scene s = {.other = &other, .l = home_take("a", LONG_MS), .at = 4};
    struct lock_ask ask = home_ask("a");
    struct lock_holder holder;
    struct lock l;

    (void)state;
    home_join(&other);
    ask.wait_ms = PATIENT_MS;
    ask.stop = on_stop;
    ask.stop_arg = &s;
    assert_int_equal(home_acquire(&ask, &l, &holder), OK);
    assert_true(s.calls >= 4);
    assert_true(l.fence > s.l.fence);
    home_leave(&other);
}

/*
 * A lock that another has is waited for between `least` and `most`. A pause of
 * the machine may make a try last longer, or find the home away: one of several
 * is enough.
 */
static void assert_waits(const struct lock_ask *ask, ms time, ms least, ms most)
{
    ms deadline = home.c->deadline, start, took;
    struct lock_holder holder;
    bool good = false;
    struct lock l;

    for (int i = 0; i < 20 && !good; i++) {
        enum err err;

        start = clock_mono_ms();
        home.c->deadline = start + time;
        err = home_acquire(ask, &l, &holder);
        took = clock_mono_ms() - start;
        assert_int_not_equal(err, OK);
        assert_true(err == ERR_LOCK_HELD || took >= LOCK_CALL_MS - 50);
        good = err == ERR_LOCK_HELD && took <= most;
        if (err == ERR_LOCK_HELD) {
            assert_true(took >= least);
            assert_in_range(holder.left_ms, 1, LONG_MS);
        }
    }
    assert_true(good);
    home.c->deadline = deadline;
}

static void wait_ends_in_time(void **state)
{
    struct lock_ask ask = home_ask("a");

    (void)state;
    (void)home_take("a", LONG_MS);
    clock_unset();
    ask.wait_ms = 200;
    assert_waits(&ask, PATIENT_MS, 200, 1200);
    /* nor does it outlast the deadline */
    ask.wait_ms = PATIENT_MS;
    assert_waits(&ask, LOCK_CALL_MS + 300, 300, 1200);
}

static void who_does_not_wait_any_more_gets_nothing(void **state)
{
    struct scene s = {.at = 3, .stops = true};
    struct lock_ask ask = home_ask("a");
    struct lock_holder holder;
    struct lock l = home_take("a", LONG_MS);

    (void)state;
    ask.wait_ms = PATIENT_MS;
    ask.stop = on_stop;
    ask.stop_arg = &s;
    assert_int_equal(home_acquire(&ask, &l, &holder), ERR_CUT);
    assert_int_equal(s.calls, 3);
    s = (struct scene){.at = 1, .stops = true};
    ask.name = STR("b");
    assert_int_equal(home_acquire(&ask, &l, &holder), ERR_CUT);
    assert_null(home_row("b"));
}

/* The call after the grant is the second. */
static void grant_that_nobody_waits_for_is_given_back(void **state)
{
    struct scene s = {.at = 2, .stops = true};
    struct lock_ask ask = home_ask("a");
    struct lock_holder holder;
    struct lock l;

    (void)state;
    ask.stop = on_stop;
    ask.stop_arg = &s;
    assert_int_equal(home_acquire(&ask, &l, &holder), ERR_CUT);
    assert_int_equal(s.calls, 2);
    assert_null(home_row("a"));
}

static bool deadline_comes(void *arg)
{
    int *calls = arg;

    if (++*calls == 2)
        home.c->deadline = clock_mono_ms() - 1;
    return false;
}

static void grant_after_the_deadline_is_given_back(void **state)
{
    ms deadline = home.c->deadline;
    struct lock_ask ask = home_ask("a");
    struct lock_holder holder;
    int calls = 0;
    struct lock l;
    enum err err;

    (void)state;
    ask.stop = deadline_comes;
    ask.stop_arg = &calls;
    err = home_acquire(&ask, &l, &holder);
    assert_true(err == ERR_REDIS_UNAVAILABLE || err == ERR_DB_UNAVAILABLE);
    assert_int_equal(calls, 2);
    home.c->deadline = deadline;
    assert_null(home_row("a"));
}

/* ---- hold: the clock stands */

static struct lock take_at(ms now)
{
    clock_set(now, now);
    home.c->deadline = now + PATIENT_MS;
    return home_take("a", 10000);
}

static enum err hold_at(struct lock *l, ms now, ms *next)
{
    enum err err;

    clock_set(now, now);
    home.c->deadline = now + PATIENT_MS;
    err = lock_hold(home.c, &home.place, l, next);
    ctx_forgive(home.c);
    return err;
}

static void holder_renews_each_quarter(void **state)
{
    ms now = clock_mono_ms(), next = 0;
    struct lock l = take_at(now);

    (void)state;
    assert_int_equal(l.valid_until, now + 9000);
    assert_int_equal(hold_at(&l, now + 2499, &next), OK);
    assert_int_equal(next, now + 2500);
    assert_int_equal(l.valid_until, now + 9000);
    assert_int_equal(hold_at(&l, now + 2500, &next), OK);
    assert_int_equal(next, now + 5000);
    assert_int_equal(l.valid_until, now + 2500 + 9000);
    /* paused for too long: whatever the home would say */
    assert_int_equal(hold_at(&l, now + 2500 + 9000, &next), ERR_LOCK_NOT_HELD);
}

static void holder_stops_when_it_is_refused(void **state)
{
    ms now = clock_mono_ms(), next = 0;
    struct lock l = take_at(now), other = l;

    (void)state;
    assert_int_equal(home_release(&other), OK);
    assert_int_equal(hold_at(&l, now + 2499, &next), OK);
    assert_int_equal(hold_at(&l, now + 2500, &next), ERR_LOCK_NOT_HELD);
}

/* The data set is not open any more: no answer, which is no loss yet. */
static void holder_goes_on_while_it_is_valid(void **state)
{
    ms now = clock_mono_ms(), next = 0;
    struct lock l = take_at(now);

    (void)state;
    home_name("nowhere", HOME_ID);
    assert_int_equal(hold_at(&l, now + 5000, &next), OK);
    assert_int_equal(next, now + 5250);
    assert_int_equal(hold_at(&l, now + 8900, &next), OK);
    assert_int_equal(next, now + 9000);
    assert_int_equal(hold_at(&l, next, &next), ERR_LOCK_NOT_HELD);
    assert_int_equal(l.valid_until, now + 9000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BOTH(lock_is_one_holders),
        IN_BOTH(same_token_gets_the_same_fence),
        IN_BOTH(texts_of_users_are_kept),
        IN_BOTH(renewal_keeps_the_fence),
        IN_BOTH(stranger_neither_renews_nor_releases),
        IN_BOTH(ended_lock_is_never_revived),
        IN_BOTH(same_token_after_the_end_is_a_new_grant),
        IN_BOTH(fences_grow_with_each_grant),
        IN_BOTH(validity_ends_before_the_lock),
        IN_BOTH(release_tells_how_long_it_was_held),
        IN_BOTH(end_of_the_ttl_is_awaited),
        IN_BOTH(waiter_gets_it_when_it_is_released),
        IN_BOTH(wait_ends_in_time),
        IN_BOTH(who_does_not_wait_any_more_gets_nothing),
        IN_BOTH(grant_that_nobody_waits_for_is_given_back),
        IN_BOTH(grant_after_the_deadline_is_given_back),
        IN_BOTH(holder_renews_each_quarter),
        IN_BOTH(holder_stops_when_it_is_refused),
        IN_BOTH(holder_goes_on_while_it_is_valid),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, mongod_setup, mongod_teardown);
}
