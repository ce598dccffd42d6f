/* gen_bson - see gen_bson.h */
#include "tests/unit/gen_bson.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PICK(g, pool) ((pool)[gen_below((g), sizeof(pool) / sizeof *(pool))])

enum {
    PATH_MAX_BYTES = 32,
    NEST_MAX = 3
};

uint32_t gen_below(struct gen *g, uint32_t n)
{
    g->state ^= g->state << 13;
    g->state ^= g->state >> 7;
    g->state ^= g->state << 17;
    return (uint32_t)(g->state >> 33) % n;
}

static bool one_in(struct gen *g, uint32_t n)
{
    return gen_below(g, n) == 0;
}

static void add_number(struct gen *g, bson_t *to, const char *key)
{
    static const int64_t longs[] = {0,
                                    1,
                                    2,
                                    -1,
                                    9007199254740991,
                                    9007199254740992,
                                    9007199254740993,
                                    INT64_MAX,
                                    INT64_MAX - 1,
                                    INT64_MIN,
                                    -9007199254740993};
    static const double doubles[] = {
        0.0,       -0.0,   1.0,    2.0,     2.5,    0.1,
        -1.0,      0.5,    NAN,    3.0,     5.0,    INFINITY,
        -INFINITY, 0x1p53, 0x1p63, -0x1p63, 5e-324, 1.7976931348623157e308};
    static const char *const decimals[] = {
        "0",         "1",
        "0.1",       "2.50",
        "-1",        "NaN",
        "-0",        "9007199254740993",
        "1E1",       "Infinity",
        "5E-1",      "9223372036854775807",
        "-Infinity", "9223372036854775808",
        "3",         "1E-6176",
        "9E+6144",   "0.1000000000000000055511151231257827"};
    bson_decimal128_t d;

    switch (gen_below(g, 6)) {
    case 0:
        bson_append_int64(to, key, -1, PICK(g, longs));
        break;
    case 1:
        bson_append_double(to, key, -1, PICK(g, doubles));
        break;
    case 2:
        bson_decimal128_from_string(PICK(g, decimals), &d);
        bson_append_decimal128(to, key, -1, &d);
        break;
    default:
        bson_append_int32(to, key, -1, (int)gen_below(g, 8) - 1);
    }
}

static void add_text(struct gen *g, bson_t *to, const char *key)
{
    static const char *const texts[] = {
        "", "a", "ab", "abc", "A", "b", "\xc3\xa9", "a\nb", "1", "aXb", "ba"};
    static const char *const meaning[] = {
        "2024-01-01", "2024-01-01T00:00:00.001Z", "1970-01-01T00:00:00Z",
        "507f1f77bcf86cd799439011", "507F1F77BCF86CD799439012"};

    bson_append_utf8(
        to, key, -1,
        g->mixed && one_in(g, 2) ? PICK(g, meaning) : PICK(g, texts), -1);
}

