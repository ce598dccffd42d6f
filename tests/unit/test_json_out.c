/* test_json_out - every BSON type as JSON */
#include <math.h>
#include <stdio.h>

#include "lib/data/json_out.h"
#include "tests/unit/support.h"

static struct buf out;

/* The one member of doc, which is destroyed. */
static void check(bson_t *doc, const char *want)
{
    bson_iter_t it;

    buf_clear(&out);
    assert_true(bson_iter_init(&it, doc) && bson_iter_next(&it));
    json_out_value(&out, &it);
    assert_str(buf_str(&out), want);
    bson_destroy(doc);
}

static void test_plain(void **state)
{
    (void)state;
    check(BCON_NEW("v", BCON_INT32(-7)), "-7");
    check(BCON_NEW("v", BCON_INT64(INT64_MAX)), "9223372036854775807");
    check(BCON_NEW("v", BCON_INT64(INT64_MIN)), "-9223372036854775808");
    check(BCON_NEW("v", BCON_DOUBLE(1.0)), "1");
    check(BCON_NEW("v", BCON_DOUBLE(-0.0)), "0");
    check(BCON_NEW("v", BCON_DOUBLE(0.1)), "0.1");
    check(BCON_NEW("v", BCON_DOUBLE((double)NAN)), "null");
    check(BCON_NEW("v", BCON_DOUBLE((double)INFINITY)), "null");
    check(BCON_NEW("v", BCON_BOOL(true)), "true");
    check(BCON_NEW("v", BCON_NULL), "null");
    check(BCON_NEW("v", BCON_UNDEFINED), "null");
    check(BCON_NEW("v", BCON_UTF8("a\"\n\xff")), "\"a\\\"\\n\xef\xbf\xbd\"");
    check(BCON_NEW("v", BCON_SYMBOL("sym")), "\"sym\"");
    check(BCON_NEW("v", "{", "a", "[", BCON_INT32(1), "{", "}", "]", "}"),
          "{\"a\":[1,{}]}");
}

static void test_dates(void **state)
{
    (void)state;
    check(BCON_NEW("v", BCON_DATE_TIME(0)), "\"1970-01-01T00:00:00.000Z\"");
    check(BCON_NEW("v", BCON_DATE_TIME(-62198755200000)),
          "\"-000001-01-01T00:00:00.000Z\"");
    check(BCON_NEW("v", BCON_DATE_TIME(253402300800000)),
          "\"+010000-01-01T00:00:00.000Z\"");
    check(BCON_NEW("v", BCON_DATE_TIME(INT64_MAX)), "null");
}

static bson_t *binary(bson_subtype_t subtype, str s)
{
    bson_t *doc = bson_new();

    bson_append_binary(doc, "v", 1, subtype, (const uint8_t *)s.p,
                       (uint32_t)s.n);
    return doc;
}

static void test_binary(void **state)
{
    str uuid = STR("\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54"
                   "\x32\x10");

    (void)state;
    check(binary(BSON_SUBTYPE_BINARY, STR("")), "\"\"");
    check(binary(BSON_SUBTYPE_BINARY, STR("f")), "\"Zg==\"");
    check(binary(BSON_SUBTYPE_BINARY, STR("fo")), "\"Zm8=\"");
    check(binary(BSON_SUBTYPE_USER, STR("foo\xff\xfe")), "\"Zm9v//4=\"");
    check(binary(BSON_SUBTYPE_BINARY_DEPRECATED, STR("foo")), "\"Zm9v\"");
    check(binary(BSON_SUBTYPE_UUID, uuid),
          "\"01234567-89ab-cdef-fedc-ba9876543210\"");
    check(binary(BSON_SUBTYPE_UUID, STR("foo")), "\"Zm9v\"");
}

static void test_extended(void **state)
{
    bson_decimal128_t dec;
    bson_oid_t oid;
    bson_t *doc, *scope = BCON_NEW("x", BCON_INT32(1));

    (void)state;
    bson_oid_init_from_string(&oid, "0123456789abcdef01234567");
    bson_decimal128_from_string("1.50", &dec);
    check(BCON_NEW("v", BCON_OID(&oid)), "\"0123456789abcdef01234567\"");
    check(BCON_NEW("v", BCON_DECIMAL128(&dec)),
          "{\"$numberDecimal\":\"1.50\"}");
    check(BCON_NEW("v", BCON_TIMESTAMP(4000000000u, 2)),
          "{\"$timestamp\":{\"t\":4000000000,\"i\":2}}");
    check(
        BCON_NEW("v", BCON_REGEX("^a\"", "i")),
        "{\"$regularExpression\":{\"pattern\":\"^a\\\"\",\"options\":\"i\"}}");
    check(BCON_NEW("v", BCON_CODE("f()")), "{\"$code\":\"f()\"}");
    check(BCON_NEW("v", BCON_CODEWSCOPE("f()", scope)),
          "{\"$code\":\"f()\",\"$scope\":{\"x\":1}}");
    check(BCON_NEW("v", BCON_MINKEY), "{\"$minKey\":1}");
    check(BCON_NEW("v", BCON_MAXKEY), "{\"$maxKey\":1}");
    doc = bson_new();
    bson_append_dbpointer(doc, "v", 1, "db.c", &oid);
    check(doc, "{\"$dbPointer\":{\"$ref\":\"db.c\",\"$id\":{\"$oid\":"
               "\"0123456789abcdef01234567\"}}}");
    bson_destroy(scope);
}

static void test_depth(void **state)
{
    bson_t *doc = bson_new();

    (void)state;
    for (int i = 0; i < 300; i++) {
        bson_t *outer = bson_new();

        bson_append_document(outer, "a", 1, doc);
        bson_destroy(doc);
        doc = outer;
    }
    buf_clear(&out);
    json_out_doc(&out, doc);
    assert_int_equal(out.n, 250 * 6 + 4);
    assert_memory_equal(out.p + 250 * 5 - 5, "{\"a\":null}", 10);
    bson_destroy(doc);
}

static void test_roots(void **state)
{
    bson_t *doc = BCON_NEW("0", BCON_INT32(1), "1", "[", "]");
    const uint8_t bad[] = {9, 0, 0, 0, 0x10, 'a', 0, 1, 0};

    (void)state;
    buf_clear(&out);
    json_out_array(&out, doc);
    json_out_bytes(&out, bson_get_data(doc), doc->len);
    json_out_bytes(&out, bad, sizeof bad);
    json_out_bytes(&out, bad, 3);
    assert_str(buf_str(&out), "[1,[]]{\"0\":1,\"1\":[]}{}{}");
    bson_destroy(doc);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),  cmocka_unit_test(test_dates),
        cmocka_unit_test(test_binary), cmocka_unit_test(test_extended),
        cmocka_unit_test(test_depth),  cmocka_unit_test(test_roots),
    };

    buf_init(&out, 1 << 20, ERR_INTERNAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
