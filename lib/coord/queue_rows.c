/* queue_rows - moves of one row; see queue_inside.h */
#include "lib/coord/queue_inside.h"

#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/data/json_out.h"

enum {
    DAY_MS = 24 * 3600 * 1000
};

enum err queue_write(struct ctx *c, bson_t *cmd, bson_t **out_reply)
{
    BCON_APPEND(cmd, "writeConcern", "{", "w", BCON_INT32(1), "}");
    return mongo_write(c, cmd, out_reply, NULL);
}

bool queue_is_test(str lim)
{
    return str_starts(lim, STR("test:"));
}

void queue_append_text(bson_t *to, const char *name, str s)
{
    bson_append_utf8(to, name, -1, s.p ? s.p : "", (int)s.n);
}

bson_t *queue_literal(struct ctx *c, str s)
{
    bson_t *expr = mongo_bson(c);

    if (expr)
        queue_append_text(expr, "$literal", s);
    return expr;
}

int64_t queue_number(const bson_t *row, const char *name)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, row, name))
        return 0;
    if (BSON_ITER_HOLDS_DATE_TIME(&it))
        return bson_iter_date_time(&it);
    return BSON_ITER_HOLDS_INT(&it) ? bson_iter_as_int64(&it) : 0;
}

str queue_text(const bson_t *row, const char *name)
{
    str v;

    return json_out_text_member(row, name, &v) ? v : STR("");
}

static str lease_token(const bson_t *row)
{
    bson_t lease;

    return mongo_reply_doc(row, "lease", &lease) ? queue_text(&lease, "tok")
                                                 : STR("");
}

ms queue_retention_ms(const struct conf *conf, enum job_state st, bool once)
{
    if (once)
        return DAY_MS;
    return (ms)DAY_MS * (st == JOB_DEAD
                             ? conf->webhooks_dead_letter_retention_days
                             : conf->webhooks_delivery_retention_days);
}

void queue_append_end(bson_t *set, const struct conf *conf, enum job_state st,
                      bool once, const char *reason)
{
    BCON_APPEND(set, "st", BCON_UTF8(job_state_name(st)), "endAt", "$$NOW",
                "exp", QUEUE_NOW_AND(queue_retention_ms(conf, st, once)));
    if (reason)
        BSON_APPEND_UTF8(set, "reason", reason);
}

static enum err find_one(struct ctx *c, const bson_t *filter,
                         const bson_t *fields, const bson_t **out)
{
    bson_t *cmd = mongo_bson(c), *reply, batch;
    bson_t *row = ctx_alloc(c, sizeof *row);
    enum err err;

    if (!cmd || !row)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "find", QUEUE_JOBS, "filter", BCON_DOCUMENT(filter),
                "projection", BCON_DOCUMENT(fields), "limit", BCON_INT32(1),
                "singleBatch", BCON_BOOL(true));
    err = mongo_read(c, cmd, &reply);
    if (err)
        return err;
    *out = mongo_reply_rows(reply, &batch) && mongo_reply_doc(&batch, "0", row)
               ? row
               : NULL;
    return OK;
}

/* ---- start */

/* Mine already; due; nobody has it (a missing lease is below any date). */
#define IS_MINE "{", "$eq", "[", "$lease.tok", BCON_UTF8(token), "]", "}"
#define IS_DUE  "{", "$lte", "[", "$runAt", "$$NOW", "]", "}"
#define IS_FREE "{", "$lte", "[", "$lease.until", "$$NOW", "]", "}"
#define IS_SPENT                                                               \
    "{", "$gte", "[", "$stalls", BCON_INT64(JOB_STALLS_MAX), "]", "}", "{",    \
        "$gte", "[", "$starts",                                                \
        QUEUE_PLUS("$max", (int64_t)JOB_STARTS_BEYOND), "]", "}"
#define IS_LOST                                                                \
    "{", "$and", "[", "$once", "{", "$gt", "[", "$starts", BCON_INT64(0), "]", \
        "}", "]", "}"

static bson_t *may_start(struct ctx *c, const char *token)
{
    bson_t *expr = mongo_bson(c);

    if (expr)
        BCON_APPEND(expr, "$and", "[", "$open", "{", "$or", "[", IS_MINE, "{",
                    "$and", "[", IS_DUE, IS_FREE, "{", "$not", "[", "{", "$or",
                    "[", IS_SPENT, IS_LOST, "]", "}", "]", "}", "]", "}", "]",
                    "}", "]");
    return expr;
}

