/* test_rate - the arithmetic of two weighted windows */
#include "lib/base/rate.h"
#include "tests/unit/support.h"

static const struct rate_rule ten = {10, 1000};

static void state_gives_what_is_left_and_when_more_fits(void **state)
{
    static const struct {
        struct rate_state s;
        int64_t left;
        ms wait, reset;
    } rows[] = {
        /* nothing before: this window alone */
        {{0, 0, 0}, 10, 0, 1000},
        {{0, 9, 999}, 1, 0, 1},
        /* full: in the next window the ten weigh 9 after 100 ms */
        {{0, 10, 0}, 0, 1100, 1100},
        {{0, 10, 999}, 0, 101, 101},
        /* the window before weighs less and less */
        {{10, 0, 0}, 0, 100, 100},
        {{10, 0, 99}, 0, 1, 1},
        {{10, 0, 100}, 1, 0, 900},
        {{10, 0, 999}, 9, 0, 1},
        {{10, 5, 500}, 0, 100, 100},
        {{10, 4, 500}, 1, 0, 500},
        {{3, 7, 0}, 0, 334, 334},
        /* more than the limit, which was lowered */
        {{100, 0, 0}, 0, 910, 910},
        {{0, 100, 500}, 0, 500 + 910, 500 + 910},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(rate_left(&ten, &rows[i].s), rows[i].left);
        assert_int_equal(rate_fits(&ten, &rows[i].s), rows[i].left > 0);
        assert_int_equal(rate_wait_ms(&ten, &rows[i].s), rows[i].wait);
        assert_int_equal(rate_reset_ms(&ten, &rows[i].s), rows[i].reset);
    }
}

static void one_a_window_waits_for_a_whole_free_one(void **state)
{
    const struct rate_rule one = {1, 1000};
    const struct rate_state s = {0, 1, 250};

    (void)state;
    assert_int_equal(rate_wait_ms(&one, &s), 1750);
}

/* The state after `more` ms in which nobody came. */
static struct rate_state later(const struct rate_rule *rule,
                               struct rate_state s, ms more)
{
    ms into = s.into_ms + more;
    ms windows = into / rule->window_ms;

    into %= rule->window_ms;
    if (windows == 0)
        return (struct rate_state){s.before, s.count, into};
    return (struct rate_state){windows == 1 ? s.count : 0, 0, into};
}

/* Over every state of small limits: obeyed it fits, a ms earlier it does not */
static void wait_is_exact(void **state)
{
    const struct rate_rule rule = {5, 37};
    struct rate_state s;

    (void)state;
    for (s.before = 0; s.before <= 6; s.before++)
        for (s.count = 0; s.count <= 6; s.count++)
            for (s.into_ms = 0; s.into_ms < rule.window_ms; s.into_ms++) {
                ms wait = rate_wait_ms(&rule, &s);
                struct rate_state at = later(&rule, s, wait);
                struct rate_state early = later(&rule, s, wait - 1);

                assert_true(rate_fits(&rule, &at));
                assert_true(wait == 0 || !rate_fits(&rule, &early));
            }
}

static void largest_settings_do_not_overflow(void **state)
{
    const struct rate_rule most = {1000000, 86400000};
    const struct rate_state full = {1000000, 1000000, 1};

    (void)state;
    assert_int_equal(rate_left(&most, &full), 0);
    assert_in_range(rate_wait_ms(&most, &full), 1, 2 * 86400000);
}

/* A caller that always asks gets what the exact rule gives, within 5 %. */
static void steady_flood_gets_the_limit(void **state)
{
    const struct rate_rule rule = {100, 1000};
    struct rate_state s = {0};
    int got = 0;

    (void)state;
    for (ms t = 0; t < 20000; t++) {
        s = later(&rule, s, t > 0);
        if (rate_fits(&rule, &s)) {
            s.count++;
            got++;
        }
    }
    assert_in_range(got, 20 * 95, 20 * 105);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_gives_what_is_left_and_when_more_fits),
        cmocka_unit_test(one_a_window_waits_for_a_whole_free_one),
        cmocka_unit_test(wait_is_exact),
        cmocka_unit_test(largest_settings_do_not_overflow),
        cmocka_unit_test(steady_flood_gets_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
