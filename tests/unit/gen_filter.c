/* gen_filter - filters of gen_bson.h */
#include <stdio.h>
#include <string.h>

#include "tests/unit/gen_bson.h"

enum {
    PATH_MAX_BYTES = 32,
    NEST_MAX = 3
};

static void draw_path(struct gen *g, char out[PATH_MAX_BYTES])
{
    static const char *const odd[] = {"",     ".",    "a.",  ".a",   "a..b",
                                      "a.00", "a.0.", "a..", "b.-1", "_id"};
    static const char *const first[] = {"a", "a", "b", "c"};
    static const char *const more[] = {"a", "b", "c", "0", "1", "2", "a", "0"};

    if (gen_one_in(g, 30)) {
        snprintf(out, PATH_MAX_BYTES, "%s", PICK(g, odd));
        return;
    }
    snprintf(out, PATH_MAX_BYTES, "%s", PICK(g, first));
    for (uint32_t n = gen_below(g, 4), i = 0; i < n && !gen_one_in(g, 3); i++) {
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

    if (gen_one_in(g, 2))
        bson_append_utf8(to, key, -1, PICK(g, names), -1);
    else
        bson_append_int32(to, key, -1, (int)gen_below(g, 22) - 1);
}

static void add_list(struct gen *g, bson_t *to, const char *key,
                     void (*add)(struct gen *, bson_t *, const char *))
{
    bson_t in;
    char index[16];

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
    if (gen_one_in(g, 10))
        bson_append_regex(to, key, -1, PICK(g, gen_patterns),
                          PICK(g, gen_options));
    else if (g->wrong && gen_one_in(g, 30))
        add_ops(g, to, key, NEST_MAX);
    else
        gen_value(g, to, key, false, 1);
}

static void add_elem_match(struct gen *g, bson_t *to, const char *key,
                           int depth)
{
    bson_t in;

    if (gen_one_in(g, 2)) {
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
    if (g->wrong && gen_one_in(g, 10))
        gen_value(g, to, key, false, 1);
    else
        bson_append_int32(to, key, -1,
                          (int)gen_below(g, gen_one_in(g, 3) ? 80 : 4));
}

static void add_bits(struct gen *g, bson_t *to, const char *key)
{
    switch (gen_below(g, 3)) {
    case 0:
        add_list(g, to, key, add_place);
        break;
    case 1:
        gen_binary(g, to, key);
        break;
    default:
        add_place(g, to, key);
    }
}

static void add_mod(struct gen *g, bson_t *to, const char *key)
{
    bson_t in;

    bson_append_array_begin(to, key, -1, &in);
    if (g->wrong && gen_one_in(g, 3)) {
        gen_value(g, &in, "0", false, 1);
        if (gen_one_in(g, 2))
            gen_value(g, &in, "1", false, 1);
        if (gen_one_in(g, 4))
            gen_value(g, &in, "2", false, 1);
    } else if (gen_one_in(g, 4)) {
        gen_number(g, &in, "0");
        gen_number(g, &in, "1");
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

    gen_value(g, &one, key, false, 1);
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
    bool first = gen_one_in(g, 4);

    if (first)
        bson_append_utf8(to, "$options", -1, PICK(g, gen_options), -1);
    if (gen_one_in(g, 4))
        bson_append_regex(to, "$regex", -1, PICK(g, gen_patterns),
                          PICK(g, gen_options));
    else if (g->wrong && gen_one_in(g, 8))
        bson_append_utf8(to, "$regex", -1, gen_one_in(g, 2) ? "(" : "a**+", -1);
    else
        bson_append_utf8(to, "$regex", -1, PICK(g, gen_patterns), -1);
    if (!first && gen_one_in(g, 2))
        bson_append_utf8(
            to, "$options", -1,
            g->wrong && gen_one_in(g, 8) ? "g" : PICK(g, gen_options), -1);
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

    if (!gen_one_in(g, 4)) {
        gen_value(g, to, name, false, 1);
        return;
    }
    bson_append_array_begin(to, name, -1, &in);
    add_elem_item(g, &in, "0");
    if (gen_one_in(g, 2))
        add_item(g, &in, "1");
    else
        add_ops(g, &in, "1", NEST_MAX);
    bson_append_array_end(to, &in);
}

static void op_bound(struct gen *g, bson_t *to, int depth)
{
    static const char *const names[] = {"$gt", "$gte", "$lt", "$lte"};

    (void)depth;
    add_bound(g, to, PICK(g, names));
}

static void op_equal(struct gen *g, bson_t *to, int depth)
{
    gen_value(g, to, gen_one_in(g, 3) ? "$ne" : "$eq", false,
              gen_one_in(g, 3) ? NEST_MAX : 1);
    (void)depth;
}

static void op_in(struct gen *g, bson_t *to, int depth)
{
    (void)depth;
    add_list(g, to, gen_one_in(g, 2) ? "$in" : "$nin", add_item);
}

static void op_exists(struct gen *g, bson_t *to, int depth)
{
    (void)depth;
    if (gen_one_in(g, 2))
        bson_append_bool(to, "$exists", -1, gen_one_in(g, 2));
    else
        gen_value(g, to, "$exists", false, 1);
}

static void op_type(struct gen *g, bson_t *to, int depth)
{
    (void)depth;
    if (gen_one_in(g, 3))
        add_list(g, to, "$type", add_type);
    else
        add_type(g, to, "$type");
}

static void op_size(struct gen *g, bson_t *to, int depth)
{
    (void)depth;
    bson_append_int32(to, "$size", -1, (int)gen_below(g, 4));
}

static void op_all(struct gen *g, bson_t *to, int depth)
{
    bool deeper = depth < NEST_MAX && gen_one_in(g, 2);

    add_list(g, to, "$all", deeper ? add_elem_item : add_item);
}

static void op_mod(struct gen *g, bson_t *to, int depth)
{
    (void)depth;
    add_mod(g, to, "$mod");
}

static void op_bits(struct gen *g, bson_t *to, int depth)
{
    static const char *const names[] = {"$bitsAllSet", "$bitsAnySet",
                                        "$bitsAllClear", "$bitsAnyClear"};

    (void)depth;
    add_bits(g, to, PICK(g, names));
}

static void op_regex(struct gen *g, bson_t *to, int depth)
{
    (void)depth;
    add_regex(g, to);
}

static void op_not(struct gen *g, bson_t *to, int depth)
{
    add_ops(g, to, "$not", depth + 1);
}

static void op_elem_match(struct gen *g, bson_t *to, int depth)
{
    add_elem_match(g, to, "$elemMatch", depth);
}

static void add_op(struct gen *g, bson_t *to, int depth)
{
    typedef void add_fn(struct gen * g, bson_t * to, int depth);
    /* the last three hold other conditions */
    static add_fn *const ops[] = {
        op_bound, op_bound, op_bound,      op_equal,     op_equal,
        op_in,    op_in,    op_exists,     op_type,      op_size,
        op_all,   op_all,   op_mod,        op_bits,      op_regex,
        op_regex, op_not,   op_elem_match, op_elem_match};
    uint32_t n = sizeof ops / sizeof *ops;

    if (g->wrong && gen_one_in(g, 8))
        add_wrong(g, to);
    else
        ops[gen_below(g, depth < NEST_MAX ? n : n - 3)](g, to, depth);
}

static void add_ops(struct gen *g, bson_t *to, const char *key, int depth)
{
    bson_t in;
    uint32_t n = 1 + gen_one_in(g, 4) + (g->wrong && gen_one_in(g, 40) ? 1 : 0);

    bson_append_document_begin(to, key, -1, &in);
    while (n-- > 0)
        add_op(g, &in, depth);
    if (g->wrong && gen_one_in(g, 40))
        bson_append_int32(&in, "b", -1, 1);
    if (g->wrong && gen_one_in(g, 60))
        bson_append_utf8(&in, "$options", -1, "i", -1);
    bson_append_document_end(to, &in);
}

static void add_logic(struct gen *g, bson_t *to, int depth)
{
    static const char *const names[] = {"$and", "$or", "$nor"};
    uint32_t n = gen_below(g, 3) + !(g->wrong && gen_one_in(g, 5));
    bson_t list, in;
    char index[16];

    if (g->wrong && gen_one_in(g, 8)) {
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
    if (g->wrong && gen_one_in(g, 20)) {
        snprintf(index, sizeof index, "%u", n);
        gen_value(g, &list, index, false, NEST_MAX);
    }
    bson_append_array_end(to, &list);
}

static void add_conditions(struct gen *g, bson_t *to, int depth)
{
    char path[PATH_MAX_BYTES];
    uint32_t n = gen_below(g, 8) == 0 ? 0 : 1 + gen_one_in(g, 3);

    while (n-- > 0) {
        draw_path(g, path);
        if (depth < NEST_MAX && gen_one_in(g, 5))
            add_logic(g, to, depth);
        else if (gen_one_in(g, 4))
            gen_value(g, to, path, false, 1);
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
