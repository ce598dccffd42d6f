/* test_filter - query strings become filters, pages, orders and projections */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/data/filter.h"
#include "lib/data/form_in.h"
#include "tests/unit/support.h"

static const struct filter_limits limits = {10, 100};

static void show_members(struct buf *b, bson_iter_t *at, bool is_array);

static void show_key(struct buf *b, const char *key)
{
    bool bare = strspn(key, "$_abcdefghijklmnopqrstuvwxyz"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == strlen(key);

    buf_addf(b, bare && *key ? "%s:" : "\"%s\":", key);
}

static void show_text(struct buf *b, const char *text)
{
    buf_add_char(b, '"');
    for (; *text; text++) {
        if (*text == '\\' || *text == '"')
            buf_add_char(b, '\\');
        buf_add_char(b, *text);
    }
    buf_add_char(b, '"');
}

static void show_value(struct buf *b, const bson_iter_t *at)
{
    char text[64];
    bson_iter_t inner;

    if (BSON_ITER_HOLDS_UTF8(at)) {
        show_text(b, bson_iter_utf8(at, NULL));
    } else if (BSON_ITER_HOLDS_INT32(at)) {
        buf_addf(b, "%d", bson_iter_int32(at));
    } else if (BSON_ITER_HOLDS_INT64(at)) {
        buf_addf(b, "%lldL", (long long)bson_iter_int64(at));
    } else if (BSON_ITER_HOLDS_DOUBLE(at)) {
        buf_addf(b, "%.15gd", bson_iter_double(at));
    } else if (BSON_ITER_HOLDS_BOOL(at)) {
        buf_addf(b, bson_iter_bool(at) ? "true" : "false");
    } else if (BSON_ITER_HOLDS_NULL(at)) {
        buf_addf(b, "null");
    } else if (BSON_ITER_HOLDS_DATE_TIME(at)) {
        clock_iso(bson_iter_date_time(at), text);
        buf_addf(b, "D(%s)", text);
    } else if (BSON_ITER_HOLDS_OID(at)) {
        bson_oid_to_string(bson_iter_oid(at), text);
        buf_addf(b, "O(%s)", text);
    } else {
        assert_true(bson_iter_recurse(at, &inner));
        show_members(b, &inner, BSON_ITER_HOLDS_ARRAY(at));
    }
}

static void show_members(struct buf *b, bson_iter_t *at, bool is_array)
{
    bool first = true;

    buf_add_char(b, is_array ? '[' : '{');
    while (bson_iter_next(at)) {
        if (!first)
            buf_add_char(b, ',');
        first = false;
        if (!is_array)
            show_key(b, bson_iter_key(at));
        show_value(b, at);
    }
    buf_add_char(b, is_array ? ']' : '}');
}

static void assert_doc(const bson_t *doc, const char *want, const char *of)
{
    struct buf b;
    bson_iter_t at;

    buf_init(&b, 1 << 20, ERR_INTERNAL);
    assert_true(bson_iter_init(&at, doc));
    show_members(&b, &at, false);
    assert_int_equal(b.err, OK);
    if (!str_eq(buf_str(&b), str_of(want)))
        print_error("%s is wrong:\n", of);
    assert_str(buf_str(&b), want);
    buf_done(&b);
}

#define D(day)  "D(" day "T00:00:00.000Z)"
#define O11     "O(507f1f77bcf86cd799439011)"
#define O12     "O(507f1f77bcf86cd799439012)"
#define R(word) "{$regex:\"" word "\",$options:\"i\"}"

struct row {
    const char *query, *want;
};

/* clang-format off */
static const struct row rows[] = {
    {"name=John", "{name:\"John\"}"},
    {"age=30", "{age:30}"},
    {"price=19.99", "{price:19.99d}"},
    {"age=-5", "{age:-5}"},
    {"zip=007", "{zip:7}"},
    {"active=TRUE", "{active:true}"},
    {"deleted=null", "{deleted:null}"},
    {"v=1e3", "{v:\"1e3\"}"},
    {"v=", "{v:\"\"}"},
    {"status=active,pending", "{status:{$in:[\"active\",\"pending\"]}}"},
    {"name=O'Brien, Pat", "{name:{$in:[\"O'Brien\",\"Pat\"]}}"},
    {"age=1,2,3", "{age:{$in:[1,2,3]}}"},
    {"age=25..35", "{age:{$gte:25,$lte:35}}"},
    {"age=25..", "{age:{$gte:25}}"},
    {"age=..35", "{age:{$lte:35}}"},
    {"age=>25", "{age:{$gt:25}}"},
    {"age=>=25", "{age:{$gte:25}}"},
    {"age=<65", "{age:{$lt:65}}"},
    {"age=<=65", "{age:{$lte:65}}"},
    {"status=!inactive", "{status:{$ne:\"inactive\"}}"},
    {"x=!null", "{x:{$ne:null}}"},
    {"name=/^jo/", "{name:" R("^jo") "}"},
    {"name=John*", "{name:" R("^John.*$") "}"},
    {"name=*son", "{name:" R("^.*son$") "}"},
    {"name=a.b*", "{name:" R("^a\\\\.b.*$") "}"},
    {"age={\"$gte\":18,\"$lt\":65}", "{age:{$gte:18,$lt:65}}"},
    {"age={\"$gte\":\"18\"}", "{age:{$gte:18}}"},
    {"c={\"$in\":[\"1\",\"2\"]}", "{c:{$in:[\"1\",\"2\"]}}"},
    {"name={\"$regex\":\"jo\",\"$options\":\"i\"}", "{name:" R("jo") "}"},
    {"filter.status=active", "{status:\"active\"}"},
    {"filter.age={\"$gte\":25,\"$lte\":40}", "{age:{$gte:25,$lte:40}}"},
    {"address.city=Seattle", "{\"address.city\":\"Seattle\"}"},
    {"total=>100&status=open", "{total:{$gt:100},status:\"open\"}"},
    {"createdAt={\"$lt\":\"2025-09-14T00:00:00.000Z\"}",
     "{createdAt:{$lt:" D("2025-09-14") "}}"},
    {"createdAt[$gte]=2024-01-01&createdAt[$lte]=2024-12-31",
     "{createdAt:{$gte:" D("2024-01-01") ",$lte:" D("2024-12-31") "}}"},
    {"createdAt=2025-01-01", "{createdAt:" D("2025-01-01") "}"},
    {"createdAt=>2025-01-01", "{createdAt:{$gt:" D("2025-01-01") "}}"},
    {"createdAt=2024-01-01..2024-12-31",
     "{createdAt:{$gte:" D("2024-01-01") ",$lte:" D("2024-12-31") "}}"},
    {"d=2024-13-01", "{d:\"2024-13-01\"}"},
    {"_id=507f1f77bcf86cd799439011", "{_id:" O11 "}"},
    {"_id=507f1f77bcf86cd799439011,507f1f77bcf86cd799439012",
     "{_id:{$in:[" O11 "," O12 "]}}"},
    {"filter={\"status\":\"active\",\"age\":{\"$gte\":18}}",
     "{status:\"active\",age:{$gte:18}}"},
    {"filter={\"$and\":[{\"total\":{\"$gte\":100}},{\"status\":\"x\"}]}",
     "{$and:[{total:{$gte:100}},{status:\"x\"}]}"},
    {"tag=a&tag=b", "{tag:[\"a\",\"b\"]}"},
    {"total>=100", "{total:{$gte:100}}"},
    {"v={bad}", "{v:\"{bad}\"}"},
    {"q=$100", "{q:\"$100\"}"},
    {"age>=18&age<=65", "{age:{$gte:18,$lte:65}}"},
    {"age>18", "{age:{$gt:18}}"},
    {"status!=closed", "{status:{$ne:\"closed\"}}"},
    {"status=a&filter={\"status\":\"b\"}",
     "{$and:[{status:\"a\"},{status:\"b\"}]}"},
    {"age[$gte]=18&age[$lt]=65", "{age:{$gte:18,$lt:65}}"},
    {"$or[0][a]=1&$or[1][b]=2", "{$or:[{a:1},{b:2}]}"},
    {"user.address.zip=98101&sort=-user.age,name",
     "{\"user.address.zip\":98101}"},
    {"name=f(x)[1]%2B?*", "{name:" R("^f\\\\(x\\\\)\\\\[1\\\\]\\\\+\\\\?.*$")
     "}"},
    {"name={\"$regex\":\"2024\"}", "{name:{$regex:\"2024\"}}"},
    {"n=9007199254740993", "{n:9007199254740993L}"},
    {"ref=123456789012345678901234", "{ref:O(123456789012345678901234)}"},
    {"t=2024-05-01T10:00:00", "{t:D(2024-05-01T10:00:00.000Z)}"},
    {"t=2024-05-01T10:00:00%2B02:00", "{t:D(2024-05-01T08:00:00.000Z)}"},
    {"age=>=10,20", "{age:{$in:[\">=10\",20]}}"},
    /* beyond the published examples */
    {"", "{}"},
    {"&&page=3&", "{}"},
    {"active", "{active:\"\"}"},
    {"v=%zz%4&w%=%", "{v:\"%zz%4\",\"w%\":\"%\"}"},
    {"a+b=c+d%2B", "{\"a b\":\"c d+\"}"},
    {"age<5", "{age:{$lt:5}}"},
    {"age%3E=18", "{age:{$gte:18}}"},
    {"age%5B%24gte%5D=18", "{age:{$gte:18}}"},
    {"a[b]=1&a[c]=x", "{a:{b:1,c:\"x\"}}"},
    {"a[]=1&a[]=true", "{a:[\"1\",\"true\"]}"},
    {"a[3]=c&a[0]=a&a[]=z&a[1]=b", "{a:[\"a\",\"b\",\"c\",\"z\"]}"},
    {"a[21]=x", "{a:{\"21\":\"x\"}}"},
    {"a[$in][]=1&a[$in][]=2", "{a:{$in:[\"1\",\"2\"]}}"},
    {"a[$regex]=2024&a[$options]=i", "{a:" R("2024") "}"},
    {"a[$type]=2", "{a:{$type:\"2\"}}"},
    {"$or[][a]=1&$or[][a]=2", "{$or:[{a:1},{a:2}]}"},
    {"$text[$search]=2024", "{$text:{$search:\"2024\"}}"},
    {"$text={\"$search\":\"1\"}", "{$text:{$search:\"1\"}}"},
    {"filter.page=2&page=7", "{page:2}"},
    {"filter.a=1&a=2", "{$and:[{a:1},{a:2}]}"},
    {"x=1&a>1&a>2&y=2",
     "{$and:[{x:1},{a:{$gt:1}},{a:{$gt:2}},{y:2}]}"},
    {"a>=1&b=2&a[$lt]=9&a!=5", "{a:{$gte:1,$lt:9,$ne:5},b:2}"},
    {"b=2&a=1&filter={\"c\":3,\"d\":\"4\"}&e=5",
     "{b:2,a:1,c:3,d:4,e:5}"},
    {"$or[0][a]=1&filter={\"$or\":[{\"b\":2}]}",
     "{$and:[{$or:[{a:1}]},{$or:[{b:2}]}]}"},
    {"a={\"b\":{\"c\":\"1\",\"d\":[\"1\",{\"e\":\"1\"}]}}",
     "{a:{b:{c:1,d:[\"1\",{e:1}]}}}"},
    {"v=99999999999", "{v:99999999999L}"},
    {"v=99999999999999999999", "{v:1e+20d}"},
    {"v=-1.50", "{v:-1.5d}"},
    {"v=12.", "{v:\"12.\"}"},
    {"v=+5", "{v:\" 5\"}"},
    {"v=0x10", "{v:\"0x10\"}"},
    {"v=//", "{v:\"//\"}"},
    {"v=a,", "{v:{$in:[\"a\",\"\"]}}"},
    {"v=1..2..3", "{v:{$gte:1,$lte:2}}"},
    {"v=!", "{v:{$ne:\"\"}}"},
    {"a={}", "{a:{}}"},
    {"a=1&search=&sort=&fields=&filter=&limit=&page=&format=", "{a:1}"},
};

struct fault {
    const char *query;
    enum err err;
    const char *word; /* in the reason */
};

static const struct fault faults[] = {
    {"$where=1", ERR_BAD_OPERATOR, "'$where'"},
    {"a={\"$where\":\"1\"}", ERR_BAD_OPERATOR, "'$where'"},
    {"age={\"$foo\":1}", ERR_BAD_OPERATOR, "'$foo'"},
    {"a={\"$not\":{\"$where\":\"1\"}}", ERR_BAD_OPERATOR, "'$where'"},
    {"a.$where=1", ERR_BAD_OPERATOR, "'$where'"},
    {"filter={\"$expr\":{\"$gt\":[\"$a\",\"$b\"]}}", ERR_BAD_OPERATOR,
     "'$expr'"},
    {"age=..", ERR_BAD_QUERY, "age"},
    {"filter=active", ERR_BAD_QUERY, "filter"},
    {"fields=name,-age", ERR_BAD_QUERY, "fields"},
    {"limit=101", ERR_BAD_QUERY, "limit"},
    {"page=ten", ERR_BAD_QUERY, "page"},
    {"sort=a&sort=b", ERR_BAD_QUERY, "sort"},
    /* beyond the published examples */
    {"filter=[]", ERR_BAD_QUERY, "filter"},
    {"filter=\"a\"", ERR_BAD_QUERY, "filter"},
    {"filter[a]=1", ERR_BAD_QUERY, "filter"},
    {"page[]=1", ERR_BAD_QUERY, "page"},
    {"page=2147483648", ERR_BAD_QUERY, "page"},
    {"page=1.5", ERR_BAD_QUERY, "page"},
    {"sort=a,,b", ERR_BAD_QUERY, "sort"},
    {"sort=-", ERR_BAD_QUERY, "sort"},
    {"sort=a,-a", ERR_BAD_QUERY, "'a'"},
    {"sort=a.$b", ERR_BAD_QUERY, "a.$b"},
    {"fields=a.b,aa,a", ERR_BAD_QUERY, "a.b"},
    {"fields=$a", ERR_BAD_QUERY, "$a"},
    {"fields=-a,_id", ERR_BAD_QUERY, "fields"},
    {"a..b=1", ERR_BAD_QUERY, "a..b"},
    {"=1", ERR_BAD_QUERY, ""},
    {">5", ERR_BAD_QUERY, ""},
    {"filter.=1", ERR_BAD_QUERY, ""},
    {"a=1&a[b]=2", ERR_BAD_QUERY, "'a[b]'"},
    {"a[b]=1&a=2", ERR_BAD_QUERY, "'a'"},
    {"a[]=1&a[b]=2", ERR_BAD_QUERY, "'a[b]'"},
    {"a[1][2][3][4][5][6]=1", ERR_BAD_QUERY, "5"},
    {"a[b=1", ERR_BAD_QUERY, "a[b"},
    {"a]=1", ERR_BAD_QUERY, "a]"},
    {"a[b]c=1", ERR_BAD_QUERY, "a[b]c"},
    {"a=%00", ERR_BAD_QUERY, "NUL"},
    {"a=%ff", ERR_BAD_QUERY, "UTF-8"},
    {"$or=1", ERR_BAD_OPERATOR, "'$or'"},
    {"$or[a]=1", ERR_BAD_OPERATOR, "'$or'"},
    {"$or[]=1", ERR_BAD_OPERATOR, "'$or'"},
    {"$text=x", ERR_BAD_OPERATOR, "'$text'"},
    {"$where.a=1", ERR_BAD_OPERATOR, "'$where'"},
    {"$gt>5", ERR_BAD_OPERATOR, "'$gt'"},
    {"filter.$or[0][a]=1", ERR_BAD_OPERATOR, "'$or'"},
    {"_id={\"$oid\":\"507f1f77bcf86cd799439011\"}", ERR_BAD_OPERATOR, "$oid"},
    {"a[$where]=1", ERR_BAD_OPERATOR, "'$where'"},
    {"$or[0][$where]=1", ERR_BAD_OPERATOR, "'$where'"},
    {"a=x*&b=x*&c=/x/&d=x*&e={\"$regex\":\"x\"}", ERR_FILTER_TOO_COMPLEX,
     "4"},
};
/* clang-format on */

static struct ctx *fresh(void **state)
{
    ctx_reset(*state);
    return *state;
}

static void query_becomes_filter(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ctx *c = fresh(state);
        struct list_query q;
        enum err err = filter_parse(c, str_of(rows[i].query), &limits, &q);

        if (err)
            print_error("%s: %s\n", rows[i].query, c->reason);
        assert_int_equal(err, OK);
        assert_int_equal(c->err, OK);
        assert_doc(q.filter, rows[i].want, rows[i].query);
    }
}

