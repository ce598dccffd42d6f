/* match_compare - the order of values, see match_inside.h */
#include "lib/base/clock.h"
#include "lib/data/match_inside.h"

enum {
    OID_DIGITS = 24
};

int match_class(bson_type_t type)
{
    switch (type) {
    case BSON_TYPE_MINKEY:
        return -1;
    case BSON_TYPE_EOD:
    case BSON_TYPE_UNDEFINED:
        return 0;
    case BSON_TYPE_NULL:
        return 5;
    case BSON_TYPE_DOUBLE:
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_DECIMAL128:
        return 10;
    case BSON_TYPE_UTF8:
    case BSON_TYPE_SYMBOL:
        return 15;
    case BSON_TYPE_DOCUMENT:
        return 20;
    case BSON_TYPE_ARRAY:
        return 25;
    case BSON_TYPE_BINARY:
        return 30;
    case BSON_TYPE_OID:
        return 35;
    case BSON_TYPE_BOOL:
        return 40;
    case BSON_TYPE_DATE_TIME:
        return 45;
    case BSON_TYPE_TIMESTAMP:
        return 47;
    case BSON_TYPE_REGEX:
        return 50;
    case BSON_TYPE_DBPOINTER:
        return 55;
    case BSON_TYPE_CODE:
        return 60;
    case BSON_TYPE_CODEWSCOPE:
        return 65;
    case BSON_TYPE_MAXKEY:
        return 127;
    }
    return 0;
}

struct bwalk match_walk(const struct belem *e)
{
    return bwalk_of(e->v, e->n);
}

static int compare_str(str l, str r)
{
    size_t n = l.n < r.n ? l.n : r.n;
    int x = n ? memcmp(l.p, r.p, n) : 0;

    return x ? x : (l.n > r.n) - (l.n < r.n);
}

/* Types first, then names, then values; the shorter one is less. */
static int compare_members(struct bwalk l, struct bwalk r)
{
    struct belem a, b;

    for (;;) {
        bool is_a = bwalk_next(&l, &a), is_b = bwalk_next(&r, &b);
        int x;

        if (!is_a || !is_b)
            return is_a - is_b;
        x = match_class(a.type) - match_class(b.type);
        if (x == 0)
            x = compare_str(a.key, b.key);
        if (x == 0)
            x = match_compare(&a, &b);
        if (x)
            return x;
    }
}

/* Length, then subtype, then bytes. */
static int compare_binary(const struct belem *l, const struct belem *r)
{
    if (l->n != r->n)
        return l->n < r->n ? -1 : 1;
    return memcmp(l->v + 4, r->v + 4, l->n - 4);
}

static int compare_stamps(const struct belem *l, const struct belem *r)
{
    uint64_t a = (uint64_t)belem_i64(l), b = (uint64_t)belem_i64(r);

    return (a > b) - (a < b);
}

