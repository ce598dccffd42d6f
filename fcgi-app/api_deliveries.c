/* api_deliveries - what was sent to a webhook: the log, replay, a test */
#include <time.h>

#include "fcgi-app/api.h"
#include "fcgi-app/params.h"
#include "fcgi-app/permits.h"
#include "fcgi-app/rows_json.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/id.h"
#include "lib/base/jwrite.h"
#include "lib/base/log.h"
#include "lib/coord/queue.h"
#include "lib/data/json_out.h"
#include "lib/data/mongo.h"
#include "lib/data/payload.h"

enum {
    LOOK_MS = 50,
    START_MS = 5000,   /* until a worker has a test */
    CLOSING_MS = 5000, /* what a test that runs may take while we end */
    DATA_BYTES = 16 << 20
};

/* ---- log */

struct log_query {
    str status;
    struct rows_page page;
};

static bool is_status(str s)
{
    bson_t none = BSON_INITIALIZER;
    bool known = job_status_filter(s, &none);

    bson_destroy(&none);
    return known;
}

static enum err read_query(struct ctx *c, const struct request *q,
                           struct log_query *out)
{
    struct params p;
    enum err err = params_read(c, q, &p);

    out->status = STR("");
    if (err == OK)
        err = params_text(c, &p, "status", &out->status);
    if (err == OK)
        err = rows_page_read(c, &p, &out->page);
    if (err == OK && out->status.n > 0 && !is_status(out->status))
        err = ctx_fail(c, ERR_BAD_QUERY,
                       "'status' must be one of pending, delivering, "
                       "retrying, success, dead, cancelled");
    return err;
}

static void write_delivery(struct buf *b, const bson_t *row, const void *arg)
{
    (void)arg;
    job_write(b, row);
}

enum err api_deliveries_list(struct ctx *c, const struct request *q,
                             struct reply *out)
{
    const bson_t *webhook, *rows;
    struct log_query want;
    size_t n;
    enum err err = read_query(c, q, &want);

    if (err == OK)
        err = webhook_get(c, q->param[0], &webhook);
    if (err == OK)
        err = queue_list(c, rows_id(c, q->param[0]), want.status,
                         want.page.limit, want.page.before, &rows);
    if (err)
        return err;
    buf_add(out->body, STR("{\"success\":true,\"data\":{\"deliveries\":"));
    n = rows_json(out->body, rows, write_delivery, NULL);
    buf_addf(out->body, "},\"count\":%zu}", n);
    return OK;
}

/* ---- replay */

enum err api_deliveries_replay(struct ctx *c, const struct request *q,
                               struct reply *out)
{
    struct buf *b = out->body;
    const bson_t *row;
    struct job job;
    enum err err = queue_replay(c, q->param[0], &row);

    if (err == OK && !job_read(row, &job))
        err = ctx_fail(c, ERR_INTERNAL, "Something went wrong on our side");
    if (err)
        return err;
    out->status = 202;
    buf_add(b, STR("{\"success\":true,\"message\":\"The delivery is made "
                   "again\",\"data\":{\"deliveryId\":"));
    jwrite_str(b, job.id);
    buf_add(b, STR(",\"messageId\":"));
    jwrite_str(b, job.message_id);
    buf_add(b, STR(",\"status\":\"pending\"}}"));
    return OK;
}

/* ---- test */

struct trial {
    const struct request *q;
    struct webhook webhook;
    char id[JOB_ID_MAX], message_id[JOB_MESSAGE_ID_MAX];
    str body;
    const bson_t *row; /* as it ended */
};

static enum err find_webhook(struct ctx *c, struct trial *t)
{
    const bson_t *row;
    enum err err = webhook_get(c, t->q->param[0], &row);

    if (err)
        return err;
    if (!webhook_read(&c->arena, c->conf, row, &t->webhook))
        return ctx_fail(c, ERR_WRONG_STATE,
                        "The webhook as it is stored cannot be used: it needs "
                        "a url and a collection");
    return OK;
}

/* Its subscriber is itself: neither limits nor figures of the webhook move. */
static enum err insert(struct ctx *c, struct trial *t)
{
    struct job_new n = {.queue = QUEUE_WEBHOOK, .tries_max = 1, .once = true};
    char event_id[ID_OBJECT_MAX];
    enum err err;

    n.ts = clock_server_ms();
    err = id_object(n.ts, event_id);
    if (err == OK)
        err = job_ids(c, str_of(event_id), t->webhook.id, n.ts, t->id,
                      t->message_id);
    if (err == OK)
        err = payload_make_test(c, &t->webhook, str_of(t->id), n.ts, &t->body);
    if (err)
        return err;
    n.id = str_of(t->id);
    n.message_id = str_of(t->message_id);
    n.subscriber = t->webhook.id;
    n.lim = n.group = arena_strf(&c->arena, "test:%s", t->id);
    n.event = STR("test");
    n.collection = t->webhook.collection;
    n.body = t->body;
    return n.lim.p ? queue_insert_test(c, &n) : ctx_no_memory(c);
}

/* Who waits no more takes the test along, unless it is on its way. */
static enum err give_up(struct ctx *c, const struct trial *t, enum err err,
                        const char *why, bool *out_runs)
{
    bool was = false;

    if (queue_withdraw_test(c, str_of(t->id), &was) != OK)
        return c->err;
    *out_runs = !was;
    return was ? ctx_fail(c, err, "%s", why) : OK;
}

