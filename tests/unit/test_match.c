/*
 * test_match - what match.h adds to MongoDB, what it refuses, patterns without
 * an end; test_match_mongod has all that a mongod knows
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/data/match.h"
#include "lib/data/regex.h"
#include "tests/unit/support.h"

enum {
    SLOW_MS = 50,
    THREADS = 4,
    ROUNDS = 3000,
    MANY = 100 /* filters of one document */
};

/* Relaxed Extended JSON; owned by the ctx until its reset. */
static void destroy(void *doc)
{
    bson_destroy(doc);
}

static const bson_t *read_json(struct ctx *c, const char *json)
{
    bson_t *doc = ctx_alloc(c, sizeof *doc);
    bson_error_t e;

    assert_non_null(doc);
    if (!bson_init_from_json(doc, json, -1, &e))
        fail_msg("%s: %s", json, e.message);
    assert_int_equal(arena_defer(&c->arena, destroy, doc), OK);
    return doc;
}

static bool matches(struct ctx *c, const bson_t *filter, const bson_t *doc)
{
    const struct match *m = match_new(&c->arena, filter);

    assert_non_null(m);
    return match_doc(m, doc, &(struct match_budget){0});
}

struct row {
    const char *filter, *doc;
    bool yes;
};

static void check_rows(struct ctx *c, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const bson_t *filter = read_json(c, rows[i].filter);
        const bson_t *doc = read_json(c, rows[i].doc);

        if (match_check(c, filter))
            fail_msg("%s: %s", rows[i].filter, c->reason);
        if (matches(c, filter, doc) != rows[i].yes)
            fail_msg("%s %s %s", rows[i].filter,
                     rows[i].yes ? "does not match" : "matches", rows[i].doc);
        ctx_reset(c);
    }
}
#define CHECK_ROWS(c, rows)                                                    \
    check_rows((c), (rows), sizeof(rows) / sizeof *(rows))

/* clang-format off */
#define DATE "{\"$date\":\"2024-05-01T10:00:00Z\"}"
#define OID  "{\"$oid\":\"507f1f77bcf86cd79943901a\"}"

static void a_text_that_is_a_date_is_one(void **state)
{
    static const struct row rows[] = {
        /* the filter says it as a text */
        {"{\"a\":\"2024-05-01T10:00:00Z\"}", "{\"a\":" DATE "}", true},
        {"{\"a\":\"2024-05-01T12:00:00+02:00\"}", "{\"a\":" DATE "}", true},
        {"{\"a\":\"2024-05-01\"}", "{\"a\":" DATE "}", false},
        {"{\"a\":{\"$eq\":\"2024-05-01T10:00:00.000Z\"}}", "{\"a\":" DATE "}", true},
        {"{\"a\":{\"$ne\":\"2024-05-01T10:00:00Z\"}}", "{\"a\":" DATE "}", false},
        {"{\"a\":{\"$gt\":\"2024-05-01\"}}", "{\"a\":" DATE "}", true},
        {"{\"a\":{\"$gt\":\"2024-05-01T10:00:00Z\"}}", "{\"a\":" DATE "}", false},
        {"{\"a\":{\"$gte\":\"2024-05-01T10:00:00Z\"}}", "{\"a\":" DATE "}", true},
        {"{\"a\":{\"$lt\":\"2024-05-02\"}}", "{\"a\":" DATE "}", true},
        {"{\"a\":{\"$lt\":\"2024-05-01\"}}", "{\"a\":" DATE "}", false},
        {"{\"a\":{\"$lte\":\"2024-05-01T10:00:00Z\"}}", "{\"a\":" DATE "}", true},
        {"{\"a\":{\"$in\":[1,\"2024-05-01T10:00:00Z\"]}}", "{\"a\":" DATE "}", true},
        {"{\"a\":{\"$nin\":[1,\"2024-05-01T10:00:00Z\"]}}", "{\"a\":" DATE "}", false},
        {"{\"a\":{\"$all\":[\"2024-05-01T10:00:00Z\"]}}", "{\"a\":[1," DATE "]}", true},
        {"{\"a\":{\"$elemMatch\":{\"$gt\":\"2024-05-01\"}}}", "{\"a\":[" DATE "]}", true},
        {"{\"a\":{\"$not\":{\"$gt\":\"2024-05-01\"}}}", "{\"a\":" DATE "}", false},
        /* the document does */
        {"{\"a\":" DATE "}", "{\"a\":\"2024-05-01T10:00:00Z\"}", true},
        {"{\"a\":{\"$gt\":" DATE "}}", "{\"a\":\"2024-05-02\"}", true},
        {"{\"a\":{\"$gt\":" DATE "}}", "{\"a\":\"2024-05-01\"}", false},
        {"{\"a\":{\"$lte\":" DATE "}}", "{\"a\":[1,\"2024-05-01\"]}", true},
        {"{\"a\":{\"$in\":[" DATE "]}}", "{\"a\":\"2024-05-01T10:00:00Z\"}", true},
        /* at any depth */
        {"{\"a\":{\"b\":[\"2024-05-01T10:00:00Z\"]}}", "{\"a\":{\"b\":[" DATE "]}}", true},
        {"{\"a\":{\"b\":[\"2024-05-01T10:00:00Z\",1]}}", "{\"a\":{\"b\":[" DATE "]}}", false},
        /* two texts are texts, and what is no date is none */
        {"{\"a\":\"2024-05-01T10:00:00Z\"}", "{\"a\":\"2024-05-01T10:00:00.000Z\"}", false},
        {"{\"a\":\"2024-13-01\"}", "{\"a\":" DATE "}", false},
        {"{\"a\":{\"$lt\":\"zzz\"}}", "{\"a\":" DATE "}", false},
        {"{\"a\":{\"$gt\":\"2024-05-01\"}}", "{\"a\":\"2024-05-01x\"}", true},
    };

    CHECK_ROWS(*state, rows);
}

