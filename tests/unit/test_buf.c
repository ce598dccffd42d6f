/* test_buf - output with a ceiling, a remembered failure and a drain */
#include "lib/base/buf.h"

#include "tests/unit/support.h"

static void appends_follow_each_other(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000, ERR_DOCUMENT_TOO_LARGE);
    buf_add(&b, STR("a\0b"));
    buf_add_char(&b, ':');
    buf_addf(&b, "%d-%s", 7, "x");
    buf_add_i64(&b, INT64_MIN);
    buf_add_i64(&b, 0);
    buf_add(&b, STR_NONE);
    assert_int_equal(b.err, OK);
    assert_true(str_eq(buf_str(&b), STR("a\0b:7-x-92233720368547758080")));
    buf_done(&b);
    assert_null(b.p);
}

static void ceiling_is_reached_exactly(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 4, ERR_DOCUMENT_TOO_LARGE);
    buf_add(&b, STR("abcd"));
    assert_int_equal(b.err, OK);
    buf_add_char(&b, 'e');
    assert_int_equal(b.err, ERR_DOCUMENT_TOO_LARGE);
    assert_str(buf_str(&b), "abcd");
    buf_done(&b);
}

static void formatted_text_may_fill_the_ceiling(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 5, ERR_DOCUMENT_TOO_LARGE);
    buf_addf(&b, "%d", 1234);
    assert_int_equal(b.err, OK);
    assert_str(buf_str(&b), "1234");
    buf_done(&b);
}

static void first_failure_sticks(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 4, ERR_DOCUMENT_TOO_LARGE);
    buf_add(&b, STR("ab"));
    buf_set_err(&b, ERR_CUT);
    buf_set_err(&b, ERR_INTERNAL);
    buf_add(&b, STR("cdefgh"));
    assert_null(buf_room(&b, 1));
    assert_int_equal(b.err, ERR_CUT);
    assert_str(buf_str(&b), "ab");
    buf_clear(&b);
    buf_add(&b, STR("xy"));
    assert_int_equal(b.err, OK);
    assert_str(buf_str(&b), "xy");
    buf_done(&b);
}

static void huge_wishes_do_not_wrap_around(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100, ERR_DOCUMENT_TOO_LARGE);
    buf_add(&b, STR("ab"));
    assert_null(buf_room(&b, SIZE_MAX));
    assert_int_equal(b.err, ERR_DOCUMENT_TOO_LARGE);
    buf_done(&b);
}

struct sink {
    char got[4096];
    size_t n, calls;
    enum err answer;
};

static enum err drain(void *arg, struct buf *b)
{
    struct sink *s = arg;

    s->calls++;
    if (s->answer)
        return s->answer;
    assert_true(s->n + b->n <= sizeof s->got);
    memcpy(s->got + s->n, b->p, b->n);
    s->n += b->n;
    b->n = 0;
    return OK;
}

static void drained_output_has_any_length(void **state)
{
    struct sink s = {.n = 0};
    struct buf b;
    char text[1000];

    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)('a' + i % 26);
    buf_init(&b, 16, ERR_EXPORT_TOO_LARGE);
    b.drain = drain;
    b.drain_arg = &s;
    buf_add(&b, (str){text, sizeof text});
    for (int i = 0; i < 10; i++)
        buf_add_char(&b, '!');
    assert_int_equal(b.err, OK);
    assert_true(b.n <= 16);
    assert_int_equal(drain(&s, &b), OK);
    assert_int_equal(s.n, sizeof text + 10);
    assert_memory_equal(s.got, text, sizeof text);
    buf_done(&b);
}

static void failure_of_the_drain_is_the_bufs(void **state)
{
    struct sink s = {.answer = ERR_CUT};
    struct buf b;

    (void)state;
    buf_init(&b, 8, ERR_EXPORT_TOO_LARGE);
    b.drain = drain;
    b.drain_arg = &s;
    buf_add(&b, STR("0123456789abcdef"));
    buf_add(&b, STR("0123456789abcdef"));
    assert_int_equal(b.err, ERR_CUT);
    assert_int_equal(s.calls, 1);
    buf_done(&b);
}

static void tiny_ceiling_with_a_drain_comes_to_an_end(void **state)
{
    struct sink s = {.n = 0};
    struct buf b;

    (void)state;
    buf_init(&b, 2, ERR_EXPORT_TOO_LARGE);
    b.drain = drain;
    b.drain_arg = &s;
    buf_add(&b, STR("abc"));
    assert_int_equal(b.err, OK);
    assert_int_equal(s.n + b.n, 3);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_follow_each_other),
        cmocka_unit_test(ceiling_is_reached_exactly),
        cmocka_unit_test(formatted_text_may_fill_the_ceiling),
        cmocka_unit_test(first_failure_sticks),
        cmocka_unit_test(huge_wishes_do_not_wrap_around),
        cmocka_unit_test(drained_output_has_any_length),
        cmocka_unit_test(failure_of_the_drain_is_the_bufs),
        cmocka_unit_test(tiny_ceiling_with_a_drain_comes_to_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