static void bad_query_is_refused_with_its_name(void **state)
{
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct ctx *c = fresh(state);
        struct list_query q;
        enum err err = filter_parse(c, str_of(faults[i].query), &limits, &q);

        if (err != faults[i].err || !strstr(c->reason, faults[i].word))
            print_error("%s: %s %s\n", faults[i].query, err_code(err),
                        c->reason);
        assert_int_equal(err, faults[i].err);
        assert_int_equal(c->err, err);
        assert_non_null(strstr(c->reason, faults[i].word));
    }
}

static struct list_query parse(void **state, const char *query)
{
    struct ctx *c = fresh(state);
    struct list_query q;

    assert_int_equal(filter_parse(c, str_of(query), &limits, &q), OK);
    return q;
}

static void page_and_limit_have_defaults_and_floors(void **state)
{
    struct list_query q = parse(state, "");

    assert_int_equal(q.page, 1);
    assert_int_equal(q.limit, 10);
    assert_false(q.csv);
    assert_null(q.sort);
    assert_null(q.projection);
    assert_doc(q.shown_projection, "{}", "none");
    q = parse(state, "page=0&limit=-99999999999999999999&format=csv");
    assert_int_equal(q.page, 1);
    assert_int_equal(q.limit, 1);
    assert_true(q.csv);
    q = parse(state, "page=2147483647&limit=100&format=xml");
    assert_int_equal(q.page, INT32_MAX);
    assert_int_equal(q.limit, 100);
    assert_false(q.csv);
}