static enum err send_start(struct ctx *c, const struct candidate *job,
                           const struct start *s, bson_t **out)
{
    const bson_t *may = may_start(c, s->token),
                 *by = queue_literal(c, str_of(c->conf->cluster_instance_id));
    const char *token = s->token;
    bson_t *cmd = mongo_bson(c);

    if (!may || !by || !cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "findAndModify", QUEUE_JOBS, "query", "{", "_id",
                BCON_UTF8(job->id.p), "}", "new", BCON_BOOL(true), "update",
                "[", "{", "$replaceWith", "{", "$cond", "[", BCON_DOCUMENT(may),
                "{", "$mergeObjects", "[", "$$ROOT", "{", "st",
                BCON_UTF8(job_state_name(JOB_LEASED)), "lease", "{", "tok",
                BCON_UTF8(token), "by", BCON_DOCUMENT(by), "until",
                QUEUE_NOW_AND(s->lease_ms), "}", "starts", "{", "$cond", "[",
                IS_MINE, "$starts", QUEUE_PLUS("$starts", (int64_t)1), "]", "}",
                "}", "]", "}", "$$ROOT", "]", "}", "}", "]");
    /* never forgotten: that it was started once; that its group is taken */
    return job->once || job->ordered ? mongo_write_majority(c, cmd, out)
                                     : queue_write(c, cmd, out);
}

/* Ends an open row that nobody has; once more by $$NOW, if `expr` still is. */
static enum err end_row(struct ctx *c, str id, const bson_t *expr,
                        const bson_t *set, int64_t *out_n)
{
    bson_t *cmd = mongo_bson(c), *reply;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "update", QUEUE_JOBS, "updates", "[", "{", "q", "{", "_id",
                BCON_UTF8(id.p), "open", BCON_BOOL(true), "$expr",
                BCON_DOCUMENT(expr), "}", "u", "[", "{", "$set",
                BCON_DOCUMENT(set), "}", "{", "$unset", "[", "open", "lease",
                "]", "}", "]", "}", "]");
    err = queue_write(c, cmd, &reply);
    if (err == OK)
        *out_n = queue_number(reply, "n");
    return err;
}

/* It was started too often, or it may be started once only and it was. */
static enum err end_spent(struct ctx *c, const struct candidate *job, bool lost)
{
    bson_t *expr = mongo_bson(c), *set = mongo_bson(c);
    int64_t n;
    enum err err;

    if (!expr || !set)
        return ERR_OVERLOADED;
    BCON_APPEND(expr, "$and", "[", IS_DUE, IS_FREE, "{", "$or", "[", IS_SPENT,
                IS_LOST, "]", "}", "]");
    queue_append_end(set, c->conf, lost ? JOB_LOST : JOB_DEAD, job->once,
                     lost ? "killed" : "poison");
    err = end_row(c, job->id, expr, set, &n);
    if (err == OK && n > 0 && !lost)
        metrics_add(METRIC_WEBHOOK_DELIVERIES, METRIC_DELIVERY_DEAD, 1);
    return err;
}

/* The row without its body, with `wait`: until it is due and free. */
static enum err look_why(struct ctx *c, const struct candidate *job,
                         const bson_t **out)
{
    static const char *const names[] = {
        "q",     "lim",  "g",     "ord",       "st",   "open",
        "tries", "max",  "sub",   "lease.tok", "once", "starts",
        "event", "coll", "msgId", "stalls"};
    bson_t *fields = mongo_bson(c), *filter = mongo_bson(c);

    if (!fields || !filter)
        return ERR_OVERLOADED;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        BSON_APPEND_INT32(fields, names[i], 1);
    BCON_APPEND(fields, "wait", "{", "$max", "[", "{", "$subtract", "[",
                "$runAt", "$$NOW", "]", "}", "{", "$subtract", "[",
                "$lease.until", "$$NOW", "]", "}", "]", "}");
    queue_append_text(filter, "_id", job->id);
    return find_one(c, filter, fields, out);
}

static bool is_spent(const struct job *j)
{
    return j->stalls >= JOB_STALLS_MAX ||
           j->starts >= j->tries_max + JOB_STARTS_BEYOND ||
           (j->once && j->starts > 0);
}

/* It was not started. */
static enum start_result say_why(struct ctx *c, const struct candidate *job,
                                 struct start *s)
{
    const bson_t *row;
    enum err err = look_why(c, job, &row);
    struct job as;

