/* test_jread - what the reader takes, what it refuses and at which byte */
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/base/jread.h"
#include "lib/base/jwrite.h"
#include "lib/base/utf8.h"
#include "tests/unit/support.h"

static enum err show(void *arg, enum jread_event event, str text)
{
    static const char *const marks[] = {
        [JREAD_OBJECT] = "{", [JREAD_ARRAY] = "[", [JREAD_END] = ".",
        [JREAD_KEY] = "k",    [JREAD_STRING] = "", [JREAD_NUMBER] = "#",
        [JREAD_TRUE] = "T",   [JREAD_FALSE] = "F", [JREAD_NULL] = "N"};
    struct buf *b = arg;

    buf_add(b, str_of(marks[event]));
    if (event == JREAD_KEY || event == JREAD_STRING)
        jwrite_str(b, text);
    if (event == JREAD_NUMBER)
        buf_add(b, text);
    return b->err;
}

static void check(void **state, str text, const char *want)
{
    struct ctx *c = *state;
    struct buf b;
    struct jread_sink sink = {show, &b};
    struct jread_fault fault;

    buf_init(&b, 1 << 20, ERR_INTERNAL);
    assert_int_equal(jread(text, &c->arena, &sink, &fault), OK);
    assert_int_equal(jread(text, &c->arena, NULL, &fault), OK);
    assert_str(buf_str(&b), want);
    buf_done(&b);
    ctx_reset(c);
}

static void test_events(void **state)
{
    static const struct {
        str text;
        const char *want;
    } rows[] = {
        {STR_INIT("{}"), "{."},
        {STR_INIT(" [ ] \n"), "[."},
        {STR_INIT("\xef\xbb\xbf[1]"), "[#1."},
        {STR_INIT("{\"a\":{\"b\":[true,false,null]},\"\":-1.5e+3}"),
         "{k\"a\"{k\"b\"[TFN..k\"\"#-1.5e+3."},
        {STR_INIT("[0,-0,10,1e5,1E-2,0.0,123456789012345678901]"),
         "[#0#-0#10#1e5#1E-2#0.0#123456789012345678901."},
        {STR_INIT("\"x\""), "\"x\""},
        {STR_INIT("7"), "#7"},
        {STR_INIT("null"), "N"},
        {STR_INIT("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""),
         "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {STR_INIT("\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\""),
         "\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {STR_INIT("\"\\u0000 \\u001f\""), "\"\\u0000 \\u001f\""},
        {STR_INIT("\"\\ud800\""), "\"\xef\xbf\xbd\""},
        {STR_INIT("\"\\udc00x\""), "\"\xef\xbf\xbdx\""},
        {STR_INIT("\"\\ud800\\u0041\""), "\"\xef\xbf\xbd"
                                         "A\""},
        {STR_INIT("\"\\ud800\\ud83d\\ude00\""),
         "\"\xef\xbf\xbd\xf0\x9f\x98\x80\""},
        {STR_INIT("\"\\ud800\\n\""), "\"\xef\xbf\xbd\\n\""},
        {STR_INIT("\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\x7f\""),
         "\"\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf\x7f\""},
        {STR_INIT("[\t\r\n 1 , 2 ]"), "[#1#2."},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(state, rows[i].text, rows[i].want);
}

static const struct {
    str text;
    size_t offset;
} refused_rows[] = {
    {STR_INIT(""), 0},
    {STR_INIT("  "), 2},
    {STR_INIT("\xef\xbb\xbf"), 3},
    {STR_INIT("\xef\xbb"), 0},
    {STR_INIT("[1"), 2},
    {STR_INIT("[1,"), 3},
    {STR_INIT("[1,]"), 3},
    {STR_INIT("[,1]"), 1},
    {STR_INIT("[1 2]"), 3},
    {STR_INIT("[1}"), 2},
    {STR_INIT("{]"), 1},
    {STR_INIT("{\"a\"}"), 4},
    {STR_INIT("{\"a\":}"), 5},
    {STR_INIT("{\"a\":1,}"), 7},
    {STR_INIT("{a:1}"), 1},
    {STR_INIT("{'a':1}"), 1},
    {STR_INIT("{1:1}"), 1},
    {STR_INIT("{\"a\" 1}"), 5},
    {STR_INIT("{\"a\":1 \"b\":2}"), 7},
    {STR_INIT("[] []"), 3},
    {STR_INIT("[]\0"), 2},
    {STR_INIT("]"), 0},
    {STR_INIT("tru"), 0},
    {STR_INIT("True"), 0},
    {STR_INIT("truex"), 4},
    {STR_INIT("NaN"), 0},
    {STR_INIT("-Infinity"), 1},
    {STR_INIT("Infinity"), 0},
    {STR_INIT("01"), 1},
    {STR_INIT("-01"), 2},
    {STR_INIT("+1"), 0},
    {STR_INIT("-"), 1},
    {STR_INIT("1."), 2},
    {STR_INIT("[1.]"), 3},
    {STR_INIT(".5"), 0},
    {STR_INIT("1e"), 2},
    {STR_INIT("1e+"), 3},
    {STR_INIT("[1e1.5]"), 4},
    {STR_INIT("0x10"), 1},
    {STR_INIT("1_000"), 1},
    {STR_INIT("\xef\xbc\x91"), 0},
    {STR_INIT("[1]//x"), 3},
    {STR_INIT("/**/[1]"), 0},
    {STR_INIT("[1,\f2]"), 3},
    {STR_INIT("[\xc2\xa0"
              "1]"),
     1},
    {STR_INIT("\"abc"), 4},
    {STR_INIT("\""), 1},
    {STR_INIT("\"a\nb\""), 2},
    {STR_INIT("\"a\0b\""), 2},
    {STR_INIT("\"\x1f\""), 1},
    {STR_INIT("\"\\x41\""), 1},
    {STR_INIT("\"\\\0\""), 1},
    {STR_INIT("\"\\"), 2},
    {STR_INIT("\"\\u12g4\""), 1},
    {STR_INIT("\"\\u12"), 1},
    {STR_INIT("\"\\u-123\""), 1},
    {STR_INIT("\"\\U0041\""), 1},
    {STR_INIT("\"\x80\""), 1},
    {STR_INIT("\"\xc0\xaf\""), 1},
    {STR_INIT("\"\xc3\""), 1},
    {STR_INIT("\"\xe0\x80\x80\""), 1},
    {STR_INIT("\"\xed\xa0\x80\""), 1},
    {STR_INIT("\"\xf0\x80\x80\x80\""), 1},
    {STR_INIT("\"\xf4\x90\x80\x80\""), 1},
    {STR_INIT("\"\xf5\x80\x80\x80\""), 1},
    {STR_INIT("\"\xff\""), 1},
    {STR_INIT("{\"a\\u0000b\":1}"), 3},
};