static void sort_and_fields_are_parsed_in_order(void **state)
{
    struct list_query q =
        parse(state, "sort=-user.age,+name&fields=b,a.c,-_id");

    assert_doc(q.sort, "{\"user.age\":-1,name:1}", "sort");
    assert_doc(q.projection, "{b:1,\"a.c\":1,_id:0}", "fields");
    assert_doc(q.shown_projection, "{b:1,\"a.c\":1,_id:0}", "shown");
    assert_int_equal(q.fields_n, 2);
    assert_str(q.fields[0], "b");
    assert_str(q.fields[1], "a.c");
    q = parse(state, "fields=-a,-_id");
    assert_doc(q.projection, "{a:0,_id:0}", "fields");
    assert_int_equal(q.fields_n, 0);
}

/* clang-format off */
static const struct row searches[] = {
    {"search=dev", "{$text:{$search:\"dev\"}}"},
    {"search=true&a=1", "{$and:[{a:1},{$text:{$search:\"true\"}}]}"},
    {"status=a&search=dev&fields=name,skills",
     "{$and:[{status:\"a\"},{$or:[{name:" R("dev") "},"
     "{skills:" R("dev") "}]}]}"},
    {"search=a.b&fields=name", "{name:" R("a\\\\.b") "}"},
    {"a=1", "{a:1}"},
    {"a=x*&b=x*&c=x*&d=x*&search=y&fields=e",
     "{$and:[{a:" R("^x.*$") ",b:" R("^x.*$") ",c:" R("^x.*$")
     ",d:" R("^x.*$") "},{e:" R("y") "}]}"},
};
/* clang-format on */

