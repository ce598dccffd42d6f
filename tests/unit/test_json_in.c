/* test_json_in - JSON text to BSON: types, order, equal keys, sizes */
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/data/json_in.h"
#include "lib/data/json_out.h"
#include "tests/unit/support.h"

static bson_t *read_json(void **state, str text)
{
    enum json_root root;
    bson_t *doc = NULL;

    assert_int_equal(json_in(*state, text, &root, &doc), OK);
    assert_true(bson_validate(doc, BSON_VALIDATE_NONE, NULL));
    return doc;
}

static void test_numbers(void **state)
{
    static const struct {
        const char *text;
        bson_type_t type;
        double want;
    } rows[] = {
        {"0", BSON_TYPE_INT32, 0},
        {"-1", BSON_TYPE_INT32, -1},
        {"2147483647", BSON_TYPE_INT32, 2147483647},
        {"2147483648", BSON_TYPE_INT64, 2147483648},
        {"-2147483648", BSON_TYPE_INT32, -2147483648.0},
        {"-2147483649", BSON_TYPE_INT64, -2147483649.0},
        {"9223372036854775807", BSON_TYPE_INT64, 9223372036854775807.0},
        {"9223372036854775808", BSON_TYPE_DOUBLE, 9223372036854775808.0},
        {"-9223372036854775808", BSON_TYPE_INT64, -9223372036854775808.0},
        {"-9223372036854775809", BSON_TYPE_DOUBLE, -9223372036854775808.0},
        {"18446744073709551616", BSON_TYPE_DOUBLE, 18446744073709551616.0},
        {"1000000000000000000000000", BSON_TYPE_DOUBLE, 1e24},
        {"-0", BSON_TYPE_DOUBLE, 0},
        {"-0.0", BSON_TYPE_DOUBLE, 0},
        {"0.0", BSON_TYPE_INT32, 0},
        {"1.0", BSON_TYPE_INT32, 1},
        {"-2.50", BSON_TYPE_DOUBLE, -2.5},
        {"1e3", BSON_TYPE_INT32, 1000},
        {"1E+3", BSON_TYPE_INT32, 1000},
        {"12e-1", BSON_TYPE_DOUBLE, 1.2},
        {"120e-1", BSON_TYPE_INT32, 12},
        {"2147483647.0", BSON_TYPE_INT32, 2147483647},
        {"2147483648.0", BSON_TYPE_DOUBLE, 2147483648},
        {"1e10", BSON_TYPE_DOUBLE, 1e10},
        {"0.1", BSON_TYPE_DOUBLE, 0.1},
        {"0.30000000000000004", BSON_TYPE_DOUBLE, 0.30000000000000004},
        {"3.141592653589793238462643", BSON_TYPE_DOUBLE, 3.141592653589793},
        {"1.7976931348623157e308", BSON_TYPE_DOUBLE, 1.7976931348623157e308},
        {"5e-324", BSON_TYPE_DOUBLE, 5e-324},
        {"1e-400", BSON_TYPE_INT32, 0},
        {"0e99999999999", BSON_TYPE_INT32, 0},
        {"1e-99999999999", BSON_TYPE_INT32, 0},
        {"9007199254740993.0", BSON_TYPE_DOUBLE, 9007199254740992.0},
        {"1e23", BSON_TYPE_DOUBLE, 1e23},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[80];
        bson_iter_t it;

        snprintf(text, sizeof text, "[%s]", rows[i].text);
        bson_iter_init(&it, read_json(state, str_of(text)));
        assert_true(bson_iter_next(&it));
        if (bson_iter_type(&it) != rows[i].type ||
            bson_iter_as_double(&it) != rows[i].want)
            fail_msg("%s: type %d, %.17g", rows[i].text, bson_iter_type(&it),
                     bson_iter_as_double(&it));
        ctx_reset(*state);
    }
}

static void test_overflow(void **state)
{
    struct ctx *c = *state;
    enum json_root root;
    bson_t *doc;

    assert_int_equal(json_in(c, STR("[1, -1e309]"), &root, &doc), ERR_BAD_JSON);
    assert_non_null(strstr(c->reason, "at byte 4"));
    ctx_reset(c);
    assert_int_equal(json_in(c, STR("1e999999"), &root, &doc), ERR_BAD_JSON);
    ctx_reset(c);
    assert_int_equal(json_in(c, STR("{\"a\":[}"), &root, &doc), ERR_BAD_JSON);
    assert_non_null(strstr(c->reason, "at byte 6"));
    ctx_reset(c);
}

