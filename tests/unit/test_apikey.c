/* test_apikey - the form of keys and names; roles by name */
#include "lib/data/apikey.h"
#include "tests/unit/support.h"

#define BODY "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn-_9"

static void key_is_the_sign_and_43_characters(void **state)
{
    (void)state;
    assert_true(apikey_is_key(STR("sqf_" BODY)));
    assert_false(apikey_is_key(STR("sqf_" BODY "x")));
    assert_false(apikey_is_key(STR("sqf_")));
    assert_false(apikey_is_key(STR("")));
    assert_false(apikey_is_key(STR("SQF_" BODY)));
    assert_false(apikey_is_key(str_head(STR("sqf_" BODY), APIKEY_CHARS - 1)));
}

static void key_has_no_other_bytes(void **state)
{
    char key[] = "sqf_" BODY;
    static const char bad[] = "+/=. ,\n\x7f\xc3";

    (void)state;
    for (size_t i = 0; i < sizeof bad; i++) { /* with the NUL */
        key[20] = bad[i];
        assert_false(apikey_is_key((str){key, APIKEY_CHARS}));
    }
}

static void name_is_bounded_and_printable(void **state)
{
    char name[APIKEY_NAME_MAX + 1];

    (void)state;
    memset(name, 'n', sizeof name);
    assert_true(apikey_is_name(STR("Ann's \xc3\xa9")));
    assert_true(apikey_is_name((str){name, APIKEY_NAME_MAX}));
    assert_false(apikey_is_name((str){name, APIKEY_NAME_MAX + 1}));
    assert_false(apikey_is_name(STR("")));
    assert_false(apikey_is_name(STR("a\nb")));
    assert_false(apikey_is_name(STR("a\0b")));
    assert_false(apikey_is_name(STR("a\x7f")));
    assert_false(apikey_is_name(STR("a\xff")));
    assert_false(apikey_is_name(STR("a\xc3")));
    assert_false(apikey_is_name(STR("a\xc2\x9b"
                                    "2J")));
    assert_true(apikey_is_name(STR("a\xc2\xa0")));
}

static void roles_have_exact_names(void **state)
{
    (void)state;
    for (enum role r = ROLE_READ; r <= ROLE_ADMIN; r++)
        assert_int_equal(role_find(str_of(role_name(r))), r);
    assert_int_equal(role_find(STR("none")), ROLE_NONE);
    assert_int_equal(role_find(STR("Admin")), ROLE_NONE);
    assert_int_equal(role_find(STR("admin ")), ROLE_NONE);
    assert_int_equal(role_find(STR("")), ROLE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_is_the_sign_and_43_characters),
        cmocka_unit_test(key_has_no_other_bytes),
        cmocka_unit_test(name_is_bounded_and_printable),
        cmocka_unit_test(roles_have_exact_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
