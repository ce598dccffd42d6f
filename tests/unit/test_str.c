/* test_str - borrowed slices */
#include "tests/unit/support.h"

static void equality_looks_at_all_bytes(void **state)
{
    (void)state;
    assert_true(str_eq(STR("a\0b"), STR("a\0b")));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_true(str_eq(STR_NONE, STR("")));
    assert_true(str_eq(str_of(NULL), STR("")));
    assert_true(str_starts(STR("abc"), STR("")));
    assert_false(str_starts(STR("ab"), STR("abc")));
}

static void case_is_folded_for_ascii_only(void **state)
{
    (void)state;
    assert_true(str_eq_nocase(STR("Content-TYPE"), STR("content-type")));
    assert_false(str_eq_nocase(STR("@"), STR("`")));
    assert_false(str_eq_nocase(STR("["), STR("{")));
    assert_false(str_eq_nocase(STR("\xc4"), STR("\xe4")));
    assert_true(str_starts_nocase(STR("Bearer x"), STR("bEARER ")));
}

static void parts_never_leave_the_slice(void **state)
{
    (void)state;
    assert_str(str_from(STR("abc"), 1), "bc");
    assert_str(str_from(STR("abc"), 3), "");
    assert_str(str_from(STR("abc"), SIZE_MAX), "");
    assert_str(str_head(STR("abc"), 2), "ab");
    assert_str(str_head(STR("abc"), 9), "abc");
}

static void blanks_are_trimmed_at_both_ends(void **state)
{
    (void)state;
    assert_str(str_trim(STR(" \t\r\n\v\fa b ")), "a b");
    assert_str(str_trim(STR("   ")), "");
    assert_str(str_trim(STR_NONE), "");
    assert_str(str_trim(STR("\xc2\xa0")), "\xc2\xa0");
}

static void find_gives_the_first_place(void **state)
{
    (void)state;
    assert_int_equal(str_find(STR("abab"), 'b', 0), 1);
    assert_int_equal(str_find(STR("abab"), 'b', 2), 3);
    assert_true(str_find(STR("abab"), 'b', 4) == SIZE_MAX);
    assert_true(str_find(STR_NONE, 'b', 0) == SIZE_MAX);
    assert_int_equal(str_find_str(STR("aab"), STR("ab")), 1);
    assert_int_equal(str_find_str(STR_NONE, STR("")), 0);
    assert_true(str_find_str(STR("a"), STR("ab")) == SIZE_MAX);
}

static void cut_gives_empty_pieces_too(void **state)
{
    str rest = STR("a,,b,"), piece;

    (void)state;
    assert_true(str_cut(&rest, ',', &piece));
    assert_str(piece, "a");
    assert_true(str_cut(&rest, ',', &piece));
    assert_str(piece, "");
    assert_true(str_cut(&rest, ',', &piece));
    assert_str(piece, "b");
    assert_true(str_cut(&rest, ',', &piece));
    assert_str(piece, "");
    assert_false(str_cut(&rest, ',', &piece));
    rest = STR("");
    assert_true(str_cut(&rest, ',', &piece));
    assert_int_equal(piece.n, 0);
    assert_false(str_cut(&rest, ',', &piece));
}

static void numbers_are_read_whole_or_not_at_all(void **state)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "0x1",
                                      "9223372036854775808",
                                      "--1",
                                      "1e3",
                                      "-9223372036854775809",
                                      "99999999999999999999"};
    int64_t v = 77;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(str_to_i64(str_of(bad[i]), &v));
    assert_int_equal(v, 77);
    assert_true(str_to_i64(STR("9223372036854775807"), &v));
    assert_true(v == INT64_MAX);
    assert_true(str_to_i64(STR("-9223372036854775808"), &v));
    assert_true(v == INT64_MIN);
    assert_true(str_to_i64(STR("-007"), &v));
    assert_true(v == -7);
}

static void digit_classes_need_one_character(void **state)
{
    (void)state;
    assert_false(str_is_digits(STR("")));
    assert_true(str_is_digits(STR("0123456789")));
    assert_false(str_is_digits(STR("12a")));
    assert_false(str_is_hex(STR("")));
    assert_true(str_is_hex(STR("09afAF")));
    assert_false(str_is_hex(STR("0g")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality_looks_at_all_bytes),
        cmocka_unit_test(case_is_folded_for_ascii_only),
        cmocka_unit_test(parts_never_leave_the_slice),
        cmocka_unit_test(blanks_are_trimmed_at_both_ends),
        cmocka_unit_test(find_gives_the_first_place),
        cmocka_unit_test(cut_gives_empty_pieces_too),
        cmocka_unit_test(numbers_are_read_whole_or_not_at_all),
        cmocka_unit_test(digit_classes_need_one_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
