/* fanout_rows - see fanout_rows.h */
#include "lib/coord/fanout_rows.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/id.h"
#include "lib/base/metrics.h"
#include "lib/coord/index_row.h"
#include "lib/coord/queue_inside.h"
#include "lib/data/job.h"
#include "lib/data/match.h"
#include "lib/data/payload.h"

enum {
    ONE_BYTES = 64 << 20, /* to make a row, of which a body is 8 MiB at most */
    SPARE_BYTES = 4096,   /* of a command beside its rows */
    ROW_BEYOND = 16       /* bytes of a row's place in the list */
};

/* codes of the server (error_codes.yml) */
enum {
    DUPLICATE_KEY = 11000,
    VALIDATION_FAILURE = 121,
    OBJECT_TOO_LARGE = 10334,
    INSERT_TOO_LARGE = 17280
};

static void begin(struct fanout_rows *r)
{
    bson_init(&r->cmd);
    BSON_APPEND_UTF8(&r->cmd, "insert", "_jobs");
    BSON_APPEND_ARRAY_BEGIN(&r->cmd, "documents", &r->list);
    r->n = r->bytes = 0;
}

void fanout_rows_init(struct fanout_rows *r, struct ctx *c,
                      const struct subs *subs, struct fanout_item *items)
{
    *r = (struct fanout_rows){.c = c,
                              .subs = subs,
                              .items = items,
                              .index = c->index,
                              .index_ms = FANOUT_INDEX_MS};
    ctx_init(&r->one, c->conf, ONE_BYTES);
    begin(r);
}

void fanout_rows_done(struct fanout_rows *r)
{
    bson_destroy(&r->cmd);
    ctx_done(&r->one);
}

/* ---- sending */

static int64_t number_of(const bson_t *doc, const char *name)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, doc, name) ? bson_iter_as_int64(&it) : 0;
}

static bool is_of_the_row(int64_t code)
{
    return code == VALIDATION_FAILURE || code == OBJECT_TOO_LARGE ||
           code == INSERT_TOO_LARGE;
}

/* A refused one stays so, whatever becomes of its other rows. */
static void mark(struct fanout_rows *r, size_t row, enum fanout_fate fate)
{
    struct fanout_item *item = &r->items[r->owner[row]];

    if (item->fate != FANOUT_REFUSED)
        item->fate = fate;
}

/* What is not a duplicate key keeps its event. */
static enum err judge_row(struct fanout_rows *r, const bson_t *error)
{
    int64_t code = number_of(error, "code"), row = number_of(error, "index");

    if (row < 0 || (size_t)row >= r->n)
        return ctx_fail(r->c, ERR_INTERNAL, "Deliveries could not be stored");
    r->state[row] = code == DUPLICATE_KEY ? FANOUT_ROW_THERE : FANOUT_ROW_NONE;
    if (code == DUPLICATE_KEY)
        return OK;
    mark(r, (size_t)row, is_of_the_row(code) ? FANOUT_REFUSED : FANOUT_KEPT);
    if (is_of_the_row(code))
        return OK;
    return ctx_fail(r->c, ERR_DB_UNAVAILABLE,
                    "Deliveries could not be stored: %lld", (long long)code);
}

static enum err judge(struct fanout_rows *r, const bson_t *reply)
{
    enum err err = OK, first = OK;
    bson_t errors, one;
    bson_iter_t it;

    r->made += number_of(reply, "n");
    if (!mongo_reply_doc(reply, "writeErrors", &errors) ||
        !bson_iter_init(&it, &errors))
        return OK;
    while (mongo_next_doc(&it, &one)) {
        err = judge_row(r, &one);
        if (first == OK)
            first = err;
    }
    return first;
}

static enum err keep_all(struct fanout_rows *r, enum err err)
{
    for (size_t i = 0; i < r->n; i++)
        mark(r, i, FANOUT_KEPT);
    return err;
}

/* ---- the index is told */

/* Rows of a command on their way to the index. */
struct sending {
    struct fanout_rows *r;
    struct index_job jobs[INDEX_ENQUEUE_MAX];
    size_t rows[INDEX_ENQUEUE_MAX];
    size_t n;
    bson_t left; /* array of _id: those it does not know */
    uint32_t left_n;
    bool *is_left; /* by row */
};

static void leave(struct sending *s, size_t row, str id)
{
    char number[16];
    const char *key;

    bson_uint32_to_string(s->left_n++, &key, number, sizeof number);
    bson_append_utf8(&s->left, key, -1, id.p, (int)id.n);
    s->is_left[row] = true;
}

