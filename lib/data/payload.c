/* payload - see payload.h */
#include "lib/data/payload.h"

#include <stdlib.h>

#include "lib/base/jwrite.h"
#include "lib/data/bwalk.h"
#include "lib/data/coerce.h"
#include "lib/data/json_out.h"

enum {
    SLACK_BYTES = 1024, /* the ceiling of the buf beyond that of the body */
    ID_BYTES = 4 << 20, /* of a body that still has _id, whatever its limit */
    LEAST_BYTES = 16 << 20 /* ceiling of what nothing can be taken from */
};

/* From full to bare. */
enum cut {
    CUT_NOTHING,
    CUT_OLD, /* changes and the old documents */
    CUT_ALL, /* but _id */
    CUT_ID,  /* which is itself too large for a row of a delivery */
    CUT_N
};

/* A body on its way. */
struct body {
    struct ctx *c;
    const struct payload *p;
    const bson_t *doc, *old; /* without the excluded fields; NULL: none */
    enum cut cut;
};

/* What of the excluded names is left at one level, and whether some is. */
struct names {
    const str *v;
    size_t n;
};

static bool is_among(const struct names *names, str key)
{
    for (size_t i = 0; i < names->n; i++)
        if (str_eq(names->v[i], key))
            return true;
    return false;
}

/* The names that lead into the member `key`, without it. */
static enum err names_below(struct ctx *c, const struct names *names, str key,
                            struct names *out)
{
    str *v = NULL;

    *out = (struct names){0};
    for (size_t i = 0; i < names->n; i++) {
        str name = names->v[i];

        if (name.n <= key.n || name.p[key.n] != '.' || !str_starts(name, key))
            continue;
        if (!v)
            v = ctx_alloc(c, names->n * sizeof *v);
        if (!v)
            return ERR_OVERLOADED;
        v[out->n++] = str_from(name, key.n + 1);
    }
    out->v = v;
    return OK;
}

static enum err copy_members(struct ctx *c, bson_iter_t *from, bson_t *to,
                             const struct names *names, bool is_array);

static enum err copy_nested(struct ctx *c, bson_iter_t *from, bson_t *to,
                            str key, const struct names *names)
{
    bool is_array = BSON_ITER_HOLDS_ARRAY(from);
    bson_iter_t inner;
    bson_t child;
    enum err err;

    if (!bson_iter_recurse(from, &inner))
        return ctx_fail(c, ERR_INTERNAL, "A value cannot be read");
    if (is_array)
        bson_append_array_begin(to, key.p, (int)key.n, &child);
    else
        bson_append_document_begin(to, key.p, (int)key.n, &child);
    err = copy_members(c, &inner, &child, names, is_array);
    if (is_array)
        bson_append_array_end(to, &child);
    else
        bson_append_document_end(to, &child);
    return err;
}

/* Recursion ends with the names: each level takes a part off them. */
static enum err copy_members(struct ctx *c, bson_iter_t *from, bson_t *to,
                             const struct names *names, bool is_array)
{
    uint32_t index = 0;
    char digits[16];
    const char *p;

    while (bson_iter_next(from)) {
        str key = {bson_iter_key(from), bson_iter_key_len(from)};
        struct names below = {0};
        enum err err = OK;

        if (is_among(names, key))
            continue;
        if (BSON_ITER_HOLDS_DOCUMENT(from) || BSON_ITER_HOLDS_ARRAY(from))
            err = names_below(c, names, key, &below);
        if (err)
            return err;
        if (is_array) {
            key.n = bson_uint32_to_string(index++, &p, digits, sizeof digits);
            key.p = p;
        }
        if (below.n > 0)
            err = copy_nested(c, from, to, key, &below);
        else if (!bson_append_iter(to, key.p, (int)key.n, from))
            err = ctx_no_memory(c);
        if (err)
            return err;
    }
    return OK;
}

/* doc without the fields that w excludes. */
static enum err without_excluded(struct ctx *c, const struct webhook *w,
                                 const bson_t *doc, const bson_t **out)
{
    struct names names = {w->exclude, w->exclude_n};
    bson_iter_t from;
    bson_t *copy;

    *out = doc;
    if (!doc || w->exclude_n == 0)
        return OK;
    copy = coerce_doc_new(c);
    if (!copy)
        return ERR_OVERLOADED;
    if (!bson_iter_init(&from, doc))
        return ctx_fail(c, ERR_INTERNAL, "A document cannot be read");
    *out = copy;
    return copy_members(c, &from, copy, &names, false);
}

