/* test_backoff - waits between tries */
#include "lib/base/backoff.h"

#include "tests/unit/support.h"

static void without_failure_there_is_no_wait(void **state)
{
    (void)state;
    assert_int_equal(backoff_wait_ms(0, 100, 5000, 7), 0);
    assert_int_equal(backoff_wait_ms(-1, 100, 5000, 7), 0);
    assert_int_equal(backoff_wait_ms(3, 0, 5000, 7), 0);
}

static void waits_double_up_to_the_ceiling(void **state)
{
    static const ms want[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000};

    (void)state;
    for (int i = 0; i < 8; i++)
        assert_int_equal(backoff_wait_ms(i + 1, 100, 5000, UINT32_MAX),
                         want[i]);
}

static void chance_takes_off_a_quarter_at_most(void **state)
{
    (void)state;
    assert_int_equal(backoff_wait_ms(2, 100, 5000, 0), 150);
    assert_in_range(backoff_wait_ms(2, 100, 5000, UINT32_MAX / 2), 174, 175);
}

static void extremes_do_not_overflow(void **state)
{
    (void)state;
    assert_int_equal(backoff_wait_ms(INT32_MAX, 1, 1000000000000, UINT32_MAX),
                     1000000000000);
    assert_true(backoff_wait_ms(INT32_MAX, 1, INT64_MAX / 2, 0) > 0);
    assert_int_equal(backoff_wait_ms(1, 9000, 5000, UINT32_MAX), 5000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_failure_there_is_no_wait),
        cmocka_unit_test(waits_double_up_to_the_ceiling),
        cmocka_unit_test(chance_takes_off_a_quarter_at_most),
        cmocka_unit_test(extremes_do_not_overflow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
