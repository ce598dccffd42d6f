/* filter - see filter.h */
#include "lib/data/filter.h"

#include "lib/base/url.h"
#include "lib/data/coerce.h"
#include "lib/data/conjoin.h"
#include "lib/data/fields.h"
#include "lib/data/json_in.h"
#include "lib/data/opcheck.h"

enum reserved {
    RESERVED_PAGE,
    RESERVED_LIMIT,
    RESERVED_SORT,
    RESERVED_FIELDS,
    RESERVED_SEARCH,
    RESERVED_FORMAT,
    RESERVED_FILTER,
    RESERVED_N
};

static const char *const reserved_names[RESERVED_N] = {
    [RESERVED_PAGE] = "page",     [RESERVED_LIMIT] = "limit",
    [RESERVED_SORT] = "sort",     [RESERVED_FIELDS] = "fields",
    [RESERVED_SEARCH] = "search", [RESERVED_FORMAT] = "format",
    [RESERVED_FILTER] = "filter",
};

struct query {
    struct ctx *c;
    struct url_param *params;
    size_t n;
    const struct url_param *reserved[RESERVED_N];
    const struct url_node *plain; /* the next of the plain conditions */
    bson_t *conditions;           /* in order of appearance, names may repeat */
};

/* name op value: "age>=18" and its kin */
struct comparison {
    str name, value;
    const char *op;
};

static enum err bad_query(struct ctx *c, const char *what, str name)
{
    return ctx_fail(c, ERR_BAD_QUERY, "%s: '%.*s'", what,
                    (int)(name.n > 100 ? 100 : name.n), name.p);
}

static enum err bad_operator(struct ctx *c, str name)
{
    return ctx_fail(c, ERR_BAD_OPERATOR, "Operator '%.*s' is not allowed here",
                    (int)(name.n > 100 ? 100 : name.n), name.p);
}

static bool find_comparison(const struct url_param *p, struct comparison *out)
{
    static const struct {
        char sign;
        const char *or_equal, *strict;
    } rows[] = {{'>', "$gte", "$gt"}, {'<', "$lte", "$lt"}, {'!', "$ne", NULL}};
    size_t at = p->key.n - 1;

    if (p->levels > 0 || p->key.n == 0)
        return false;
    if (!p->has_value) {
        for (at = 0; at < p->key.n; at++)
            if (p->key.p[at] == '>' || p->key.p[at] == '<')
                break;
        if (at == p->key.n)
            return false;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (p->key.p[at] != rows[i].sign)
            continue;
        out->name = str_head(p->key, at);
        out->op = p->has_value ? rows[i].or_equal : rows[i].strict;
        out->value = p->has_value ? p->value : str_from(p->key, at + 1);
        return true;
    }
    return false;
}

/* Sorts the reserved ones out; RESERVED_N for a condition. */
static enum err sort_out(struct query *q, const struct url_param *p,
                         enum reserved *out)
{
    enum reserved r = 0;

    while (r < RESERVED_N && !str_eq(p->name, str_of(reserved_names[r])))
        r++;
    *out = r;
    if (r == RESERVED_N)
        return OK;
    if (p->levels > 0)
        return bad_query(q->c, "No brackets allowed", p->key);
    if (q->reserved[r])
        return bad_query(q->c, "Given twice", p->key);
    q->reserved[r] = p;
    return OK;
}

/* Takes "filter." off; the rest must be a path without operators. */
static enum err field_name(struct query *q, str *name)
{
    str rest, segment;

    if (str_starts(*name, STR("filter.")))
        *name = str_from(*name, STR("filter.").n);
    rest = *name;
    while (str_cut(&rest, '.', &segment)) {
        if (segment.n == 0)
            return bad_query(q->c, "Empty field name", *name);
        if (segment.p[0] == '$')
            return bad_operator(q->c, segment);
    }
    return OK;
}

static enum err append_nodes(struct ctx *c, bson_t *out,
                             const struct url_node *up);

static enum err append_node(struct ctx *c, bson_t *out, str key,
                            const struct url_node *node)
{
    enum err err = OK;
    bson_t child;

    switch (node->kind) {
    case URL_TEXT:
        if (node->up->kind == URL_OBJECT && coerce_is_wanted(key))
            return coerce_append(c, out, key, node->text);
        coerce_append_text(out, key, node->text);
        break;
    case URL_LIST:
        bson_append_array_begin(out, key.p, (int)key.n, &child);
        err = append_nodes(c, &child, node);
        bson_append_array_end(out, &child);
        break;
    case URL_OBJECT:
        bson_append_document_begin(out, key.p, (int)key.n, &child);
        err = append_nodes(c, &child, node);
        bson_append_document_end(out, &child);
        break;
    }
    return err;
}

