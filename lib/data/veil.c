/* veil - see veil.h */
#include "lib/data/veil.h"

#include "lib/data/mongo.h"

static const char *const veiled[] = {"secret", "previousSecret"};

enum {
    VEILED_N = sizeof veiled / sizeof *veiled
};

static bool is_veiled_in(const char *collection)
{
    return strcmp(collection, "_webhooks") == 0;
}

/* The member itself or something inside it. */
static bool is_veiled(str path)
{
    size_t dot = str_find(path, '.', 0);

    for (int i = 0; i < VEILED_N; i++)
        if (str_eq(dot == SIZE_MAX ? path : str_head(path, dot),
                   str_of(veiled[i])))
            return true;
    return false;
}

const bson_t *veil_doc(struct ctx *c, const char *collection, const bson_t *doc)
{
    bson_t *copy;
    bson_iter_t it;

    if (!is_veiled_in(collection))
        return doc;
    copy = mongo_bson(c);
    if (!copy || !bson_iter_init(&it, doc))
        return copy;
    while (bson_iter_next(&it))
        if (!is_veiled(str_of(bson_iter_key(&it))))
            bson_append_iter(copy, NULL, 0, &it);
    return copy;
}

/* Anywhere in it: operators hold conditions at some depth (opcheck.h). */
static bool names_veiled(const bson_iter_t *from)
{
    bson_iter_t it = *from, inner;

    while (bson_iter_next(&it)) {
        if (is_veiled(str_of(bson_iter_key(&it))))
            return true;
        if ((BSON_ITER_HOLDS_DOCUMENT(&it) || BSON_ITER_HOLDS_ARRAY(&it)) &&
            bson_iter_recurse(&it, &inner) && names_veiled(&inner))
            return true;
    }
    return false;
}

static bool doc_names_veiled(const bson_t *doc)
{
    bson_iter_t it;

    return doc && bson_iter_init(&it, doc) && names_veiled(&it);
}

/* The fields are shut out by name, unless others are picked by name. */
static enum err shut_out(struct ctx *c, struct list_query *q)
{
    bson_t *projection;

    if (q->fields_n > 0)
        return OK;
    projection = mongo_bson(c);
    if (!projection)
        return ERR_OVERLOADED;
    if (q->projection)
        bson_concat(projection, q->projection);
    for (int i = 0; i < VEILED_N; i++)
        BSON_APPEND_INT32(projection, veiled[i], 0);
    q->projection = projection;
    return OK;
}

enum err veil_query(struct ctx *c, const char *collection, struct list_query *q)
{
    if (!is_veiled_in(collection))
        return OK;
    if (doc_names_veiled(q->filter) || doc_names_veiled(q->sort) ||
        doc_names_veiled(q->projection))
        return ctx_fail(c, ERR_BAD_QUERY,
                        "Secrets can be neither read nor searched");
    if (q->search.n > 0)
        return ctx_fail(c, ERR_BAD_QUERY, "'%s' cannot be searched",
                        collection);
    return shut_out(c, q);
}