    if (err)
        return START_UNKNOWN;
    if (!row || !bson_has_field(row, "open") || !job_read(row, &as))
        return START_GONE;
    s->wait_ms = queue_number(row, "wait");
    s->leased = lease_token(row).n > 0;
    if (s->wait_ms <= 0 && !is_spent(&as))
        s->wait_ms = 1; /* it was not free a moment ago */
    if (s->wait_ms > 0)
        return START_WAIT;
    err = end_spent(c, job, as.once && as.starts > 0);
    return err ? START_UNKNOWN : START_GONE;
}

/* The whole row comes back, which costs the server less than to choose members
 * of it; why it was not started is asked only then. */
enum start_result queue_start(struct ctx *c, const struct candidate *job,
                              struct start *s)
{
    bson_t *reply, *row = ctx_alloc(c, sizeof *row);
    enum err err = row ? send_start(c, job, s, &reply) : ERR_OVERLOADED;

    if (err)
        return START_UNKNOWN;
    if (!mongo_reply_doc(reply, "value", row) || !bson_has_field(row, "open"))
        return START_GONE;
    if (!str_eq(lease_token(row), str_of(s->token)))
        return say_why(c, job, s);
    s->row = row;
    return START_OK;
}

enum err queue_cancel_row(struct ctx *c, str id, bool once)
{
    bson_t *expr = mongo_bson(c), *set = mongo_bson(c);
    int64_t n;
    enum err err;

    if (!expr || !set)
        return ERR_OVERLOADED;
    BCON_APPEND(expr, "$lte", "[", "$lease.until", "$$NOW", "]");
    queue_append_end(set, c->conf, JOB_CANCELLED, once, NULL);
    err = end_row(c, id, expr, set, &n);
    if (err == OK && n > 0)
        metrics_add(METRIC_WEBHOOK_DELIVERIES, METRIC_DELIVERY_CANCELLED, n);
    return err;
}

/* ---- what a token holds */

/* An expression: the row as it is then. NULL: no memory. */
static bson_t *moved(struct ctx *c, const struct queue_move *m)
{
    bson_t *row = mongo_bson(c), *rest = m->unset ? mongo_bson(c) : row;

    if (!row || !rest)
        return NULL;
    BCON_APPEND(row, "$unsetField", "{", "field", "lease", "input", "{",
                "$mergeObjects", "[", "$$ROOT", BCON_DOCUMENT(m->set), "]", "}",
                "}");
    if (m->unset)
        BCON_APPEND(rest, "$unsetField", "{", "field", BCON_UTF8(m->unset),
                    "input", BCON_DOCUMENT(row), "}");
    return rest;
}

/* Whose the lease is is asked in the pipeline: with nothing but an _id in its
 * filter an update needs no plan. */
enum err queue_change_held(struct ctx *c, const struct queue_move *m,
                           int64_t *out_n)
{
    bson_t *cmd = mongo_bson(c), *row = m->set ? moved(c, m) : NULL, *reply;
    enum err err;

    if (!cmd || !row)
        return ctx_no_memory(c);
    BCON_APPEND(cmd, "update", QUEUE_JOBS, "updates", "[", "{", "q", "{", "_id",
                BCON_UTF8(m->id.p), "}", "u", "[", "{", "$replaceWith", "{",
                "$cond", "[", "{", "$eq", "[", "$lease.tok",
                BCON_UTF8(m->token.p), "]", "}", BCON_DOCUMENT(row), "$$ROOT",
                "]", "}", "}", "]", "}", "]");
    err = m->kept ? mongo_write_majority(c, cmd, &reply)
                  : queue_write(c, cmd, &reply);
    if (err == OK)
        *out_n = queue_number(reply, "nModified");
    return err;
}

enum err queue_return_row(struct ctx *c, str id, str token, ms wait_ms,
                          bool listed)
{
    struct queue_move m = {.id = id, .token = token};
    bson_t *set = mongo_bson(c);
    int64_t n;

    if (!set)
        return ERR_OVERLOADED;
    BCON_APPEND(set, "st", BCON_UTF8(job_state_name(JOB_WAITING)), "starts",
                "{", "$max", "[", BCON_INT64(0),
                QUEUE_PLUS("$starts", (int64_t)-1), "]", "}");
    if (wait_ms > 0)
        BCON_APPEND(set, "runAt", "{", "$max", "[", "$runAt",
                    QUEUE_NOW_AND(wait_ms), "]", "}");
    m.set = set;
    m.unset = listed ? NULL : "enq";
    return queue_change_held(c, &m, &n);
}

enum err queue_unlist_row(struct ctx *c, str id)
{
    bson_t *cmd = mongo_bson(c), *q = mongo_bson(c), *reply;

