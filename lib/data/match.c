/* match - see match.h; paths through documents and arrays, and their end */
#include "lib/data/match.h"

#include <time.h>

#include "lib/data/match_inside.h"
#include "lib/data/opcheck.h"

#define MS_NS INT64_C(1000000)

struct match {
    const struct match_node *root; /* NULL: matches nothing */
};

/* Conditions on an array as a whole. */
static bool is_on_array(const struct match_node *n)
{
    return n->kind == MATCH_SIZE || n->kind == MATCH_ELEM_DOC ||
           n->kind == MATCH_ELEM_VALUE;
}

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void match_look(struct match_run *r)
{
    int64_t now = cpu_ns();

    if (r->start_ns == 0)
        r->start_ns = now;
    r->is_over = now - r->start_ns > r->most_ns;
}

static bool find(struct match_run *r, struct bwalk doc, str name,
                 struct belem *out)
{
    while (!match_is_over(r) && bwalk_next(&doc, out))
        if (str_eq(out->key, name))
            return true;
    return false;
}

static bool any_at(struct match_run *r, const struct match_node *n,
                   struct bwalk doc, str path);

/* The array itself or one of its elements. */
static bool any_element(struct match_run *r, const struct match_node *n,
                        const struct belem *array)
{
    struct bwalk at = match_walk(array);
    struct belem e;

    while (!is_on_array(n) && !match_is_over(r) && bwalk_next(&at, &e))
        if (match_node_value(r, n, &e))
            return true;
    return match_node_value(r, n, array);
}

/* What `path` leads to from an array: by its documents, and by index. A path
 * that is used up, or but for a dot, leads to its elements. */
static bool any_in(struct match_run *r, const struct match_node *n,
                   const struct belem *array, str path)
{
    struct bwalk at = match_walk(array);
    str rest = path, name;
    struct belem e;

    if (path.n == 0)
        return any_element(r, n, array);
    (void)str_cut(&rest, '.', &name);
    while (!match_is_over(r) && bwalk_next(&at, &e)) {
        if (e.type == BSON_TYPE_DOCUMENT && any_at(r, n, match_walk(&e), path))
            return true;
        if (!str_eq(e.key, name))
            continue;
        if (!rest.p && match_node_value(r, n, &e))
            return true;
        if (rest.p && e.type == BSON_TYPE_DOCUMENT &&
            any_at(r, n, match_walk(&e), rest))
            return true;
        if (rest.p && e.type == BSON_TYPE_ARRAY && any_in(r, n, &e, rest))
            return true;
    }
    return false;
}

/* Does the condition hold for one of the values that `path` leads to? */
static bool any_at(struct match_run *r, const struct match_node *n,
                   struct bwalk doc, str path)
{
    struct belem e;
    str name;

    for (;;) {
        (void)str_cut(&path, '.', &name);
        if (!find(r, doc, name, &e))
            return match_node_value(r, n, NULL);
        if (e.type == BSON_TYPE_ARRAY)
            return any_in(r, n, &e, path);
        if (!path.p)
            return match_node_value(r, n, &e);
        if (e.type != BSON_TYPE_DOCUMENT)
            return match_node_value(r, n, NULL);
        doc = match_walk(&e);
    }
}

static bool test_elements(struct match_run *r, const struct match_node *n,
                          const struct belem *array)
{
    bool by_value = n->kind == MATCH_ELEM_VALUE;
    struct bwalk at;
    struct belem e;

    if (!array || array->type != BSON_TYPE_ARRAY)
        return false;
    at = match_walk(array);
    while (!match_is_over(r) && bwalk_next(&at, &e)) {
        if (by_value && match_node_value(r, n->first, &e))
            return true;
        if (!by_value &&
            (e.type == BSON_TYPE_DOCUMENT || e.type == BSON_TYPE_ARRAY) &&
            match_node_doc(r, n->first, match_walk(&e)))
            return true;
    }
    return false;
}

bool match_node_value(struct match_run *r, const struct match_node *n,
                      const struct belem *e)
{
    const struct match_node *k = n->first;

    switch ((int)n->kind) {
    case MATCH_AND:
        while (k && match_node_value(r, k, e))
            k = k->next;
        return !k;
    case MATCH_OR:
        while (k && !match_node_value(r, k, e))
            k = k->next;
        return k;
    case MATCH_NOT:
        return !match_node_value(r, k, e);
    case MATCH_ELEM_DOC:
    case MATCH_ELEM_VALUE:
        return test_elements(r, n, e);
    }
    return match_test(r, n, e);
}

bool match_node_doc(struct match_run *r, const struct match_node *n,
                    struct bwalk doc)
{
    const struct match_node *k = n->first;

    switch ((int)n->kind) {
    case MATCH_AND:
        while (k && match_node_doc(r, k, doc))
            k = k->next;
        return !k;
    case MATCH_OR:
        while (k && !match_node_doc(r, k, doc))
            k = k->next;
        return k;
    case MATCH_NOT:
        return !match_node_doc(r, k, doc);
    }
    return any_at(r, n, doc, n->path);
}

enum err match_check(struct ctx *c, const bson_t *filter)
{
    struct match_parse p = {.arena = &c->arena};
    enum err err = opcheck_filter(c, filter);

    if (err)
        return err;
    if (match_parse(&p, bwalk_of(bson_get_data(filter), filter->len)))
        return OK;
    if (p.no_memory)
        return ctx_no_memory(c);
    if (p.is_operator)
        return ctx_fail(c, ERR_BAD_OPERATOR, "Operator '%.*s' %s",
                        (int)(p.where.n > 100 ? 100 : p.where.n), p.where.p,
                        p.fault);
    return ctx_fail(c, ERR_VALIDATION_ERROR, "'%.*s' %s",
                    (int)(p.where.n > 100 ? 100 : p.where.n), p.where.p,
                    p.fault);
}

const struct match *match_new(struct arena *a, const bson_t *filter)
{
    struct match *m = arena_alloc(a, sizeof *m);
    struct match_parse p = {.arena = a};
    struct ctx judge;

    if (!m)
        return NULL;
    ctx_init(&judge, NULL, 0);
    if (opcheck_filter(&judge, filter) == OK)
        m->root = match_parse(&p, bwalk_of(bson_get_data(filter), filter->len));
    ctx_done(&judge);
    return p.no_memory ? NULL : m;
}

/* Quick ones have never looked at the time. */
static void settle(const struct match_run *r, struct match_budget *budget)
{
    int64_t since = r->start_ns ? r->start_ns : r->regex.start_ns;

    if (since)
        budget->used_ns += cpu_ns() - since;
    budget->overruns += r->regex.overruns + r->is_over;
}

bool match_doc(const struct match *m, const bson_t *doc,
               struct match_budget *budget)
{
    int64_t left_ns = MATCH_ALL_MS * MS_NS - budget->used_ns;
    struct match_run r = {.most_ns = MATCH_CPU_MS * MS_NS};
    bool yes;

    if (left_ns < r.most_ns)
        r.most_ns =
            left_ns > MATCH_LEAST_MS * MS_NS ? left_ns : MATCH_LEAST_MS * MS_NS;
    r.regex.most_ns = r.most_ns;
    yes = m->root &&
          match_node_doc(&r, m->root, bwalk_of(bson_get_data(doc), doc->len));
    settle(&r, budget);
    regex_done(&r.regex);
    return yes || r.is_over;
}