static struct bwalk walk_of(const bson_t *doc)
{
    return bwalk_of(bson_get_data(doc), doc->len);
}

static void write_element(struct buf *b, const struct bwalk *w,
                          const struct belem *e)
{
    bson_iter_t it;

    if (bwalk_iter(w, e, &it))
        json_out_value(b, &it);
    else
        buf_add(b, STR("null"));
}

/* The members of one document, by name. */
struct members {
    struct bwalk walk;
    struct belem *v;
    size_t n;
};

static int by_key(const void *l, const void *r)
{
    const struct belem *a = l, *b = r;
    size_t n = a->key.n < b->key.n ? a->key.n : b->key.n;
    int x = n ? memcmp(a->key.p, b->key.p, n) : 0;

    return x ? x : (a->key.n > b->key.n) - (a->key.n < b->key.n);
}

static enum err list_members(struct ctx *c, const bson_t *doc,
                             struct members *out)
{
    struct bwalk at = walk_of(doc);
    struct belem e;
    size_t n = 0;

    while (bwalk_next(&at, &e))
        n++;
    *out = (struct members){.walk = walk_of(doc)};
    out->v = ctx_alloc(c, (n + 1) * sizeof *out->v);
    if (!out->v)
        return ERR_OVERLOADED;
    at = out->walk;
    while (out->n < n && bwalk_next(&at, &out->v[out->n]))
        out->n++;
    if (out->n > 1)
        qsort(out->v, out->n, sizeof *out->v, by_key);
    return OK;
}

static const struct belem *find_member(const struct members *m, str key)
{
    struct belem probe = {.key = key};

    return m->n ? bsearch(&probe, m->v, m->n, sizeof probe, by_key) : NULL;
}

static bool same_value(const struct belem *l, const struct belem *r)
{
    return l->type == r->type && l->n == r->n && !memcmp(l->v, r->v, l->n);
}

/* `"field":{"from":..,"to":..}`; what is missing is null. */
static void write_change(struct buf *b, const struct members *from,
                         const struct belem *old, const struct members *to,
                         const struct belem *new)
{
    if (b->p[b->n - 1] != '{')
        buf_add_char(b, ',');
    jwrite_str(b, old ? old->key : new->key);
    buf_add(b, STR(":{\"from\":"));
    if (old)
        write_element(b, &from->walk, old);
    else
        buf_add(b, STR("null"));
    buf_add(b, STR(",\"to\":"));
    if (new)
        write_element(b, &to->walk, new);
    else
        buf_add(b, STR("null"));
    buf_add_char(b, '}');
}

/* In the order of the new document, then what only the old one has. */
static enum err write_changes(struct buf *b, const struct body *y)
{
    struct members from, to;
    struct bwalk at;
    struct belem e;
    enum err err = list_members(y->c, y->old, &from);

    if (!err)
        err = list_members(y->c, y->doc, &to);
    if (err)
        return err;
    buf_add(b, STR(",\"changes\":{"));
    at = to.walk;
    while (!b->err && bwalk_next(&at, &e)) {
        const struct belem *old = find_member(&from, e.key);

        if (!old || !same_value(old, &e))
            write_change(b, &from, old, &to, &e);
    }
    at = from.walk;
    while (!b->err && bwalk_next(&at, &e))
        if (!find_member(&to, e.key))
            write_change(b, &from, &e, &to, NULL);
    buf_add_char(b, '}');
    return OK;
}

static void write_id_only(struct buf *b, const struct body *y)
{
    const struct webhook *w = y->p->webhook;
    struct names names = {w->exclude, w->exclude_n};
    bson_t id = BSON_INITIALIZER;

    if (y->cut != CUT_ID && !is_among(&names, STR("_id")))
        bson_append_value(&id, "_id", 3, &y->p->event->doc_id);
    json_out_doc(b, &id);
    bson_destroy(&id);
}

static void write_doc(struct buf *b, const struct body *y, const bson_t *doc)
{
    if (y->cut >= CUT_ALL || !doc)
        write_id_only(b, y);
    else
        json_out_doc(b, doc);
}

static enum err write_data(struct buf *b, const struct body *y)
{
    enum event_kind kind = y->p->event->kind;
    enum err err = OK;

