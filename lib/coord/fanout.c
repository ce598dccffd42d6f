/*
 * fanout - see fanout.h
 *
 *   read by time or hint -> subscriptions of their version -> older rows of
 * documents whose order counts -> rows -> what is done is deleted
 *
 * A row that is no event, or whose deliveries are too large to be made or
 * stored, is set aside: its `ts` moves to the end of time, where no fanout
 * looks
 * (`aside` keeps what it was), and the log says so. Nothing else is removed
 * undone.
 */
#include "lib/coord/fanout.h"

#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/id.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/coord/fanout_filter.h"
#include "lib/coord/fanout_rows.h"

#define COLLECTION "_outbox"

enum {
    HALF_REPLY = 7 << 20, /* a longer reply may lack a row for want of room */
    UNKNOWN_MS = 10000,   /* of waiting for a version that nobody can read */
    LEAST_MS = 1500       /* of the deadline, to begin with one more event */
};

struct batch {
    struct ctx *c;
    const struct subs *subs;
    struct fanout_item *items; /* room for older ones too */
    size_t n;
    size_t usable; /* the first of them; the others must wait */
    bool more;
    bson_t aside; /* updates */
    uint32_t aside_n;
};

/* ---- rows set aside */

static void set_aside(struct batch *b, const bson_t *query, ms ts,
                      const char *why)
{
    char number[16], id[ID_OBJECT_MAX] = "no object id";
    const char *key;
    bson_iter_t it;

    bson_uint32_to_string(b->aside_n++, &key, number, sizeof number);
    BCON_APPEND(&b->aside, key, "{", "q", BCON_DOCUMENT(query), "u", "{",
                "$set", "{", "aside", BCON_DATE_TIME(ts), "ts",
                BCON_DATE_TIME(FANOUT_ASIDE_TS), "}", "}", "}");
    if (bson_iter_init_find(&it, query, "_id") && BSON_ITER_HOLDS_OID(&it))
        bson_oid_to_string(bson_iter_oid(&it), id);
    log_note(LOG_ERROR, "event.set_aside", "%s: %s", id, why);
}

static void set_row_aside(struct batch *b, const bson_t *row)
{
    bson_t query = BSON_INITIALIZER;
    bson_iter_t it;
    ms ts = 0;

    if (bson_iter_init_find(&it, row, "ts") && BSON_ITER_HOLDS_DATE_TIME(&it))
        ts = bson_iter_date_time(&it);
    if (bson_iter_init_find(&it, row, "_id"))
        bson_append_iter(&query, "_id", -1, &it);
    set_aside(b, &query, ts, "the row is no event");
    bson_destroy(&query);
}

static enum err store_aside(struct batch *b)
{
    bson_t *cmd, *reply;

    if (b->aside_n == 0)
        return OK;
    cmd = mongo_bson(b->c);
    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "update", COLLECTION, "updates", BCON_ARRAY(&b->aside),
                "ordered", BCON_BOOL(false));
    return mongo_write(b->c, cmd, &reply, NULL);
}

/* ---- reading */

/* What no document has as its _id, and what a filter takes for something
 * else. */
static bool is_id(const bson_value_t *v)
{
    return v->value_type != BSON_TYPE_UNDEFINED &&
           v->value_type != BSON_TYPE_REGEX && v->value_type != BSON_TYPE_ARRAY;
}

static enum err take_row(struct batch *b, const bson_t *row)
{
    struct fanout_item item = {.fate = FANOUT_KEPT};

    if (event_read(b->c, row, &item.event) && is_id(&item.event.doc_id))
        b->items[b->n++] = item;
    else if (b->c->err)
        return b->c->err;
    else
        set_row_aside(b, row);
    return OK;
}

/* The rows of a reply; *out_n of them. */
static enum err take_rows(struct batch *b, const bson_t *reply, size_t *out_n)
{
    const uint8_t *data;
    bson_t batch, row;
    enum err err = OK;
    bson_iter_t it;
    uint32_t n;

