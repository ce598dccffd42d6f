/* test_clock - clocks that stand still, ISO 8601 both ways */
#include "lib/base/clock.h"

#include "tests/unit/support.h"

static void set_clocks_stand_still(void **state)
{
    ms real = clock_mono_ms();

    (void)state;
    clock_set(5, 1756713600123);
    assert_true(clock_mono_ms() == 5);
    assert_true(clock_wall_ms() == 1756713600123);
    clock_unset();
    assert_true(clock_mono_ms() >= real);
    assert_true(clock_wall_ms() > 1700000000000);
}

static void instants_are_written_as_iso(void **state)
{
    static const struct {
        ms wall;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {1756713600000, "2025-09-01T08:00:00.000Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "+010000-01-01T00:00:00.000Z"},
        {-62167219200000, "0000-01-01T00:00:00.000Z"},
        {-62167219200001, "-000001-12-31T23:59:59.999Z"},
        {8640000000000000, "+275760-09-13T00:00:00.000Z"},
        {-8640000000000000, "-271821-04-20T00:00:00.000Z"},
    };
    char out[CLOCK_ISO_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(clock_iso(rows[i].wall, out), strlen(rows[i].text));
        assert_string_equal(out, rows[i].text);
    }
    assert_int_equal(clock_iso(8640000000000001, out), 0);
    assert_int_equal(clock_iso(INT64_MIN, out), 0);
}

static void dates_and_times_are_read(void **state)
{
    static const struct {
        const char *text;
        ms want;
    } rows[] = {
        {"1970-01-01", 0},
        {"2025-09-01T08:00:00.000Z", 1756713600000},
        {"2025-09-01 08:00", 1756713600000},
        {"2025-09-01T10:00:00+02:00", 1756713600000},
        {"2025-09-01T02:30:00-05:30", 1756713600000},
        {"2025-09-01T08:00:00.1239", 1756713600123},
        {"2025-09-01T08:00:00.5Z", 1756713600500},
        {"2000-02-29", 951782400000},
        {"0000-01-01", -62167219200000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ms got = 77;

        assert_true(clock_parse_iso(str_of(rows[i].text), &got));
        assert_true(got == rows[i].want);
    }
}

static void what_is_no_date_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "2025",
        "2025-9-1",
        "2025-02-29",
        "1900-02-29",
        "2025-13-01",
        "2025-00-01",
        "2025-01-00",
        "2025-04-31",
        "2025-09-01T",
        "2025-09-01T8:00",
        "2025-09-01T24:00",
        "2025-09-01T08:60",
        "2025-09-01T08:00:60",
        "2025-09-01T08:00:00.",
        "2025-09-01T08:00Zx",
        "2025-09-01T08:00+0200",
        "2025-09-01T08:00+24:00",
        "2025-09-01x08:00",
        "2025-09-01Z",
        " 2025-09-01",
        "-025-09-01",
    };
    ms got = 77;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (clock_parse_iso(str_of(bad[i]), &got))
            fail_msg("%s was read", bad[i]);
    assert_true(got == 77);
}

static void every_day_of_centuries_goes_both_ways(void **state)
{
    char out[CLOCK_ISO_MAX];

    (void)state;
    for (ms day = -200000; day < 200000; day++) {
        ms wall = day * 86400000 + 12345678, back = 0;
        size_t n = clock_iso(wall, out);

        assert_true(clock_parse_iso((str){out, n}, &back));
        assert_true(back == wall);
    }
}

static void the_server_s_time_is_the_wall_clock_less_its_offset(void **state)
{
    (void)state;
    clock_set(5, 100000);
    assert_true(clock_server_ms() == 100000);
    clock_note_offset(2500);
    assert_true(clock_server_ms() == 97500);
    clock_note_offset(-2500);
    assert_true(clock_server_ms() == 102500);
    clock_note_offset(0);
    clock_unset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_clocks_stand_still),
        cmocka_unit_test(the_server_s_time_is_the_wall_clock_less_its_offset),
        cmocka_unit_test(instants_are_written_as_iso),
        cmocka_unit_test(dates_and_times_are_read),
        cmocka_unit_test(what_is_no_date_is_refused),
        cmocka_unit_test(every_day_of_centuries_goes_both_ways),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
