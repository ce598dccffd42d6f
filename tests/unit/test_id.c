/* test_id - random bytes, document ids, instance names */
#include "lib/base/id.h"

#include "tests/unit/support.h"

static void random_bytes_differ(void **state)
{
    unsigned char a[32], b[32];

    (void)state;
    assert_int_equal(id_random(a, sizeof a), OK);
    assert_int_equal(id_random(b, sizeof b), OK);
    assert_memory_not_equal(a, b, sizeof a);
}

static void hex_is_lower_case_and_ends_with_nul(void **state)
{
    char out[9];

    (void)state;
    id_hex("\x00\x9f\xff\x10", 4, out);
    assert_string_equal(out, "009fff10");
}

/* RFC 4648, 10, in the alphabet of its section 5 and without padding */
static void base64url_is_the_published_one(void **state)
{
    static const char *const rows[][2] = {
        {"", ""},           {"f", "Zg"},        {"fo", "Zm8"},
        {"foo", "Zm9v"},    {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"},
        {"\xfb\xff", "-_8"}};
    char out[16];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        id_base64url(rows[i][0], strlen(rows[i][0]), out);
        assert_string_equal(out, rows[i][1]);
    }
}

static void object_id_is_24_hex_digits(void **state)
{
    (void)state;
    assert_true(id_is_object(STR("0123456789abcdefABCDEF01")));
    assert_false(id_is_object(STR("0123456789abcdefABCDEF0")));
    assert_false(id_is_object(STR("0123456789abcdefABCDEF012")));
    assert_false(id_is_object(STR("0123456789abcdefABCDEFgg")));
}

static void object_id_starts_with_its_seconds(void **state)
{
    char a[ID_OBJECT_MAX], b[ID_OBJECT_MAX];

    (void)state;
    assert_int_equal(id_object(0x68b55f80 * 1000ll + 999, a), OK);
    assert_int_equal(id_object(0x68b55f80 * 1000ll, b), OK);
    assert_int_equal(strlen(a), 24);
    assert_true(str_is_hex(str_of(a)));
    assert_memory_equal(a, "68b55f80", 8);
    assert_memory_equal(b, "68b55f80", 8);
    assert_string_not_equal(a, b);
}

static void instance_name_depends_on_all_of_its_parts(void **state)
{
    char a[ID_INSTANCE_MAX], b[ID_INSTANCE_MAX];

    (void)state;
    id_instance(STR("web-1"), STR("boot"), STR(":9000"), a);
    id_instance(STR("web-1"), STR("boot"), STR(":9000"), b);
    assert_string_equal(a, b);
    assert_memory_equal(a, "web-1-", 6);
    assert_int_equal(strlen(a), 14);
    id_instance(STR("web-1"), STR("boot2"), STR(":9000"), b);
    assert_string_not_equal(a, b);
    id_instance(STR("web-1"), STR("boot"), STR(":9001"), b);
    assert_string_not_equal(a, b);
}

static void instance_name_is_legal_whatever_the_host(void **state)
{
    char out[ID_INSTANCE_MAX], host[300];

    (void)state;
    memset(host, 'h', sizeof host);
    host[0] = ' ';
    host[1] = '"';
    id_instance((str){host, sizeof host}, STR(""), STR(""), out);
    assert_int_equal(strlen(out), 128);
    assert_memory_equal(out, "--hh", 4);
}

static void token_is_24_base62_characters_and_new_each_time(void **state)
{
    char a[ID_TOKEN_MAX], b[ID_TOKEN_MAX];

    (void)state;
    assert_int_equal(id_token(a), OK);
    assert_int_equal(id_token(b), OK);
    assert_int_equal(strspn(a, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "abcdefghijklmnopqrstuvwxyz"),
                     24);
    assert_int_equal(strlen(a), 24);
    assert_string_not_equal(a, b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_bytes_differ),
        cmocka_unit_test(hex_is_lower_case_and_ends_with_nul),
        cmocka_unit_test(base64url_is_the_published_one),
        cmocka_unit_test(token_is_24_base62_characters_and_new_each_time),
        cmocka_unit_test(object_id_is_24_hex_digits),
        cmocka_unit_test(object_id_starts_with_its_seconds),
        cmocka_unit_test(instance_name_depends_on_all_of_its_parts),
        cmocka_unit_test(instance_name_is_legal_whatever_the_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