static void a_text_of_24_hex_digits_equals_an_object_id(void **state)
{
    static const struct row rows[] = {
        {"{\"a\":\"507f1f77bcf86cd79943901a\"}", "{\"a\":" OID "}", true},
        {"{\"a\":\"507F1F77BCF86CD79943901A\"}", "{\"a\":" OID "}", true},
        {"{\"a\":\"507f1f77bcf86cd79943901b\"}", "{\"a\":" OID "}", false},
        {"{\"a\":\"507f1f77bcf86cd79943901\"}", "{\"a\":" OID "}", false},
        {"{\"a\":\"507f1f77bcf86cd79943901g\"}", "{\"a\":" OID "}", false},
        {"{\"a\":{\"$ne\":\"507f1f77bcf86cd79943901a\"}}", "{\"a\":" OID "}", false},
        {"{\"a\":{\"$in\":[\"507f1f77bcf86cd79943901a\"]}}", "{\"a\":[" OID "]}", true},
        {"{\"a\":{\"$nin\":[\"507f1f77bcf86cd79943901a\"]}}", "{\"a\":" OID "}", false},
        {"{\"a\":{\"$all\":[\"507f1f77bcf86cd79943901a\"]}}", "{\"a\":[1," OID "]}", true},
        {"{\"a\":{\"b\":\"507f1f77bcf86cd79943901a\"}}", "{\"a\":{\"b\":" OID "}}", true},
        {"{\"a\":" OID "}", "{\"a\":\"507f1f77bcf86cd79943901a\"}", true},
        {"{\"a\":{\"$in\":[" OID "]}}", "{\"a\":\"507f1f77bcf86cd79943901A\"}", true},
        {"{\"a\":\"507F1F77BCF86CD79943901A\"}", "{\"a\":\"507f1f77bcf86cd79943901a\"}", false},
        /* equals: it does not compare */
        {"{\"a\":{\"$gt\":\"507f1f77bcf86cd799439010\"}}", "{\"a\":" OID "}", false},
        {"{\"a\":{\"$lt\":" OID "}}", "{\"a\":\"507f1f77bcf86cd799439010\"}", false},
    };

    CHECK_ROWS(*state, rows);
}