    *out_n = 0;
    if (!mongo_reply_rows(reply, &batch) || !bson_iter_init(&it, &batch))
        return ctx_fail(b->c, ERR_INTERNAL, "The outbox could not be read");
    while (err == OK && *out_n < FANOUT_EVENTS_MAX && bson_iter_next(&it)) {
        if (!BSON_ITER_HOLDS_DOCUMENT(&it))
            continue;
        bson_iter_document(&it, &n, &data);
        ++*out_n;
        if (bson_init_static(&row, data, n))
            err = take_row(b, &row);
    }
    return err;
}

static bool is_full(size_t rows, const bson_t *reply)
{
    return rows == FANOUT_EVENTS_MAX || reply->len > HALF_REPLY;
}

static enum err read_batch(struct batch *b, const struct fanout_ask *ask)
{
    bson_t *cmd = mongo_bson(b->c), *reply, filter = BSON_INITIALIZER;
    enum err err;
    size_t rows;

    if (!cmd)
        return ERR_OVERLOADED;
    fanout_filter(ask, &filter);
    BCON_APPEND(cmd, "find", COLLECTION, "filter", BCON_DOCUMENT(&filter),
                "sort", "{", "ts", BCON_INT32(1), "}", "limit",
                BCON_INT32(FANOUT_EVENTS_MAX), "singleBatch", BCON_BOOL(true));
    bson_destroy(&filter);
    err = mongo_read(b->c, cmd, &reply);
    if (err == OK)
        err = take_rows(b, reply, &rows);
    if (err == OK)
        b->more = is_full(rows, reply);
    return err;
}

/* ---- order */

static int by_place(const void *a, const void *b)
{
    const struct fanout_item *x = a, *y = b;
    int64_t i = event_place(&x->event), k = event_place(&y->event);

    return i != k ? (i > k) - (i < k)
                  : bson_oid_compare(&x->event.id, &y->event.id);
}

static enum err sort_and_load(struct batch *b)
{
    int64_t ver = 0;

    qsort(b->items, b->n, sizeof *b->items, by_place);
    for (size_t i = 0; i < b->n; i++)
        if (b->items[i].event.ver > ver)
            ver = b->items[i].event.ver;
    return subs_get_since(b->c, ver, &b->subs);
}

static bool needs_order(const struct batch *b, const struct event *e)
{
    return subs_interest(b->subs, e->collection, e->kind).ordered;
}

static bool is_same_document(const struct event *a, const struct event *b)
{
    bson_t x = BSON_INITIALIZER, y = BSON_INITIALIZER;
    bool same;

    BSON_APPEND_VALUE(&x, "", &a->doc_id);
    BSON_APPEND_VALUE(&y, "", &b->doc_id);
    same = str_eq(a->collection, b->collection) && bson_equal(&x, &y);
    bson_destroy(&x);
    bson_destroy(&y);
    return same;
}

/* The last event of a document in the batch stands for all of it. */
static bool is_last_of_document(const struct batch *b, size_t i)
{
    for (size_t k = i + 1; k < b->n; k++)
        if (needs_order(b, &b->items[k].event) &&
            is_same_document(&b->items[i].event, &b->items[k].event))
            return false;
    return true;
}

/* Rows of e's document before its place. */
static void append_older(bson_t *list, const char *key, const struct event *e)
{
    bson_t id = BSON_INITIALIZER, collection = BSON_INITIALIZER;
    int64_t place = event_place(e);

    BSON_APPEND_VALUE(&id, "$eq", &e->doc_id);
    bson_append_utf8(&collection, "$eq", -1, e->collection.p,
                     (int)e->collection.n);
    BCON_APPEND(list, key, "{", "collection", BCON_DOCUMENT(&collection),
                "docId", BCON_DOCUMENT(&id), "ts", "{", "$gte",
                BCON_DATE_TIME(0), "$lt", BCON_DATE_TIME(FANOUT_ASIDE_TS), "}",
                "$or", "[", "{", "ord", "{", "$lte", BCON_INT64(place), "}",
                "}", "{", "ord", BCON_NULL, "ts", "{", "$lte",
                BCON_DATE_TIME(place / 1000), "}", "}", "]", "}");
    bson_destroy(&id);
    bson_destroy(&collection);
}

