/* apikey - see apikey.h */
#include "lib/data/apikey.h"

#include "lib/base/clock.h"
#include "lib/base/utf8.h"
#include "lib/data/doc.h"
#include "lib/data/json_out.h"
#include "lib/data/schema.h"

enum {
    RANDOM_BYTES = 32,
    HEX_MAX = 2 * HASH_BYTES + 1,
    USE_NOTED_MS = 60000 /* lastUsedAt is no more exact than that */
};

#define COLLECTION "_api_keys"

static const str sign = STR_INIT("sqf_");

static bool is_base64url(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool apikey_is_key(str s)
{
    if (s.n != APIKEY_CHARS || !str_starts(s, sign))
        return false;
    for (size_t i = sign.n; i < s.n; i++)
        if (!is_base64url(s.p[i]))
            return false;
    return true;
}

bool apikey_is_name(str s)
{
    return s.n > 0 && s.n <= APIKEY_NAME_MAX && utf8_is_line(s);
}

static enum err digest_hex(struct ctx *c, str key, char out[HEX_MAX])
{
    unsigned char digest[HASH_BYTES];

    if (!hash_sha256(key, digest))
        return ctx_no_memory(c);
    id_hex(digest, sizeof digest, out);
    return OK;
}

/* An expiresAt that is no Date, from whoever wrote it, has passed. */
static void append_unexpired(bson_t *filter)
{
    BCON_APPEND(filter, "$or", "[", "{", "expiresAt", BCON_NULL, "}", "{",
                "expiresAt", "{", "$gt", BCON_DATE_TIME(clock_wall_ms()), "}",
                "}", "]");
}

static ms time_of(const bson_t *doc, const char *name)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, doc, name) || !BSON_ITER_HOLDS_DATE_TIME(&it))
        return 0;
    return bson_iter_date_time(&it);
}

static void read_document(const bson_t *doc, struct apikey *out)
{
    bson_iter_t it;
    str role = STR("");

    *out = (struct apikey){.name = STR(""), .prefix = STR("")};
    if (bson_iter_init_find(&it, doc, "_id") && BSON_ITER_HOLDS_OID(&it))
        bson_oid_to_string(bson_iter_oid(&it), out->id);
    (void)json_out_text_member(doc, "name", &out->name);
    (void)json_out_text_member(doc, "prefix", &out->prefix);
    if (json_out_text_member(doc, "role", &role))
        out->role = role_find(role);
    out->created_at = time_of(doc, "createdAt");
    out->expires_at = time_of(doc, "expiresAt");
    out->last_used_at = time_of(doc, "lastUsedAt");
}

enum err apikey_prepare(struct ctx *c)
{
    return schema_apply_one(c, COLLECTION);
}

enum err apikey_exists(struct ctx *c, bool *out)
{
    bson_t *filter = mongo_bson(c);
    int64_t n;
    enum err err;

    if (!filter)
        return ERR_OVERLOADED;
    append_unexpired(filter);
    err = doc_count(c, COLLECTION, filter, 1, &n);
    if (err == OK)
        *out = n > 0;
    return err;
}

static enum err make_key(struct ctx *c, char out[APIKEY_MAX])
{
    unsigned char random[RANDOM_BYTES];

    if (id_random(random, sizeof random) != OK)
        return ctx_fail(c, ERR_INTERNAL, "Something went wrong on our side");
    memcpy(out, sign.p, sign.n);
    id_base64url(random, sizeof random, out + sign.n);
    return OK;
}

enum err apikey_create(struct ctx *c, str name, enum role role, ms expires_at,
                       struct apikey *out, char out_key[APIKEY_MAX])
{
    bson_t *body = mongo_bson(c);
    const bson_t *stored;
    char hash[HEX_MAX];
    enum err err;

