/* test_drift - the distance of two clocks by samples */
#include "lib/base/drift.h"

#include "tests/unit/support.h"

static void the_first_sample_counts(void **state)
{
    struct drift d = {0};
    ms out = 77;

    (void)state;
    assert_false(drift_read(&d, &out));
    drift_note(&d, DRIFT_RTT_MS + 1, 5001, 4000);
    assert_false(drift_read(&d, &out));
    assert_int_equal(out, 77);
    for (size_t i = 0; i < DRIFT_SAMPLES; i++) {
        drift_note(&d, 2, i == 1 ? 9001 : 5001, 4000);
        assert_true(drift_read(&d, &out));
        assert_true(out == 1000 || i == 1);
    }
}

static void one_odd_sample_changes_nothing(void **state)
{
    struct drift d = {0};
    ms out;

    (void)state;
    for (int i = 0; i < 3; i++)
        drift_note(&d, 0, 5000, 4000);
    drift_note(&d, 0, 90000, 4000);
    drift_note(&d, 0, 0, 4000);
    assert_true(drift_read(&d, &out));
    assert_int_equal(out, 1000);
}

static void slow_answers_are_no_samples(void **state)
{
    struct drift d = {0};
    ms out;

    (void)state;
    for (int i = 0; i < DRIFT_SAMPLES; i++)
        drift_note(&d, DRIFT_RTT_MS, 5000, 4000);
    for (int i = 0; i < DRIFT_SAMPLES; i++)
        drift_note(&d, DRIFT_RTT_MS + 1, 90000, 4000);
    assert_true(drift_read(&d, &out));
    assert_int_equal(out, 5000 - DRIFT_RTT_MS / 2 - 4000);
}

static void old_samples_leave(void **state)
{
    struct drift d = {0};
    ms out;

    (void)state;
    for (int i = 0; i < DRIFT_SAMPLES; i++)
        drift_note(&d, 0, 5000, 4000);
    for (int i = 0; i < DRIFT_SAMPLES; i++)
        drift_note(&d, 0, 2000, 4000);
    assert_true(drift_read(&d, &out));
    assert_int_equal(out, -2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_sample_counts),
        cmocka_unit_test(one_odd_sample_changes_nothing),
        cmocka_unit_test(slow_answers_are_no_samples),
        cmocka_unit_test(old_samples_leave),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
