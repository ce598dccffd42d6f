/* match_parse_op - operators and their operands, see match_inside.h */
#include "lib/data/match_inside.h"

enum {
    BITS_MAX = 8 * 1024 /* of a binary operand */
};

typedef struct match_node *parse_fn(struct match_parse *p, str path,
                                    const struct belem *op,
                                    enum match_kind kind);

static struct match_node *negate(struct match_parse *p, struct match_node *n)
{
    return match_node_over(p, MATCH_NOT, STR(""), n);
}

static struct match_node *parse_compare(struct match_parse *p, str path,
                                        const struct belem *op,
                                        enum match_kind kind)
{
    struct match_node *n = match_node_new(p, kind, path);

    if (!n)
        return NULL;
    if (op->type == BSON_TYPE_UNDEFINED)
        return match_fault(p, op->key, "cannot be undefined");
    if (op->type == BSON_TYPE_REGEX && kind != MATCH_EQ)
        return match_fault(p, op->key, "cannot be a regex");
    n->value = *op;
    return n;
}

static struct match_node *parse_ne(struct match_parse *p, str path,
                                   const struct belem *op, enum match_kind kind)
{
    if (op->type == BSON_TYPE_REGEX)
        return match_fault(p, op->key, "cannot be a regex");
    return negate(p, parse_compare(p, path, op, kind));
}

static bool add_regex(struct match_parse *p, struct match_regex *to, str name,
                      str pattern, str options)
{
    to->pattern = pattern;
    to->options = options;
    switch (regex_new(p->arena, pattern, options, &to->re)) {
    case REGEX_GOOD:
        return true;
    case REGEX_BAD_OPTION:
        (void)match_fault(p, name, "has an option that is not i, m, s or x");
        return false;
    case REGEX_BAD_PATTERN:
        (void)match_fault(p, name, "has a pattern that is none");
        return false;
    case REGEX_NO_MEMORY:
        break;
    }
    p->no_memory = true;
    return false;
}

static bool add_bson_regex(struct match_parse *p, struct match_regex *to,
                           str name, const struct belem *e)
{
    str pattern = str_of((const char *)e->v);

    return add_regex(p, to, name, pattern,
                     str_of((const char *)e->v + pattern.n + 1));
}

static struct match_node *regex_node(struct match_parse *p, str path)
{
    struct match_node *n = match_node_new(p, MATCH_REGEX, path);

    if (!n)
        return NULL;
    n->regexes = arena_alloc(p->arena, sizeof *n->regexes);
    n->regexes_n = 1;
    if (n->regexes)
        return n;
    p->no_memory = true;
    return NULL;
}

struct match_node *match_parse_plain(struct match_parse *p, str path,
                                     const struct belem *value)
{
    struct match_node *n;

    if (value->type != BSON_TYPE_REGEX)
        return parse_compare(p, path, value, MATCH_EQ);
    n = regex_node(p, path);
    return n && add_bson_regex(p, n->regexes, path, value) ? n : NULL;
}

/* Options of a regex value and those beside it: one of them has some. */
static bool take_options(struct match_parse *p, str *options, str more,
                         str name)
{
    if (options->n > 0 && (more.n > 0 || str_eq(name, STR("$options")))) {
        (void)match_fault(p, name, "has options beside others");
        return false;
    }
    if (more.n > 0)
        *options = more;
    return true;
}

/* $regex with the $options beside it, in either order */
static struct match_node *parse_regex(struct match_parse *p, str path,
                                      const struct belem *op,
                                      struct bwalk siblings)
{
    struct match_node *n = regex_node(p, path);
    str options = STR(""), pattern = STR("");
    struct belem e;

    if (!n)
        return NULL;
    while (bwalk_next(&siblings, &e)) {
        bool is_pattern = str_eq(e.key, STR("$regex"));
        bool is_text = e.type == BSON_TYPE_UTF8;
        str more = STR("");

        if (!is_pattern && !str_eq(e.key, STR("$options")))
            continue;
        if (!is_text && !(is_pattern && e.type == BSON_TYPE_REGEX))
            return match_fault(p, e.key, "has to be a text");
        if (is_pattern)
            pattern = is_text ? belem_text(&e) : str_of((const char *)e.v);
        if (!is_pattern)
            more = belem_text(&e);
        else if (!is_text)
            more = str_of(pattern.p + pattern.n + 1);
        if (!take_options(p, &options, more, e.key))
            return NULL;
    }
    return add_regex(p, n->regexes, op->key, pattern, options) ? n : NULL;
}

