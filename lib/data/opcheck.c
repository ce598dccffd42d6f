/* opcheck - see opcheck.h */
#include "lib/data/opcheck.h"

static const char *const operators[] = {
    "$eq",
    "$ne",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$and",
    "$or",
    "$nor",
    "$not",
    "$exists",
    "$type",
    "$all",
    "$elemMatch",
    "$size",
    "$regex",
    "$options",
    "$mod",
    "$text",
    "$search",
    "$language",
    "$caseSensitive",
    "$diacriticSensitive",
    "$geoWithin",
    "$geoIntersects",
    "$near",
    "$nearSphere",
    "$geometry",
    "$maxDistance",
    "$minDistance",
    "$box",
    "$center",
    "$centerSphere",
    "$polygon",
    "$bitsAllClear",
    "$bitsAllSet",
    "$bitsAnyClear",
    "$bitsAnySet",
};

enum {
    OPERATORS_N = sizeof operators / sizeof *operators
};

_Static_assert(sizeof operators / sizeof *operators <= OPCHECK_OPERATORS_MAX,
               "a set has 64 bits");

struct budget {
    struct ctx *c;
    int nodes, regexes;
};

int opcheck_operator(str name)
{
    for (int i = 0; i < OPERATORS_N; i++)
        if (str_eq(name, str_of(operators[i])))
            return i;
    return -1;
}

static enum err refuse(struct budget *b, str name)
{
    return ctx_fail(b->c, ERR_BAD_OPERATOR, "Operator '%.*s' is not allowed",
                    (int)(name.n > 100 ? 100 : name.n), name.p);
}

static enum err too_complex(struct budget *b, const char *what, int most)
{
    return ctx_fail(b->c, ERR_FILTER_TOO_COMPLEX,
                    "The filter is too complex: more than %d %s", most, what);
}

/* An operator, or a path none of whose segments looks like one. */
static enum err check_name(struct budget *b, str name)
{
    str segment;

    if (str_starts(name, STR("$")))
        return opcheck_operator(name) < 0 ? refuse(b, name) : OK;
    while (str_cut(&name, '.', &segment))
        if (str_starts(segment, STR("$")))
            return refuse(b, segment);
    return OK;
}

static enum err count_regex(struct budget *b, size_t bytes)
{
    if (bytes > OPCHECK_PATTERN_BYTES)
        return too_complex(b, "bytes in a regex", OPCHECK_PATTERN_BYTES);
    if (++b->regexes > OPCHECK_REGEX_MAX)
        return too_complex(b, "regexes", OPCHECK_REGEX_MAX);
    return OK;
}

static enum err check_scalar(struct budget *b, str name, const bson_iter_t *at)
{
    bson_type_t type = bson_iter_type(at);
    uint32_t len;

    if (type == BSON_TYPE_CODE || type == BSON_TYPE_CODEWSCOPE)
        return refuse(b, STR("$code"));
    if (type == BSON_TYPE_REGEX)
        return count_regex(b, strlen(bson_iter_regex(at, NULL)));
    if (!str_eq(name, STR("$regex")))
        return OK;
    len = 0;
    if (type == BSON_TYPE_UTF8)
        (void)bson_iter_utf8(at, &len);
    return count_regex(b, len);
}

/* Recursion ends at OPCHECK_DEPTH_MAX. */
static enum err check_level(struct budget *b, bson_iter_t *at, int level,
                            bool is_array)
{
    bson_iter_t inner;
    int items = 0;

    if (level > OPCHECK_DEPTH_MAX)
        return too_complex(b, "levels", OPCHECK_DEPTH_MAX);
    while (bson_iter_next(at)) {
        str name = {bson_iter_key(at), bson_iter_key_len(at)};
        enum err err = is_array ? OK : check_name(b, name);

        if (err)
            return err;
        if (is_array && ++items > OPCHECK_ITEMS_MAX)
            return too_complex(b, "items in an array", OPCHECK_ITEMS_MAX);
        if (!is_array && ++b->nodes > OPCHECK_NODES_MAX)
            return too_complex(b, "conditions", OPCHECK_NODES_MAX);
        if (bson_iter_recurse(at, &inner))
            err = check_level(b, &inner, level + 1, BSON_ITER_HOLDS_ARRAY(at));
        else
            err = check_scalar(b, is_array ? STR("") : name, at);
        if (err)
            return err;
    }
    return OK;
}

enum err opcheck_filter(struct ctx *c, const bson_t *filter)
{
    struct budget b = {.c = c};
    bson_iter_t at;

    if (!bson_iter_init(&at, filter))
        return ctx_fail(c, ERR_BAD_QUERY, "The filter cannot be read");
    return check_level(&b, &at, 1, false);
}
