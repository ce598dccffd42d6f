/* event - see event.h */
#include "lib/data/event.h"

#include "lib/base/hash.h"
#include "lib/base/id.h"
#include "lib/data/json_out.h"

enum {
    DOCS_MAX = 8 << 20, /* doc and old of a row, in bytes */
    KEY_TEXT_MAX = 64,  /* a longer id stands as its digest */
};

static const char *const names[EVENT_N] = {"create", "update", "delete"};

const char *event_name(enum event_kind k)
{
    return names[k];
}

enum event_kind event_find(str name)
{
    for (int k = 0; k < EVENT_N; k++)
        if (str_eq(name, str_of(names[k])))
            return (enum event_kind)k;
    return EVENT_N;
}

/* Type, and the bytes of the value: what sets it apart from any other. */
static str value_bytes(const bson_t *holder)
{
    const char *p = (const char *)bson_get_data(holder);

    return (str){p + 4, holder->len - 5};
}

/* FNV-1a (Fowler, Noll, Vo), 32 bits */
static uint32_t mix(uint32_t h, str s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h;
}

static int32_t part_of(const struct event *e)
{
    bson_t holder = BSON_INITIALIZER;
    uint32_t h = mix(2166136261u, e->collection);

    bson_append_value(&holder, "", 0, &e->doc_id);
    h = mix(h, value_bytes(&holder));
    bson_destroy(&holder);
    h ^= h >> 16; /* its low bits alone are the weak ones */
    return (int32_t)(h % EVENT_PARTS);
}

static bool fits(const struct event *e)
{
    size_t n = (e->doc ? e->doc->len : 0) + (e->old ? e->old->len : 0);

    return !e->cut && n <= DOCS_MAX;
}

enum err event_row(struct ctx *c, const struct event *e, bson_t **out)
{
    bson_t *row = mongo_bson(c);
    bool whole = fits(e);

    if (!row)
        return ERR_OVERLOADED;
    BSON_APPEND_OID(row, "_id", &e->id);
    BSON_APPEND_UTF8(row, "event", names[e->kind]);
    bson_append_utf8(row, "collection", -1, e->collection.p,
                     (int)e->collection.n);
    BSON_APPEND_VALUE(row, "docId", &e->doc_id);
    BSON_APPEND_DATE_TIME(row, "ts", e->ts);
    if (e->doc && whole)
        BSON_APPEND_DOCUMENT(row, "doc", e->doc);
    if (e->old && whole)
        BSON_APPEND_DOCUMENT(row, "old", e->old);
    if (e->ord)
        BSON_APPEND_INT64(row, "ord", e->ord);
    BSON_APPEND_INT64(row, "ver", e->ver);
    BSON_APPEND_INT32(row, "part", part_of(e));
    if (!whole)
        BSON_APPEND_BOOL(row, "cut", true);
    *out = row;
    return OK;
}

/* A member that is a document, as a bson_t of the arena. */
static const bson_t *document_of(struct ctx *c, const bson_iter_t *it)
{
    bson_t *doc = ctx_alloc(c, sizeof *doc);
    const uint8_t *data;
    uint32_t n;

    bson_iter_document(it, &n, &data);
    return doc && bson_init_static(doc, data, n) ? doc : NULL;
}

/* False when it has the name of a member, but not its type. */
static bool read_member(struct ctx *c, const bson_iter_t *it, struct event *e)
{
    const char *key = bson_iter_key(it);

    if (strcmp(key, "docId") == 0)
        e->doc_id = *bson_iter_value((bson_iter_t *)(uintptr_t)it);
    else if (strcmp(key, "cut") == 0)
        e->cut = bson_iter_as_bool(it);
    else if (strcmp(key, "ord") == 0 && BSON_ITER_HOLDS_INT(it))
        e->ord = bson_iter_as_int64(it);
    else if (strcmp(key, "ver") == 0 && BSON_ITER_HOLDS_INT(it))
        e->ver = bson_iter_as_int64(it);
    else if (strcmp(key, "doc") == 0 && BSON_ITER_HOLDS_DOCUMENT(it))
        return (e->doc = document_of(c, it)) != NULL;
    else if (strcmp(key, "old") == 0 && BSON_ITER_HOLDS_DOCUMENT(it))
        return (e->old = document_of(c, it)) != NULL;
    return true;
}

bool event_read(struct ctx *c, const bson_t *row, struct event *out)
{
    struct event e = {0};
    bson_iter_t it;
    str name;

    if (!bson_iter_init_find(&it, row, "_id") || !BSON_ITER_HOLDS_OID(&it))
        return false;
    bson_oid_copy(bson_iter_oid(&it), &e.id);
    if (!json_out_text_member(row, "event", &name) ||
        !json_out_text_member(row, "collection", &e.collection) ||
        e.collection.n == 0)
        return false;
    e.kind = event_find(name);
    if (e.kind == EVENT_N || !bson_iter_init_find(&it, row, "ts") ||
        !BSON_ITER_HOLDS_DATE_TIME(&it))
        return false;
    e.ts = bson_iter_date_time(&it);
    bson_iter_init(&it, row);
    while (bson_iter_next(&it))
        if (!read_member(c, &it, &e))
            return false;
    if (e.doc_id.value_type == BSON_TYPE_EOD || e.ord < 0)
        return false;
    *out = e;
    return true;
}

int64_t event_place(const struct event *e)
{
    return e->ord ? e->ord : e->ts * 1000;
}

static enum err digest_of(struct ctx *c, const bson_value_t *id, str *out)
{
    char *hex = ctx_alloc(c, 2 * HASH_BYTES + 1);
    bson_t holder = BSON_INITIALIZER;
    unsigned char digest[HASH_BYTES];
    bool done;

    if (!hex)
        return ERR_OVERLOADED;
    bson_append_value(&holder, "", 0, id);
    done = hash_sha256(value_bytes(&holder), digest);
    bson_destroy(&holder);
    if (!done)
        return ctx_no_memory(c);
    id_hex(digest, sizeof digest, hex);
    *out = (str){hex, 2 * HASH_BYTES};
    return OK;
}

enum err event_document_key(struct ctx *c, const bson_value_t *id, str *out)
{
    char *hex;

    if (id->value_type == BSON_TYPE_OID) {
        hex = ctx_alloc(c, ID_OBJECT_MAX);
        if (!hex)
            return ERR_OVERLOADED;
        bson_oid_to_string(&id->value.v_oid, hex);
        *out = (str){hex, ID_OBJECT_MAX - 1};
        return OK;
    }
    if (id->value_type == BSON_TYPE_UTF8 && id->value.v_utf8.len > 0 &&
        id->value.v_utf8.len <= KEY_TEXT_MAX &&
        !memchr(id->value.v_utf8.str, '\0', id->value.v_utf8.len)) {
        *out = (str){id->value.v_utf8.str, id->value.v_utf8.len};
        return OK;
    }
    return digest_of(c, id, out);
}
