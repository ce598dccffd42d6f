/* test_usable - may Redis be used, look by look */
#include "lib/coord/usable.h"

#include <string.h>

#include "tests/unit/support.h"

static const struct usable_look good = {true, true, "aa"};
static const struct usable_look silent = {false, false, ""};

static struct dataset data_set(ms read_boot)
{
    return (struct dataset){
        .home = DATASET_REDIS, .id = "aa", .read_boot = read_boot};
}

/* One look at `now`, with a data set read at the same time. */
static bool look(struct usable *u, const struct usable_look *l, ms now)
{
    struct dataset d = data_set(now);

    (void)usable_note(u, l, &d, now);
    return u->usable;
}

/* One that has been usable since before `now`. */
static struct usable used_until(ms now)
{
    struct usable u = {false, 0, 0};

    assert_false(look(&u, &good, now - 2000));
    assert_true(look(&u, &good, now));
    return u;
}

static void it_is_usable_after_answers_for_a_second(void **state)
{
    struct usable u = {false, 0, 0};

    (void)state;
    for (ms now = 5000; now < 6000; now += 250)
        assert_false(look(&u, &good, now));
    assert_true(look(&u, &good, 6000));
}

static void failed_ping_starts_the_second_anew(void **state)
{
    struct usable u = {false, 0, 0};

    (void)state;
    assert_false(look(&u, &good, 5000));
    assert_false(look(&u, &silent, 5900));
    assert_false(look(&u, &good, 6000));
    assert_false(look(&u, &good, 6999));
    assert_true(look(&u, &good, 7000));
}

static void it_is_away_when_pings_fail_for_1500_ms(void **state)
{
    struct usable u = used_until(9000);

    (void)state;
    assert_true(look(&u, &silent, 10000));
    assert_true(look(&u, &silent, 11499));
    assert_false(look(&u, &silent, 11500));
    assert_false(look(&u, &good, 11600));
    assert_true(look(&u, &good, 12600));
}

static void short_gap_changes_nothing(void **state)
{
    struct usable u = used_until(9000);

    (void)state;
    assert_true(look(&u, &silent, 10000));
    assert_true(look(&u, &silent, 11000));
    assert_true(look(&u, &good, 11250));
    assert_true(look(&u, &silent, 12000));
    assert_true(look(&u, &silent, 13000));
}

/* A program that was busy or stopped has only one failed ping to show. */
static void want_of_a_ping_is_no_failure(void **state)
{
    struct usable u = used_until(9000);

    (void)state;
    assert_true(look(&u, &good, 99000));
    assert_true(look(&u, &silent, 199000));
    assert_false(look(&u, &silent, 299000));
}

static void another_data_set_is_away_at_once(void **state)
{
    struct usable u = used_until(9000);
    struct usable_look other = good;

    (void)state;
    other.held = "bb";
    assert_false(look(&u, &other, 9250));
    assert_true(look(&u, &good, 9500));
    other.held = "";
    assert_false(look(&u, &other, 9750));
}

static void unfit_server_is_away_at_once(void **state)
{
    struct usable u = used_until(9000);
    struct usable_look unfit = good;

    (void)state;
    unfit.fit = false;
    assert_false(look(&u, &unfit, 9250));
    assert_true(look(&u, &good, 9500));
}

static void data_set_unread_for_2_s_is_away(void **state)
{
    struct usable u = used_until(9000);
    struct dataset d = data_set(9000);

    (void)state;
    assert_false(usable_note(&u, &good, &d, 10999));
    assert_true(u.usable);
    assert_true(usable_note(&u, &good, &d, 11000));
    assert_false(u.usable);
    d.read_boot = 11200;
    assert_true(usable_note(&u, &good, &d, 11250));
    assert_true(u.usable);
}

static void nothing_is_usable_before_the_first_read(void **state)
{
    struct usable u = {false, 0, 0};
    struct dataset d = data_set(0);

    (void)state;
    for (ms now = 500; now < 5000; now += 250)
        assert_false(usable_note(&u, &good, &d, now));
    assert_false(u.usable);
}

static void home_elsewhere_is_not_usable(void **state)
{
    struct usable u = {false, 0, 0};
    struct usable_look empty = good;
    struct dataset d = data_set(20000);

    (void)state;
    u.up_since = 1000;
    d.home = DATASET_MONGO;
    assert_false(usable_note(&u, &good, &d, 20000));
    d.home = DATASET_NOWHERE;
    assert_false(usable_note(&u, &good, &d, 20000));
    d.home = DATASET_REDIS;
    d.id[0] = '\0';
    empty.held = "";
    assert_false(usable_note(&u, &empty, &d, 20000));
    assert_false(u.usable);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_usable_after_answers_for_a_second),
        cmocka_unit_test(failed_ping_starts_the_second_anew),
        cmocka_unit_test(it_is_away_when_pings_fail_for_1500_ms),
        cmocka_unit_test(short_gap_changes_nothing),
        cmocka_unit_test(want_of_a_ping_is_no_failure),
        cmocka_unit_test(another_data_set_is_away_at_once),
        cmocka_unit_test(unfit_server_is_away_at_once),
        cmocka_unit_test(data_set_unread_for_2_s_is_away),
        cmocka_unit_test(nothing_is_usable_before_the_first_read),
        cmocka_unit_test(home_elsewhere_is_not_usable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
