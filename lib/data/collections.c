/* collections - see collections.h */
#include "lib/data/collections.h"

#include <stdlib.h>

#include "lib/data/doc.h"

enum {
    COLLECTIONS_MAX = 10000
};

static int by_name(const void *a, const void *b)
{
    const struct collection *x = a, *y = b;

    return strcmp(x->name.p, y->name.p);
}

/* All in one batch; rows borrow from the reply until ctx_reset. */
enum err collections_list(struct ctx *c, bool name_only,
                          struct collection **out, size_t *out_n)
{
    bson_t *cmd = mongo_bson(c), *reply, batch;
    struct collection *rows;
    bson_iter_t it, name;
    enum err err;
    size_t n = 0;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "listCollections", BCON_INT32(1), "nameOnly",
                BCON_BOOL(name_only), "cursor", "{", "batchSize",
                BCON_INT32(COLLECTIONS_MAX), "}");
    err = mongo_read(c, cmd, &reply);
    if (err)
        return err;
    *out_n = 0;
    if (!mongo_reply_rows(reply, &batch))
        return OK;
    rows = ctx_alloc(c, (bson_count_keys(&batch) + 1) * sizeof *rows);
    if (!rows)
        return ERR_OVERLOADED;
    bson_iter_init(&it, &batch);
    while (bson_iter_next(&it)) {
        if (!bson_iter_recurse(&it, &rows[n].row))
            continue;
        name = rows[n].row;
        if (bson_iter_find(&name, "name") && BSON_ITER_HOLDS_UTF8(&name))
            rows[n++].name = str_of(bson_iter_utf8(&name, NULL));
    }
    if (n)
        qsort(rows, n, sizeof *rows, by_name);
    *out = rows;
    *out_n = n;
    return OK;
}

/* updatedAt, else createdAt, of the row with the greatest updatedAt. */
static enum err last_updated(struct ctx *c, const char *name,
                             struct collection_stats *out)
{
    bson_t *filter = mongo_bson(c), *sort = mongo_bson(c);
    struct rows_find f = {name, filter, sort, .limit = 1};
    struct rows *rows;
    const bson_t *doc;
    bson_iter_t it;
    enum err err;

    if (!filter || !sort)
        return ERR_OVERLOADED;
    BSON_APPEND_INT32(sort, "updatedAt", -1);
    err = rows_find(c, &f, &rows);
    if (err == OK)
        err = rows_next(c, rows, &doc);
    if (err == ERR_TIME_LIMIT || err == ERR_BAD_QUERY) {
        ctx_forgive(c);
        return OK;
    }
    if (err || !doc)
        return err;
    if (!bson_iter_init_find(&it, doc, "updatedAt") &&
        !bson_iter_init_find(&it, doc, "createdAt"))
        return OK;
    if (BSON_ITER_HOLDS_DATE_TIME(&it)) {
        out->last_updated = bson_iter_date_time(&it);
        out->known = true;
    }
    return OK;
}

enum err collections_stats(struct ctx *c, const char *name,
                           struct collection_stats *out)
{
    bson_t *all = mongo_bson(c);
    enum err err;

    if (!all)
        return ERR_OVERLOADED;
    *out = (struct collection_stats){0};
    err = doc_count(c, name, all, 0, &out->documents);
    return err ? err : last_updated(c, name, out);
}

enum err collections_create(struct ctx *c, const char *name)
{
    bson_t *cmd = mongo_bson(c), *reply;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BSON_APPEND_UTF8(cmd, "create", name);
    err = mongo_write(c, cmd, &reply, NULL);
    if (err != ERR_ALREADY_EXISTS)
        return err;
    ctx_forgive(c);
    return ctx_fail(c, err, "The collection '%s' exists already", name);
}

enum err collections_drop(struct ctx *c, const char *name)
{
    bson_t *cmd = mongo_bson(c), *reply;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    /* MongoDB 7 calls the drop of a missing collection a success */
    err = doc_need_collection(c, name);
    if (err)
        return err;
    BSON_APPEND_UTF8(cmd, "drop", name);
    err = mongo_write(c, cmd, &reply, NULL);
    if (err != ERR_COLLECTION_NOT_FOUND)
        return err;
    ctx_forgive(c);
    return ctx_fail(c, err, "No collection '%s'", name);
}
