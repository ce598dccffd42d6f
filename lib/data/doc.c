/* doc - see doc.h */
#include "lib/data/doc.h"

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/id.h"
#include "lib/data/change.h"
#include "lib/data/search.h"
#include "lib/data/shared.h"
#include "lib/data/store.h"

enum {
    NAME_BYTES_MAX = 200,
    NAMESPACE_BYTES_MAX = 255,
};

static bool is_name_byte(char ch, bool first)
{
    if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '_')
        return true;
    return !first && ch >= '0' && ch <= '9';
}

enum err doc_collection(struct ctx *c, str name, const char **out)
{
    size_t most =
        NAMESPACE_BYTES_MAX - 1 - strlen(c->conf->mongodb_database_name);
    bool good = name.n > 0;

    if (most > NAME_BYTES_MAX)
        most = NAME_BYTES_MAX;
    for (size_t i = 0; i < name.n; i++)
        good = good && is_name_byte(name.p[i], i == 0);
    if (!good || name.n > most)
        return ctx_fail(c, ERR_BAD_COLLECTION_NAME,
                        "A collection name is 1 to %zu letters, digits and "
                        "'_' and does not begin with a digit",
                        most);
    if (name.p[0] == '_' && (!c->conf->db_allow_system_collections ||
                             str_eq(name, STR("_api_keys"))))
        return ctx_fail(c, ERR_SYSTEM_COLLECTION,
                        "'" STR_FMT "' is a system collection", STR_ARG(name));
    *out = arena_str(&c->arena, name).p;
    if (!*out)
        return ctx_fail(c, ERR_OVERLOADED, "The request needs too much memory");
    return OK;
}

enum err doc_key(struct ctx *c, str collection, str id, struct doc_key *out)
{
    out->id = id;
    return doc_collection(c, collection, &out->collection);
}

bool doc_oid(str id, bson_oid_t *out)
{
    char hex[25] = {0};

    if (!id_is_object(id))
        return false;
    memcpy(hex, id.p, 24);
    bson_oid_init_from_string(out, hex);
    return true;
}

/* {_id: ObjectId} or, without `as_oid`, {_id: "text"} */
static bson_t *id_filter(struct ctx *c, str id, bool as_oid)
{
    bson_t *filter = mongo_bson(c);
    bson_oid_t oid;

    if (filter && as_oid && doc_oid(id, &oid))
        BSON_APPEND_OID(filter, "_id", &oid);
    else if (filter)
        bson_append_utf8(filter, "_id", 3, id.p, (int)id.n);
    return filter;
}

enum err doc_need_collection(struct ctx *c, const char *collection)
{
    bson_t *cmd = mongo_bson(c), *reply, batch;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "listCollections", BCON_INT32(1), "filter", "{", "name",
                BCON_UTF8(collection), "}", "nameOnly", BCON_BOOL(true));
    err = mongo_read(c, cmd, &reply);
    if (err)
        return err;
    if (mongo_reply_rows(reply, &batch) && !bson_empty(&batch))
        return OK;
    return ctx_fail(c, ERR_COLLECTION_NOT_FOUND, "No collection '%s'",
                    collection);
}

static enum err not_found(struct ctx *c, const struct doc_key *key)
{
    enum err err = doc_need_collection(c, key->collection);

    if (err)
        return err;
    return ctx_fail(c, ERR_DOCUMENT_NOT_FOUND,
                    "No document with id '" STR_FMT "' in '%s'",
                    STR_ARG(key->id), key->collection);
}

/* What one try by one form of the id does; *out is NULL for "none". */
typedef enum err (*id_try)(struct ctx *c, const struct doc_key *key,
                           const bson_t *filter, const void *arg,
                           const bson_t **out);

/* 24 hex digits mean the ObjectId first, then the same text. */
static enum err by_id(struct ctx *c, const struct doc_key *key, id_try try,
                      const void *arg, const bson_t **out)
{
    const bson_t *found = NULL;

    for (int as_oid = id_is_object(key->id); as_oid >= 0; as_oid--) {
        bson_t *filter = id_filter(c, key->id, as_oid);
        enum err err;

        if (!filter)
            return ERR_OVERLOADED;
        err = try(c, key, filter, arg, &found);
        if (err)
            return err;
        if (found) {
            *out = found;
            return OK;
        }
    }
    return not_found(c, key);
}

