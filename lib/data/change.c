/*
 * change - see change.h. One turn:
 *
 *   insert | findAndModify, find -> [_order] -> _outbox
 *
 * The event keeps its id over all turns: what an earlier one did after all is
 * known by it.
 */
#include "lib/data/change.h"

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/data/shared.h"
#include "lib/data/store.h"

#define OUTBOX "_outbox"

enum {
    EVENT_ID_CHARS = 24 /* as hex */
};

/* One change, over all its turns. */
struct work {
    const struct change *how;
    const char *collection;
    bson_t *command;    /* inserts, changes, removes */
    struct event event; /* doc and old as of the last turn */
    bool at_row;        /* the last turn came as far as the row */
};

enum err change_wanted(struct ctx *c, const char *collection, enum event_kind k,
                       struct change *out)
{
    const struct subs *s;
    enum err err;

    *out = (struct change){0};
    if (collection[0] == '_') /* writes to system collections raise none */
        return OK;
    err = subs_get(c, &s);
    if (err)
        return err;
    out->interest = subs_interest(s, str_of(collection), k);
    out->ver = subs_version(s);
    out->light =
        !c->conf->webhooks_enhanced_delivery || !mongo_has_transactions(c);
    return OK;
}

static struct work work_of(const struct change *how, const char *collection,
                           enum event_kind kind)
{
    struct work w = {how, collection, .event = {.kind = kind}};

    bson_oid_init(&w.event.id, NULL);
    w.event.collection = str_of(collection);
    w.event.ts = clock_server_ms();
    w.event.ver = how->ver;
    return w;
}

static bool take_id(struct event *e, const bson_t *doc)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, doc, "_id"))
        return false;
    e->doc_id = *bson_iter_value(&it);
    return true;
}

/* ---- the order of a document's events */

/* ord = max(ord + 1, microseconds of $$NOW) */
static bson_t *order_command(struct ctx *c, str key)
{
    bson_t *cmd = mongo_bson(c), query;

    if (!cmd)
        return NULL;
    BSON_APPEND_UTF8(cmd, "findAndModify", "_order");
    BSON_APPEND_DOCUMENT_BEGIN(cmd, "query", &query);
    bson_append_utf8(&query, "_id", 3, key.p, (int)key.n);
    bson_append_document_end(cmd, &query);
    BCON_APPEND(cmd, "update", "[", "{", "$set", "{", "ord", "{", "$max", "[",
                "{", "$add", "[", "$ord", BCON_INT64(1), "]", "}", "{",
                "$multiply", "[", "{", "$toLong", "$$NOW", "}",
                BCON_INT64(1000), "]", "}", "]", "}", "at", "$$NOW", "}", "}",
                "]", "upsert", BCON_BOOL(true), "new", BCON_BOOL(true),
                "fields", "{", "ord", BCON_INT32(1), "}");
    return cmd;
}

static enum err take_order(struct ctx *c, struct event *e)
{
    bson_iter_t it, ord;
    bson_t *cmd, *reply;
    enum err err;
    str id, key;

    err = event_document_key(c, &e->doc_id, &id);
    if (err)
        return err;
    key = arena_strf(&c->arena, STR_FMT ":" STR_FMT, STR_ARG(e->collection),
                     STR_ARG(id));
    cmd = key.p ? order_command(c, key) : NULL;
    if (!cmd)
        return ctx_no_memory(c);
    err = mongo_write(c, cmd, &reply, NULL);
    if (err)
        return err;
    if (!bson_iter_init(&it, reply) ||
        !bson_iter_find_descendant(&it, "value.ord", &ord))
        return ctx_fail(c, ERR_INTERNAL, "Something went wrong on our side");
    e->ord = bson_iter_as_int64(&ord);
    return OK;
}

/* ---- the event */

static enum err put_row(struct ctx *c, struct work *w)
{
    bson_t *row, *cmd, *reply;
    enum err err = OK;

    if (w->how->interest.ordered)
        err = take_order(c, &w->event);
    if (err == OK)
        err = event_row(c, &w->event, &row);
    if (err)
        return err;
    cmd = store_insert_command(c, OUTBOX, row);
    w->at_row = true;
    return cmd ? mongo_write(c, cmd, &reply, NULL) : ERR_OVERLOADED;
}

