/* match_test - one condition on one value, see match_inside.h */
#include "lib/data/match_inside.h"

static bool holds(enum match_kind kind, int order)
{
    switch ((int)kind) {
    case MATCH_GT:
        return order > 0;
    case MATCH_GTE:
        return order >= 0;
    case MATCH_LT:
        return order < 0;
    case MATCH_LTE:
        return order <= 0;
    }
    return order == 0;
}

/* null and undefined are alike; the ends of the order are beyond all. */
static bool compare_classes(const struct match_node *n, int class)
{
    int own = match_class(n->value.type);
    enum match_kind kind = n->kind;

    if (class + own == match_class(BSON_TYPE_NULL))
        return kind == MATCH_EQ || kind == MATCH_LTE || kind == MATCH_GTE;
    if (n->value.type == BSON_TYPE_MAXKEY)
        return kind == MATCH_LT || kind == MATCH_LTE;
    if (n->value.type == BSON_TYPE_MINKEY)
        return kind == MATCH_GT || kind == MATCH_GTE;
    return false;
}

static bool test_compare(const struct match_node *n, const struct belem *e)
{
    const struct belem *v = &n->value;
    int64_t a, b;

    if (!e)
        return n->kind == MATCH_EQ && v->type == BSON_TYPE_NULL;
    if (n->kind == MATCH_EQ && match_equal(e, v))
        return true;
    if (match_as_dates(e, v, &a, &b))
        return holds(n->kind, (a > b) - (a < b));
    if (match_class(e->type) != match_class(v->type))
        return compare_classes(n, match_class(e->type));
    if (match_is_nan(e) || match_is_nan(v))
        return match_is_nan(e) && match_is_nan(v) && n->kind != MATCH_GT &&
               n->kind != MATCH_LT;
    return n->kind != MATCH_EQ && holds(n->kind, match_compare(e, v));
}

/* The options of a regex in a filter, in any order, against stored ones. */
static bool same_options(str l, str r)
{
    for (size_t i = 0; i < l.n; i++)
        if (str_find(r, l.p[i], 0) == SIZE_MAX)
            return false;
    return l.n == r.n;
}

static bool test_regex(struct match_run *r, const struct match_regex *re,
                       const struct belem *e)
{
    str pattern;

    if (e->type == BSON_TYPE_UTF8 || e->type == BSON_TYPE_SYMBOL)
        return regex_match(re->re, &r->regex, belem_text(e));
    if (e->type != BSON_TYPE_REGEX)
        return false;
    pattern = str_of((const char *)e->v);
    return str_eq(pattern, re->pattern) &&
           same_options(str_of(pattern.p + pattern.n + 1), re->options);
}

static bool test_in(struct match_run *r, const struct match_node *n,
                    const struct belem *e)
{
    struct bwalk at = match_walk(&n->value);
    struct belem item;

    while (!match_is_over(r) && bwalk_next(&at, &item)) {
        bool is_null = item.type == BSON_TYPE_NULL;

        if (!e || e->type == BSON_TYPE_UNDEFINED ? is_null
                                                 : match_equal(e, &item))
            return true;
    }
    for (size_t i = 0; e && i < n->regexes_n; i++)
        if (test_regex(r, &n->regexes[i], e))
            return true;
    return false;
}

static int64_t count_elements(struct match_run *r, const struct belem *array)
{
    struct bwalk at = match_walk(array);
    struct belem e;
    int64_t n = 0;

    while (!match_is_over(r) && bwalk_next(&at, &e))
        n++;
    return n;
}

static bool test_mod(const struct match_node *n, const struct belem *e)
{
    int64_t v;
    bool is_exact;

    if (!match_is_number(e) || !match_whole(e, &v, &is_exact))
        return false;
    /* INT64_MIN % -1 is a fault of the processor */
    return (n->divisor == -1 ? 0 : v % n->divisor) == n->rest;
}

/* Beyond a number's bits its sign goes on, beyond a binary's nothing. */
static bool bit_of(const struct belem *e, int64_t v, uint32_t place)
{
    if (e->type != BSON_TYPE_BINARY)
        return (uint64_t)v >> (place < 63 ? place : 63) & 1;
    return place / 8 < e->n - 5 && e->v[5 + place / 8] >> (place % 8) & 1;
}

static bool test_bits(struct match_run *r, const struct match_node *n,
                      const struct belem *e)
{
    bool any = n->kind == MATCH_BITS_ANY_SET || n->kind == MATCH_BITS_ANY_CLEAR;
    bool wants = n->kind == MATCH_BITS_ALL_SET || n->kind == MATCH_BITS_ANY_SET;
    int64_t v = 0;

    if (e->type != BSON_TYPE_BINARY &&
        (!match_is_number(e) || !match_bits_of(e, &v)))
        return false;
    for (size_t i = 0; i < n->bits_n && !match_is_over(r); i++)
        if ((bit_of(e, v, n->bits[i]) == wants) == any)
            return any;
    return !any;
}

bool match_test(struct match_run *r, const struct match_node *n,
                const struct belem *e)
{
    switch ((int)n->kind) {
    case MATCH_EQ:
    case MATCH_GT:
    case MATCH_GTE:
    case MATCH_LT:
    case MATCH_LTE:
        return test_compare(n, e);
    case MATCH_IN:
        return test_in(r, n, e);
    case MATCH_EXISTS:
        return e;
    case MATCH_TYPE:
        return e && match_type_bit(e->type) & n->types;
    case MATCH_SIZE:
        return e && e->type == BSON_TYPE_ARRAY &&
               count_elements(r, e) == n->size;
    case MATCH_REGEX:
        return e && test_regex(r, n->regexes, e);
    case MATCH_MOD:
        return e && test_mod(n, e);
    }
    return e && test_bits(r, n, e);
}
