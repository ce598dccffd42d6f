/* test_libbson - what its JSON reader makes of doubtful documents */
#include <bson/bson.h>

#include "tests/unit/support.h"

/* bson_new_from_json() is the same reader with the document on the heap. */
static void read_json(bson_t *out, const char *json)
{
    bson_error_t e;

    if (!bson_init_from_json(out, json, -1, &e))
        fail_msg("%s: %s", json, e.message);
}

static bson_type_t type_of(const char *json)
{
    bson_type_t type;
    bson_iter_t i;
    bson_t b;

    read_json(&b, json);
    assert_true(bson_iter_init_find(&i, &b, "a"));
    type = bson_iter_type(&i);
    bson_destroy(&b);
    return type;
}

static void p14_duplicate_keys_are_kept(void **state)
{
    bson_t b;

    (void)state;
    read_json(&b, "{\"a\":1,\"a\":2}");
    assert_int_equal(bson_count_keys(&b), 2);
    bson_destroy(&b);
}

static void p14_dollar_words_become_types(void **state)
{
    (void)state;
    assert_int_equal(type_of("{\"a\":{\"$oid\":\"0123456789abcdef01234567\"}}"),
                     BSON_TYPE_OID);
    assert_int_equal(type_of("{\"a\":{\"$date\":\"2020-01-01T00:00:00Z\"}}"),
                     BSON_TYPE_DATE_TIME);
    assert_int_equal(type_of("{\"a\":{\"$code\":\"return 1\"}}"),
                     BSON_TYPE_CODE);
}

static void p14_second_document_is_ignored(void **state)
{
    bson_t b;

    (void)state;
    read_json(&b, "{\"a\":1}{\"b\":2}");
    assert_true(bson_has_field(&b, "a"));
    assert_false(bson_has_field(&b, "b"));
    bson_destroy(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p14_duplicate_keys_are_kept),
        cmocka_unit_test(p14_dollar_words_become_types),
        cmocka_unit_test(p14_second_document_is_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
