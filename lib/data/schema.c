/* schema - see schema.h */
#include "lib/data/schema.h"

#include <assert.h>

#include "lib/base/log.h"
#include "lib/data/json_in.h"

struct schema_row {
    const char *collection;
    str text;
};

/* a file may be longer than the 4095 bytes that C11 promises for a literal */
#pragma GCC diagnostic ignored "-Woverlength-strings"
#include "gen/schema_rows.h"

enum {
    ROWS_N = sizeof schema_rows / sizeof *schema_rows
};

/* A row's text as BSON. */
struct schema {
    const char *collection;
    bson_t validator, indexes, documents;
};

static enum err read_row(struct ctx *c, const struct schema_row *row,
                         struct schema *out)
{
    enum json_root root;
    bson_t *doc;
    enum err err = json_in(c, row->text, &root, &doc);

    if (err)
        return err;
    out->collection = row->collection;
    if (!mongo_reply_doc(doc, "validator", &out->validator) ||
        !mongo_reply_doc(doc, "indexes", &out->indexes) ||
        !mongo_reply_doc(doc, "documents", &out->documents))
        return ctx_fail(c, ERR_INTERNAL, "The schema of %s is incomplete",
                        row->collection);
    return OK;
}

/* What the server knows of it: is it there, and with this validator? */
static enum err look(struct ctx *c, const struct schema *s, bool *out_exists,
                     bool *out_same)
{
    bson_t *cmd = mongo_bson(c), *reply, stored;
    const uint8_t *data;
    bson_iter_t it, at;
    enum err err;
    uint32_t n;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "listCollections", BCON_INT32(1), "filter", "{", "name",
                BCON_UTF8(s->collection), "}");
    err = mongo_read(c, cmd, &reply);
    if (err)
        return err;
    *out_exists = bson_iter_init(&it, reply) &&
                  bson_iter_find_descendant(&it, "cursor.firstBatch.0", &at);
    *out_same = false;
    if (!bson_iter_init(&it, reply) ||
        !bson_iter_find_descendant(&it, "cursor.firstBatch.0.options.validator",
                                   &at) ||
        !BSON_ITER_HOLDS_DOCUMENT(&at))
        return OK;
    bson_iter_document(&at, &n, &data);
    *out_same = bson_init_static(&stored, data, n) &&
                bson_equal(&stored, &s->validator);
    return OK;
}

static enum err set_validator(struct ctx *c, const char *command,
                              const struct schema *s)
{
    bson_t *cmd = mongo_bson(c), *reply;

    if (!cmd)
        return ERR_OVERLOADED;
    BSON_APPEND_UTF8(cmd, command, s->collection);
    BSON_APPEND_DOCUMENT(cmd, "validator", &s->validator);
    BSON_APPEND_UTF8(cmd, "validationLevel", "moderate");
    return mongo_write(c, cmd, &reply, NULL);
}

/*
 * What may pass by itself is a failure; a refusal is not, for the collection
 * is also made by the first index or document.
 */
static enum err apply_validator(struct ctx *c, const struct schema *s,
                                struct schema_made *made)
{
    bool exists, same;
    enum err err = look(c, s, &exists, &same);

    if (err == OK && same)
        return OK;
    if (err == OK)
        err = set_validator(c, exists ? "collMod" : "create", s);
    if (err == OK)
        made->collections += !exists;
    if (err == OK || err == ERR_TIME_LIMIT || err_may_retry(err))
        return err;
    ctx_forgive(c);
    if (err != ERR_ALREADY_EXISTS) /* another instance was faster */
        log_note(LOG_WARN, "schema.validator",
                 "%s: MongoDB does not let us set the validator: %s",
                 s->collection, err_code(err));
    return OK;
}

static int number_of(const bson_t *reply, const char *name)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, reply, name) ? (int)bson_iter_as_int64(&it)
                                                 : 0;
}