static bool enqueue(struct fanout_rows *r, const struct sending *s,
                    enum index_seat *seats)
{
    ms was = r->c->deadline, start = clock_mono_ms();
    enum index_result result;

    if (!*r->index)
        return false;
    if (start + r->index_ms < was)
        r->c->deadline = start + r->index_ms;
    result = index_enqueue(r->c, QUEUE_WEBHOOK, INDEX_BY_FANOUT, s->jobs, s->n,
                           seats);
    r->c->deadline = was;
    r->index_ms -= clock_mono_ms() - start;
    if (result != INDEX_DONE || r->index_ms <= 0)
        r->index = "";
    return result == INDEX_DONE;
}

static void send_jobs(struct sending *s)
{
    enum index_seat seats[INDEX_ENQUEUE_MAX];
    bool done = s->n > 0 && enqueue(s->r, s, seats);

    for (size_t i = 0; i < s->n; i++)
        if (!done || seats[i] == INDEX_FULL)
            leave(s, s->rows[i], s->jobs[i].id);
    s->n = 0;
}

/* One that is there already may be known to an index that nobody reaches now,
 * or be marked by somebody who died before he told it. */
static void send_row(struct sending *s, size_t i, const bson_t *row, ms now)
{
    struct fanout_rows *r = s->r;
    bool marked = bson_has_field(row, "enq") || r->state[i] == FANOUT_ROW_THERE;

    if (r->state[i] == FANOUT_ROW_NONE || !marked)
        return;
    s->rows[s->n] = i;
    if (!index_row_read(r->c->conf, r->subs, row, now, &s->jobs[s->n]))
        leave(s, i, queue_text(row, "_id"));
    else if (++s->n == INDEX_ENQUEUE_MAX)
        send_jobs(s);
}

/* By a majority, as the insert: the event is deleted after it. */
static enum err unmark(struct sending *s)
{
    struct fanout_rows *r = s->r;
    bson_t *cmd = mongo_bson(r->c), *reply;
    enum err err = cmd ? OK : ERR_OVERLOADED;

    if (cmd)
        BCON_APPEND(cmd, "update", "_jobs", "updates", "[", "{", "q", "{",
                    "_id", "{", "$in", BCON_ARRAY(&s->left), "}", "open",
                    BCON_BOOL(true), "}", "u", "{", "$unset", "{", "enq", "",
                    "}", "}", "multi", BCON_BOOL(true), "}", "]");
    if (cmd)
        err = mongo_write_majority(r->c, cmd, &reply);
    for (size_t i = 0; err && i < r->n; i++)
        if (s->is_left[i])
            mark(r, i, FANOUT_KEPT);
    return err;
}

static enum err tell_index(struct fanout_rows *r)
{
    struct sending s = {.r = r};
    ms now = clock_server_ms();
    bson_t list, row;
    bson_iter_t it;
    enum err err = OK;
    size_t i = 0;

    s.is_left = ctx_alloc(r->c, r->n * sizeof *s.is_left);
    if (!s.is_left)
        return keep_all(r, ERR_OVERLOADED);
    bson_init(&s.left);
    if (mongo_reply_doc(&r->cmd, "documents", &list) &&
        bson_iter_init(&it, &list))
        while (mongo_next_doc(&it, &row))
            send_row(&s, i++, &row, now);
    send_jobs(&s);
    if (s.left_n > 0)
        err = unmark(&s);
    bson_destroy(&s.left);
    return err;
}

static enum err insert_rows(struct fanout_rows *r)
{
    bson_t *reply = NULL;
    enum err err, end;

    bson_append_array_end(&r->cmd, &r->list);
    BSON_APPEND_BOOL(&r->cmd, "ordered", false);
    err = mongo_write_majority(r->c, &r->cmd, &reply);
    if (!reply)
        return keep_all(r, err);
    if (bson_has_field(reply, "writeConcernError"))
        return keep_all(r, ERR_DB_UNAVAILABLE);
    ctx_forgive(r->c); /* the first of the errors; all are looked at here */
    err = judge(r, reply);
    end = tell_index(r);
    return err ? err : end;
}

/* After one in vain nothing is sent any more: it would come before what is
 * older. */
static enum err flush(struct fanout_rows *r)
{
    if (r->n && r->err == OK)
        r->err = insert_rows(r);
    else if (r->err)
        (void)keep_all(r, r->err);
    bson_destroy(&r->cmd);
    begin(r);
    return r->err;
}