static void what_is_missing_fails_bounds(void **state)
{
    static const struct row rows[] = {
        {"{\"a\":{\"$lte\":null}}", "{}", false},
        {"{\"a\":{\"$gte\":null}}", "{}", false},
        {"{\"a\":{\"$lte\":null}}", "{\"a\":null}", true},
        {"{\"a\":{\"$gte\":null}}", "{\"a\":{\"$undefined\":true}}", true},
        {"{\"a\":{\"$lt\":null}}", "{\"a\":null}", false},
        {"{\"a.b\":{\"$lte\":null}}", "{\"a\":[{\"c\":1}]}", false},
        {"{\"a.b\":{\"$lte\":null}}", "{\"a\":5}", false},
        {"{\"a\":{\"$not\":{\"$lte\":null}}}", "{}", true},
        {"{\"a\":{\"$gt\":{\"$minKey\":1}}}", "{}", false},
        {"{\"a\":{\"$lt\":{\"$maxKey\":1}}}", "{}", false},
        {"{\"a\":{\"$gt\":{\"$minKey\":1}}}", "{\"a\":1}", true},
        {"{\"a\":{\"$lt\":5}}", "{}", false},
        {"{\"a\":{\"$lt\":5}}", "{\"a\":null}", false},
        {"{\"a\":{\"$gt\":\"2024-05-01\"}}", "{}", false},
        /* equality has not changed */
        {"{\"a\":null}", "{}", true},
        {"{\"a\":{\"$in\":[null]}}", "{}", true},
        {"{\"a\":{\"$ne\":5}}", "{}", true},
        {"{}", "{}", true},
    };

    CHECK_ROWS(*state, rows);
}

/* clang-format on */

static void expect_refusal(struct ctx *c, bson_t *filter, enum err want,
                           const char *part)
{
    bson_t *doc = BCON_NEW("a", BCON_INT32(1));
    enum err err = match_check(c, filter);

    assert_str(str_of(err_code(err)), err_code(want));
    if (!strstr(c->reason, part))
        fail_msg("'%s' is not in '%s'", part, c->reason);
    assert_false(matches(c, filter, doc));
    bson_destroy(doc);
    bson_destroy(filter);
    ctx_reset(c);
}

static void a_refusal_names_what_is_wrong(void **state)
{
    struct ctx *c = *state;

    expect_refusal(c, BCON_NEW("$text", "{", "$search", "x", "}"),
                   ERR_BAD_OPERATOR, "'$text'");
    expect_refusal(c, BCON_NEW("a", "{", "$near", "[", BCON_INT32(1), "]", "}"),
                   ERR_BAD_OPERATOR, "'$near'");
    expect_refusal(c,
                   BCON_NEW("a", "{", "$not", "{", "$geoWithin", "{", "$box",
                            "[", "]", "}", "}", "}"),
                   ERR_BAD_OPERATOR, "'$geoWithin'");
    expect_refusal(c,
                   BCON_NEW("$or", "[", "{", "b", "{", "$geoIntersects", "{",
                            "$geometry", "{", "}", "}", "}", "}", "]"),
                   ERR_BAD_OPERATOR, "'$geoIntersects'");
    expect_refusal(c, BCON_NEW("$where", "1"), ERR_BAD_OPERATOR, "'$where'");
    expect_refusal(c, BCON_NEW("$comment", "1"), ERR_BAD_OPERATOR,
                   "'$comment'");
    expect_refusal(c, BCON_NEW("$gt", BCON_INT32(1)), ERR_BAD_OPERATOR,
                   "'$gt'");
    expect_refusal(c, BCON_NEW("a", "{", "$and", "[", "{", "}", "]", "}"),
                   ERR_BAD_OPERATOR, "'$and'");
    expect_refusal(c, BCON_NEW("a", "{", "$gt", BCON_INT32(1), "b", "x", "}"),
                   ERR_VALIDATION_ERROR, "'b'");
    expect_refusal(c, BCON_NEW("a", "{", "$in", BCON_INT32(1), "}"),
                   ERR_VALIDATION_ERROR, "'$in' needs an array");
    expect_refusal(c, BCON_NEW("a", "{", "$regex", "(", "}"),
                   ERR_VALIDATION_ERROR, "'$regex'");
    expect_refusal(c, BCON_NEW("a", "{", "$regex", "a", "$options", "g", "}"),
                   ERR_VALIDATION_ERROR, "'$regex' has an option");
    expect_refusal(c, BCON_NEW("a", "{", "$regex", "\\C", "}"),
                   ERR_VALIDATION_ERROR, "'$regex'");
    expect_refusal(c, BCON_NEW("a", BCON_REGEX("[", "")), ERR_VALIDATION_ERROR,
                   "'a'");
    expect_refusal(c, BCON_NEW("$or", "[", "]"), ERR_VALIDATION_ERROR, "'$or'");
    expect_refusal(
        c,
        BCON_NEW("a", "{", "$mod", "[", BCON_INT32(0), BCON_INT32(0), "]", "}"),
        ERR_VALIDATION_ERROR, "'$mod'");
    expect_refusal(c,
                   BCON_NEW("a", "{", "$all", "[", BCON_REGEX("a", ""),
                            BCON_REGEX("b", ""), BCON_REGEX("c", ""),
                            BCON_REGEX("d", ""), BCON_REGEX("e", ""), "]", "}"),
                   ERR_FILTER_TOO_COMPLEX, "regexes");
}

