/* match_parse_op - operators and their operands, see match_inside.h */
#include "lib/data/match_inside.h"

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

static size_t count_regexes(const struct belem *array)
{
    struct bwalk at = match_walk(array);
    struct belem e;
    size_t n = 0;

    while (bwalk_next(&at, &e))
        n += e.type == BSON_TYPE_REGEX;
    return n;
}

static struct match_node *parse_in(struct match_parse *p, str path,
                                   const struct belem *op, enum match_kind kind)
{
    struct match_node *n = match_node_new(p, kind, path);
    struct bwalk at = match_walk(op);
    struct belem e;

    if (!n)
        return NULL;
    if (op->type != BSON_TYPE_ARRAY)
        return match_fault(p, op->key, "needs an array");
    n->value = *op;
    n->regexes =
        arena_alloc(p->arena, (count_regexes(op) + 1) * sizeof *n->regexes);
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
        match_parse_fn *parse;
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
        {"$type", match_parse_type, MATCH_TYPE},
        {"$all", parse_all, MATCH_AND},
        {"$elemMatch", parse_elem_match, MATCH_ELEM_DOC},
        {"$options", parse_options, MATCH_REGEX},
        {"$size", match_parse_size, MATCH_SIZE},
        {"$mod", match_parse_mod, MATCH_MOD},
        {"$bitsAllSet", match_parse_bits, MATCH_BITS_ALL_SET},
        {"$bitsAllClear", match_parse_bits, MATCH_BITS_ALL_CLEAR},
        {"$bitsAnySet", match_parse_bits, MATCH_BITS_ANY_SET},
        {"$bitsAnyClear", match_parse_bits, MATCH_BITS_ANY_CLEAR},
    };

    if (str_eq(op->key, STR("$regex")))
        return parse_regex(p, path, op, siblings);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_eq(op->key, str_of(rows[i].name)))
            return rows[i].parse(p, path, op, rows[i].kind);
    return NULL;
}
