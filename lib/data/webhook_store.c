/*
 * webhook_store - the rows of `_webhooks`: made, changed, removed, read
 *
 * Each change is one step {write, raise `_cluster.subs.ver`}: a transaction
 * where there are any, else one after the other. A step may run several times.
 */
#include "lib/base/clock.h"
#include "lib/base/id.h"
#include "lib/base/text.h"
#include "lib/data/doc.h"
#include "lib/data/subs.h"
#include "lib/data/webhook_inside.h"

enum {
    SECRET_BYTES = 32
};

_Static_assert(sizeof WEBHOOK_SECRET_PREFIX + TEXT_BASE64_LEN(SECRET_BYTES) <=
                   WEBHOOK_SECRET_MAX,
               "a secret fits");

struct step {
    bson_t *cmd; /* the write: an insert, or a findAndModify */
    bool inserts;
    int64_t ver;       /* what the subscriptions have become */
    const bson_t *row; /* as findAndModify gave it; NULL: there is none */
    int tries;         /* of the write: more than 1 and a reply was lost */
};

/* {findAndModify: "_cluster", ..}: the version after it. */
static enum err raise_version(struct ctx *c, int64_t *out)
{
    bson_t *cmd = mongo_bson(c), *reply, row;
    bson_iter_t it;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "findAndModify", "_cluster", "query", "{", "_id", "subs",
                "}", "update", "{", "$inc", "{", "ver", BCON_INT64(1), "}", "}",
                "new", BCON_BOOL(true), "upsert", BCON_BOOL(true));
    err = mongo_write(c, cmd, &reply, NULL);
    if (err)
        return err;
    if (!mongo_reply_doc(reply, "value", &row) ||
        !bson_iter_init_find(&it, &row, "ver") || !BSON_ITER_HOLDS_NUMBER(&it))
        return ctx_fail(c, ERR_INTERNAL, "The database gave no version");
    *out = bson_iter_as_int64(&it);
    return OK;
}

/* An insert's id is ours alone: a duplicate is it, stored by a try before. */
static enum err write_row(struct ctx *c, struct step *s)
{
    bson_t *copy = mongo_bson(c), *reply, *row = ctx_alloc(c, sizeof *row);
    enum err err;

    if (!copy || !row)
        return ERR_OVERLOADED;
    bson_concat(copy, s->cmd);
    err = mongo_write(c, copy, &reply, &s->tries);
    if (err == ERR_DUPLICATE_KEY && s->inserts && s->tries > 1) {
        ctx_forgive(c);
        return OK;
    }
    if (err)
        return err;
    s->row = mongo_reply_doc(reply, "value", row) ? row : NULL;
    return OK;
}

static enum err take_step(struct ctx *c, void *arg)
{
    struct step *s = arg;
    enum err err;

    s->ver = 0;
    s->row = NULL;
    err = write_row(c, s);
    if (err)
        return err;
    if (!s->inserts && !s->row && s->tries <= 1)
        return OK;
    return raise_version(c, &s->ver);
}

static enum err run(struct ctx *c, struct step *s)
{
    enum err err = mongo_has_transactions(c)
                       ? mongo_transaction(c, take_step, s)
                       : take_step(c, s);

    if (err == OK && s->ver > 0)
        subs_raise(s->ver);
    return err;
}

static enum err no_such(struct ctx *c, str id)
{
    return ctx_fail(c, ERR_WEBHOOK_NOT_FOUND,
                    "No webhook with id '" STR_FMT "'", STR_ARG(id));
}

static enum err read_id(struct ctx *c, str id, bson_oid_t *out)
{
    if (doc_oid(id, out))
        return OK;
    return ctx_fail(c, ERR_BAD_ID,
                    "The id of a webhook is 24 hexadecimal digits");
}

/* {findAndModify: "_webhooks", query: {_id}}; the caller adds what to do. */
static enum err modify_command(struct ctx *c, str id, bson_t **out)
{
    bson_t *cmd = mongo_bson(c), query;
    bson_oid_t oid;
    enum err err = cmd ? read_id(c, id, &oid) : ERR_OVERLOADED;

    if (err)
        return err;
    BSON_APPEND_UTF8(cmd, "findAndModify", WEBHOOK_COLLECTION);
    BSON_APPEND_DOCUMENT_BEGIN(cmd, "query", &query);
    BSON_APPEND_OID(&query, "_id", &oid);
    bson_append_document_end(cmd, &query);
    *out = cmd;
    return OK;
}

