/* test_jwrite - escapes and the spelling of numbers */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/jwrite.h"
#include "tests/unit/support.h"

static void test_strings(void **state)
{
    static const struct {
        str text;
        const char *want;
    } rows[] = {
        {STR_INIT(""), "\"\""},
        {STR_INIT("plain text, longer than eight"),
         "\"plain text, longer than eight\""},
        {STR_INIT("a\"b\\c/d"), "\"a\\\"b\\\\c/d\""},
        {STR_INIT("\b\f\n\r\t\v\x1f\0\x7f"),
         "\"\\b\\f\\n\\r\\t\\u000b\\u001f\\u0000\x7f\""},
        {STR_INIT("gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80"),
         "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80\""},
        {STR_INIT("\xe2\x82|\xff\xfe|\xed\xa0\x80"),
         "\"\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd|"
         "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {STR_INIT("\xf0\x9f\x98"), "\"\xef\xbf\xbd\""},
    };
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20, ERR_INTERNAL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&b);
        jwrite_str(&b, rows[i].text);
        assert_str(buf_str(&b), rows[i].want);
    }
    buf_done(&b);
}

static void test_doubles(void **state)
{
    static const struct {
        double v;
        const char *want;
    } rows[] = {
        {0, "0"},
        {-0.0, "0"},
        {1, "1"},
        {-5, "-5"},
        {0.1, "0.1"},
        {-19.99, "-19.99"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3, "0.3333333333333333"},
        {100.5, "100.5"},
        {1e20, "100000000000000000000"},
        {123456789012345680000.0, "123456789012345680000"},
        {1e21, "1e+21"},
        {1.5e21, "1.5e+21"},
        {1e-6, "0.000001"},
        {1.5e-6, "0.0000015"},
        {1e-7, "1e-7"},
        {1.25e-7, "1.25e-7"},
        {9007199254740991.0, "9007199254740991"},
        {9007199254740992.0, "9007199254740992"},
        {-9007199254740994.0, "-9007199254740994"},
        {1e100, "1e+100"},
        {5e-324, "5e-324"},
        {1e-323, "1e-323"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {2.225073858507201e-308, "2.225073858507201e-308"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {0x1p-44, "5.684341886080802e-14"},
        {0x1p-1074, "5e-324"},
        {4.35, "4.35"},
        {NAN, "null"},
        {INFINITY, "null"},
        {-INFINITY, "null"},
    };
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20, ERR_INTERNAL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        buf_clear(&b);
        jwrite_double(&b, rows[i].v);
        assert_str(buf_str(&b), rows[i].want);
    }
    buf_done(&b);
}

static void test_round_trip(void **state)
{
    uint64_t x = 88172645463325252u;
    struct buf b;
    double v;

    (void)state;
    buf_init(&b, 1 << 20, ERR_INTERNAL);
    for (int i = 0; i < 100000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(&v, &x, sizeof v);
        if (!isfinite(v))
            continue;
        buf_clear(&b);
        jwrite_double(&b, v);
        buf_add_char(&b, 0);
        assert_true(strtod(b.p, NULL) == v);
    }
    buf_done(&b);
}

static void test_times(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 10, ERR_INTERNAL);
    jwrite_time(&b, "\"at\":", 1756712400000);
    assert_str(buf_str(&b), "\"at\":\"2025-09-01T07:40:00.000Z\"");
    buf_clear(&b);
    jwrite_time(&b, "", 0);
    assert_str(buf_str(&b), "null");
    buf_clear(&b);
    jwrite_time(&b, "", INT64_MAX);
    assert_str(buf_str(&b), "null");
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_doubles),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
