/* test_addr - literals, blocks and lists of addresses */
#include "lib/base/addr.h"

#include "tests/unit/support.h"

static bool list_has(void **state, const char *list, const char *literal)
{
    struct ctx *c = *state;
    struct addr_ranges ranges;
    struct addr a;

    assert_true(addr_ranges_parse(str_of(list), &c->arena, &ranges));
    assert_true(addr_parse(str_of(literal), &a));
    return addr_in(&ranges, &a);
}

static void literals_of_both_families_are_read(void **state)
{
    struct addr a, b;

    (void)state;
    assert_true(addr_parse(STR("127.0.0.1"), &a));
    assert_true(addr_parse(STR("::ffff:127.0.0.1"), &b));
    assert_memory_equal(&a, &b, sizeof a);
    assert_true(addr_parse(STR("2001:db8::1"), &a));
    assert_int_equal(a.b[0], 0x20);
}

static void other_texts_are_no_addresses(void **state)
{
    static const char *const bad[] = {"",          "localhost", "1.2.3",
                                      "1.2.3.4.5", "256.1.1.1", "010.1.1.1",
                                      "[::1]",     "::1%lo",    "1.2.3.4:80",
                                      " 1.2.3.4",  "1.2.3.4/8"};
    struct addr a;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(addr_parse(str_of(bad[i]), &a));
    assert_false(addr_parse(STR("1.2.3.4\0"), &a));
}

static void blocks_hold_what_shares_their_bits(void **state)
{
    assert_true(list_has(state, "10.0.0.0/8", "10.255.1.2"));
    assert_false(list_has(state, "10.0.0.0/8", "11.0.0.0"));
    assert_true(list_has(state, "10.1.2.3/8", "10.9.9.9"));
    assert_true(list_has(state, "192.168.4.0/22", "192.168.7.255"));
    assert_false(list_has(state, "192.168.4.0/22", "192.168.8.0"));
    assert_true(list_has(state, "0.0.0.0/0", "1.2.3.4"));
    assert_false(list_has(state, "0.0.0.0/0", "::1"));
    assert_true(list_has(state, "::/0", "1.2.3.4"));
    assert_true(list_has(state, "fd00::/8", "fdff::1"));
    assert_true(list_has(state, "::1", "::1"));
    assert_false(list_has(state, "::1", "::2"));
}

static void lists_hold_what_any_piece_holds(void **state)
{
    assert_true(list_has(state, "10.0.0.0/8, ::1 ,127.0.0.1", "127.0.0.1"));
    assert_false(list_has(state, "10.0.0.0/8,::1", "127.0.0.1"));
    assert_false(list_has(state, "", "127.0.0.1"));
}

static void bad_lists_are_refused(void **state)
{
    static const char *const bad[] = {
        "10.0.0.0/33", "::/129", "10.0.0.0/",       "10.0.0.0/-1",
        "10.0.0.0/8,", ",::1",   "10.0.0.0/8,,::1", "10.0.0.0/8 ::1",
        "10.0.0.0/8x", "host/8", "10.0.0.0/0x8",    "10.0.0.0/8/8"};
    struct ctx *c = *state;
    struct addr_ranges ranges;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(addr_ranges_parse(str_of(bad[i]), &c->arena, &ranges));
}

static void block_is_an_ipv4_address_or_an_ipv6_64(void **state)
{
    static const char *const rows[][2] = {
        {"192.0.2.1", "192.0.2.1"},
        {"::ffff:192.0.2.1", "192.0.2.1"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff::/64"},
        {"::1", "::/64"},
    };
    char text[ADDR_TEXT_MAX];
    struct addr a;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(addr_parse(str_of(rows[i][0]), &a));
        assert_int_equal(addr_block(&a, text), strlen(rows[i][1]));
        assert_string_equal(text, rows[i][1]);
    }
}

static void all_zeros_are_any(void **state)
{
    struct addr a;

    (void)state;
    assert_true(addr_parse(STR("0.0.0.0"), &a) && addr_is_any(&a));
    assert_true(addr_parse(STR("::"), &a) && addr_is_any(&a));
    assert_true(addr_parse(STR("0.0.0.1"), &a) && !addr_is_any(&a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_of_both_families_are_read),
        cmocka_unit_test(other_texts_are_no_addresses),
        cmocka_unit_test(blocks_hold_what_shares_their_bits),
        cmocka_unit_test(lists_hold_what_any_piece_holds),
        cmocka_unit_test(bad_lists_are_refused),
        cmocka_unit_test(block_is_an_ipv4_address_or_an_ipv6_64),
        cmocka_unit_test(all_zeros_are_any),
    };

    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
