/* search - see search.h */
#include "lib/data/search.h"

#include <stdlib.h>

#include "lib/data/mongo.h"

static enum err has_text_index(struct ctx *c, const char *collection, bool *out)
{
    bson_t *cmd = mongo_bson(c), *reply, batch;
    bson_iter_t it, key;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BSON_APPEND_UTF8(cmd, "listIndexes", collection);
    err = mongo_read(c, cmd, &reply);
    *out = false;
    if (err == ERR_COLLECTION_NOT_FOUND) {
        ctx_forgive(c);
        return ctx_fail(c, err, "No collection '%s'", collection);
    }
    if (err)
        return err;
    if (!mongo_reply_rows(reply, &batch))
        return OK;
    bson_iter_init(&it, &batch);
    while (bson_iter_next(&it))
        if (bson_iter_recurse(&it, &key) &&
            bson_iter_find_descendant(&key, "key._fts", &key))
            *out = true;
    return OK;
}

enum {
    SAMPLE_ROWS = 100,
    SEARCH_FIELDS_MAX = 20,
    NAMES_MAX = 1000, /* different names looked at in a sample */
};

struct names {
    str v[NAMES_MAX];
    size_t n;
};

static void add_text_names(struct names *names, bson_iter_t *row)
{
    while (bson_iter_next(row)) {
        str name = str_of(bson_iter_key(row));
        size_t i = 0;

        if (!BSON_ITER_HOLDS_UTF8(row) || name.n == 0 || name.p[0] == '$')
            continue;
        while (i < names->n && !str_eq(names->v[i], name))
            i++;
        if (i == names->n && i < NAMES_MAX)
            names->v[names->n++] = name;
    }
}

static int compare_names(const void *a, const void *b)
{
    const str *x = a, *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);

    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* Top-level text fields of a random sample, in byte order. */
static enum err sample_text_fields(struct ctx *c, const char *collection,
                                   struct names *names)
{
    bson_t *cmd = mongo_bson(c), *reply, cursor, batch;
    bson_iter_t it, row;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "aggregate", BCON_UTF8(collection), "pipeline", "[", "{",
                "$sample", "{", "size", BCON_INT32(SAMPLE_ROWS), "}", "}", "]",
                "cursor", "{", "batchSize", BCON_INT32(SAMPLE_ROWS + 1), "}");
    err = mongo_read(c, cmd, &reply);
    if (err)
        return err;
    if (mongo_reply_rows(reply, &batch)) {
        bson_iter_init(&it, &batch);
        while (bson_iter_next(&it))
            if (bson_iter_recurse(&it, &row))
                add_text_names(names, &row);
    }
    if (mongo_reply_doc(reply, "cursor", &cursor) &&
        bson_iter_init_find(&it, &cursor, "id") && bson_iter_as_int64(&it) != 0)
        mongo_kill_cursor(c, collection, bson_iter_as_int64(&it));
    qsort(names->v, names->n, sizeof names->v[0], compare_names);
    if (names->n > SEARCH_FIELDS_MAX)
        names->n = SEARCH_FIELDS_MAX;
    return OK;
}

enum err search_resolve(struct ctx *c, const char *collection,
                        struct list_query *q, bool *out_none)
{
    struct names *names;
    bool indexed;
    enum err err;

    *out_none = false;
    if (q->search.n == 0)
        return OK;
    if (q->fields_n > 0)
        return filter_add_search(c, q, q->fields, q->fields_n);
    err = has_text_index(c, collection, &indexed);
    if (err)
        return err;
    if (indexed)
        return filter_add_search(c, q, NULL, 0);
    names = ctx_alloc(c, sizeof *names);
    if (!names)
        return ERR_OVERLOADED;
    err = sample_text_fields(c, collection, names);
    if (err)
        return err;
    *out_none = names->n == 0;
    return *out_none ? OK : filter_add_search(c, q, names->v, names->n);
}
