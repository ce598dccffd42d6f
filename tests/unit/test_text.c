/* test_text - bytes as base64, base62, base36 and percent escapes */
#include "lib/base/text.h"

#include "tests/unit/support.h"

static void base64_is_that_of_the_rfc(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xfe", "+//+"},
    };
    char out[16];
    unsigned char back[16];
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        str in = str_of(rows[i][0]);

        text_base64(in.p, in.n, out);
        assert_string_equal(out, rows[i][1]);
        assert_int_equal(strlen(out), TEXT_BASE64_LEN(in.n));
        assert_true(text_base64_read(str_of(out), back, sizeof back, &n));
        assert_int_equal(n, in.n);
        assert_memory_equal(back, in.p, n);
    }
}

static void base64_that_no_encoder_makes_is_refused(void **state)
{
    static const char *const bad[] = {
        "Z",        "Zg",   "Zg=",  "Zg===",    "=",          "====",
        "Z===",     "Zh==", "Zm9=", "Zm 9v",    "Zm9v\n",     "Zm9v====",
        "Zg==Zm9v", "Z=g=", "Zm-_", "Zm9v.A==", "\xff\xff==", "Zm9vY g=",
    };
    unsigned char out[16];
    size_t n;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (text_base64_read(str_of(bad[i]), out, sizeof out, &n))
            fail_msg("read: %s", bad[i]);
    assert_false(text_base64_read(STR("Zm9\0"), out, sizeof out, &n));
}

static void base64_longer_than_there_is_room_is_refused(void **state)
{
    unsigned char out[4] = {9, 9, 9, 9};
    size_t n;

    (void)state;
    assert_true(text_base64_read(STR("Zm9v"), out, 3, &n));
    assert_int_equal(n, 3);
    assert_int_equal(out[3], 9);
    assert_false(text_base64_read(STR("Zm9v"), out, 2, &n));
    assert_true(text_base64_read(STR(""), out, 0, &n));
    assert_int_equal(n, 0);
}

static void base62_is_one_big_number(void **state)
{
    unsigned char ones[20];
    char out[64];

    (void)state;
    memset(ones, 0xff, sizeof ones);
    text_base62(ones, 0, 3, out);
    assert_string_equal(out, "000");
    text_base62((const unsigned char *)"\x3d", 1, 1, out); /* 61 */
    assert_string_equal(out, "z");
    text_base62((const unsigned char *)"\x00\x3e", 2, 4, out); /* 62 */
    assert_string_equal(out, "0010");
    /* 2^160 - 1 */
    text_base62(ones, sizeof ones, 27, out);
    assert_string_equal(out, "aWgEPTl1tmebfsQzFP4bxwgy80V");
    /* higher digits are cut */
    text_base62(ones, sizeof ones, 5, out);
    assert_string_equal(out, "gy80V");
}

static void base36_has_exactly_the_digits(void **state)
{
    char out[16];

    (void)state;
    text_base36(0, 3, out);
    assert_string_equal(out, "000");
    text_base36(35, 1, out);
    assert_string_equal(out, "z");
    text_base36(36, 4, out);
    assert_string_equal(out, "0010");
    text_base36(UINT64_MAX, 13, out);
    assert_string_equal(out, "3w5e11264sgsf");
    text_base36(UINT64_MAX, 9, out);
    assert_string_equal(out, "11264sgsf");
}

static void percent_leaves_visible_ascii(void **state)
{
    char room[64];
    struct buf b = buf_over(room, sizeof room);

    (void)state;
    text_percent(&b, STR("a~! b%\x7f\r\n\xc3\xa4\0z"));
    assert_false(b.err);
    buf_add_char(&b, '\0');
    assert_string_equal(room, "a~!%20b%25%7F%0D%0A%C3%A4%00z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base64_is_that_of_the_rfc),
        cmocka_unit_test(base64_that_no_encoder_makes_is_refused),
        cmocka_unit_test(base64_longer_than_there_is_room_is_refused),
        cmocka_unit_test(base62_is_one_big_number),
        cmocka_unit_test(base36_has_exactly_the_digits),
        cmocka_unit_test(percent_leaves_visible_ascii),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