/* A document may be nested as deep as it can be, and the row is deeper. */
static bool is_row_refused(const struct work *w, enum err err)
{
    return w->at_row && !w->event.cut &&
           (err == ERR_VALIDATION_ERROR || err == ERR_DOCUMENT_TOO_LARGE);
}

/* In room that doubles; one that finds none is found in the outbox. */
static void note_committed(struct ctx *c, const struct work *w)
{
    char id[EVENT_ID_CHARS + 1], *grown;
    size_t had = c->committed.n, n = had / EVENT_ID_CHARS;
    char *p = (char *)(uintptr_t)c->committed.p; /* our own memory */

    if ((n & (n - 1)) == 0) {
        grown = arena_alloc(&c->arena, n ? 2 * had : EVENT_ID_CHARS);
        if (!grown)
            return;
        if (had > 0)
            memcpy(grown, p, had);
        p = grown;
    }
    bson_oid_to_string(&w->event.id, id);
    memcpy(p + had, id, EVENT_ID_CHARS);
    c->committed = (str){p, had + EVENT_ID_CHARS};
}

/* ---- with transactions */

static enum err transact(struct ctx *c, struct work *w, mongo_body turn)
{
    enum err err = mongo_transaction(c, turn, w);

    if (is_row_refused(w, err)) {
        ctx_forgive(c);
        w->event.cut = true;
        err = mongo_transaction(c, turn, w);
    }
    if (err == OK && w->at_row)
        metrics_add(METRIC_EVENTS, 0, 1);
    return err;
}

static enum err insert_turn(struct ctx *c, void *arg)
{
    struct work *w = arg;
    bson_t *reply;
    enum err err;

    w->at_row = false;
    err = mongo_write(c, w->command, &reply, NULL);
    return err ? err : put_row(c, w);
}

/* *out is NULL when there is none. */
static enum err find_after(struct ctx *c, struct work *w, const bson_t **out)
{
    bson_t *cmd = mongo_bson(c), *reply, filter;
    bson_t *doc = ctx_alloc(c, sizeof *doc);
    bson_iter_t it, row;
    const uint8_t *data;
    enum err err;
    uint32_t n;

    if (!cmd || !doc)
        return ERR_OVERLOADED;
    BSON_APPEND_UTF8(cmd, "find", w->collection);
    BSON_APPEND_DOCUMENT_BEGIN(cmd, "filter", &filter);
    BSON_APPEND_VALUE(&filter, "_id", &w->event.doc_id);
    bson_append_document_end(cmd, &filter);
    BSON_APPEND_INT32(cmd, "limit", 1);
    BSON_APPEND_BOOL(cmd, "singleBatch", true);
    err = mongo_read(c, cmd, &reply);
    if (err)
        return err;
    *out = NULL;
    if (bson_iter_init(&it, reply) &&
        bson_iter_find_descendant(&it, "cursor.firstBatch.0", &row) &&
        BSON_ITER_HOLDS_DOCUMENT(&row)) {
        bson_iter_document(&row, &n, &data);
        *out = bson_init_static(doc, data, n) ? doc : NULL;
    }
    return OK;
}

static enum err modify_turn(struct ctx *c, void *arg)
{
    struct work *w = arg;
    const bson_t *old;
    enum err err;

    w->at_row = false;
    err = store_modify(c, w->command, &old);
    if (err)
        return err;
    /* a removal that was done after all finds nothing to remove */
    if (!old && w->event.kind == EVENT_DELETE && mongo_is_in_doubt(c))
        return OK;
    w->event.old = old;
    w->event.doc = NULL;
    if (!old || !take_id(&w->event, old))
        return OK;
    if (w->event.kind == EVENT_UPDATE) {
        err = find_after(c, w, &w->event.doc);
        if (err)
            return err;
    }
    return put_row(c, w);
}

/* ---- without: light mode */