static enum err try_get(struct ctx *c, const struct doc_key *key,
                        const bson_t *filter, const void *arg,
                        const bson_t **out)
{
    struct rows_find f = {key->collection, filter, .limit = 1};
    struct rows *rows;
    enum err err = rows_find(c, &f, &rows);

    (void)arg;
    return err ? err : rows_next(c, rows, out);
}

static enum err get_alone(struct ctx *c, const struct doc_key *key,
                          const bson_t **out)
{
    return by_id(c, key, try_get, NULL, out);
}

enum err doc_get(struct ctx *c, const struct doc_key *key, const bson_t **out)
{
    return shared_get(c, key, get_alone, out);
}

/* A change that somebody may want to hear of; removal when update is NULL. */
struct modify {
    struct change how;
    const bson_t *update;
};

static enum err try_modify(struct ctx *c, const struct doc_key *key,
                           const bson_t *filter, const void *arg,
                           const bson_t **out)
{
    const struct modify *m = arg;

    if (m->how.interest.any)
        return change_modify(c, &m->how, key->collection, filter, m->update,
                             out);
    return store_modify(
        c, store_modify_command(c, key->collection, filter, m->update, true),
        out);
}

static enum err modify(struct ctx *c, const struct doc_key *key,
                       const bson_t *update, const bson_t **out)
{
    enum event_kind kind = update ? EVENT_UPDATE : EVENT_DELETE;
    struct modify m = {.update = update};
    enum err err = change_wanted(c, key->collection, kind, &m.how);

    return err ? err : by_id(c, key, try_modify, &m, out);
}

enum err doc_delete(struct ctx *c, const struct doc_key *key,
                    const bson_t **out)
{
    return modify(c, key, NULL, out);
}

static bool is_server_time(const char *key)
{
    return strcmp(key, "createdAt") == 0 || strcmp(key, "updatedAt") == 0;
}

static enum err check_key(struct ctx *c, const char *key, bool path)
{
    if (key[0] == '\0')
        return ctx_fail(c, ERR_VALIDATION_ERROR, "A field name is empty");
    if (key[0] == '$' || (path && strstr(key, ".$")))
        return ctx_fail(c, ERR_VALIDATION_ERROR,
                        "The field name '%.100s' has a part that begins "
                        "with '$'",
                        key);
    return OK;
}

/* An `_id` in the body must name the document of the path, by its text. */
static enum err check_same_id(struct ctx *c, const struct doc_key *key,
                              const bson_iter_t *it)
{
    uint32_t n;
    const char *text;

    if (BSON_ITER_HOLDS_UTF8(it)) {
        text = bson_iter_utf8(it, &n);
        if (str_eq((str){text, n}, key->id) ||
            (id_is_object(key->id) && str_eq_nocase((str){text, n}, key->id)))
            return OK;
    }
    return ctx_fail(c, ERR_ID_MISMATCH,
                    "The body's _id is not the id of the path, '" STR_FMT "'",
                    STR_ARG(key->id));
}

static enum err set_members(struct ctx *c, const struct doc_key *key,
                            const bson_t *body, bson_t *set)
{
    bson_iter_t it;
    enum err err;

    bson_iter_init(&it, body);
    while (bson_iter_next(&it)) {
        const char *name = bson_iter_key(&it);

        if (is_server_time(name))
            continue;
        if (strcmp(name, "_id") == 0) {
            err = check_same_id(c, key, &it);
        } else {
            err = check_key(c, name, true);
            bson_append_iter(set, name, -1, &it);
        }
        if (err)
            return err;
    }
    if (bson_empty(set))
        return ctx_fail(c, ERR_EMPTY_BODY, "The body has no field to set");
    BSON_APPEND_DATE_TIME(set, "updatedAt", clock_wall_ms());
    return OK;
}

enum err doc_update(struct ctx *c, const struct doc_key *key,
                    const bson_t *body, const bson_t **out)
{
    bson_t *set = mongo_bson(c), *update = mongo_bson(c);
    enum err err;

    if (!set || !update)
        return ERR_OVERLOADED;
    err = set_members(c, key, body, set);
    if (err)
        return err;
    BSON_APPEND_DOCUMENT(update, "$set", set);
    return modify(c, key, update, out);
}