/* How many items, and how many of them are regexes. */
static size_t count_items(const struct belem *array, size_t *out_regexes)
{
    struct bwalk at = match_walk(array);
    struct belem e;
    size_t n = 0;

    *out_regexes = 0;
    for (; bwalk_next(&at, &e); n++)
        *out_regexes += e.type == BSON_TYPE_REGEX;
    return n;
}

static struct match_node *parse_in(struct match_parse *p, str path,
                                   const struct belem *op, enum match_kind kind)
{
    struct match_node *n = match_node_new(p, kind, path);
    struct bwalk at = match_walk(op);
    struct belem e;
    size_t regexes;

    if (!n)
        return NULL;
    if (op->type != BSON_TYPE_ARRAY)
        return match_fault(p, op->key, "needs an array");
    (void)count_items(op, &regexes);
    n->value = *op;
    n->regexes = arena_alloc(p->arena, (regexes + 1) * sizeof *n->regexes);
    if (!n->regexes) {
        p->no_memory = true;
        return NULL;
    }
    while (bwalk_next(&at, &e)) {
        if (match_is_operators(&e))
            return match_fault(p, op->key, "cannot hold operators");
        if (e.type == BSON_TYPE_UNDEFINED)
            return match_fault(p, op->key, "cannot hold undefined");
        if (e.type == BSON_TYPE_REGEX &&
            !add_bson_regex(p, &n->regexes[n->regexes_n++], op->key, &e))
            return NULL;
    }
    return n;
}

static struct match_node *parse_nin(struct match_parse *p, str path,
                                    const struct belem *op,
                                    enum match_kind kind)
{
    return negate(p, parse_in(p, path, op, kind));
}

/* What MongoDB takes for true. */
static bool is_true(const struct belem *e)
{
    struct belem zero = {BSON_TYPE_INT32, STR(""), (const uint8_t *)"\0\0\0",
                         4};

    if (e->type == BSON_TYPE_BOOL)
        return e->v[0] != 0;
    if (match_is_number(e))
        return match_compare_numbers(e, &zero) != 0;
    return e->type != BSON_TYPE_NULL && e->type != BSON_TYPE_UNDEFINED;
}

static struct match_node *parse_exists(struct match_parse *p, str path,
                                       const struct belem *op,
                                       enum match_kind kind)
{
    struct match_node *n = match_node_new(p, kind, path);

    return is_true(op) ? n : negate(p, n);
}