static void test_refused(void **state)
{
    struct ctx *c = *state;

    for (size_t i = 0; i < sizeof refused_rows / sizeof *refused_rows; i++) {
        struct jread_fault fault = {0};

        if (jread(refused_rows[i].text, &c->arena, NULL, &fault) !=
            ERR_BAD_JSON)
            fail_msg("taken: " STR_FMT, STR_ARG(refused_rows[i].text));
        if (fault.offset != refused_rows[i].offset)
            fail_msg(STR_FMT ": byte %zu", STR_ARG(refused_rows[i].text),
                     fault.offset);
        assert_non_null(fault.what);
    }
}

static void test_depth(void **state)
{
    struct ctx *c = *state;
    struct jread_fault fault;
    char text[202];

    memset(text, '[', 101);
    memset(text + 101, ']', 101);
    assert_int_equal(jread((str){text + 1, 200}, &c->arena, NULL, &fault), OK);
    assert_int_equal(jread((str){text, 202}, &c->arena, NULL, &fault),
                     ERR_BAD_JSON);
    assert_int_equal(fault.offset, 100);
}

static void test_values(void **state)
{
    size_t n = 2 * (size_t)JREAD_VALUES_MAX;
    struct ctx *c = *state;
    struct jread_fault fault;
    char *text = malloc(n + 2);

    for (size_t i = 0; i < n; i += 2)
        memcpy(text + i, ",0", 2);
    text[0] = '[';
    text[n] = ']';
    assert_int_equal(jread((str){text, n + 1}, &c->arena, NULL, &fault),
                     ERR_BAD_JSON);
    assert_int_equal(fault.offset, n - 1);
    text[n - 2] = ']';
    assert_int_equal(jread((str){text, n - 1}, &c->arena, NULL, &fault), OK);
    free(text);
}

static enum err refuse(void *arg, enum jread_event event, str text)
{
    (void)arg;
    (void)text;
    return event == JREAD_TRUE ? ERR_CUT : OK;
}

static void test_sink_stops(void **state)
{
    struct jread_sink sink = {refuse, NULL};
    struct ctx *c = *state;
    struct jread_fault fault;

    assert_int_equal(jread(STR("[1,true,]"), &c->arena, &sink, &fault),
                     ERR_CUT);
}

static void test_utf8(void **state)
{
    char text[UTF8_MAX];
    size_t n;

    (void)state;
    for (uint32_t code = 0; code < 0x110000; code++) {
        bool surrogate = code >= 0xd800 && code < 0xe000;

        n = utf8_put(text, code);
        assert_int_equal(utf8_len((str){text, n}), surrogate ? 0 : n);
        assert_int_equal(utf8_len((str){text, n - 1}), 0);
    }
    assert_int_equal(utf8_bad_len(STR("\xe2\x82")), 2);
    assert_int_equal(utf8_bad_len(STR("\xe2\x28\xa1")), 1);
    assert_int_equal(utf8_bad_len(STR("\xf0\x9f\x98"
                                      "a")),
                     3);
    assert_int_equal(utf8_bad_len(STR("\xed\xa0\x80")), 1);
    assert_true(utf8_is_valid(STR("\"\\\n\xc3\xa9\0x")));
    assert_false(utf8_is_valid(STR("abc\xc3")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events),     cmocka_unit_test(test_refused),
        cmocka_unit_test(test_depth),      cmocka_unit_test(test_values),
        cmocka_unit_test(test_sink_stops), cmocka_unit_test(test_utf8),
    };

    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