/* False: no order counts here. */
static bool older_filter(const struct batch *b, bson_t *documents, bson_t *ids)
{
    char number[16];
    const char *key;
    uint32_t n = 0;

    for (size_t i = 0; i < b->n; i++) {
        const struct event *e = &b->items[i].event;

        bson_uint32_to_string((uint32_t)i, &key, number, sizeof number);
        BSON_APPEND_OID(ids, key, &e->id);
        if (!needs_order(b, e) || !is_last_of_document(b, i))
            continue;
        bson_uint32_to_string(n++, &key, number, sizeof number);
        append_older(documents, key, e);
    }
    return n > 0;
}

/* As event_place() has it, so that the first ones are the oldest. */
static void append_pipeline(bson_t *cmd, const bson_t *documents,
                            const bson_t *ids)
{
    BCON_APPEND(cmd, "aggregate", COLLECTION, "pipeline", "[", "{", "$match",
                "{", "$or", BCON_ARRAY(documents), "_id", "{", "$nin",
                BCON_ARRAY(ids), "}", "}", "}", "{", "$set", "{", "place", "{",
                "$ifNull", "[", "$ord", "{", "$multiply", "[", "{", "$toLong",
                "$ts", "}", BCON_INT64(1000), "]", "}", "]", "}", "}", "}", "{",
                "$sort", "{", "place", BCON_INT32(1), "_id", BCON_INT32(1), "}",
                "}", "{", "$limit", BCON_INT32(FANOUT_EVENTS_MAX), "}", "]",
                "hint", "document_1", "cursor", "{", "batchSize",
                BCON_INT32(FANOUT_EVENTS_MAX), "}");
}

static int64_t cursor_of(const bson_t *reply)
{
    bson_iter_t it, id;

    return bson_iter_init(&it, reply) &&
                   bson_iter_find_descendant(&it, "cursor.id", &id)
               ? bson_iter_as_int64(&id)
               : 0;
}

/* The older rows, oldest first, beside those that are there; *out_full: there
 * may be more of them, behind the last one. */
static enum err read_older(struct batch *b, bool *out_full)
{
    bson_t *cmd = mongo_bson(b->c), *reply, documents = BSON_INITIALIZER,
           ids = BSON_INITIALIZER;
    enum err err = cmd ? OK : ERR_OVERLOADED;
    bool any = older_filter(b, &documents, &ids);
    size_t rows;

    *out_full = false;
    if (cmd && any)
        append_pipeline(cmd, &documents, &ids);
    bson_destroy(&documents);
    bson_destroy(&ids);
    if (err || !any)
        return err;
    err = mongo_read(b->c, cmd, &reply);
    if (err)
        return err;
    if (cursor_of(reply))
        mongo_kill_cursor(b->c, COLLECTION, cursor_of(reply));
    err = take_rows(b, reply, &rows);
    *out_full = cursor_of(reply) || rows == FANOUT_EVENTS_MAX;
    return err;
}

/*
 * Was it written under subscriptions that are not known here? Those that are
 * read well every second without meeting that version are newer than an event
 * of long ago, whatever it says. So they are than one of a time to come, which
 * no writer of ours gives.
 */
static bool is_ahead(const struct batch *b, const struct event *e)
{
    ms age = clock_server_ms() - e->ts;

    return e->ver > subs_version(b->subs) &&
           (subs_is_stale() || (age < UNKNOWN_MS && age > -FANOUT_FUTURE_MS));
}

/* Takes along what is older, and finds who must wait: all behind a row that
 * cannot be judged yet, or before which there may be one that was not read. */
static enum err put_in_order(struct batch *b)
{
    const struct subs *seen = b->subs;
    size_t before = b->n;
    bool full;
    enum err err = read_older(b, &full);
    bson_oid_t last;