static void put_row_lightly(struct ctx *c, struct work *w)
{
    enum err err = put_row(c, w);

    /* two first ones of a document met in _order */
    if (err == ERR_DUPLICATE_KEY && !w->at_row) {
        ctx_forgive(c);
        err = put_row(c, w);
    }
    if (is_row_refused(w, err)) {
        ctx_forgive(c);
        w->event.cut = true;
        err = put_row(c, w);
    }
    if (err == ERR_DUPLICATE_KEY) /* our own, after a lost reply */
        err = OK;
    if (err)
        log_note(LOG_ERROR, "event.lost",
                 "the event of a change could not be recorded: %s",
                 err_code(err));
    metrics_add(err ? METRIC_EVENTS_LOST : METRIC_EVENTS, 0, 1);
    ctx_forgive(c);
}

static enum err insert_lightly(struct ctx *c, struct work *w)
{
    enum err err = store_insert(c, w->collection, w->event.doc);

    if (err == OK)
        put_row_lightly(c, w);
    return err;
}

static enum err find_before(struct ctx *c, struct work *w, const bson_t *filter)
{
    struct rows_find f = {w->collection, filter, .limit = 1};
    struct rows *rows;
    enum err err = rows_find(c, &f, &rows);

    return err ? err : rows_next(c, rows, &w->event.old);
}

static enum err modify_lightly(struct ctx *c, struct work *w,
                               const bson_t *filter, const bson_t *update)
{
    const bson_t *given;
    enum err err = OK;

    if (update)
        err = find_before(c, w, filter);
    if (err == OK)
        err = store_modify(
            c, store_modify_command(c, w->collection, filter, update, true),
            &given);
    if (err)
        return err;
    if (update)
        w->event.doc = given;
    else
        w->event.old = given;
    if (given && take_id(&w->event, given))
        put_row_lightly(c, w);
    return OK;
}

/* ---- */

static enum err insert_alone(struct ctx *c, void *arg, bool doubtful)
{
    struct work *w = arg;
    enum err err = transact(c, w, insert_turn);

    if (err && mongo_is_unfit(c)) {
        ctx_forgive(c);
        return insert_lightly(c, w);
    }
    if (err == ERR_DUPLICATE_KEY && (doubtful || mongo_is_in_doubt(c)) &&
        store_has(c, w->collection, w->event.doc)) {
        ctx_forgive(c);
        return OK;
    }
    return err;
}

/* Its row is the same in all turns: no order is taken. */
static enum err insert_with_others(struct ctx *c, struct work *w)
{
    bson_t *row;
    enum err err = event_row(c, &w->event, &row);

    if (err)
        return err;
    return shared_change(c, w->collection, w->event.doc, row, insert_alone, w);
}

enum err change_insert(struct ctx *c, const struct change *how,
                       const char *collection, const bson_t *doc)
{
    struct work w = work_of(how, collection, EVENT_CREATE);
    enum err err;

    w.event.doc = doc;
    w.command = store_insert_command(c, collection, doc);
    if (!w.command || !take_id(&w.event, doc))
        return ctx_no_memory(c);
    if (how->light)
        err = insert_lightly(c, &w);
    else if (how->interest.ordered)
        err = insert_alone(c, &w, false);
    else
        err = insert_with_others(c, &w);
    if (err == OK)
        note_committed(c, &w);
    return err;
}

enum err change_modify(struct ctx *c, const struct change *how,
                       const char *collection, const bson_t *filter,
                       const bson_t *update, const bson_t **out)
{
    struct work w =
        work_of(how, collection, update ? EVENT_UPDATE : EVENT_DELETE);
    enum err err = OK;

    w.command = store_modify_command(c, collection, filter, update, false);
    if (!w.command)
        return ERR_OVERLOADED;
    if (!how->light)
        err = transact(c, &w, modify_turn);
    if (how->light || (err && mongo_is_unfit(c))) {
        ctx_forgive(c);
        err = modify_lightly(c, &w, filter, update);
    } else if (err == ERR_DUPLICATE_KEY && w.at_row && mongo_is_in_doubt(c)) {
        ctx_forgive(c); /* the row of an earlier turn: it was done */
        err = OK;
    }
    if (err == OK && w.at_row)
        note_committed(c, &w);
    if (err == OK)
        *out = update ? w.event.doc : w.event.old;
    return err;
}