static enum err make_secret(struct ctx *c, char out[WEBHOOK_SECRET_MAX])
{
    const size_t prefix = sizeof WEBHOOK_SECRET_PREFIX - 1;
    unsigned char random[SECRET_BYTES];

    if (id_random(random, sizeof random) != OK)
        return ctx_fail(c, ERR_INTERNAL, "Something went wrong on our side");
    memcpy(out, WEBHOOK_SECRET_PREFIX, prefix);
    text_base64(random, sizeof random, out + prefix);
    return OK;
}

static enum err make_row(struct ctx *c, const bson_t *set, bson_t **out)
{
    char id[ID_OBJECT_MAX], secret[WEBHOOK_SECRET_MAX];
    ms now = clock_wall_ms();
    bson_t *row = mongo_bson(c);
    bson_oid_t oid;
    enum err err;

    if (!row)
        return ERR_OVERLOADED;
    if (id_object(now, id) != OK)
        return ctx_fail(c, ERR_INTERNAL, "Something went wrong on our side");
    err = make_secret(c, secret);
    if (err)
        return err;
    bson_oid_init_from_string(&oid, id);
    BSON_APPEND_OID(row, "_id", &oid);
    bson_concat(row, set);
    if (!bson_has_field(row, "disabledReason"))
        BSON_APPEND_NULL(row, "disabledReason");
    BSON_APPEND_DATE_TIME(row, "createdAt", now);
    BSON_APPEND_DATE_TIME(row, "updatedAt", now);
    BSON_APPEND_UTF8(row, "secret", secret);
    *out = row;
    return OK;
}

enum err webhook_insert(struct ctx *c, const bson_t *set,
                        const bson_t **out_row)
{
    struct step s = {.cmd = mongo_bson(c), .inserts = true};
    bson_t *row = NULL, list;
    enum err err = s.cmd ? make_row(c, set, &row) : ERR_OVERLOADED;

    if (err)
        return err;
    BSON_APPEND_UTF8(s.cmd, "insert", WEBHOOK_COLLECTION);
    BSON_APPEND_ARRAY_BEGIN(s.cmd, "documents", &list);
    BSON_APPEND_DOCUMENT(&list, "0", row);
    bson_append_array_end(s.cmd, &list);
    err = run(c, &s);
    if (err == OK)
        *out_row = row;
    return err;
}

enum err webhook_change(struct ctx *c, str id, const bson_t *set,
                        const bson_t **out_row)
{
    struct step s = {0};
    bson_t update, sets;
    enum err err = modify_command(c, id, &s.cmd);

    if (err)
        return err;
    BSON_APPEND_DOCUMENT_BEGIN(s.cmd, "update", &update);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &sets);
    bson_concat(&sets, set);
    BSON_APPEND_DATE_TIME(&sets, "updatedAt", clock_wall_ms());
    bson_append_document_end(&update, &sets);
    bson_append_document_end(s.cmd, &update);
    BSON_APPEND_BOOL(s.cmd, "new", true);
    err = run(c, &s);
    if (err)
        return err;
    if (!s.row)
        return no_such(c, id);
    *out_row = s.row;
    return OK;
}

enum err webhook_get(struct ctx *c, str id, const bson_t **out_row)
{
    bson_t *filter = mongo_bson(c);
    struct rows_find f = {WEBHOOK_COLLECTION, filter, .limit = 1};
    struct rows *rows;
    bson_oid_t oid;
    enum err err = filter ? read_id(c, id, &oid) : ERR_OVERLOADED;

    if (err)
        return err;
    BSON_APPEND_OID(filter, "_id", &oid);
    err = rows_find(c, &f, &rows);
    if (err == OK)
        err = rows_next(c, rows, out_row);
    if (err)
        return err;
    return *out_row ? OK : no_such(c, id);
}

enum err webhook_remove(struct ctx *c, str id)
{
    struct step s = {0};
    enum err err = modify_command(c, id, &s.cmd);

    if (err)
        return err;
    BSON_APPEND_BOOL(s.cmd, "remove", true);
    err = run(c, &s);
    if (err == OK && !s.row && s.tries <= 1)
        return no_such(c, id);
    return err;
}