static void search_is_joined(void **state)
{
    for (size_t i = 0; i < sizeof searches / sizeof *searches; i++) {
        struct list_query q = parse(state, searches[i].query);

        assert_int_equal(filter_add_search(*state, &q, q.fields, q.fields_n),
                         OK);
        assert_doc(q.filter, searches[i].want, searches[i].query);
    }
}

static void form_keeps_texts(void **state)
{
    struct ctx *c = fresh(state);
    bson_t *doc;

    assert_int_equal(form_to_bson(c,
                                  STR("a=1&b[c]=true&l[]=1&l[]=2&d.e=x+y&t=1"
                                      "&t=2&o[1][k]=v&$x="),
                                  &doc),
                     OK);
    assert_doc(doc,
               "{a:\"1\",b:{c:\"true\"},l:[\"1\",\"2\"],\"d.e\":\"x y\","
               "t:[\"1\",\"2\"],o:[{k:\"v\"}],$x:\"\"}",
               "form");
    c = fresh(state);
    assert_int_equal(form_to_bson(c, STR("a=1&a[b]=2"), &doc), ERR_BAD_QUERY);
}

/* 1000 pairs, many on one field: judged at once, not in quadratic time. */
static void many_pairs_are_cheap(void **state)
{
    static const char *const kinds[][2] = {
        {"a>", "&"},     {"f", "=1&"},  {"a[", "]=1&"},
        {"a[k", "]=1&"}, {"a[]=", "&"}, {"a!=", "&"},
    };
    static char query[64 * 1024];
    clock_t start = clock(); /* of this process: the machine may pause */

    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        size_t n = 0;

        for (int i = 0; i < 1000; i++)
            n += (size_t)snprintf(query + n, sizeof query - n, "%s%d%s",
                                  kinds[k][0], i + 21, kinds[k][1]);
        for (int i = 0; i < 20; i++) {
            struct ctx *c = fresh(state);
            struct list_query q;
            enum err err = filter_parse(c, (str){query, n}, &limits, &q);

            assert_true(err == OK || err == ERR_FILTER_TOO_COMPLEX);
        }
    }
    assert_true(clock() - start < 2 * CLOCKS_PER_SEC);
}

static void too_many_pairs_are_refused(void **state)
{
    static char query[4096];
    struct list_query q;
    size_t n = 0;

    for (int i = 0; i < 1001; i++)
        n += (size_t)snprintf(query + n, sizeof query - n, "a=&");
    assert_int_equal(filter_parse(fresh(state), (str){query, n}, &limits, &q),
                     ERR_BAD_QUERY);
    assert_int_equal(
        filter_parse(fresh(state), (str){query, n - 3}, &limits, &q), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(query_becomes_filter),
        cmocka_unit_test(bad_query_is_refused_with_its_name),
        cmocka_unit_test(page_and_limit_have_defaults_and_floors),
        cmocka_unit_test(sort_and_fields_are_parsed_in_order),
        cmocka_unit_test(search_is_joined),
        cmocka_unit_test(form_keeps_texts),
        cmocka_unit_test(many_pairs_are_cheap),
        cmocka_unit_test(too_many_pairs_are_refused),
    };

    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