static void without_memory_there_is_no_match(void **state)
{
    struct ctx *c = *state;
    bson_t *filter = BCON_NEW("a", "{", "$regex", "^(a|b)+$", "}");
    int made = 0;

    /* one block more each time, so that each allocation fails once */
    for (size_t most = 0; most <= 20 << 10; most += 4 << 10) {
        struct arena a;

        arena_init(&a, most);
        made += match_new(&a, filter) != NULL;
        arena_done(&a);
    }
    assert_in_range(made, 1, 5);
    assert_int_equal(match_check(c, filter), OK);
    bson_destroy(filter);
}

static double cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* unit n times, then tail, in the arena */
static str repeat(struct ctx *c, const char *unit, size_t n, const char *tail)
{
    size_t size = strlen(unit), tail_n = strlen(tail);
    char *p = ctx_alloc(c, size * n + tail_n + 1);

    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        memcpy(p + i * size, unit, size);
    memcpy(p + size * n, tail, tail_n);
    return (str){p, size * n + tail_n};
}

struct slow {
    const char *pattern, *unit;
    size_t n;
    const char *tail;
    unsigned copies; /* in an array */
};

static void needs_no_match_soon(struct ctx *c, const struct slow *s)
{
    str text = repeat(c, s->unit, s->n, s->tail);
    bson_t *filter = BCON_NEW("a", "{", "$regex", s->pattern, "}");
    bson_t doc = BSON_INITIALIZER, list;
    double start, took;

    bson_append_array_begin(&doc, "a", -1, &list);
    for (unsigned i = 0; i < s->copies; i++) {
        char key[16];

        snprintf(key, sizeof key, "%u", i);
        bson_append_utf8(&list, key, -1, text.p, (int)text.n);
    }
    bson_append_array_end(&doc, &list);
    assert_int_equal(match_check(c, filter), OK);
    start = cpu_ms();
    assert_false(matches(c, filter, &doc));
    took = cpu_ms() - start;
    if (took > SLOW_MS)
        fail_msg("%s on %zu bytes took %.0f ms", s->pattern, text.n, took);
    bson_destroy(&doc);
    bson_destroy(filter);
    ctx_reset(c);
}

static void a_pattern_without_an_end_does_not_match(void **state)
{
    static const struct slow rows[] = {
        {"(a+)+$", "a", 40, "!", 1},
        {"(a+)+$", "a", 100000, "!", 1},
        {"(a+)+$", "a", 40, "!", 10000},
        {"(a|aa)+$", "a", 60, "!", 1},
        {"(a|a?)+$", "a", 60, "!", 100},
        {"^(([a-z])+.)+[A-Z]([a-z])+$", "a", 60, "A1", 1},
        {"(.*a){20}$", "a", 30, "!", 1},
        {"(a?){30}a{30}$", "a", 29, "", 1},
        {"a.*a.*a.*a.*b$", "a", 2000, "bx", 1},
        {".*.*.*x$", "a", 3000, "xy", 1},
        {"(x+x+)+y", "x", 50, "zy", 1},
        {"(*FAIL)|(a+)+$", "a", 50, "!", 1},
        {"(*UCP)(a+)+$", "a", 50, "!", 1},
        {"x|(a+)+$", "a", 50, "!", 1},
        /* cheap from each place, but there are many */
        {"(?:a{0,30}){3}[bc]", "a", 1000000, "x", 1},
        {"(?:a{0,5}){3}[bc]", "a", 1000000, "x", 1},
        {"(?:a{0,30}){3}[bc]", "a", 60, "x", 20000},
        {"(?R)?a+[bc]", "a", 50000, "x", 1},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        needs_no_match_soon(*state, &rows[i]);
}

/* What cannot be judged in time is not dropped. */
static void a_filter_without_an_end_matches(void **state)
{
    struct ctx *c = *state;
    bson_t filter = BSON_INITIALIZER, doc = BSON_INITIALIZER, list, in, ops;
    struct match_budget budget = {0};
    const struct match *m;
    char key[16];
    double start;

    BSON_APPEND_ARRAY_BEGIN(&doc, "a", &list);
    for (int i = 0; i < 500000; i++) {
        (void)snprintf(key, sizeof key, "%d", i);
        BSON_APPEND_INT32(&list, key, 0);
    }
    bson_append_array_end(&doc, &list);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "a", &ops);
    BSON_APPEND_ARRAY_BEGIN(&ops, "$in", &in);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof key, "%d", i);
        BSON_APPEND_INT32(&in, key, i + 1);
    }
    bson_append_array_end(&ops, &in);
    bson_append_document_end(&filter, &ops);
    assert_int_equal(match_check(c, &filter), OK);
    m = match_new(&c->arena, &filter);
    assert_non_null(m);
    start = cpu_ms();
    assert_true(match_doc(m, &doc, &budget));
    assert_true(cpu_ms() - start < 5 * MATCH_CPU_MS);
    for (int i = 1; i < MANY; i++)
        assert_true(match_doc(m, &doc, &budget));
    assert_true(cpu_ms() - start < 2 * MATCH_ALL_MS);
    assert_int_equal(budget.overruns, MANY);
    bson_destroy(&filter);
    bson_destroy(&doc);
    ctx_reset(c);
}

