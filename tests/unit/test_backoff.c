/* test_backoff - waits between tries */
#include "lib/base/backoff.h"

#include <math.h>

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

static ms retry(double multiplier, bool jitter, int64_t n, uint32_t chance)
{
    const struct backoff b = {1000, 60000, multiplier, jitter};

    return backoff_retry_ms(&b, n, chance);
}

static void retries_wait_longer_each_time(void **state)
{
    static const ms want[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000};

    (void)state;
    for (int i = 0; i < 7; i++)
        assert_int_equal(retry(2, false, i + 1, 0), want[i]);
    assert_int_equal(retry(2, false, 0, 0), 1000);
    assert_int_equal(retry(1.5, false, 3, 0), 2250);
    assert_int_equal(retry(1, false, 1000000000000, 0), 1000);
    assert_int_equal(retry(2, false, INT64_MAX, 0), 60000);
}

static void half_of_a_retry_is_chance(void **state)
{
    (void)state;
    assert_int_equal(retry(2, true, 2, 0), 1000);
    assert_int_equal(retry(2, true, 2, UINT32_MAX), 2000);
    assert_in_range(retry(2, true, 2, UINT32_MAX / 2), 1499, 1500);
    assert_int_equal(retry(2, true, 99, 0), 30000);
    assert_int_equal(retry(2, true, 99, UINT32_MAX), 60000);
}

static void odd_retries_end(void **state)
{
    const struct backoff none = {0, 60000, 2, true},
                         capped = {5000, 1000, 2, false};

    (void)state;
    assert_int_equal(backoff_retry_ms(&none, 5, UINT32_MAX), 0);
    assert_int_equal(backoff_retry_ms(&capped, 1, 0), 1000);
    assert_int_equal(retry(0, false, 9, 0), 1000);
    assert_int_equal(retry(-2, false, 9, 0), 1000);
    assert_int_equal(retry(NAN, false, 9, 0), 1000);
    assert_int_equal(retry(1e300, false, 3, 0), 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_failure_there_is_no_wait),
        cmocka_unit_test(waits_double_up_to_the_ceiling),
        cmocka_unit_test(chance_takes_off_a_quarter_at_most),
        cmocka_unit_test(extremes_do_not_overflow),
        cmocka_unit_test(retries_wait_longer_each_time),
        cmocka_unit_test(half_of_a_retry_is_chance),
        cmocka_unit_test(odd_retries_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