    b->usable = b->n;
    if (err || b->n == 0)
        return err;
    if (b->n > before) {
        bson_oid_copy(&b->items[b->n - 1].event.id, &last);
        err = sort_and_load(b);
        for (size_t i = 0; full && i < b->n; i++)
            if (bson_oid_equal(&b->items[i].event.id, &last))
                b->usable = i + 1;
        b->more = true;
    } else if (full) {
        b->usable = 0; /* none of them is an event: they go aside first */
        b->more = true;
    }
    if (b->subs != seen) /* under which order may count for more of them */
        b->usable = 0;
    for (size_t i = 0; i < b->usable; i++)
        if (is_ahead(b, &b->items[i].event))
            b->usable = i;
    return err;
}

/* ---- what is done */

static enum err make_rows(struct batch *b, int64_t *out_made)
{
    struct fanout_rows rows;
    enum err err = OK, end;

    fanout_rows_init(&rows, b->c, b->subs, b->items);
    for (size_t i = 0; i < b->usable && err == OK; i++) {
        if (i > 0 && ctx_left_ms(b->c) < LEAST_MS) {
            b->more = true;
            break;
        }
        err = fanout_rows_add(&rows, i);
    }
    end = fanout_rows_end(&rows);
    *out_made = rows.made;
    fanout_rows_done(&rows);
    return err ? err : end;
}

static void set_refused_aside(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct event *e = &b->items[i].event;
        bson_t query = BSON_INITIALIZER;

        BSON_APPEND_OID(&query, "_id", &e->id);
        if (b->items[i].fate == FANOUT_REFUSED)
            set_aside(b, &query, e->ts, "a delivery of it is too large");
        bson_destroy(&query);
    }
}

/* A row that is deleted too late, or by two, is no harm. */
static enum err delete_done(struct batch *b, int64_t *out_n)
{
    bson_t *cmd = mongo_bson(b->c), *reply, ids = BSON_INITIALIZER;
    char number[16];
    const char *key;
    bson_iter_t it;
    uint32_t n = 0;
    enum err err;

    for (size_t i = 0; i < b->n; i++) {
        if (b->items[i].fate != FANOUT_DONE)
            continue;
        bson_uint32_to_string(n++, &key, number, sizeof number);
        BSON_APPEND_OID(&ids, key, &b->items[i].event.id);
    }
    if (cmd)
        BCON_APPEND(cmd, "delete", COLLECTION, "deletes", "[", "{", "q", "{",
                    "_id", "{", "$in", BCON_ARRAY(&ids), "}", "}", "limit",
                    BCON_INT32(0), "}", "]", "writeConcern", "{", "w",
                    BCON_INT32(1), "}");
    bson_destroy(&ids);
    if (!cmd || n == 0)
        return cmd ? OK : ERR_OVERLOADED;
    err = mongo_write(b->c, cmd, &reply, NULL);
    if (err == OK && bson_iter_init_find(&it, reply, "n"))
        *out_n = bson_iter_as_int64(&it);
    return err;
}

static enum err run(struct batch *b, const struct fanout_ask *ask,
                    struct fanout_batch *out)
{
    enum err err = read_batch(b, ask), end;

    if (err == OK && b->n)
        err = sort_and_load(b);
    if (err == OK)
        err = put_in_order(b);
    if (err == OK && b->usable)
        err = make_rows(b, &out->jobs);
    end = delete_done(b, &out->events);
    set_refused_aside(b);
    if (end == OK)
        end = store_aside(b);
    out->more = b->more && (b->usable > 0 || b->aside_n > 0);
    return err ? err : end;
}

enum err fanout_turn(struct ctx *c, const struct fanout_ask *ask,
                     struct fanout_batch *out)
{
    struct batch b = {.c = c};
    enum err err;

    *out = (struct fanout_batch){0};
    b.items = ctx_alloc(c, 2 * FANOUT_EVENTS_MAX * sizeof *b.items);
    if (!b.items)
        return ERR_OVERLOADED;
    bson_init(&b.aside);
    err = run(&b, ask, out);
    bson_destroy(&b.aside);
    metrics_add(METRIC_EVENTS_FANNED_OUT, 0, out->events);
    return err;
}