enum err webhook_list(struct ctx *c, const bson_t **out_rows)
{
    bson_t *list = mongo_bson(c), *all = mongo_bson(c), *sort = mongo_bson(c);
    struct rows_find f = {WEBHOOK_COLLECTION, all, .sort = sort};
    struct rows *rows;
    const bson_t *row;
    enum err err;

    if (!list || !all || !sort)
        return ERR_OVERLOADED;
    BSON_APPEND_INT32(sort, "_id", 1);
    err = rows_stream(c, &f, &rows);
    for (uint32_t n = 0; err == OK; n++) {
        const char *key;
        char room[16];

        err = rows_next(c, rows, &row);
        if (err || !row)
            break;
        bson_uint32_to_string(n, &key, room, sizeof room);
        BSON_APPEND_DOCUMENT(list, key, row);
    }
    if (err == OK)
        *out_rows = list;
    return err;
}

/*
 * The value unless it is the same rotation again, whose reply was lost: then
 * what it did stays. Only a secret of ours is kept: others nobody verifies.
 * $cond does not evaluate what it does not give.
 */
static bson_t *if_rotated(const char *secret, const char *stays,
                          const bson_t *value)
{
    return BCON_NEW("$cond", "[", "{", "$eq", "[", "$secret", "{", "$literal",
                    BCON_UTF8(secret), "}", "]", "}", BCON_UTF8(stays), "{",
                    "$cond", "[", "{", "$eq", "[", "{", "$type", "$secret", "}",
                    "string", "]", "}", "{", "$cond", "[", "{", "$eq", "[", "{",
                    "$indexOfBytes", "[", "$secret", WEBHOOK_SECRET_PREFIX, "]",
                    "}", BCON_INT32(0), "]", "}", BCON_DOCUMENT(value),
                    BCON_NULL, "]", "}", BCON_NULL, "]", "}", "]");
}

static void append_taken(bson_t *to, const char *member, bson_t *doc)
{
    bson_append_document(to, member, -1, doc);
    bson_destroy(doc);
}

/* What is valid beside the new one: the old one, for as long as was asked. */
static void append_rotation(bson_t *cmd, const char *secret, ms overlap)
{
    bson_t *ends, *old, *set;

    ends = BCON_NEW("$add", "[", "$$NOW", BCON_INT64(overlap), "]");
    old = overlap > 0 ? BCON_NEW("$ifNull", "[", "$secret", BCON_NULL, "]")
                      : BCON_NEW("$literal", BCON_NULL);
    set = bson_new();
    append_taken(set, "previousSecret",
                 if_rotated(secret, "$previousSecret", old));
    append_taken(set, "previousExpiresAt",
                 if_rotated(secret, "$previousExpiresAt", ends));
    BCON_APPEND(set, "secret", "{", "$literal", BCON_UTF8(secret), "}",
                "updatedAt", "$$NOW");
    BCON_APPEND(cmd, "update", "[", "{", "$set", BCON_DOCUMENT(set), "}", "]",
                "new", BCON_BOOL(true));
    bson_destroy(set);
    bson_destroy(old);
    bson_destroy(ends);
}

enum err webhook_rotate(struct ctx *c, str id, ms overlap,
                        const bson_t **out_row)
{
    char secret[WEBHOOK_SECRET_MAX];
    struct step s = {0};
    enum err err = modify_command(c, id, &s.cmd);

    if (err == OK)
        err = make_secret(c, secret);
    if (err)
        return err;
    append_rotation(s.cmd, secret, overlap);
    err = run(c, &s);
    if (err)
        return err;
    if (!s.row)
        return no_such(c, id);
    *out_row = s.row;
    return OK;
}

enum err webhook_mark_gone(struct ctx *c, str id)
{
    struct step s = {.cmd = mongo_bson(c)};
    bson_oid_t oid;
    enum err err = s.cmd ? read_id(c, id, &oid) : ERR_OVERLOADED;

    if (err)
        return err;
    BCON_APPEND(s.cmd, "findAndModify", WEBHOOK_COLLECTION, "query", "{", "_id",
                BCON_OID(&oid), "$nor", "[", "{", "enabled", BCON_BOOL(false),
                "disabledReason", "gone", "}", "]", "}", "update", "{", "$set",
                "{", "enabled", BCON_BOOL(false), "disabledReason", "gone",
                "updatedAt", BCON_DATE_TIME(clock_wall_ms()), "}", "}");
    return run(c, &s);
}
