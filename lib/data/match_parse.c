/* match_parse - a filter as a tree of conditions, see match_inside.h */
#include "lib/data/match_inside.h"

struct match_node *match_fault(struct match_parse *p, str where,
                               const char *what)
{
    if (!p->fault && !p->no_memory) {
        p->fault = what;
        p->where = where;
    }
    return NULL;
}

static struct match_node *misplaced(struct match_parse *p, str name)
{
    p->is_operator = !p->fault;
    return match_fault(p, name, "is not allowed here");
}

struct match_node *match_node_new(struct match_parse *p, enum match_kind kind,
                                  str path)
{
    struct match_node *n = arena_alloc(p->arena, sizeof *n);

    if (!n) {
        p->no_memory = true;
        return NULL;
    }
    n->kind = kind;
    n->path = path;
    return n;
}

struct match_node *match_node_over(struct match_parse *p, enum match_kind kind,
                                   str path, struct match_node *only)
{
    struct match_node *n = only ? match_node_new(p, kind, path) : NULL;

    if (n)
        n->first = only;
    return n;
}

bool match_is_operators(const struct belem *e)
{
    struct bwalk in;
    struct belem first;

    if (e->type != BSON_TYPE_DOCUMENT)
        return false;
    in = match_walk(e);
    return bwalk_next(&in, &first) && str_starts(first.key, STR("$"));
}

/* Appends a child; false when there is none. */
static bool add(struct match_node ***end, struct match_node *child)
{
    if (!child)
        return false;
    **end = child;
    *end = &child->next;
    return true;
}

static bool has_regex(struct bwalk ops)
{
    struct belem op;

    while (bwalk_next(&ops, &op))
        if (str_eq(op.key, STR("$regex")))
            return true;
    return false;
}

struct match_node *match_parse_ops(struct match_parse *p, str path,
                                   struct bwalk ops)
{
    struct match_node *all = match_node_new(p, MATCH_AND, STR(""));
    struct match_node **end;
    struct bwalk at = ops;
    struct belem op;

    if (!all)
        return NULL;
    end = &all->first;
    while (bwalk_next(&at, &op)) {
        if (!str_starts(op.key, STR("$")))
            return match_fault(p, op.key, "is no operator");
        /* it is read with its pattern */
        if (str_eq(op.key, STR("$options")) && has_regex(ops))
            continue;
        if (!add(&end, match_parse_op(p, path, &op, ops)))
            return p->fault ? NULL : misplaced(p, op.key);
    }
    return all;
}

/* $and, $or, $nor */
static struct match_node *
parse_list(struct match_parse *p, const struct belem *e, enum match_kind kind)
{
    struct match_node *list = match_node_new(p, kind, STR(""));
    struct match_node **end;
    struct bwalk at = match_walk(e);
    struct belem item;

    if (!list)
        return NULL;
    end = &list->first;
    if (e->type != BSON_TYPE_ARRAY)
        return match_fault(p, e->key, "needs an array");
    while (bwalk_next(&at, &item)) {
        if (item.type != BSON_TYPE_DOCUMENT)
            return match_fault(p, e->key, "needs an array of objects");
        if (!add(&end, match_parse(p, match_walk(&item))))
            return NULL;
    }
    return list->first ? list : match_fault(p, e->key, "needs conditions");
}

static struct match_node *parse_member(struct match_parse *p,
                                       const struct belem *e)
{
    if (str_eq(e->key, STR("$and")))
        return parse_list(p, e, MATCH_AND);
    if (str_eq(e->key, STR("$or")))
        return parse_list(p, e, MATCH_OR);
    if (str_eq(e->key, STR("$nor")))
        return match_node_over(p, MATCH_NOT, STR(""),
                               parse_list(p, e, MATCH_OR));
    if (str_starts(e->key, STR("$")))
        return misplaced(p, e->key);
    if (match_is_operators(e))
        return match_parse_ops(p, e->key, match_walk(e));
    return match_parse_plain(p, e->key, e);
}

/* Recursion ends at the depth that opcheck lets through. */
struct match_node *match_parse(struct match_parse *p, struct bwalk filter)
{
    struct match_node *all = match_node_new(p, MATCH_AND, STR(""));
    struct match_node **end;
    struct belem e;

    if (!all)
        return NULL;
    end = &all->first;
    while (bwalk_next(&filter, &e))
        if (!add(&end, parse_member(p, &e)))
            return NULL;
    return all;
}
