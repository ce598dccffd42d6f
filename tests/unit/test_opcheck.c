/* test_opcheck - forbidden operators in every nesting, budgets to the unit */
#include <stdio.h>

#include "lib/data/opcheck.h"
#include "tests/unit/support.h"

static const char *const forbidden[] = {
    "$where", "$function", "$accumulator", "$expr", "$jsonSchema", "$out",
    "$merge", "$lookup",   "$oid",         "$code", "$Where",      "$",
};

enum context {
    AT_ROOT,
    IN_FIELD,
    IN_AND,
    IN_OR,
    IN_NOR,
    IN_NOT,
    IN_ELEM_MATCH,
    IN_ARRAY,
    IN_SUBDOCUMENT,
    IN_PATH,
    DEEP,
    CONTEXT_N
};

static bson_t *wrap(const char *outer, const char *list, bson_t *inner)
{
    bson_t *doc = bson_new(), a, b;

    if (list) {
        bson_append_document_begin(doc, outer, -1, &a);
        bson_append_array_begin(&a, list, -1, &b);
        bson_append_document(&b, "0", -1, inner);
        bson_append_array_end(&a, &b);
        bson_append_document_end(doc, &a);
    } else if (outer[0] == '$' && strcmp(outer, "$not") != 0 &&
               strcmp(outer, "$elemMatch") != 0) {
        bson_append_array_begin(doc, outer, -1, &a);
        bson_append_document(&a, "0", -1, inner);
        bson_append_array_end(doc, &a);
    } else {
        bson_append_document(doc, outer, -1, inner);
    }
    bson_destroy(inner);
    return doc;
}

static bson_t *payload(const char *name, enum context where)
{
    char path[64];
    bson_t *doc;

    snprintf(path, sizeof path, "a.%s.b", name);
    doc = BCON_NEW(where == IN_PATH ? path : name, BCON_UTF8("1"));
    switch (where) {
    case AT_ROOT:
    case IN_PATH:
    case CONTEXT_N:
        return doc;
    case IN_FIELD:
        return wrap("a", NULL, doc);
    case IN_AND:
        return wrap("$and", NULL, doc);
    case IN_OR:
        return wrap("$or", NULL, doc);
    case IN_NOR:
        return wrap("$nor", NULL, doc);
    case IN_NOT:
        return wrap("a", NULL, wrap("$not", NULL, doc));
    case IN_ELEM_MATCH:
        return wrap("a", NULL, wrap("$elemMatch", NULL, doc));
    case IN_ARRAY:
        return wrap("a", "$in", doc);
    case IN_SUBDOCUMENT:
        return wrap("a", NULL, wrap("b", NULL, wrap("c", NULL, doc)));
    case DEEP:
        return wrap("$and", NULL, wrap("$or", NULL, wrap("a", "$all", doc)));
    }
    return doc;
}

static enum err check(void **state, bson_t *filter)
{
    struct ctx *c = *state;
    enum err err;

    ctx_reset(c);
    err = opcheck_filter(c, filter);
    bson_destroy(filter);
    return err;
}

static void forbidden_operator_is_refused_everywhere(void **state)
{
    struct ctx *c = *state;
    char quoted[64];
    int payloads = 0;

    for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++) {
        snprintf(quoted, sizeof quoted, "'%s'", forbidden[i]);
        for (enum context w = AT_ROOT; w < CONTEXT_N; w++, payloads++) {
            assert_int_equal(check(state, payload(forbidden[i], w)),
                             ERR_BAD_OPERATOR);
            assert_non_null(strstr(c->reason, quoted));
        }
    }
    assert_true(payloads >= 120);
}

static void allowed_operator_passes_everywhere(void **state)
{
    for (enum context w = AT_ROOT; w < CONTEXT_N; w++)
        if (w != IN_PATH)
            assert_int_equal(check(state, payload("$gte", w)), OK);
    assert_int_equal(check(state, bson_new()), OK);
}

static void code_value_is_refused(void **state)
{
    bson_t *doc = bson_new();

    bson_append_code(doc, "a", -1, "1");
    assert_int_equal(check(state, doc), ERR_BAD_OPERATOR);
}

static bson_t *nested(int levels)
{
    bson_t *doc = BCON_NEW("a", BCON_INT32(1));

    for (int i = 1; i < levels; i++)
        doc = wrap("a", NULL, doc);
    return doc;
}

static void depth_is_limited(void **state)
{
    assert_int_equal(check(state, nested(10)), OK);
    assert_int_equal(check(state, nested(11)), ERR_FILTER_TOO_COMPLEX);
}

static bson_t *wide(int nodes)
{
    bson_t *doc = bson_new();

    for (int i = 0; i < nodes; i++)
        bson_append_int32(doc, "a", -1, i);
    return doc;
}

static void nodes_are_limited(void **state)
{
    assert_int_equal(check(state, wide(256)), OK);
    assert_int_equal(check(state, wide(257)), ERR_FILTER_TOO_COMPLEX);
}

static bson_t *list(int items)
{
    bson_t *doc = bson_new(), op, array;

    bson_append_document_begin(doc, "a", -1, &op);
    bson_append_array_begin(&op, "$in", -1, &array);
    for (int i = 0; i < items; i++)
        bson_append_int32(&array, "0", -1, i);
    bson_append_array_end(&op, &array);
    bson_append_document_end(doc, &op);
    return doc;
}

static void array_items_are_limited(void **state)
{
    assert_int_equal(check(state, list(1000)), OK);
    assert_int_equal(check(state, list(1001)), ERR_FILTER_TOO_COMPLEX);
}

static bson_t *regexes(int n, int bytes)
{
    static char pattern[1024];
    bson_t *doc = bson_new(), op;

    memset(pattern, 'x', sizeof pattern);
    for (int i = 0; i < n; i++) {
        bson_append_document_begin(doc, "a", -1, &op);
        bson_append_utf8(&op, "$regex", -1, pattern, bytes);
        bson_append_document_end(doc, &op);
    }
    return doc;
}

static void regexes_are_limited(void **state)
{
    assert_int_equal(check(state, regexes(4, 512)), OK);
    assert_int_equal(check(state, regexes(5, 1)), ERR_FILTER_TOO_COMPLEX);
    assert_int_equal(check(state, regexes(1, 513)), ERR_FILTER_TOO_COMPLEX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forbidden_operator_is_refused_everywhere),
        cmocka_unit_test(allowed_operator_passes_everywhere),
        cmocka_unit_test(code_value_is_refused),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(nodes_are_limited),
        cmocka_unit_test(array_items_are_limited),
        cmocka_unit_test(regexes_are_limited),
    };

    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