    if (!body)
        return ERR_OVERLOADED;
    err = make_key(c, out_key);
    if (err == OK)
        err = digest_hex(c, (str){out_key, APIKEY_CHARS}, hash);
    if (err)
        return err;
    bson_append_utf8(body, "name", -1, name.p, (int)name.n);
    BSON_APPEND_UTF8(body, "role", role_name(role));
    bson_append_utf8(body, "prefix", -1, out_key, APIKEY_PREFIX);
    BSON_APPEND_UTF8(body, "hash", hash);
    if (expires_at)
        BSON_APPEND_DATE_TIME(body, "expiresAt", expires_at);
    else
        BSON_APPEND_NULL(body, "expiresAt");
    BSON_APPEND_NULL(body, "lastUsedAt");
    err = doc_create(c, COLLECTION, body, &stored);
    if (err == OK)
        read_document(stored, out);
    return err;
}

enum err apikey_list(struct ctx *c, struct rows **out)
{
    bson_t *all = mongo_bson(c), *sort = mongo_bson(c);
    struct rows_find f = {
        .collection = COLLECTION, .filter = all, .sort = sort};

    if (!all || !sort)
        return ERR_OVERLOADED;
    BSON_APPEND_INT32(sort, "_id", 1);
    return rows_stream(c, &f, out);
}

enum err apikey_next(struct ctx *c, struct rows *rows, bool *out_more,
                     struct apikey *out)
{
    const bson_t *doc;
    enum err err = rows_next(c, rows, &doc);

    if (err)
        return err;
    *out_more = doc != NULL;
    if (doc)
        read_document(doc, out);
    return OK;
}

enum err apikey_revoke(struct ctx *c, str id)
{
    struct doc_key key = {COLLECTION, id};
    const bson_t *gone;
    enum err err;

    if (!id_is_object(id))
        return ctx_fail(c, ERR_BAD_ID,
                        "The id of a key is 24 hexadecimal digits");
    err = doc_delete(c, &key, &gone);
    if (err != ERR_DOCUMENT_NOT_FOUND && err != ERR_COLLECTION_NOT_FOUND)
        return err;
    ctx_forgive(c);
    return ctx_fail(c, ERR_KEY_NOT_FOUND, "No key with id '" STR_FMT "'",
                    STR_ARG(id));
}

/* The stored time stands unless it is older than a minute or null. */
static void append_use(bson_t *cmd)
{
    BCON_APPEND(cmd, "update", "[", "{", "$set", "{", "lastUsedAt", "{",
                "$cond", "[", "{", "$lt", "[", "$lastUsedAt", "{", "$subtract",
                "[", "$$NOW", BCON_INT32(USE_NOTED_MS), "]", "}", "]", "}",
                "$$NOW", "$lastUsedAt", "]", "}", "}", "}", "]");
}

static bool is_digest_of(const bson_t *doc, const char hex[HEX_MAX])
{
    str stored;

    return json_out_text_member(doc, "hash", &stored) &&
           stored.n == HEX_MAX - 1 && hash_equal(stored.p, hex, stored.n);
}

enum err apikey_find(struct ctx *c, const unsigned char digest[HASH_BYTES],
                     bool *out_found, struct apikey *out)
{
    bson_t *cmd = mongo_bson(c), *reply, query, doc;
    char hex[HEX_MAX];
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    id_hex(digest, HASH_BYTES, hex);
    BSON_APPEND_UTF8(cmd, "findAndModify", COLLECTION);
    BSON_APPEND_DOCUMENT_BEGIN(cmd, "query", &query);
    BSON_APPEND_UTF8(&query, "hash", hex);
    append_unexpired(&query);
    bson_append_document_end(cmd, &query);
    append_use(cmd);
    err = mongo_write(c, cmd, &reply, NULL);
    if (err)
        return err;
    *out_found =
        mongo_reply_doc(reply, "value", &doc) && is_digest_of(&doc, hex);
    if (*out_found)
        read_document(&doc, out);
    return OK;
}