static void add_binary(struct gen *g, bson_t *to, const char *key)
{
    uint8_t bytes[12];
    uint32_t n = gen_below(g, one_in(g, 4) ? 12 : 3);

    for (uint32_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(1U << gen_below(g, 9));
    bson_append_binary(to, key, -1,
                       one_in(g, 3) ? BSON_SUBTYPE_USER : BSON_SUBTYPE_BINARY,
                       bytes, n);
}

static void add_oid(struct gen *g, bson_t *to, const char *key)
{
    static const char *const ids[] = {"507f1f77bcf86cd799439011",
                                      "507f1f77bcf86cd799439012"};
    bson_oid_t oid;

    bson_oid_init_from_string(&oid, PICK(g, ids));
    bson_append_oid(to, key, -1, &oid);
}

static void add_date(struct gen *g, bson_t *to, const char *key)
{
    static const int64_t dates[] = {0, 1704067200000, 1704067200001, -1};

    bson_append_date_time(to, key, -1, PICK(g, dates));
}

static const char *const patterns[] = {
    "a", "^a",    "b$",     "^ab?c*$",  "A",    "a.b",     ".",
    "",  "^\\d$", "a #x\n", "(a)(?=b)", "[^a]", "\xc3\xa9"};
static const char *const options[] = {"", "", "i", "s", "m", "x", "im", "is"};

/* What JSON cannot say. */
static void add_rare(struct gen *g, bson_t *to, const char *key, bool stored)
{
    bson_t scope = BSON_INITIALIZER;
    bson_oid_t oid = {{1}};

    switch (gen_below(g, stored ? 10 : 5)) {
    case 0:
        bson_append_timestamp(to, key, -1, 1 + gen_below(g, 2),
                              gen_below(g, 2));
        break;
    case 1:
        bson_append_regex(to, key, -1, PICK(g, patterns), PICK(g, options));
        break;
    case 2:
        add_binary(g, to, key);
        break;
    case 3:
        bson_append_minkey(to, key, -1);
        break;
    case 4:
        bson_append_maxkey(to, key, -1);
        break;
    case 5:
        bson_append_undefined(to, key, -1);
        break;
    case 6:
        bson_append_symbol(to, key, -1, "a", -1);
        break;
    case 7:
        bson_append_code(to, key, -1, "a");
        break;
    case 8:
        bson_append_code_with_scope(to, key, -1, "a", &scope);
        break;
    case 9:
        bson_append_dbpointer(to, key, -1, "a", &oid);
        break;
    }
    bson_destroy(&scope);
}

static void add_value(struct gen *g, bson_t *to, const char *key, bool stored,
                      int depth);

static void add_document(struct gen *g, bson_t *to, const char *key,
                         bool stored, int depth)
{
    static const char *const keys[] = {"a", "b", "c", "0", "1", ""};
    bson_t in;

    bson_append_document_begin(to, key, -1, &in);
    for (uint32_t n = gen_below(g, 4), i = 0; i < n; i++) {
        const char *name = PICK(g, keys);

        if (!bson_has_field(&in, name) || !*name)
            add_value(g, &in, name, stored, depth + 1);
    }
    bson_append_document_end(to, &in);
}

static void add_array(struct gen *g, bson_t *to, const char *key, bool stored,
                      int depth)
{
    bson_t in;
    char index[8];

    bson_append_array_begin(to, key, -1, &in);
    for (uint32_t n = gen_below(g, 4), i = 0; i < n; i++) {
        snprintf(index, sizeof index, "%u", i);
        add_value(g, &in, index, stored, depth + 1);
    }
    bson_append_array_end(to, &in);
}

static void add_value(struct gen *g, bson_t *to, const char *key, bool stored,
                      int depth)
{
    switch (gen_below(g, depth < NEST_MAX ? 16 : 10)) {
    case 0:
    case 1:
    case 2:
    case 3:
        add_number(g, to, key);
        break;
    case 4:
    case 5:
        add_text(g, to, key);
        break;
    case 6:
        bson_append_bool(to, key, -1, one_in(g, 2));
        break;
    case 7:
        bson_append_null(to, key, -1);
        break;
    case 8:
        if (one_in(g, 2))
            add_oid(g, to, key);
        else
            add_date(g, to, key);
        break;
    case 9:
        add_rare(g, to, key, stored);
        break;
    case 10:
    case 11:
    case 12:
        add_document(g, to, key, stored, depth);
        break;
    default:
        add_array(g, to, key, stored, depth);
    }
}

bson_t *gen_document(struct gen *g)
{
    static const char *const keys[] = {"a", "b", "c", "a", "b", "c", ""};
    bson_t *doc = bson_new();

    for (uint32_t n = gen_below(g, 4), i = 0; i < n; i++) {
        const char *name = PICK(g, keys);

        if (!bson_has_field(doc, name) || !*name)
            add_value(g, doc, name, true, 0);
    }
    return doc;
}

static void draw_path(struct gen *g, char out[PATH_MAX_BYTES])
{
    static const char *const odd[] = {"",     ".",    "a.",  ".a",   "a..b",
                                      "a.00", "a.0.", "a..", "b.-1", "_id"};
    static const char *const first[] = {"a", "a", "b", "c"};
    static const char *const more[] = {"a", "b", "c", "0", "1", "2", "a", "0"};

    if (one_in(g, 30)) {
        snprintf(out, PATH_MAX_BYTES, "%s", PICK(g, odd));
        return;
    }
    snprintf(out, PATH_MAX_BYTES, "%s", PICK(g, first));
    for (uint32_t n = gen_below(g, 4), i = 0; i < n && !one_in(g, 3); i++) {
        size_t at = strlen(out);

        snprintf(out + at, PATH_MAX_BYTES - at, ".%s", PICK(g, more));
    }
}

static void add_ops(struct gen *g, bson_t *to, const char *key, int depth);
static void add_conditions(struct gen *g, bson_t *to, int depth);

static void add_type(struct gen *g, bson_t *to, const char *key)
{
    static const char *const names[] = {
        "double",    "string",    "object",
        "array",     "binData",   "undefined",
        "objectId",  "bool",      "date",
        "null",      "regex",     "javascript",
        "symbol",    "int",       "long",
        "number",    "timestamp", "decimal",
        "minKey",    "maxKey",    "javascriptWithScope",
        "dbPointer", "none"};

    if (one_in(g, 2))
        bson_append_utf8(to, key, -1, PICK(g, names), -1);
    else
        bson_append_int32(to, key, -1, (int)gen_below(g, 22) - 1);
}

static void add_list(struct gen *g, bson_t *to, const char *key,
                     void (*add)(struct gen *, bson_t *, const char *))
{
    bson_t in;
    char index[8];

    bson_append_array_begin(to, key, -1, &in);
    for (uint32_t n = gen_below(g, 4), i = 0; i < n; i++) {
        snprintf(index, sizeof index, "%u", i);
        add(g, &in, index);
    }
    bson_append_array_end(to, &in);
}

/* Also a regex, also (when wrong) operators. */
static void add_item(struct gen *g, bson_t *to, const char *key)
{
    if (one_in(g, 10))
        bson_append_regex(to, key, -1, PICK(g, patterns), PICK(g, options));
    else if (g->wrong && one_in(g, 30))
        add_ops(g, to, key, NEST_MAX);
    else
        add_value(g, to, key, false, 1);
}

static void add_elem_match(struct gen *g, bson_t *to, const char *key,
                           int depth)
{
    bson_t in;

    if (one_in(g, 2)) {
        add_ops(g, to, key, depth + 1);
        return;
    }
    bson_append_document_begin(to, key, -1, &in);
    add_conditions(g, &in, depth + 1);
    bson_append_document_end(to, &in);
}

static void add_elem_item(struct gen *g, bson_t *to, const char *key)
{
    bson_t in;

    bson_append_document_begin(to, key, -1, &in);
    add_elem_match(g, &in, "$elemMatch", NEST_MAX - 1);
    bson_append_document_end(to, &in);
}

static void add_place(struct gen *g, bson_t *to, const char *key)
{
    if (g->wrong && one_in(g, 10))
        add_value(g, to, key, false, 1);
    else
        bson_append_int32(to, key, -1,
                          (int)gen_below(g, one_in(g, 3) ? 80 : 4));
}

static void add_bits(struct gen *g, bson_t *to, const char *key)
{
    switch (gen_below(g, 3)) {
    case 0:
        add_list(g, to, key, add_place);
        break;
    case 1:
        add_binary(g, to, key);
        break;
    default:
        add_place(g, to, key);
    }
}

static void add_mod(struct gen *g, bson_t *to, const char *key)
{
    bson_t in;

    bson_append_array_begin(to, key, -1, &in);
    if (g->wrong && one_in(g, 3)) {
        add_value(g, &in, "0", false, 1);
        if (one_in(g, 2))
            add_value(g, &in, "1", false, 1);
        if (one_in(g, 4))
            add_value(g, &in, "2", false, 1);
    } else if (one_in(g, 4)) {
        add_number(g, &in, "0");
        add_number(g, &in, "1");
    } else {
        bson_append_int32(&in, "0", -1, (int)gen_below(g, 4) + 1);
        bson_append_int32(&in, "1", -1, (int)gen_below(g, 3));
    }
    bson_append_array_end(to, &in);
}

/* What is missing differs from MongoDB on purpose: test_match has it. */
static void add_bound(struct gen *g, bson_t *to, const char *key)
{
    bson_t one = BSON_INITIALIZER;
    bson_iter_t it;
    bson_type_t type;

    add_value(g, &one, key, false, 1);
    bson_iter_init(&it, &one);
    bson_iter_next(&it);
    type = bson_iter_type(&it);
    if (type == BSON_TYPE_NULL || type == BSON_TYPE_MINKEY ||
        type == BSON_TYPE_MAXKEY)
        bson_append_int32(to, key, -1, 1);
    else
        bson_append_iter(to, key, -1, &it);
    bson_destroy(&one);
}

static void add_regex(struct gen *g, bson_t *to)
{
    bool first = one_in(g, 4);

    if (first)
        bson_append_utf8(to, "$options", -1, PICK(g, options), -1);
    if (one_in(g, 4))
        bson_append_regex(to, "$regex", -1, PICK(g, patterns),
                          PICK(g, options));
    else if (g->wrong && one_in(g, 8))
        bson_append_utf8(to, "$regex", -1, one_in(g, 2) ? "(" : "a**+", -1);
    else
        bson_append_utf8(to, "$regex", -1, PICK(g, patterns), -1);
    if (!first && one_in(g, 2))
        bson_append_utf8(to, "$options", -1,
                         g->wrong && one_in(g, 8) ? "g" : PICK(g, options), -1);
}

/* An operator with any operand. */
static void add_wrong(struct gen *g, bson_t *to)
{
    static const char *const names[] = {
        "$in",   "$nin",    "$all", "$size",       "$not",       "$elemMatch",
        "$type", "$mod",    "$and", "$regex",      "$options",   "$eq",
        "$ne",   "$exists", "$or",  "$bitsAllSet", "$bitsAnySet"};
    const char *name = PICK(g, names);
    bson_t in;

    if (!one_in(g, 4)) {
        add_value(g, to, name, false, 1);
        return;
    }
    bson_append_array_begin(to, name, -1, &in);
    add_elem_item(g, &in, "0");
    if (one_in(g, 2))
        add_item(g, &in, "1");
    else
        add_ops(g, &in, "1", NEST_MAX);
    bson_append_array_end(to, &in);
}

static void add_op(struct gen *g, bson_t *to, int depth)
{
    static const char *const bounds[] = {"$gt", "$gte", "$lt", "$lte"};
    static const char *const bits[] = {"$bitsAllSet", "$bitsAnySet",
                                       "$bitsAllClear", "$bitsAnyClear"};

    if (g->wrong && one_in(g, 8)) {
        add_wrong(g, to);
        return;
    }
    switch (gen_below(g, depth < NEST_MAX ? 21 : 16)) {
    case 0:
    case 1:
    case 2:
        add_bound(g, to, PICK(g, bounds));
        break;
    case 3:
        add_value(g, to, "$eq", false, 1);
        break;
    case 4:
        add_value(g, to, "$ne", false, 1);
        break;
    case 5:
    case 6:
        add_list(g, to, one_in(g, 2) ? "$in" : "$nin", add_item);
        break;
    case 7:
        if (one_in(g, 2))
            bson_append_bool(to, "$exists", -1, one_in(g, 2));
        else
            add_value(g, to, "$exists", false, 1);
        break;
    case 8:
        if (one_in(g, 3))
            add_list(g, to, "$type", add_type);
        else
            add_type(g, to, "$type");
        break;
    case 9:
        if (g->wrong && one_in(g, 4))
            add_value(g, to, "$size", false, 1);
        else
            bson_append_int32(to, "$size", -1, (int)gen_below(g, 4));
        break;
    case 10:
        add_list(g, to, "$all", add_item);
        break;
    case 11:
        add_mod(g, to, "$mod");
        break;
    case 12:
        add_bits(g, to, PICK(g, bits));
        break;
    case 13:
    case 14:
        add_regex(g, to);
        break;
    case 15:
        if (g->wrong && one_in(g, 4))
            add_value(g, to, one_in(g, 2) ? "$in" : "$all", false, 1);
        else
            add_value(g, to, "$eq", false, NEST_MAX);
        break;
    case 16:
        add_ops(g, to, "$not", depth + 1);
        break;
    case 17:
        add_list(g, to, "$all", add_elem_item);
        break;
    default:
        add_elem_match(g, to, "$elemMatch", depth);
    }
}

static void add_ops(struct gen *g, bson_t *to, const char *key, int depth)
{
    bson_t in;
    uint32_t n = 1 + one_in(g, 4) + (g->wrong && one_in(g, 40) ? 1 : 0);

    bson_append_document_begin(to, key, -1, &in);
    while (n-- > 0)
        add_op(g, &in, depth);
    if (g->wrong && one_in(g, 40))
        bson_append_int32(&in, "b", -1, 1);
    if (g->wrong && one_in(g, 60))
        bson_append_utf8(&in, "$options", -1, "i", -1);
    bson_append_document_end(to, &in);
}

static void add_logic(struct gen *g, bson_t *to, int depth)
{
    static const char *const names[] = {"$and", "$or", "$nor"};
    uint32_t n = gen_below(g, 3) + !(g->wrong && one_in(g, 5));
    bson_t list, in;
    char index[8];

    if (g->wrong && one_in(g, 8)) {
        add_wrong(g, to);
        return;
    }
    bson_append_array_begin(to, PICK(g, names), -1, &list);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(index, sizeof index, "%u", i);
        bson_append_document_begin(&list, index, -1, &in);
        add_conditions(g, &in, depth + 1);
        bson_append_document_end(&list, &in);
    }
    if (g->wrong && one_in(g, 20)) {
        snprintf(index, sizeof index, "%u", n);
        add_value(g, &list, index, false, NEST_MAX);
    }
    bson_append_array_end(to, &list);
}

static void add_conditions(struct gen *g, bson_t *to, int depth)
{
    char path[PATH_MAX_BYTES];
    uint32_t n = gen_below(g, 8) == 0 ? 0 : 1 + one_in(g, 3);

    while (n-- > 0) {
        draw_path(g, path);
        if (depth < NEST_MAX && one_in(g, 5))
            add_logic(g, to, depth);
        else if (one_in(g, 4))
            add_value(g, to, path, false, 1);
        else
            add_ops(g, to, path, depth);
    }
}

bson_t *gen_filter(struct gen *g)
{
    bson_t *filter = bson_new();

    add_conditions(g, filter, 0);
    return filter;
}