enum err fanout_rows_end(struct fanout_rows *r)
{
    return flush(r);
}

/* ---- making */

/*
 * What is not there cannot be judged: an event that was cut matches every
 * filter, so that it is never dropped silently, and its payload says truncated.
 */
static bool is_wanted(const struct subscription *s, const struct event *e,
                      struct match_budget *budget)
{
    const bson_t *doc = e->kind == EVENT_DELETE ? e->old : e->doc;

    return !doc || match_doc(s->match, doc, budget);
}

/* "<webhook>:<document>" */
static enum err group_of(struct ctx *c, const struct webhook *w,
                         const struct event *e, str *out)
{
    char *to;
    str key;
    enum err err = event_document_key(c, &e->doc_id, &key);

    if (err)
        return err;
    to = ctx_alloc(c, w->id.n + 1 + key.n + 1);
    if (!to)
        return ERR_OVERLOADED;
    *out = (str){to, w->id.n + 1 + key.n};
    memcpy(to, w->id.p, w->id.n);
    to[w->id.n] = ':';
    memcpy(to + w->id.n + 1, key.p, key.n);
    return OK;
}

static enum err make_row(struct ctx *c, const struct webhook *w,
                         const struct event *e, const char *index, bson_t **out)
{
    char event_id[ID_OBJECT_MAX], id[JOB_ID_MAX], message[JOB_MESSAGE_ID_MAX];
    struct payload p = {.event = e,
                        .webhook = w,
                        .max_bytes = c->conf->webhook_max_payload_bytes};
    struct job_new n = {.queue = QUEUE_WEBHOOK,
                        .subscriber = w->id,
                        .lim = w->id,
                        .group = w->id,
                        .cls = job_class(w->priority),
                        .ts = e->ts,
                        .tries_max = w->max_retries + 1,
                        .enq = str_of(index),
                        .event = str_of(event_name(e->kind)),
                        .collection = e->collection,
                        .doc_id = &e->doc_id};
    enum err err;

    bson_oid_to_string(&e->id, event_id);
    err = job_ids(c, str_of(event_id), w->id, e->ts, id, message);
    if (err)
        return err;
    p.delivery_id = n.id = str_of(id);
    p.message_id = n.message_id = str_of(message);
    err = payload_make(c, &p, &n.body);
    if (err == OK && w->ordered) {
        n.ord = event_place(e);
        err = group_of(c, w, e, &n.group);
    }
    return err ? err : job_row(c, &n, out);
}

static enum err append(struct fanout_rows *r, size_t i, const bson_t *row)
{
    size_t bytes = row->len + ROW_BEYOND;
    enum err err = OK;
    char key[16];

    if (r->n == FANOUT_ROWS_MAX ||
        (r->n && r->bytes + bytes + SPARE_BYTES > FANOUT_BYTES_MAX))
        err = flush(r);
    if (err)
        return err;
    (void)snprintf(key, sizeof key, "%zu", r->n);
    if (!BSON_APPEND_DOCUMENT(&r->list, key, row))
        return ctx_no_memory(r->c);
    r->state[r->n] = FANOUT_ROW_MADE;
    r->owner[r->n++] = i;
    r->bytes += bytes;
    return OK;
}

static enum err add_row(struct fanout_rows *r, size_t i,
                        const struct webhook *w)
{
    bson_t *row;
    enum err err;

    ctx_reset(&r->one);
    err = make_row(&r->one, w, &r->items[i].event, r->index, &row);
    if (err)
        return ctx_fail(r->c, err, "%s", r->one.reason);
    return append(r, i, row);
}

enum err fanout_rows_add(struct fanout_rows *r, size_t i)
{
    struct fanout_item *item = &r->items[i];
    const struct subscription *const *list;
    struct match_budget budget = {0};
    enum err err = OK;
    size_t n;

    list = subs_find(r->subs, item->event.collection, item->event.kind, &n);
    item->fate = FANOUT_DONE;
    for (size_t k = 0; k < n && err == OK; k++) {
        if (is_wanted(list[k], &item->event, &budget))
            err = add_row(r, i, &list[k]->webhook);
        if (err == ERR_BODY_TOO_LARGE) { /* for ever: the others go on */
            ctx_forgive(r->c);
            item->fate = FANOUT_REFUSED;
            err = OK;
        }
    }
    metrics_add(METRIC_FILTER_OVERRUNS, 0, budget.overruns);
    if (err)
        item->fate = FANOUT_KEPT;
    return err;
}
