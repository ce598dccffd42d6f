/* test_lock_home - the data set that locks belong to, listing, clean-up */
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/metrics.h"
#include "tests/unit/home.h"

enum {
    LONG_MS = 60000,
    PATIENT_MS = 20000
};

static enum err acquire_once(const char *name, struct lock *out,
                             struct lock_holder *holder)
{
    struct lock_ask ask = home_ask(name);

    return home_acquire(&ask, out, holder);
}

/* ---- the data set */

static void other_data_set_is_read_again(void **state)
{
    struct lock l = home_take("a", LONG_MS), other;
    struct lock_holder holder;

    (void)state;
    home_name(home.backend == &redis_lock ? "redis" : "mongo", HOME_OTHER);
    if (home.backend == &redis_lock)
        home_open(HOME_OTHER);
    home.place.dataset.read_boot = clock_boot_ms(); /* as if read just now */
    other = home_take("b", LONG_MS);
    assert_string_equal(home.place.dataset.id, HOME_OTHER);
    assert_true(other.fence > l.fence);
    assert_int_equal(acquire_once("b", &other, &holder), ERR_LOCK_HELD);
}

static void place_is_read_again_after_a_second(void **state)
{
    ms now = clock_mono_ms();
    struct lock l;

    (void)state;
    clock_set(now, now);
    home.c->deadline = now + PATIENT_MS;
    l = home_take("a", LONG_MS);
    assert_int_equal(home.place.dataset.read_boot, now);
    clock_set(now + 1000, now);
    assert_int_equal(home_renew(&l, LONG_MS), OK);
    assert_int_equal(home.place.dataset.read_boot, now);
    clock_set(now + 1001, now);
    assert_int_equal(home_renew(&l, LONG_MS), OK);
    assert_int_equal(home.place.dataset.read_boot, now + 1001);
}

static void assert_unavailable(void)
{
    enum err want = home.backend == &redis_lock ? ERR_REDIS_UNAVAILABLE
                                                : ERR_DB_UNAVAILABLE;
    struct lock_holder holder;
    struct lock_count count;
    struct lock_row *rows;
    int64_t removed;
    struct lock l;
    size_t n;

    home.place = (struct lock_place){0};
    assert_int_equal(acquire_once("x", &l, &holder), want);
    l = (struct lock){.name = "x", .token = "t"};
    assert_int_equal(home_renew(&l, LONG_MS), want);
    assert_int_equal(home_release(&l), want);
    assert_int_equal(lock_list(home.c, &home.place, &rows, &n), want);
    ctx_forgive(home.c);
    assert_int_equal(lock_clean(home.c, &home.place, &removed), want);
    ctx_forgive(home.c);
    assert_int_equal(lock_count(home.c, &home.place, STR("here"), &count),
                     want);
    ctx_forgive(home.c);
    assert_null(mongod_find(home.c, "_locks", "x"));
}

static void nothing_is_done_unless_its_home_is_open(void **state)
{
    const char *own = home.backend == &redis_lock ? "redis" : "mongo";
    const char *other = home.backend == &redis_lock ? "mongo" : "redis";

    (void)state;
    home_name(own, "");
    assert_unavailable();
    home_name(own, "no id");
    assert_unavailable();
    home_name(other, HOME_ID);
    assert_unavailable();
    home_name("", HOME_ID);
    assert_unavailable();
    mongod_do(home.c, BCON_NEW("drop", "_cluster"));
    assert_unavailable();
}

static void redis_with_another_data_set_is_not_used(void **state)
{
    (void)state;
    home_name("redis", HOME_OTHER);
    assert_unavailable();
    redis_do(rds_find(home.c), WORDS(STR("DEL"), STR("t:dataset")));
    assert_unavailable();
}

static void no_fence_above_the_reservation(void **state)
{
    struct lock l = home_take("a", LONG_MS);
    struct lock_holder holder;

    (void)state;
    redis_do(rds_find(home.c), WORDS(STR("SET"), STR("t:l:max"), STR("1000")));
    assert_int_equal(acquire_once("b", &l, &holder), ERR_REDIS_UNAVAILABLE);
    l = (struct lock){.name = "a"};
    assert_int_equal(home_release(&l), ERR_LOCK_NOT_HELD);
    assert_null(home_row("b"));
}

/* ---- all of them */

static void listing_is_whole_and_by_the_end(void **state)
{
    enum {
        N = 2 * LOCK_LIST_BATCH + 37
    };
    static bool seen[4 * N];
    struct lock_row *rows;
    size_t n;

    (void)state;
    memset(seen, 0, sizeof seen);
    home_fill("1", N / 2, LONG_MS); /* many end in the same ms */
    home_fill("2", N - N / 2, 2 * LONG_MS);
    home_fill("gone", 7, -1000);
    (void)home_take("last", 50 * LONG_MS);
    assert_int_equal(lock_list(home.c, &home.place, &rows, &n), OK);
    assert_int_equal(n, N + 1);
    for (size_t i = 0; i < n; i++) {
        int64_t k;

        assert_true(i == 0 || rows[i].left_ms + 1000 >= rows[i - 1].left_ms);
        assert_true(rows[i].left_ms > 0 && rows[i].at_wall > 0);
        if (i == N) {
            assert_str(rows[i].name, "last");
            assert_str(rows[i].owner, "me");
            assert_str(rows[i].instance, "here");
            continue;
        }
        assert_str(rows[i].owner, "somebody");
        assert_str(rows[i].instance, "filled");
        assert_true(str_to_i64(rows[i].name, &k) && k >= 0);
        k = rows[i].name.p[0] == '1' ? rows[i].fence : N + rows[i].fence;
        assert_in_range(k, 1, 2 * N);
        assert_false(seen[k]);
        seen[k] = true;
    }
}