    buf_add(b, STR("{\"document\":"));
    if (kind == EVENT_DELETE)
        buf_add(b, STR("null"));
    else
        write_doc(b, y, y->doc);
    /* of what is deleted the old document is all that there is */
    if (kind == EVENT_DELETE || (kind == EVENT_UPDATE && !y->cut && y->old)) {
        buf_add(b, STR(",\"oldDocument\":"));
        write_doc(b, y, y->old);
        buf_add(b, STR(",\"previousDocument\":"));
        write_doc(b, y, y->old);
    }
    if (kind == EVENT_UPDATE && !y->cut && y->old && y->doc && !b->err)
        err = write_changes(b, y);
    buf_add_char(b, '}');
    return err;
}

static void write_head(struct buf *b, const char *event,
                       const struct webhook *w, str collection, ms ts)
{
    buf_addf(b, "{\"event\":\"%s\",\"webhook\":{\"id\":", event);
    jwrite_str(b, w->id);
    buf_add(b, STR(",\"name\":"));
    jwrite_str(b, w->name);
    buf_add(b, STR("},\"collection\":"));
    jwrite_str(b, collection);
    jwrite_time(b, ",\"timestamp\":", ts);
    buf_add(b, STR(",\"data\":"));
}

static enum err write_body(struct buf *b, const struct body *y)
{
    const struct payload *p = y->p;
    const struct webhook *w = p->webhook;
    enum err err;

    write_head(b, event_name(p->event->kind), w, p->event->collection,
               p->event->ts);
    err = write_data(b, y);
    buf_add(b, STR(",\"metadata\":{\"deliveryId\":"));
    jwrite_str(b, p->delivery_id);
    buf_add(b, STR(",\"messageId\":"));
    jwrite_str(b, p->message_id);
    buf_addf(b, ",\"maxRetries\":%lld,\"rateLimit\":\"%lld/min\"",
             (long long)w->max_retries, (long long)w->max_per_window);
    buf_addf(b, ",\"truncated\":%s}}",
             y->cut || p->event->cut ? "true" : "false");
    return err;
}

static void done(void *b)
{
    buf_done(b);
}

/* Empty, owned by the ctx; NULL with the failure noted. */
static struct buf *new_buf(struct ctx *c)
{
    struct buf *b = ctx_alloc(c, sizeof *b);

    if (!b)
        return NULL;
    buf_init(b, LEAST_BYTES, ERR_BODY_TOO_LARGE);
    if (arena_defer(&c->arena, done, b)) {
        (void)ctx_no_memory(c);
        return NULL;
    }
    return b;
}

static enum err finish(struct ctx *c, const struct buf *b, str *out)
{
    if (b->err == ERR_BODY_TOO_LARGE)
        return ctx_fail(c, b->err, "The body of a delivery is too large");
    if (b->err)
        return ctx_no_memory(c);
    *out = buf_str(b);
    return OK;
}

/* The most bytes of a body that is cut so far. */
static size_t limit_of(const struct body *y)
{
    size_t max = y->p->max_bytes > 0 ? (size_t)y->p->max_bytes : 0;

    switch ((int)y->cut) {
    case CUT_ALL:
        return max > ID_BYTES ? max : ID_BYTES;
    case CUT_ID:
        return LEAST_BYTES;
    }
    return max;
}

enum err payload_make(struct ctx *c, const struct payload *p, str *out)
{
    struct body y = {.c = c, .p = p, .cut = CUT_NOTHING};
    struct buf *b = new_buf(c);
    enum err err;

    if (!b)
        return ERR_OVERLOADED;
    err = without_excluded(c, p->webhook, p->event->doc, &y.doc);
    if (!err)
        err = without_excluded(c, p->webhook, p->event->old, &y.old);
    if (err)
        return err;
    for (; y.cut < CUT_N; y.cut++) {
        buf_clear(b);
        b->max = limit_of(&y) + SLACK_BYTES;
        err = write_body(b, &y);
        if (err)
            return err;
        if (b->err ? b->err != ERR_BODY_TOO_LARGE : b->n <= limit_of(&y))
            break;
    }
    return finish(c, b, out);
}

enum err payload_make_test(struct ctx *c, const struct webhook *w, str test_id,
                           ms ts, str *out)
{
    struct buf *b = new_buf(c);

    if (!b)
        return ERR_OVERLOADED;
    write_head(b, "test", w, w->collection, ts);
    buf_add(b, STR("{\"message\":\"This is a test of the webhook\","
                   "\"testId\":"));
    jwrite_str(b, test_id);
    buf_add(b, STR("}}"));
    return finish(c, b, out);
}