static void a_long_text_is_no_slow_pattern(void **state)
{
    static const struct slow rows[] = {
        {"foo.*bar$", "abc ", 50000, "foobar", 1},
        {"^(?s).*foo.*bar$", "abc\n", 50000, "foo bar", 1},
        {"(?:abc |d)*foo$", "abc ", 2000, "foo", 1},
        {"^.*z$", "a", 200000, "z", 1},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct ctx *c = *state;
        str text = repeat(c, rows[i].unit, rows[i].n, rows[i].tail);
        bson_t *filter = BCON_NEW("a", "{", "$regex", rows[i].pattern, "}");
        bson_t *doc = BCON_NEW("a", BCON_UTF8(text.p));

        if (!matches(c, filter, doc))
            fail_msg("%s", rows[i].pattern);
        bson_destroy(doc);
        bson_destroy(filter);
        ctx_reset(c);
    }
}

static void a_text_that_is_no_utf8_matches_no_pattern(void **state)
{
    bson_t *filter = BCON_NEW("a", "{", "$regex", ".*", "}");
    bson_t *doc = BCON_NEW("a", BCON_UTF8("a\xff"));

    assert_false(matches(*state, filter, doc));
    bson_destroy(doc);
    bson_destroy(filter);
}

struct shared {
    const struct match *match;
    const bson_t *good, *bad;
};

static void *use(void *arg)
{
    const struct shared *s = arg;
    intptr_t wrong = 0;

    for (int i = 0; i < ROUNDS; i++)
        wrong += !match_doc(s->match, s->good, &(struct match_budget){0});
    wrong += match_doc(s->match, s->bad, &(struct match_budget){0});
    return (void *)wrong;
}

static void threads_share_a_match(void **state)
{
    struct ctx *c = *state;
    bson_t *filter =
        BCON_NEW("a", "{", "$regex", "^(A|b)+$", "$options", "i", "}", "d", "{",
                 "$gt", "2024-05-01", "}", "n", "{", "$in", "[",
                 BCON_REGEX("^x", "s"), BCON_DOUBLE(2.5), "]", "}");
    struct shared s = {
        match_new(&c->arena, filter),
        read_json(c, "{\"a\":[1,\"aBBa\"],\"d\":" DATE
                     ",\"n\":{\"$numberDecimal\":\"2.50\"}}"),
        read_json(c, "{\"a\":[1,\"aBBc\"],\"d\":" DATE ",\"n\":\"xx\"}")};
    pthread_t ids[THREADS];
    void *wrong;

    assert_non_null(s.match);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&ids[i], NULL, use, &s), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(ids[i], &wrong), 0);
        assert_null(wrong);
    }
    bson_destroy(filter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_that_is_a_date_is_one),
        cmocka_unit_test(a_text_of_24_hex_digits_equals_an_object_id),
        cmocka_unit_test(what_is_missing_fails_bounds),
        cmocka_unit_test(a_refusal_names_what_is_wrong),
        cmocka_unit_test(without_memory_there_is_no_match),
        cmocka_unit_test(a_pattern_without_an_end_does_not_match),
        cmocka_unit_test(a_filter_without_an_end_matches),
        cmocka_unit_test(a_long_text_is_no_slow_pattern),
        cmocka_unit_test(a_text_that_is_no_utf8_matches_no_pattern),
        cmocka_unit_test(threads_share_a_match),
    };

    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