/* Recursion ends at URL_LEVELS_MAX. */
static enum err append_nodes(struct ctx *c, bson_t *out,
                             const struct url_node *up)
{
    uint32_t i = 0;
    enum err err = OK;

    for (struct url_node *node = up->child; node && !err; node = node->next) {
        char digits[16];
        str key = node->key;

        if (up->kind == URL_LIST)
            key.n = bson_uint32_to_string(i++, &key.p, digits, sizeof digits);
        err = append_node(c, out, key, node);
    }
    return err;
}

static bool is_list_of_objects(const struct url_node *node)
{
    if (node->kind != URL_LIST)
        return false;
    for (node = node->child; node; node = node->next)
        if (node->kind != URL_OBJECT)
            return false;
    return true;
}

/* A key that starts with `$`. */
static enum err add_root_operator(struct query *q, const struct url_node *node)
{
    str name = node->key, head = str_head(name, str_find(name, '.', 0));
    enum json_root root;
    bson_t *doc;
    bool is_text = str_eq(name, STR("$text"));

    if (is_text && node->kind == URL_TEXT) {
        if (json_in(q->c, node->text, &root, &doc) == OK && root == JSON_OBJECT)
            return coerce_append_condition(q->c, q->conditions, name,
                                           node->text);
        if (q->c->err == ERR_BAD_JSON)
            ctx_forgive(q->c);
        return bad_operator(q->c, name);
    }
    if (!(is_text && node->kind == URL_OBJECT) &&
        !(is_list_of_objects(node) &&
          (str_eq(name, STR("$and")) || str_eq(name, STR("$or")) ||
           str_eq(name, STR("$nor")))))
        return bad_operator(q->c, head);
    return append_node(q->c, q->conditions, name, node);
}

static enum err add_plain(struct query *q, const struct url_node *node)
{
    str name = node->key;
    enum err err;

    if (str_starts(name, STR("$")))
        return add_root_operator(q, node);
    err = field_name(q, &name);
    if (err)
        return err;
    if (node->kind == URL_TEXT)
        return coerce_append_condition(q->c, q->conditions, name, node->text);
    return append_node(q->c, q->conditions, name, node);
}

static enum err add_filter(struct query *q, str text)
{
    enum json_root root;
    bson_t *doc;
    enum err err;

    if (text.n == 0)
        return OK;
    err = json_in(q->c, text, &root, &doc);
    if (err == ERR_BAD_JSON || (!err && root != JSON_OBJECT)) {
        ctx_forgive(q->c);
        return ctx_fail(q->c, ERR_BAD_QUERY, "filter must be a JSON object");
    }
    return err ? err : coerce_append_members(q->c, q->conditions, doc);
}

/* Whatever condition the pair at this place brings. */
static enum err add_condition(struct query *q, const struct url_param *p)
{
    const struct url_node *node = q->plain;
    struct comparison cmp;
    enum err err;

    if (p == q->reserved[RESERVED_FILTER])
        return add_filter(q, p->value);
    if (find_comparison(p, &cmp)) {
        err = field_name(q, &cmp.name);
        return err ? err
                   : coerce_append_op(q->c, q->conditions, cmp.name, cmp.op,
                                      cmp.value);
    }
    if (!node || node->pos != p->pos)
        return OK;
    q->plain = node->next;
    return add_plain(q, node);
}

/* Sorts the pairs out and turns all but the reserved ones into conditions. */
static enum err collect(struct query *q)
{
    struct url_param *plain = ctx_alloc(q->c, (q->n + 1) * sizeof *plain);
    struct comparison cmp;
    struct url_node *root;
    size_t plain_n = 0;
    enum err err;

    q->conditions = coerce_doc_new(q->c);
    if (!plain || !q->conditions)
        return ERR_OVERLOADED;
    for (size_t i = 0; i < q->n; i++) {
        enum reserved r = RESERVED_N;

        if (find_comparison(&q->params[i], &cmp))
            continue;
        err = sort_out(q, &q->params[i], &r);
        if (err)
            return err;
        if (r == RESERVED_N)
            plain[plain_n++] = q->params[i];
    }
    err = url_nest(q->c, plain, plain_n, &root);
    if (err)
        return err;
    q->plain = root->child;
    for (size_t i = 0; i < q->n && !err; i++)
        err = add_condition(q, &q->params[i]);
    return err;
}