static struct match_node *parse_size(struct match_parse *p, str path,
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

static struct match_node *parse_mod(struct match_parse *p, str path,
                                    const struct belem *op,
                                    enum match_kind kind)
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

static struct match_node *parse_type(struct match_parse *p, str path,
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

static struct match_node *parse_bits(struct match_parse *p, str path,
                                     const struct belem *op,
                                     enum match_kind kind)
{
    static const char what[] = "needs a whole number, 0 or more, or places";
    struct match_node *n = match_node_new(p, kind, path);
    size_t most = 64, regexes;
    uint32_t *places;
    int64_t mask;
    bool is_exact;

    if (!n)
        return NULL;
    if (op->type == BSON_TYPE_ARRAY)
        most = count_items(op, &regexes) + 1;
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

static struct match_node *parse_options(struct match_parse *p, str path,
                                        const struct belem *op,
                                        enum match_kind kind)
{
    (void)path;
    (void)kind;
    return match_fault(p, op->key, "needs a $regex");
}

static struct match_node *parse_not(struct match_parse *p, str path,
                                    const struct belem *op,
                                    enum match_kind kind)
{
    struct match_node *n;

    (void)kind;
    if (op->type == BSON_TYPE_REGEX)
        return negate(p, match_parse_plain(p, path, op));
    if (!match_is_operators(op))
        return match_fault(p, op->key, "needs operators or a regex");
    n = match_parse_ops(p, path, match_walk(op));
    return negate(p, n);
}

/* An operator of fields comes first: it is on the elements themselves. */
static bool is_on_values(const struct belem *op)
{
    struct bwalk in = match_walk(op);
    struct belem first;

    return match_is_operators(op) && bwalk_next(&in, &first) &&
           !str_eq(first.key, STR("$and")) && !str_eq(first.key, STR("$or")) &&
           !str_eq(first.key, STR("$nor"));
}

static struct match_node *parse_elem_match(struct match_parse *p, str path,
                                           const struct belem *op,
                                           enum match_kind kind)
{
    (void)kind;
    if (op->type != BSON_TYPE_DOCUMENT)
        return match_fault(p, op->key, "needs an object");
    if (is_on_values(op))
        return match_node_over(p, MATCH_ELEM_VALUE, path,
                               match_parse_ops(p, STR(""), match_walk(op)));
    return match_node_over(p, MATCH_ELEM_DOC, path,
                           match_parse(p, match_walk(op)));
}

static bool is_elem_match(const struct belem *e, struct belem *out_op)
{
    struct bwalk in = match_walk(e);

    return match_is_operators(e) && bwalk_next(&in, out_op) &&
           str_eq(out_op->key, STR("$elemMatch"));
}

static struct match_node *parse_all_item(struct match_parse *p, str path,
                                         const struct belem *item,
                                         bool wants_elem)
{
    struct belem op;

    if (is_elem_match(item, &op) != wants_elem)
        return match_fault(p, STR("$all"), "holds $elemMatch or none");
    if (wants_elem)
        return parse_elem_match(p, path, &op, MATCH_ELEM_DOC);
    if (match_is_operators(item))
        return match_fault(p, STR("$all"), "cannot hold operators");
    return match_parse_plain(p, path, item);
}

static struct match_node *parse_all(struct match_parse *p, str path,
                                    const struct belem *op,
                                    enum match_kind kind)
{
    struct match_node *all = match_node_new(p, kind, STR("")), **end;
    struct bwalk at = match_walk(op);
    struct belem item, first;
    bool is_first = true, wants_elem = false;

    if (!all)
        return NULL;
    end = &all->first;
    if (op->type != BSON_TYPE_ARRAY)
        return match_fault(p, op->key, "needs an array");
    while (bwalk_next(&at, &item)) {
        if (is_first)
            wants_elem = is_elem_match(&item, &first);
        is_first = false;
        *end = parse_all_item(p, path, &item, wants_elem);
        if (!*end)
            return NULL;
        end = &(*end)->next;
    }
    if (is_first)
        all->kind = MATCH_OR; /* of none: matches nothing */
    return all;
}

struct match_node *match_parse_op(struct match_parse *p, str path,
                                  const struct belem *op, struct bwalk siblings)
{
    static const struct {
        const char *name;
        parse_fn *parse;
        enum match_kind kind;
    } rows[] = {
        {"$eq", parse_compare, MATCH_EQ},
        {"$ne", parse_ne, MATCH_EQ},
        {"$gt", parse_compare, MATCH_GT},
        {"$gte", parse_compare, MATCH_GTE},
        {"$lt", parse_compare, MATCH_LT},
        {"$lte", parse_compare, MATCH_LTE},
        {"$in", parse_in, MATCH_IN},
        {"$nin", parse_nin, MATCH_IN},
        {"$not", parse_not, MATCH_NOT},
        {"$exists", parse_exists, MATCH_EXISTS},
        {"$type", parse_type, MATCH_TYPE},
        {"$all", parse_all, MATCH_AND},
        {"$elemMatch", parse_elem_match, MATCH_ELEM_DOC},
        {"$options", parse_options, MATCH_REGEX},
        {"$size", parse_size, MATCH_SIZE},
        {"$mod", parse_mod, MATCH_MOD},
        {"$bitsAllSet", parse_bits, MATCH_BITS_ALL_SET},
        {"$bitsAllClear", parse_bits, MATCH_BITS_ALL_CLEAR},
        {"$bitsAnySet", parse_bits, MATCH_BITS_ANY_SET},
        {"$bitsAnyClear", parse_bits, MATCH_BITS_ANY_CLEAR},
    };

    if (str_eq(op->key, STR("$regex")))
        return parse_regex(p, path, op, siblings);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_eq(op->key, str_of(rows[i].name)))
            return rows[i].parse(p, path, op, rows[i].kind);
    return NULL;
}
