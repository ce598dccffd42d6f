/* api_management - collections: list, create, drop; the database's health */
#include "fcgi-app/api.h"
#include "fcgi-app/guard.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"
#include "lib/data/doc.h"
#include "lib/data/json_out.h"

enum {
    COLLECTIONS_MAX = 10000
};

struct collection_row {
    str name;
    bson_iter_t it; /* of the listCollections row */
};

static int by_name(const void *a, const void *b)
{
    const struct collection_row *x = a, *y = b;

    return strcmp(x->name.p, y->name.p);
}

/* All in one batch; rows borrow from the reply until ctx_reset. */
static enum err list_collections(struct ctx *c, bool name_only,
                                 struct collection_row **out, size_t *out_n)
{
    bson_t *cmd = mongo_bson(c), *reply, cursor, batch;
    struct collection_row *rows;
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
    if (!mongo_reply_doc(reply, "cursor", &cursor) ||
        !mongo_reply_doc(&cursor, "firstBatch", &batch))
        return OK;
    rows = ctx_alloc(c, (bson_count_keys(&batch) + 1) * sizeof *rows);
    if (!rows)
        return ERR_OVERLOADED;
    bson_iter_init(&it, &batch);
    while (bson_iter_next(&it)) {
        if (!bson_iter_recurse(&it, &rows[n].it))
            continue;
        name = rows[n].it;
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
static enum err last_updated(struct ctx *c, const char *collection,
                             ms *out_wall, bool *out_known)
{
    bson_t *filter = mongo_bson(c), *sort = mongo_bson(c);
    struct rows_find f = {collection, filter, sort, .limit = 1};
    struct rows *rows;
    const bson_t *doc;
    bson_iter_t it;
    enum err err;

    *out_known = false;
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
        *out_wall = bson_iter_date_time(&it);
        *out_known = true;
    }
    return OK;
}

static enum err
write_collection(struct ctx *c, const struct collection_row *row, struct buf *b)
{
    bson_iter_t options = row->it, type = row->it;
    char time[CLOCK_ISO_MAX];
    bson_t *none = mongo_bson(c);
    bool known;
    int64_t n;
    ms wall = 0;
    enum err err;

    if (!none)
        return ERR_OVERLOADED;
    err = doc_count(c, row->name.p, none, 0, &n);
    if (err)
        return err;
    err = last_updated(c, row->name.p, &wall, &known);
    if (err)
        return err;
    buf_add(b, STR("{\"name\":"));
    jwrite_str(b, row->name);
    buf_add(b, STR(",\"type\":"));
    if (bson_iter_find(&type, "type"))
        json_out_value(b, &type);
    else
        buf_add(b, STR("\"collection\""));
    buf_add(b, STR(",\"options\":"));
    if (bson_iter_find(&options, "options"))
        json_out_value(b, &options);
    else
        buf_add(b, STR("{}"));
    buf_addf(
        b, ",\"stats\":{\"documentCount\":%lld,\"lastUpdated\":", (long long)n);
    known = known && clock_iso(wall, time) > 0;
    if (known)
        buf_addf(b, "\"%s\"}}", time);
    else
        buf_add(b, STR("null}}"));
    return OK;
}

enum err api_management_list(struct ctx *c, const struct request *q,
                             struct reply *out)
{
    struct collection_row *rows;
    struct buf *b = out->body;
    enum err err;
    size_t n;

    (void)q;
    err = list_collections(c, false, &rows, &n);
    if (err)
        return err;
    buf_add(b, STR("{\"success\":true,\"collections\":["));
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(b, ',');
        err = write_collection(c, &rows[i], b);
        if (err)
            return err;
    }
    buf_addf(b, "],\"count\":%zu}", n);
    return OK;
}

static void write_change(struct buf *b, str name, const char *what)
{
    buf_addf(b,
             "{\"success\":true,\"message\":\"Collection %s\","
             "\"collection\":{\"name\":\"" STR_FMT "\",\"%s\":true}}",
             what, STR_ARG(name), what);
}

enum err api_management_create(struct ctx *c, const struct request *q,
                               struct reply *out)
{
    bson_t *body, *cmd = mongo_bson(c), *reply;
    bson_iter_t it;
    uint32_t n;
    enum err err;
    str name;

    err = guard_object(c, q, &body);
    if (err)
        return err;
    if (!cmd || !bson_iter_init_find(&it, body, "name") ||
        !BSON_ITER_HOLDS_UTF8(&it)) {
        out->err_members = STR(",\"details\":[{\"field\":\"name\","
                               "\"message\":\"a text is required\"}]");
        return ctx_fail(c, ERR_VALIDATION_ERROR,
                        "'name' must be given and a text");
    }
    name.p = bson_iter_utf8(&it, &n);
    name.n = n;
    err = doc_check_collection(c, name);
    if (err)
        return err;
    BSON_APPEND_UTF8(cmd, "create", name.p);
    err = mongo_write(c, cmd, &reply, NULL);
    if (err == ERR_ALREADY_EXISTS) {
        ctx_forgive(c);
        return ctx_fail(c, err, "The collection '%s' exists already", name.p);
    }
    if (err)
        return err;
    out->status = 201;
    write_change(out->body, name, "created");
    return OK;
}

enum err api_management_drop(struct ctx *c, const struct request *q,
                             struct reply *out)
{
    bson_t *cmd = mongo_bson(c), *reply;
    enum err err;
    str name;

    err = doc_check_collection(c, q->param[0]);
    if (err)
        return err;
    name = arena_str(&c->arena, q->param[0]);
    if (!cmd || !name.p)
        return ctx_fail(c, ERR_OVERLOADED, "Out of memory");
    /* MongoDB 7 calls the drop of a missing collection a success */
    err = doc_need_collection(c, name.p);
    if (err)
        return err;
    BSON_APPEND_UTF8(cmd, "drop", name.p);
    err = mongo_write(c, cmd, &reply, NULL);
    if (err == ERR_COLLECTION_NOT_FOUND) {
        ctx_forgive(c);
        return ctx_fail(c, err, "No collection '%s'", name.p);
    }
    if (err)
        return err;
    write_change(out->body, name, "dropped");
    return OK;
}

enum err api_management_health(struct ctx *c, const struct request *q,
                               struct reply *out)
{
    struct collection_row *rows;
    char time[CLOCK_ISO_MAX];
    size_t n;
    enum err err;

    (void)q;
    clock_iso(clock_wall_ms(), time);
    err = list_collections(c, true, &rows, &n);
    if (err) {
        out->err_members = arena_strf(
            &c->arena, ",\"status\":\"unhealthy\",\"timestamp\":\"%s\"", time);
        return err;
    }
    buf_addf(out->body,
             "{\"success\":true,\"status\":\"healthy\",\"timestamp\":\"%s\","
             "\"mongodb\":{\"connected\":true,\"collections\":%zu}}",
             time, n);
    return OK;
}