static void clean_up_goes_on_until_nothing_is_left(void **state)
{
    struct lock_count count;
    int64_t removed = -1;
    struct lock l;

    (void)state;
    home_fill("gone", 1203, -1000);
    home_fill("held", 40, LONG_MS);
    l = home_take("a", LONG_MS);
    assert_int_equal(lock_count(home.c, &home.place, STR("filled"), &count),
                     OK);
    assert_int_equal(count.held, 41);
    assert_int_equal(count.owned, 40);
    /* in Redis the acquire has removed some */
    assert_in_range(count.expired, 1203 - 64, 1203);
    assert_int_equal(lock_clean(home.c, &home.place, &removed), OK);
    assert_int_equal(removed, count.expired);
    assert_int_equal(lock_clean(home.c, &home.place, &removed), OK);
    assert_int_equal(removed, 0);
    assert_int_equal(lock_count(home.c, &home.place, STR("here"), &count), OK);
    assert_int_equal(count.held, 41);
    assert_int_equal(count.owned, 1);
    assert_int_equal(count.expired, 0);
    assert_int_equal(home_release(&l), OK);
}

static void clean_up_removes_entries_without_a_lock(void **state)
{
    int64_t removed = -1;
    struct lock_row *rows;
    size_t n;

    (void)state;
    home_fill("h", 600, LONG_MS);
    for (int i = 1; i <= 600; i += i < 500 ? 50 : 1) {
        char name[32];

        snprintf(name, sizeof name, "t:l:k:h%d", i);
        redis_do(rds_find(home.c), WORDS(STR("DEL"), str_of(name)));
    }
    assert_int_equal(lock_list(home.c, &home.place, &rows, &n), OK);
    assert_int_equal(n, 600 - 110);
    assert_int_equal(lock_clean(home.c, &home.place, &removed), OK);
    assert_int_equal(removed, 110);
    assert_int_equal(lock_list(home.c, &home.place, &rows, &n), OK);
    assert_int_equal(n, 600 - 110);
}

static void acquisitions_and_holds_are_counted(void **state)
{
    int64_t was[METRIC_LOCK_OUTCOME_N];
    struct lock_holder holder;
    struct lock l;

    (void)state;
    for (int i = 0; i < METRIC_LOCK_OUTCOME_N; i++)
        was[i] = metrics_sum(METRIC_LOCK_ACQUISITIONS, (size_t)i);
    l = home_take("a", LONG_MS);
    assert_int_equal(acquire_once("a", &l, &holder), ERR_LOCK_HELD);
    home_name("", "");
    assert_int_equal(acquire_once("a", &l, &holder), home.backend == &redis_lock
                                                         ? ERR_REDIS_UNAVAILABLE
                                                         : ERR_DB_UNAVAILABLE);
    for (int i = 0; i < METRIC_LOCK_OUTCOME_N; i++)
        assert_int_equal(metrics_sum(METRIC_LOCK_ACQUISITIONS, (size_t)i),
                         was[i] + 1);
}

/* ---- names */

static void names_are_judged(void **state)
{
    static const char *const good[] = {
        "a", "A-Za-z0.9_:@", "a/b", "...",  "a/..b", "2026-01-01T00:00:00",
        "/", "/a",           "a/",  "a//b", "a/./b", "../a"};
    static const char *const bad[] = {"",     ".",        "..",  "a b", "a?b",
                                      "a%20", "\xc3\xa4", "a\n", "a*",  "$a"};
    char most[LOCK_NAME_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(lock_is_name(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(lock_is_name(str_of(bad[i])));
    assert_false(lock_is_name((str){"a\0b", 3}));
    memset(most, 'a', sizeof most);
    assert_true(lock_is_name((str){most, LOCK_NAME_MAX}));
    assert_false(lock_is_name((str){most, LOCK_NAME_MAX + 1}));
}

static void owners_are_judged(void **state)
{
    static const char *const good[] = {"", "job 7", "\xc3\xa4", "\xc2\xa0",
                                       "\"$'\\"};
    static const char *const bad[] = {"a\n",
                                      "\x7f",
                                      "\xc2\x9b"
                                      "31m",
                                      "\xff",
                                      "\x1b[0m",
                                      "a\xc3"};
    char most[LOCK_OWNER_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(lock_is_owner(str_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(lock_is_owner(str_of(bad[i])));
    assert_false(lock_is_owner((str){"a\0b", 3}));
    memset(most, 'a', sizeof most);
    assert_true(lock_is_owner((str){most, LOCK_OWNER_MAX}));
    assert_false(lock_is_owner((str){most, LOCK_OWNER_MAX + 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_judged),
        cmocka_unit_test(owners_are_judged),
        IN_BOTH(other_data_set_is_read_again),
        IN_BOTH(place_is_read_again_after_a_second),
        IN_BOTH(nothing_is_done_unless_its_home_is_open),
        IN_REDIS(redis_with_another_data_set_is_not_used),
        IN_REDIS(no_fence_above_the_reservation),
        IN_BOTH(listing_is_whole_and_by_the_end),
        IN_BOTH(clean_up_goes_on_until_nothing_is_left),
        IN_REDIS(clean_up_removes_entries_without_a_lock),
        IN_BOTH(acquisitions_and_holds_are_counted),
    };

    redis_setup();
    if (metrics_setup(1, (struct metric_labels){0},
                      (struct metric_labels){0}) != OK)
        return 1;
    metrics_join(0);
    return cmocka_run_group_tests(tests, mongod_setup, mongod_teardown);
}