static enum err apply_indexes(struct ctx *c, const struct schema *s,
                              struct schema_made *made)
{
    bson_t *cmd = mongo_bson(c), *reply;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    if (bson_empty(&s->indexes))
        return OK;
    BSON_APPEND_UTF8(cmd, "createIndexes", s->collection);
    BSON_APPEND_ARRAY(cmd, "indexes", &s->indexes);
    err = mongo_write(c, cmd, &reply, NULL);
    if (err == OK)
        made->indexes += number_of(reply, "numIndexesAfter") -
                         number_of(reply, "numIndexesBefore");
    return err;
}

/* The members but _id, whole numbers as Int64. */
static void append_members(bson_t *to, bson_iter_t doc)
{
    while (bson_iter_next(&doc)) {
        const char *key = bson_iter_key(&doc);

        if (strcmp(key, "_id") == 0)
            continue;
        if (BSON_ITER_HOLDS_INT32(&doc))
            BSON_APPEND_INT64(to, key, bson_iter_int32(&doc));
        else
            bson_append_iter(to, key, -1, &doc);
    }
}

static enum err insert_missing(struct ctx *c, const char *collection,
                               const bson_iter_t *doc, struct schema_made *made)
{
    bson_t *cmd = mongo_bson(c), *reply, list, row, part, members;
    bson_iter_t id = *doc;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    if (!bson_iter_find(&id, "_id"))
        return ctx_fail(c, ERR_INTERNAL, "%s: a document without _id",
                        collection);
    BSON_APPEND_UTF8(cmd, "update", collection);
    BSON_APPEND_ARRAY_BEGIN(cmd, "updates", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &row);
    BSON_APPEND_DOCUMENT_BEGIN(&row, "q", &part);
    bson_append_iter(&part, "_id", -1, &id);
    bson_append_document_end(&row, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&row, "u", &part);
    BSON_APPEND_DOCUMENT_BEGIN(&part, "$setOnInsert", &members);
    append_members(&members, *doc);
    bson_append_document_end(&part, &members);
    bson_append_document_end(&row, &part);
    BSON_APPEND_BOOL(&row, "upsert", true);
    bson_append_document_end(&list, &row);
    bson_append_array_end(cmd, &list);
    err = mongo_write(c, cmd, &reply, NULL);
    if (err == OK)
        made->documents += bson_has_field(reply, "upserted");
    if (err != ERR_DUPLICATE_KEY) /* another instance was faster */
        return err;
    ctx_forgive(c);
    return OK;
}

static enum err apply_documents(struct ctx *c, const struct schema *s,
                                struct schema_made *made)
{
    bson_iter_t it, doc;
    enum err err = OK;

    bson_iter_init(&it, &s->documents);
    while (err == OK && bson_iter_next(&it) && bson_iter_recurse(&it, &doc))
        err = insert_missing(c, s->collection, &doc, made);
    return err;
}

static enum err apply_row(struct ctx *c, const struct schema_row *row,
                          struct schema_made *made)
{
    struct schema s;
    enum err err = read_row(c, row, &s);

    if (err == OK)
        err = apply_validator(c, &s, made);
    if (err == OK)
        err = apply_indexes(c, &s, made);
    if (err == OK)
        err = apply_documents(c, &s, made);
    return err;
}

enum err schema_apply_counted(struct ctx *c, struct schema_made *made)
{
    enum err err = OK, one = OK;

    for (size_t i = 0; one != ERR_DB_UNAVAILABLE && i < ROWS_N; i++) {
        one = apply_row(c, &schema_rows[i], made);
        if (err == OK)
            err = one;
    }
    return err;
}

enum err schema_apply(struct ctx *c)
{
    struct schema_made made = {0};

    return schema_apply_counted(c, &made);
}

enum err schema_apply_one(struct ctx *c, const char *collection)
{
    struct schema_made made = {0};
    size_t i = 0;

    while (i < ROWS_N && strcmp(schema_rows[i].collection, collection) != 0)
        i++;
    assert(i < ROWS_N);
    return apply_row(c, &schema_rows[i], &made);
}