static int compare_dates(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* Pattern and options, each with a NUL behind. */
static int compare_regex(const struct belem *l, const struct belem *r)
{
    const char *a = (const char *)l->v, *b = (const char *)r->v;
    int x = strcmp(a, b);

    return x ? x : strcmp(a + strlen(a) + 1, b + strlen(b) + 1);
}

/* Of code with a scope: the code, as an element of its own, and the scope. */
static bool cut_scope(const struct belem *e, struct belem *code,
                      struct bwalk *scope)
{
    struct belem text = {BSON_TYPE_UTF8, e->key, e->v + 4, 0};
    uint32_t n;

    if (e->n < 4 + 5 + 5)
        return false;
    memcpy(&n, text.v, sizeof n);
    if (n < 1 || n > e->n - 4 - 4 - 5)
        return false;
    text.n = n + 4;
    *code = text;
    *scope = bwalk_of(text.v + text.n, e->n - 4 - text.n);
    return true;
}

static int compare_scoped(const struct belem *l, const struct belem *r)
{
    struct belem a, b;
    struct bwalk in_a, in_b;
    int x;

    if (!cut_scope(l, &a, &in_a) || !cut_scope(r, &b, &in_b))
        return compare_str((str){(const char *)l->v, l->n},
                           (str){(const char *)r->v, r->n});
    x = compare_str(belem_text(&a), belem_text(&b));
    return x ? x : compare_members(in_a, in_b);
}

int match_compare(const struct belem *l, const struct belem *r)
{
    int x = match_class(l->type) - match_class(r->type);

    if (x)
        return x;
    switch ((int)l->type) {
    case BSON_TYPE_DOUBLE:
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_DECIMAL128:
        return match_compare_numbers(l, r);
    case BSON_TYPE_UTF8:
    case BSON_TYPE_SYMBOL:
    case BSON_TYPE_CODE:
        return compare_str(belem_text(l), belem_text(r));
    case BSON_TYPE_DOCUMENT:
    case BSON_TYPE_ARRAY:
        return compare_members(match_walk(l), match_walk(r));
    case BSON_TYPE_BINARY:
        return compare_binary(l, r);
    case BSON_TYPE_OID:
        return memcmp(l->v, r->v, l->n);
    case BSON_TYPE_BOOL:
        return (l->v[0] != 0) - (r->v[0] != 0);
    case BSON_TYPE_DATE_TIME:
        return compare_dates(belem_i64(l), belem_i64(r));
    case BSON_TYPE_TIMESTAMP:
        return compare_stamps(l, r);
    case BSON_TYPE_REGEX:
        return compare_regex(l, r);
    case BSON_TYPE_DBPOINTER:
        return l->n != r->n ? (l->n < r->n ? -1 : 1) : memcmp(l->v, r->v, l->n);
    case BSON_TYPE_CODEWSCOPE:
        return compare_scoped(l, r);
    }
    return 0; /* null, undefined, the smallest, the largest */
}

bool match_as_dates(const struct belem *l, const struct belem *r,
                    int64_t *out_l, int64_t *out_r)
{
    if (l->type == BSON_TYPE_DATE_TIME && r->type == BSON_TYPE_UTF8) {
        *out_l = belem_i64(l);
        return clock_parse_iso(belem_text(r), out_r);
    }
    if (l->type == BSON_TYPE_UTF8 && r->type == BSON_TYPE_DATE_TIME) {
        *out_r = belem_i64(r);
        return clock_parse_iso(belem_text(l), out_l);
    }
    return false;
}

static bool is_oid_text(const struct belem *oid, const struct belem *text)
{
    str digits = belem_text(text);
    bson_oid_t id;

    if (digits.n != OID_DIGITS || !str_is_hex(digits))
        return false;
    bson_oid_init_from_string_unsafe(&id, digits.p);
    return memcmp(id.bytes, oid->v, sizeof id.bytes) == 0;
}

static bool equal_members(struct bwalk l, struct bwalk r)
{
    struct belem a, b;

    for (;;) {
        bool is_a = bwalk_next(&l, &a), is_b = bwalk_next(&r, &b);

        if (!is_a || !is_b)
            return is_a == is_b;
        if (!str_eq(a.key, b.key) || !match_equal(&a, &b))
            return false;
    }
}

bool match_equal(const struct belem *l, const struct belem *r)
{
    int64_t a, b;

    if (l->type == BSON_TYPE_OID && r->type == BSON_TYPE_UTF8)
        return is_oid_text(l, r);
    if (l->type == BSON_TYPE_UTF8 && r->type == BSON_TYPE_OID)
        return is_oid_text(r, l);
    if (match_as_dates(l, r, &a, &b))
        return a == b;
    if (l->type == r->type &&
        (l->type == BSON_TYPE_DOCUMENT || l->type == BSON_TYPE_ARRAY))
        return equal_members(match_walk(l), match_walk(r));
    return match_compare(l, r) == 0;
}
