/* match_parse_number - operands that are numbers, types or bits, see
 * match_inside.h */
#include "lib/data/match_inside.h"

enum {
    BITS_MAX = 8 * 1024 /* of a binary operand */
};

static size_t count_items(const struct belem *array)
{
    struct bwalk at = match_walk(array);
    struct belem e;
    size_t n = 0;

    while (bwalk_next(&at, &e))
        n++;
    return n;
}

struct match_node *match_parse_size(struct match_parse *p, str path,
                                    const struct belem *op,
                                    enum match_kind kind)
{
    struct match_node *n = match_node_new(p, kind, path);
    bool is_exact;

    if (!n)
        return NULL;
    if (!match_is_number(op) || !match_whole(op, &n->size, &is_exact) ||
        !is_exact || n->size < 0 || n->size > INT32_MAX)
        return match_fault(p, op->key, "needs a whole number, 0 or more");
    return n;
}

struct match_node *match_parse_mod(struct match_parse *p, str path,
                                   const struct belem *op, enum match_kind kind)
{
    struct match_node *n = match_node_new(p, kind, path);
    struct bwalk at = match_walk(op);
    struct belem divisor, rest, more;
    bool is_exact;

    if (!n)
        return NULL;
    if (op->type != BSON_TYPE_ARRAY || !bwalk_next(&at, &divisor) ||
        !bwalk_next(&at, &rest) || bwalk_next(&at, &more))
        return match_fault(p, op->key, "needs divisor and remainder");
    if (!match_is_number(&divisor) || !match_is_number(&rest) ||
        !match_whole(&divisor, &n->divisor, &is_exact) ||
        !match_whole(&rest, &n->rest, &is_exact) || n->divisor == 0)
        return match_fault(p, op->key,
                           "needs numbers, the divisor other than 0");
    return n;
}

/* Names of $type by their BSON number; the last two are -1 and 127. */
static const char *const type_names[] = {
    NULL,        "double",     "string",    "object",
    "array",     "binData",    "undefined", "objectId",
    "bool",      "date",       "null",      "regex",
    "dbPointer", "javascript", "symbol",    "javascriptWithScope",
    "int",       "timestamp",  "long",      "decimal",
    "minKey",    "maxKey"};

enum {
    TYPE_MIN_KEY = 20,
    TYPE_MAX_KEY = 21,
    TYPES_N = sizeof type_names / sizeof *type_names
};

static uint64_t type_bit(int64_t number)
{
    if (number >= 1 && number < TYPE_MIN_KEY)
        return 1ULL << number;
    if (number == -1)
        return 1ULL << TYPE_MIN_KEY;
    return number == 127 ? 1ULL << TYPE_MAX_KEY : 0;
}

uint64_t match_type_bit(bson_type_t type)
{
    return type_bit(type == BSON_TYPE_MINKEY ? -1 : (int64_t)type);
}

static uint64_t type_bits(const struct belem *e)
{
    int64_t number;
    bool is_exact;
    str name;

    if (match_is_number(e))
        return match_whole(e, &number, &is_exact) && is_exact ? type_bit(number)
                                                              : 0;
    if (e->type != BSON_TYPE_UTF8)
        return 0;
    name = belem_text(e);
    if (str_eq(name, STR("number")))
        return type_bit(1) | type_bit(16) | type_bit(18) | type_bit(19);
    for (int i = 1; i < TYPES_N; i++)
        if (str_eq(name, str_of(type_names[i])))
            return 1ULL << i;
    return 0;
}

struct match_node *match_parse_type(struct match_parse *p, str path,
                                    const struct belem *op,
                                    enum match_kind kind)
{
    struct match_node *n = match_node_new(p, kind, path);
    struct bwalk at = match_walk(op);
    struct belem e;

    if (!n)
        return NULL;
    if (op->type != BSON_TYPE_ARRAY)
        n->types = type_bits(op);
    while (op->type == BSON_TYPE_ARRAY && bwalk_next(&at, &e)) {
        uint64_t bits = type_bits(&e);

        if (!bits)
            return match_fault(p, op->key, "does not know that type");
        n->types |= bits;
    }
    return n->types ? n : match_fault(p, op->key, "does not know that type");
}

/* The places of the bits that are set. */
static void places_of(struct match_node *n, uint32_t *to, const uint8_t *bytes,
                      size_t bytes_n)
{
    for (size_t i = 0; i < 8 * bytes_n; i++)
        if (bytes[i / 8] >> (i % 8) & 1)
            to[n->bits_n++] = (uint32_t)i;
}

static bool list_places(struct match_node *n, uint32_t *to,
                        const struct belem *array)
{
    struct bwalk at = match_walk(array);
    struct belem e;

    while (bwalk_next(&at, &e)) {
        int64_t place;
        bool is_exact;

        if (!match_is_number(&e) || !match_whole(&e, &place, &is_exact) ||
            !is_exact || place < 0 || place > INT32_MAX)
            return false;
        to[n->bits_n++] = (uint32_t)place;
    }
    return true;
}

struct match_node *match_parse_bits(struct match_parse *p, str path,
                                    const struct belem *op,
                                    enum match_kind kind)
{
    static const char what[] = "needs a whole number, 0 or more, or places";
    struct match_node *n = match_node_new(p, kind, path);
    size_t most = 64;
    uint32_t *places;
    int64_t mask;
    bool is_exact;

    if (!n)
        return NULL;
    if (op->type == BSON_TYPE_ARRAY)
        most = count_items(op) + 1;
    if (op->type == BSON_TYPE_BINARY)
        most = 8 * (size_t)(op->n - 5) + 1;
    if (most > BITS_MAX)
        return match_fault(p, op->key, "has too many bits");
    places = arena_alloc(p->arena, most * sizeof *places);
    if (!places) {
        p->no_memory = true;
        return NULL;
    }
    n->bits = places;
    if (op->type == BSON_TYPE_ARRAY)
        return list_places(n, places, op) ? n : match_fault(p, op->key, what);
    if (op->type == BSON_TYPE_BINARY) {
        places_of(n, places, op->v + 5, op->n - 5);
        return n;
    }
    if (!match_is_number(op) || !match_whole(op, &mask, &is_exact) ||
        !is_exact || mask < 0)
        return match_fault(p, op->key, what);
    places_of(n, places, (const uint8_t *)&mask, sizeof mask);
    return n;
}