    if (!cmd || !q)
        return ERR_OVERLOADED;
    queue_append_text(q, "_id", id);
    BCON_APPEND(cmd, "update", QUEUE_JOBS, "updates", "[", "{", "q",
                BCON_DOCUMENT(q), "u", "{", "$unset", "{", "enq", BCON_INT32(1),
                "}", "}", "}", "]");
    return queue_write(c, cmd, &reply);
}

/* ---- finish */

static enum err append_attempt(struct ctx *c, bson_t *set,
                               const struct job_result *r)
{
    const bson_t *by = queue_literal(c, str_of(c->conf->cluster_instance_id));
    bson_t *one = mongo_bson(c);

    if (!by || !one)
        return ERR_OVERLOADED;
    BCON_APPEND(one, "n", QUEUE_PLUS("$tries", (int64_t)1), "at",
                BCON_DATE_TIME(r->started_wall), "ms", BCON_INT64(r->took_ms),
                "code", BCON_INT32(r->code), "instance", BCON_DOCUMENT(by));
    if (r->error)
        BSON_APPEND_UTF8(one, "error", r->error);
    BCON_APPEND(set, "tries", QUEUE_PLUS("$tries", (int64_t)1), "attempts", "{",
                "$slice", "[", "{", "$concatArrays", "[", "{", "$ifNull", "[",
                "$attempts", "[", "]", "]", "}", "[", BCON_DOCUMENT(one), "]",
                "]", "}", BCON_INT32(-JOB_ATTEMPTS_KEPT), "]", "}");
    return OK;
}

/* What is sent once is no dead letter: it is never delivered again. */
enum job_state queue_state_after(enum job_verdict v, bool once)
{
    switch (v) {
    case VERDICT_DONE:
        return JOB_DONE;
    case VERDICT_DEAD:
        return once ? JOB_LOST : JOB_DEAD;
    case VERDICT_RETRY:
        break;
    }
    return JOB_WAITING;
}

static enum err end_try(struct ctx *c, const struct claim *cl,
                        const struct job_result *r, int64_t *out_n)
{
    enum job_state st = queue_state_after(r->verdict, cl->job.once);
    struct queue_move m = {
        .id = cl->job.id, .token = str_of(cl->token), .kept = cl->job.ordered};
    bson_t *set = mongo_bson(c);
    const bson_t *result = queue_literal(c, r->result);
    enum err err;

    if (!set || !result)
        return ERR_OVERLOADED;
    err = append_attempt(c, set, r);
    if (err)
        return err;
    BSON_APPEND_UTF8(set, "fin", cl->token);
    if (r->result.n > 0)
        BSON_APPEND_DOCUMENT(set, "result", result);
    if (st == JOB_WAITING)
        BCON_APPEND(set, "st", BCON_UTF8(job_state_name(st)), "runAt",
                    QUEUE_NOW_AND(r->delay_ms));
    else
        queue_append_end(set, c->conf, st, cl->job.once,
                         st == JOB_DONE ? NULL : r->reason);
    m.set = set;
    if (st != JOB_WAITING)
        m.unset = "open";
    else if (!cl->dataset[0])
        m.unset = "enq";
    return queue_change_held(c, &m, out_n);
}

enum err queue_find_by(struct ctx *c, const bson_t *filter, const bson_t **out)
{
    bson_t *fields = mongo_bson(c);

    if (!fields)
        return ERR_OVERLOADED;
    BSON_APPEND_INT32(fields, "body", 0);
    return find_one(c, filter, fields, out);
}

enum err queue_find_row(struct ctx *c, str id, const bson_t **out)
{
    bson_t *filter = mongo_bson(c);

    if (!filter)
        return ERR_OVERLOADED;
    queue_append_text(filter, "_id", id);
    return queue_find_by(c, filter, out);
}

static void count_end(enum job_verdict v)
{
    if (v != VERDICT_RETRY)
        metrics_add(METRIC_WEBHOOK_DELIVERIES,
                    v == VERDICT_DONE ? METRIC_DELIVERY_SUCCESS
                                      : METRIC_DELIVERY_DEAD,
                    1);
}

enum finish_result queue_finish_row(struct ctx *c, const struct claim *cl,
                                    const struct job_result *r)
{
    const bson_t *row;
    int64_t n = 0;
    enum err err = end_try(c, cl, r, &n);

    if (err == OK && n == 0) {
        err = queue_find_row(c, cl->job.id, &row);
        if (err == OK &&
            (!row || !str_eq(queue_text(row, "fin"), str_of(cl->token))))
            return FINISH_LATE;
    }
    if (err)
        return FINISH_UNKNOWN;
    if (n > 0 && !cl->job.once)
        count_end(r->verdict);
    return FINISH_DONE;
}
