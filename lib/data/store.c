/* store - see store.h */
#include "lib/data/store.h"

#include "lib/data/rows.h"
#include "lib/data/shared.h"

bson_t *store_insert_command(struct ctx *c, const char *collection,
                             const bson_t *doc)
{
    bson_t *cmd = mongo_bson(c), list;

    if (!cmd)
        return NULL;
    BSON_APPEND_UTF8(cmd, "insert", collection);
    BSON_APPEND_ARRAY_BEGIN(cmd, "documents", &list);
    BSON_APPEND_DOCUMENT(&list, "0", doc);
    bson_append_array_end(cmd, &list);
    return cmd;
}

bool store_has(struct ctx *c, const char *collection, const bson_t *doc)
{
    struct rows_find f = {collection, .limit = 1};
    bson_t *filter = mongo_bson(c);
    const bson_t *stored = NULL;
    struct rows *rows;
    bson_iter_t it;

    if (!filter || !bson_iter_init_find(&it, doc, "_id"))
        return false;
    bson_append_iter(filter, "_id", 3, &it);
    f.filter = filter;
    return rows_find(c, &f, &rows) == OK && rows_next(c, rows, &stored) == OK &&
           stored && bson_equal(stored, doc);
}

/* After a lost reply the repeat meets our own document: that is success. */
static enum err insert_alone(struct ctx *c, const char *collection,
                             const bson_t *doc, bool doubtful)
{
    bson_t *cmd = store_insert_command(c, collection, doc), *reply;
    int tries = 0;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    err = mongo_write(c, cmd, &reply, &tries);
    if (err == ERR_DUPLICATE_KEY && (tries > 1 || doubtful) &&
        store_has(c, collection, doc)) {
        ctx_forgive(c);
        err = OK;
    }
    return err;
}

enum err store_insert(struct ctx *c, const char *collection, const bson_t *doc)
{
    return shared_insert(c, collection, doc, insert_alone);
}

bson_t *store_modify_command(struct ctx *c, const char *collection,
                             const bson_t *filter, const bson_t *update,
                             bool after)
{
    bson_t *cmd = mongo_bson(c);

    if (!cmd)
        return NULL;
    BSON_APPEND_UTF8(cmd, "findAndModify", collection);
    BSON_APPEND_DOCUMENT(cmd, "query", filter);
    if (update) {
        BSON_APPEND_DOCUMENT(cmd, "update", update);
        BSON_APPEND_BOOL(cmd, "new", after);
    } else {
        BSON_APPEND_BOOL(cmd, "remove", true);
    }
    return cmd;
}

enum err store_modify(struct ctx *c, bson_t *command, const bson_t **out)
{
    bson_t *reply, *value = ctx_alloc(c, sizeof *value);
    enum err err;

    if (!command || !value)
        return ERR_OVERLOADED;
    err = mongo_write(c, command, &reply, NULL);
    if (err)
        return err;
    *out = mongo_reply_doc(reply, "value", value) ? value : NULL;
    return OK;
}