/* Any integer below 1 is 1. */
static enum err parse_count(struct query *q, enum reserved r, int64_t most,
                            int64_t *io)
{
    const struct url_param *p = q->reserved[r];
    int64_t v;

    if (!p || p->value.n == 0)
        return OK;
    if (p->value.p[0] == '-' && str_is_digits(str_from(p->value, 1))) {
        *io = 1;
        return OK;
    }
    if (!str_to_i64(p->value, &v) || v > most)
        return ctx_fail(q->c, ERR_BAD_QUERY, "%s must be an integer up to %lld",
                        reserved_names[r], (long long)most);
    *io = v < 1 ? 1 : v;
    return OK;
}

static str reserved_text(const struct query *q, enum reserved r)
{
    return q->reserved[r] ? q->reserved[r]->value : STR("");
}

static enum err parse_reserved(struct query *q, const struct filter_limits *lim,
                               struct list_query *out)
{
    str sort = reserved_text(q, RESERVED_SORT);
    str fields = reserved_text(q, RESERVED_FIELDS);
    enum err err;

    out->page = 1;
    out->limit = lim->default_page_size;
    out->search = reserved_text(q, RESERVED_SEARCH);
    out->csv = str_eq(reserved_text(q, RESERVED_FORMAT), STR("csv"));
    err = parse_count(q, RESERVED_PAGE, INT32_MAX, &out->page);
    if (!err)
        err = parse_count(q, RESERVED_LIMIT, lim->max_page_size, &out->limit);
    if (!err && sort.n > 0)
        err = fields_parse_sort(q->c, sort, &out->sort);
    if (!err && fields.n > 0)
        err = fields_parse_projection(q->c, fields, out);
    if (err)
        return err;
    out->shown_projection =
        out->projection ? out->projection : coerce_doc_new(q->c);
    return out->shown_projection ? OK : ERR_OVERLOADED;
}

enum err filter_parse(struct ctx *c, str query, const struct filter_limits *lim,
                      struct list_query *out)
{
    struct query q = {.c = c};
    struct list_query got = {.csv = false};
    enum err err = url_split_query(c, query, &q.params, &q.n);

    if (!err)
        err = collect(&q);
    if (!err)
        err = parse_reserved(&q, lim, &got);
    if (!err)
        err = conjoin(c, q.conditions, &got.filter);
    if (!err)
        err = opcheck_filter(c, got.filter);
    if (err)
        return err;
    *out = got;
    return OK;
}

static void append_text_search(bson_t *out, str text)
{
    bson_t child;

    bson_append_document_begin(out, "$text", -1, &child);
    coerce_append_text(&child, STR("$search"), text);
    bson_append_document_end(out, &child);
}

static void append_field_search(bson_t *out, str pattern, const str *fields,
                                size_t n)
{
    bson_t items, item;

    if (n == 1) {
        coerce_append_regex(out, fields[0], pattern);
        return;
    }
    bson_append_array_begin(out, "$or", -1, &items);
    for (uint32_t i = 0; i < n && i < FILTER_SEARCH_FIELDS_MAX; i++) {
        char digits[16];
        const char *key;
        size_t len = bson_uint32_to_string(i, &key, digits, sizeof digits);

        bson_append_document_begin(&items, key, (int)len, &item);
        coerce_append_regex(&item, fields[i], pattern);
        bson_append_document_end(&items, &item);
    }
    bson_append_array_end(out, &items);
}

enum err filter_add_search(struct ctx *c, struct list_query *q,
                           const str *fields, size_t n)
{
    bson_t *search, *both, items;
    str pattern;

    if (q->search.n == 0)
        return OK;
    search = coerce_doc_new(c);
    both = coerce_doc_new(c);
    pattern = coerce_escape(c, q->search);
    if (!search || !both || !pattern.p)
        return ERR_OVERLOADED;
    if (n == 0)
        append_text_search(search, q->search);
    else
        append_field_search(search, pattern, fields, n);
    if (bson_empty(q->filter)) {
        q->filter = search;
        return OK;
    }
    bson_append_array_begin(both, "$and", -1, &items);
    bson_append_document(&items, "0", 1, q->filter);
    bson_append_document(&items, "1", 1, search);
    bson_append_array_end(both, &items);
    q->filter = both;
    return OK;
}