/* JSON that comes back as it went in, or as `want`. */
static void test_documents(void **state)
{
    static const char *const rows[][2] = {
        {"{}", NULL},
        {"{\"a\":1,\"b\":\"x\",\"c\":[true,false,null,[],{}]}", NULL},
        {"{\"a\":{\"b\":{\"c\":[{\"d\":1.5}]}}}", NULL},
        {"{\"_id\":{\"$oid\":\"0123456789abcdef01234567\"}}", NULL},
        {"{\"z\":1,\"a\":2}", NULL},
        {"{\"\":1}", NULL},
        {"{\"a\":\"x\\u0000y\"}", NULL},
        {"{\"a\":1,\"a\":2}", "{\"a\":2}"},
        {"{\"a\":1,\"b\":2,\"a\":3}", "{\"a\":3,\"b\":2}"},
        {"{\"a\":1,\"b\":2,\"a\":3,\"b\":4,\"c\":5,\"a\":[6]}",
         "{\"a\":[6],\"b\":4,\"c\":5}"},
        {"{\"x\":{\"a\":1,\"\\u0061\":{\"y\":1,\"y\":2}},\"x2\":0}",
         "{\"x\":{\"a\":{\"y\":2}},\"x2\":0}"},
        {"{\"a\":{\"b\":1},\"c\":[{\"a\":0}],\"a\":\"long enough\"}",
         "{\"a\":\"long enough\",\"c\":[{\"a\":0}]}"},
        {"{\"a\":[0,1,2,3,4,5,6,7,8,9,10,11]}", NULL},
    };
    struct buf b;

    buf_init(&b, 1 << 20, ERR_INTERNAL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *want = rows[i][1] ? rows[i][1] : rows[i][0];

        buf_clear(&b);
        json_out_doc(&b, read_json(state, str_of(rows[i][0])));
        assert_str(buf_str(&b), want);
        ctx_reset(*state);
    }
    buf_done(&b);
}

static void test_roots(void **state)
{
    static const struct {
        const char *text;
        enum json_root root;
    } rows[] = {{"{}", JSON_OBJECT},  {" [1]", JSON_ARRAY},
                {"7", JSON_SCALAR},   {"\"x\"", JSON_SCALAR},
                {"1.5", JSON_SCALAR}, {"null", JSON_SCALAR}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum json_root root;
        bson_t *doc;

        assert_int_equal(json_in(*state, str_of(rows[i].text), &root, &doc),
                         OK);
        assert_int_equal(root, rows[i].root);
        assert_int_equal(bson_count_keys(doc), root == JSON_ARRAY);
        ctx_reset(*state);
    }
}

/* n different keys, then the same again with other values. */
static void test_many_keys(void **state)
{
    struct buf text, out, want;

    for (int n = 1; n <= 100000; n = n < 70 ? n + 1 : n * 7) {
        buf_init(&text, 64 << 20, ERR_INTERNAL);
        buf_init(&out, 64 << 20, ERR_INTERNAL);
        buf_init(&want, 64 << 20, ERR_INTERNAL);
        for (int i = 0; i < 2 * n; i++)
            buf_addf(&text, "%c\"k%d\":{\"v\":%d}", i ? ',' : '{', i % n, i);
        for (int i = 0; i < n; i++)
            buf_addf(&want, "%c\"k%d\":{\"v\":%d}", i ? ',' : '{', i, n + i);
        buf_add_char(&text, '}');
        buf_add(&want, STR("}"));
        buf_add_char(&want, 0);
        json_out_doc(&out, read_json(state, buf_str(&text)));
        assert_str(buf_str(&out), want.p);
        buf_done(&text);
        buf_done(&out);
        buf_done(&want);
        ctx_reset(*state);
    }
}

static void test_sizes(void **state)
{
    size_t n = 10 << 20;
    struct ctx *c = *state;
    enum json_root root;
    char *text;
    bson_t *doc;

    text = malloc(2 * n);
    memset(text, 'x', 2 * n);
    memcpy(text, "{\"a\":\"", 6);
    memcpy(text + n - 2, "\"}", 2);
    doc = read_json(state, (str){text, n});
    assert_int_equal(doc->len, n - 8 + 13);
    ctx_reset(c);
    for (size_t i = 6; i < n - 2; i += 2)
        memcpy(text + i, "\\n", 2);
    assert_int_equal(read_json(state, (str){text, n})->len, (n - 8) / 2 + 13);
    ctx_reset(c);
    memset(text + 6, 'x', 2 * n - 6);
    memcpy(text + 2 * n - 2, "\"}", 2);
    assert_int_equal(json_in(c, (str){text, 2 * n}, &root, &doc),
                     ERR_DOCUMENT_TOO_LARGE);
    ctx_reset(c);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),   cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_documents), cmocka_unit_test(test_roots),
        cmocka_unit_test(test_many_keys), cmocka_unit_test(test_sizes),
    };

    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