/* One look; a MongoDB that is away for a moment is asked again. */
static enum err look(struct ctx *c, struct trial *t, bool *out_started)
{
    bool started = *out_started;
    enum err err = queue_look_at_test(c, str_of(t->id), &started, &t->row);

    if (err == ERR_DB_UNAVAILABLE || err == ERR_TIME_LIMIT) {
        ctx_forgive(c);
        t->row = NULL;
        return OK;
    }
    if (err == OK)
        *out_started = started;
    return err;
}

static enum err await(struct ctx *c, struct trial *t)
{
    static const struct timespec rest = {.tv_nsec = LOOK_MS * 1000000};
    ms start_by = clock_mono_ms() + START_MS, end = c->deadline;
    bool started = false;
    enum err err = OK;

    while (err == OK) {
        bool closing = permits_are_closed();
        ms now = clock_mono_ms();

        err = look(c, t, &started);
        if (err || t->row)
            break;
        if (request_is_gone(t->q))
            return started ? ERR_CUT
                           : give_up(c, t, ERR_CUT, "Nobody waits", &started);
        if (closing && end > now + CLOSING_MS)
            end = now + CLOSING_MS;
        if (!started && (closing || now >= start_by))
            err = give_up(c, t, ERR_OVERLOADED,
                          "No worker took the test in time (a paused queue "
                          "takes none); it was not sent",
                          &started);
        else if (now >= end)
            err = ctx_fail(c, ERR_TIME_LIMIT,
                           "The receiver was called, and there is no outcome "
                           "yet; see the webhook's deliveries");
        else
            nanosleep(&rest, NULL);
    }
    return err;
}

struct outcome {
    bool success;
    int64_t code, took_ms; /* -1: there is none */
    str error;
};

static int64_t number_of(const bson_t *doc, const char *name)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_NUMBER(&it)
               ? bson_iter_as_int64(&it)
               : -1;
}

/* Of the one attempt; one whose worker died has none. */
static void read_outcome(const bson_t *row, struct outcome *out)
{
    bson_iter_t it, list;
    bson_t attempt;

    *out = (struct outcome){strcmp(job_status(row), "success") == 0, -1, -1,
                            STR("killed")};
    if (!bson_iter_init_find(&it, row, "attempts") ||
        !BSON_ITER_HOLDS_ARRAY(&it) || !bson_iter_recurse(&it, &list))
        return;
    while (mongo_next_doc(&list, &attempt)) {
        out->code = number_of(&attempt, "code");
        out->took_ms = number_of(&attempt, "ms");
        if (!json_out_text_member(&attempt, "error", &out->error))
            out->error = STR("");
    }
}

static void write_number(struct buf *b, const char *name, int64_t v)
{
    if (v >= 0)
        buf_addf(b, ",\"%s\":%lld", name, (long long)v);
    else
        buf_addf(b, ",\"%s\":null", name);
}

static void write_data(struct buf *b, const struct trial *t,
                       const struct outcome *o)
{
    buf_add(b, STR("\"data\":{\"webhook\":"));
    jwrite_str(b, t->webhook.name);
    buf_add(b, STR(",\"url\":"));
    jwrite_str(b, t->webhook.url);
    buf_add(b, STR(",\"payload\":"));
    buf_add(b, t->body);
    buf_addf(b, ",\"delivery\":{\"deliveryId\":\"%s\"", t->id);
    write_number(b, "statusCode", o->code > 0 ? o->code : -1);
    write_number(b, "durationMs", o->took_ms);
    buf_add(b, STR(",\"error\":"));
    if (o->error.n > 0)
        jwrite_str(b, o->error);
    else
        buf_add(b, STR("null"));
    buf_add(b, STR("}}"));
}

static enum err tell(struct ctx *c, const struct trial *t, struct reply *out)
{
    struct outcome o;
    struct buf b;

    read_outcome(t->row, &o);
    if (o.success) {
        buf_add(out->body, STR("{\"success\":true,\"message\":\"The receiver "
                               "took the test\","));
        write_data(out->body, t, &o);
        buf_add_char(out->body, '}');
        return OK;
    }
    buf_init(&b, DATA_BYTES, ERR_OVERLOADED);
    buf_add_char(&b, ',');
    write_data(&b, t, &o);
    out->err_members = arena_str(&c->arena, buf_str(&b));
    buf_done(&b);
    if (o.code > 0)
        return ctx_fail(c, ERR_DELIVERY_FAILED,
                        "The receiver answered with status %lld",
                        (long long)o.code);
    return ctx_fail(c, ERR_DELIVERY_FAILED,
                    "The receiver has not taken the test: " STR_FMT,
                    STR_ARG(o.error));
}

enum err api_deliveries_test(struct ctx *c, const struct request *q,
                             struct reply *out)
{
    struct trial t = {.q = q, .body = STR("")};
    enum err err = find_webhook(c, &t);

    if (err)
        return err;
    if (!permits_begin_wait())
        return ctx_fail(c, ERR_OVERLOADED,
                        "As many requests wait as may; try again in a second");
    err = insert(c, &t);
    if (err == OK)
        err = await(c, &t);
    permits_end_wait();
    return err ? err : tell(c, &t, out);
}