/* _id first, as MongoDB stores it, and our two times last. */
static enum err build_document(struct ctx *c, const bson_t *body, bson_t *doc)
{
    ms now = clock_wall_ms();
    bson_iter_t it;
    bson_oid_t oid;

    if (bson_iter_init_find(&it, body, "_id")) {
        bson_append_iter(doc, "_id", 3, &it);
    } else {
        bson_oid_init(&oid, NULL);
        BSON_APPEND_OID(doc, "_id", &oid);
    }
    bson_iter_init(&it, body);
    while (bson_iter_next(&it)) {
        const char *name = bson_iter_key(&it);
        enum err err = check_key(c, name, false);

        if (err)
            return err;
        if (strcmp(name, "_id") != 0 && !is_server_time(name))
            bson_append_iter(doc, name, -1, &it);
    }
    BSON_APPEND_DATE_TIME(doc, "createdAt", now);
    BSON_APPEND_DATE_TIME(doc, "updatedAt", now);
    if (doc->len > 16 << 20)
        return ctx_fail(c, ERR_DOCUMENT_TOO_LARGE,
                        "A stored document is at most 16 MiB");
    return OK;
}

static enum err insert(struct ctx *c, const char *collection, const bson_t *doc)
{
    struct change how;
    enum err err = change_wanted(c, collection, EVENT_CREATE, &how);

    if (err)
        return err;
    return how.interest.any ? change_insert(c, &how, collection, doc)
                            : store_insert(c, collection, doc);
}

enum err doc_create(struct ctx *c, const char *collection, const bson_t *body,
                    const bson_t **out)
{
    bson_t *doc = mongo_bson(c);
    enum err err;

    if (!doc)
        return ERR_OVERLOADED;
    if (bson_empty(body))
        return ctx_fail(c, ERR_EMPTY_BODY,
                        "The body must be an object with at least one field");
    err = build_document(c, body, doc);
    if (err == OK)
        err = insert(c, collection, doc);
    if (err == OK)
        *out = doc;
    return err;
}

enum err doc_count(struct ctx *c, const char *collection, const bson_t *filter,
                   int64_t most, int64_t *out)
{
    bson_t *cmd = mongo_bson(c), *reply;
    bson_iter_t it;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BSON_APPEND_UTF8(cmd, "count", collection);
    if (!bson_empty(filter)) {
        BSON_APPEND_DOCUMENT(cmd, "query", filter);
        if (most > 0)
            BSON_APPEND_INT64(cmd, "limit", most);
    }
    err = mongo_read(c, cmd, &reply);
    if (err)
        return err;
    *out = bson_iter_init_find(&it, reply, "n") ? bson_iter_as_int64(&it) : 0;
    return OK;
}

/* Counted only when the page does not tell: a full one, or one past the end. */
static enum err find_total(struct ctx *c, const struct rows_find *f,
                           struct doc_page *page)
{
    int64_t n = rows_n(page->rows);

    if (n >= 0 && n < page->shown && (n > 0 || f->skip == 0)) {
        page->total = f->skip + n;
        return OK;
    }
    return doc_count(c, f->collection, f->filter, 0, &page->total);
}

enum err doc_list(struct ctx *c, const char *collection, struct list_query *q,
                  bool count, struct doc_page *out)
{
    struct rows_find f = {.collection = collection,
                          .projection = q->projection,
                          .sort = q->sort,
                          .skip = (q->page - 1) * q->limit,
                          .limit = q->limit + !count};
    struct doc_page page = {.total = -1, .shown = q->limit};
    enum err err;
    bool none;

    err = search_resolve(c, collection, q, &none);
    if (err)
        return err;
    if (none) {
        *out = (struct doc_page){.total = count ? 0 : -1};
        return doc_need_collection(c, collection);
    }
    f.filter = q->filter;
    err = rows_find(c, &f, &page.rows);
    if (err)
        return err;
    if (rows_n(page.rows) == 0) {
        err = doc_need_collection(c, collection);
        if (err)
            return err;
    }
    page.more = rows_n(page.rows) > q->limit;
    if (count)
        err = find_total(c, &f, &page);
    if (err == OK)
        *out = page;
    return err;
}
