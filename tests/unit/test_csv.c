/* test_csv - documents as lines */
#include <math.h>
#include <stdio.h>

#include "lib/data/csv.h"
#include "lib/data/json_in.h"
#include "tests/unit/support.h"

static const struct csv_style usual = {',', '"', '"', false};
static const struct csv_style guarded = {',', '"', '"', true};
static const struct csv_style odd = {';', '\'', '\\', false};

static size_t split(const char *names, str columns[8])
{
    str rest = str_of(names);
    size_t n = 0;

    while (n < 8 && str_cut(&rest, ',', &columns[n]))
        n++;
    return n;
}

struct row {
    const struct csv_style *style;
    const char *columns, *json, *want;
};

static const struct row rows[] = {
    {&usual, "a,b,c", "{\"a\":1,\"b\":\"x\",\"c\":true}", "\n1,\"x\",true"},
    {&usual, "a,b,c", "{\"c\":1.5,\"a\":-2}", "\n-2,,1.5"},
    {&usual, "a,b", "{\"z\":9,\"b\":null,\"a\":\"\"}", "\n\"\","},
    {&usual, "a", "{}", "\n"},
    {&usual, "a", "{\"a\":\"say \\\"hi\\\", ok\\nx\"}",
     "\n\"say \"\"hi\"\", ok\nx\""},
    {&usual, "a", "{\"a\":{\"b\":\"q\\\"\",\"c\":[1]}}",
     "\n\"{\"\"b\"\":\"\"q\\\"\"\"\",\"\"c\"\":[1]}\""},
    {&usual, "a", "{\"a\":[1,\"x\",true,{\"b\":2},[3,4],null]}",
     "\n\"1; x; true; {\"\"b\"\":2}; [3,4]; null\""},
    {&usual, "a", "{\"a\":[]}", "\n\"\""},
    {&usual, "a.b,a.c.d,x", "{\"a\":{\"b\":5,\"c\":{\"d\":\"y\"}},\"x\":1}",
     "\n5,\"y\",1"},
    {&usual, "a.b,a.b.c,q.b", "{\"a\":{\"b\":5}}", "\n5,,"},
    {&usual, "a.b", "{\"a.b\":1,\"a\":{\"b\":2}}", "\n1"},
    {&usual, "a.b", "{\"a\":[{\"b\":2}]}", "\n"},
    {&usual, "a,b", "{\"a\":\"=1+1\",\"b\":\"-x\"}", "\n\"=1+1\",\"-x\""},
    {&guarded, "a,b,c,d", "{\"a\":\"=1\",\"b\":\"+1\",\"c\":\"-\",\"d\":\"@\"}",
     "\n\"'=1\",\"'+1\",\"'-\",\"'@\""},
    {&guarded, "a,b,c,d", "{\"a\":-5,\"b\":[\"=x\"],\"c\":\"a=\",\"d\":\"\"}",
     "\n-5,\"'=x\",\"a=\",\"\""},
    {&odd, "a,b", "{\"a\":\"it's\",\"b\":\"\\\"\"}", "\n'it\\'s';'\"'"},
};

static void test_rows(void **state)
{
    struct buf b;

    buf_init(&b, 1 << 20, ERR_INTERNAL);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum json_root root;
        str columns[8];
        bson_t *doc;
        size_t n = split(rows[i].columns, columns);

        buf_clear(&b);
        assert_int_equal(json_in(*state, str_of(rows[i].json), &root, &doc),
                         OK);
        csv_out_row(&b, rows[i].style, doc, columns, n);
        assert_int_equal(b.err, OK);
        assert_str(buf_str(&b), rows[i].want);
        ctx_reset(*state);
    }
    buf_done(&b);
}

static void test_header(void **state)
{
    str columns[8];
    size_t n = split("_id,a\"b,=c", columns);
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 20, ERR_INTERNAL);
    csv_out_header(&b, &guarded, columns, n);
    csv_out_header(&b, &odd, columns, 2);
    assert_str(buf_str(&b), "\"_id\",\"a\"\"b\",\"'=c\"'_id';'a\"b'");
    buf_done(&b);
}

static void test_types(void **state)
{
    str columns[8];
    size_t n = split("o,d,f,n,g,i", columns);
    bson_decimal128_t dec, nan;
    bson_oid_t oid;
    struct buf b;
    bson_t *doc;

    (void)state;
    bson_oid_init_from_string(&oid, "0123456789abcdef01234567");
    bson_decimal128_from_string("1.50", &dec);
    bson_decimal128_from_string("NaN", &nan);
    doc = BCON_NEW("o", BCON_OID(&oid), "d", BCON_DATE_TIME(0), "f",
                   BCON_DATE_TIME(INT64_MAX), "n", BCON_DOUBLE((double)NAN),
                   "g", BCON_DECIMAL128(&dec), "i", BCON_DECIMAL128(&nan));
    buf_init(&b, 1 << 20, ERR_INTERNAL);
    csv_out_row(&b, &usual, doc, columns, n);
    assert_str(buf_str(&b), "\n\"0123456789abcdef01234567\","
                            "\"1970-01-01T00:00:00.000Z\",,,1.50,");
    bson_destroy(doc);
    buf_clear(&b);
    doc =
        BCON_NEW("o", "[", BCON_OID(&oid), BCON_DATE_TIME(0), "]", "d",
                 BCON_MINKEY, "g", BCON_BIN(4, (const uint8_t *)"\xfb\xff", 2));
    csv_out_row(&b, &guarded, doc, columns, n);
    assert_str(buf_str(&b), "\n\"0123456789abcdef01234567; "
                            "1970-01-01T00:00:00.000Z\","
                            "\"{\"\"$minKey\"\":1}\",,,\"'+/8=\",");
    bson_destroy(doc);
    buf_done(&b);
}

/* Many columns in another order than the members, and a long cell. */
static void test_many(void **state)
{
    enum {
        MANY = 1000
    };
    static char names[MANY][8];
    static str columns[MANY];
    bson_t *doc = bson_new(), child;
    struct buf b, want;

    (void)state;
    buf_init(&b, 1 << 20, ERR_INTERNAL);
    buf_init(&want, 1 << 20, ERR_INTERNAL);
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "c%d", i);
        columns[i] = str_of(names[i]);
        buf_addf(&want, "%c%d", i ? ',' : '\n', i);
    }
    for (int i = MANY; i-- > 0;)
        bson_append_int32(doc, names[i], -1, i);
    csv_out_row(&b, &usual, doc, columns, MANY);
    buf_add_char(&want, 0);
    assert_str(buf_str(&b), want.p);
    bson_reinit(doc);
    bson_append_array_begin(doc, "c0", 2, &child);
    for (int i = 0; i < 20000; i++)
        bson_append_utf8(&child, "0", 1, "\"\"", 2);
    bson_append_array_end(doc, &child);
    buf_clear(&b);
    csv_out_row(&b, &usual, doc, columns, 1);
    assert_int_equal(b.err, OK);
    assert_int_equal(b.n, 1 + 2 + 20000 * 4 + 19999 * 2);
    bson_destroy(doc);
    buf_done(&b);
    buf_done(&want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
