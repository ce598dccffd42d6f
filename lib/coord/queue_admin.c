/* queue_admin - pause, holds, cancelling, replay; see queue.h */
#include "lib/coord/queue.h"

#include "lib/base/conf.h"
#include "lib/base/metrics.h"
#include "lib/coord/queue_inside.h"
#include "lib/data/doc.h"

enum {
    CANCEL_MOST = 500,
    REPLAY_MOST = 1000,
    PAGES = 20 /* of dead letters looked at in one replay */
};

enum err queue_pause(struct ctx *c, enum job_queue q, bool on)
{
    str id = arena_strf(&c->arena, "queue:%s", job_queue_name(q));
    bson_t *cmd = mongo_bson(c), *reply;

    if (!id.p || !cmd)
        return ctx_no_memory(c);
    BCON_APPEND(cmd, "update", "_cluster", "updates", "[", "{", "q", "{", "_id",
                BCON_UTF8(id.p), "}", "u", "{", "$set", "{", "paused",
                BCON_BOOL(on), "}", "}", "upsert", BCON_BOOL(true), "}", "]");
    return mongo_write_majority(c, cmd, &reply);
}

enum err queue_unhold(struct ctx *c, enum job_queue q, str lim)
{
    enum err err = mongo_queue_hold(c, q, lim, 0);

    if (err == OK)
        queue_hold_no_more(c, q, lim);
    return err;
}

/* ---- many rows */

/* Appends value `name` of a row to the array. */
static void append_value(bson_t *array, const bson_t *row, const char *name)
{
    const char *index;
    bson_iter_t it;
    char text[16];

    bson_uint32_to_string(bson_count_keys(array), &index, text, sizeof text);
    if (bson_iter_init_find(&it, row, name))
        bson_append_iter(array, index, -1, &it);
}

static enum err find_ids(struct ctx *c, const struct rows_find *f, bson_t *ids)
{
    const bson_t *row;
    struct rows *rows;
    enum err err = rows_find(c, f, &rows);

    while (err == OK) {
        err = rows_next(c, rows, &row);
        if (err || !row)
            break;
        append_value(ids, row, "_id");
    }
    return err;
}

static enum err change_rows(struct ctx *c, const bson_t *ids, enum job_state st,
                            const bson_t *set, const bson_t *unset,
                            int64_t *out_n)
{
    bson_t *cmd = mongo_bson(c), *reply;
    enum err err;

    *out_n = 0;
    if (!cmd)
        return ERR_OVERLOADED;
    if (bson_empty(ids))
        return OK;
    BCON_APPEND(cmd, "update", QUEUE_JOBS, "updates", "[", "{", "q", "{", "_id",
                "{", "$in", BCON_ARRAY(ids), "}", "st",
                BCON_UTF8(job_state_name(st)), "}", "u", "[", "{", "$set",
                BCON_DOCUMENT(set), "}", "{", "$unset", BCON_ARRAY(unset), "}",
                "]", "multi", BCON_BOOL(true), "}", "]");
    err = mongo_write_majority(c, cmd, &reply);
    if (err == OK)
        *out_n = queue_number(reply, "n");
    return err;
}

/* ---- cancelling */

/* Its groups are its id, and its id with ':' and a document behind. */
static bson_t *waiting_of(struct ctx *c, str subscriber)
{
    str from = arena_str(&c->arena, subscriber),
        end = arena_strf(&c->arena, STR_FMT ";", STR_ARG(subscriber));
    bson_t *filter = mongo_bson(c);

    if (!from.p || !end.p || !filter)
        return NULL;
    BCON_APPEND(filter, "g", "{", "$gte", BCON_UTF8(from.p), "$lt",
                BCON_UTF8(end.p), "}", "open", BCON_BOOL(true), "st",
                BCON_UTF8(job_state_name(JOB_WAITING)), "lim",
                BCON_UTF8(from.p));
    return filter;
}

static enum err remove_limits(struct ctx *c, enum job_queue q, str lim)
{
    const char *id = queue_limits_id(c, q, lim);
    bson_t *cmd = mongo_bson(c), *reply;

    if (!id || !cmd)
        return ctx_no_memory(c);
    BCON_APPEND(cmd, "delete", QUEUE_LIMITS, "deletes", "[", "{", "q", "{",
                "_id", BCON_UTF8(id), "}", "limit", BCON_INT32(1), "}", "]");
    return mongo_write(c, cmd, &reply, NULL);
}

enum err queue_cancel(struct ctx *c, enum job_queue q, str subscriber,
                      int64_t *out_n)
{
    const bson_t *filter = waiting_of(c, subscriber);
    bson_t *set = mongo_bson(c), *unset = mongo_bson(c), *ids = mongo_bson(c);
    bson_t *only_id = mongo_bson(c);
    struct rows_find f = {QUEUE_JOBS, filter, NULL, only_id,
                          .limit = CANCEL_MOST};
    enum err err;

    if (!filter || !set || !unset || !ids || !only_id)
        return ctx_no_memory(c);
    BSON_APPEND_INT32(only_id, "_id", 1);
    err = find_ids(c, &f, ids);
    if (err)
        return err;
    queue_append_end(set, c->conf, JOB_CANCELLED, false, NULL);
    BCON_APPEND(unset, "0", "open", "1", "lease");
    err = change_rows(c, ids, JOB_WAITING, set, unset, out_n);
    if (err)
        return err;
    metrics_add(METRIC_WEBHOOK_DELIVERIES, METRIC_DELIVERY_CANCELLED, *out_n);
    queue_unlist_all(c, q, subscriber);
    return bson_count_keys(ids) < CANCEL_MOST ? remove_limits(c, q, subscriber)
                                              : OK;
}

/* ---- replay */

static enum err append_replay(struct ctx *c, bson_t **out_set,
                              bson_t **out_unset)
{
    bson_t *set = mongo_bson(c), *unset = mongo_bson(c);

    if (!set || !unset)
        return ERR_OVERLOADED;
    BCON_APPEND(set, "st", BCON_UTF8(job_state_name(JOB_WAITING)), "open",
                BCON_BOOL(true), "runAt", "$$NOW", "tries", BCON_INT64(0),
                "starts", BCON_INT64(0), "stalls", BCON_INT64(0), "replays",
                "{", "$add", "[", "$replays", BCON_INT64(1), "]", "}");
    BCON_APPEND(unset, "0", "endAt", "1", "exp", "2", "reason", "3", "fin", "4",
                "enq", "5", "lease");
    *out_set = set;
    *out_unset = unset;
    return OK;
}

static enum err no_delivery(struct ctx *c)
{
    return ctx_fail(c, ERR_DELIVERY_NOT_FOUND, "No such delivery");
}

/* What may be replayed: ended by itself, and its webhook is still there. */
static enum err judge_replay(struct ctx *c, const bson_t *row)
{
    const bson_t *webhook;
    struct job job;

    if (!row || !job_read(row, &job))
        return no_delivery(c);
    if (job.once || (job.state != JOB_DONE && job.state != JOB_DEAD))
        return ctx_fail(c, ERR_WRONG_STATE,
                        "A delivery is replayed when it has succeeded or is "
                        "dead; this one is %s",
                        job.once ? "a test" : job_status(row));
    return webhook_get(c, job.subscriber, &webhook);
}

enum err queue_replay(struct ctx *c, str delivery_id, const bson_t **out_row)
{
    bson_t *set, *unset, *ids = mongo_bson(c);
    const bson_t *row;
    struct job job;
    int64_t n;
    enum err err;

    if (!job_is_id(delivery_id))
        return ctx_fail(c, ERR_BAD_ID, "Not the id of a delivery");
    err = queue_find_row(c, delivery_id, &row);
    if (err == OK)
        err = judge_replay(c, row);
    if (err == OK)
        err = append_replay(c, &set, &unset);
    if (err)
        return err;
    if (!ids || !job_read(row, &job))
        return ctx_no_memory(c);
    append_value(ids, row, "_id");
    err = change_rows(c, ids, job.state, set, unset, &n);
    if (err)
        return err;
    if (n == 0)
        return ctx_fail(c, ERR_WRONG_STATE, "Somebody else replays it");
    err = queue_find_row(c, delivery_id, out_row);
    if (err || !*out_row)
        return err ? err : no_delivery(c);
    queue_list_ids(c, QUEUE_WEBHOOK, ids);
    return OK;
}

/* ---- replay of dead letters */

static bson_t *dead_filter(struct ctx *c, enum job_queue q,
                           const struct queue_dead *which)
{
    bson_t *filter = mongo_bson(c), ids, in;
    const char *index;
    char text[16];

    if (!filter)
        return NULL;
    BCON_APPEND(filter, "q", BCON_UTF8(job_queue_name(q)), "st",
                BCON_UTF8(job_state_name(JOB_DEAD)));
    if (which->webhook_id.n > 0)
        queue_append_text(filter, "sub", which->webhook_id);
    BSON_APPEND_DOCUMENT_BEGIN(filter, "endAt", &in);
    if (which->since == INT64_MIN)
        BSON_APPEND_BOOL(&in, "$exists", true);
    else
        BSON_APPEND_DATE_TIME(&in, "$gte", which->since);
    bson_append_document_end(filter, &in);
    if (which->ids_n == 0)
        return filter;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &in);
    BSON_APPEND_ARRAY_BEGIN(&in, "$in", &ids);
    for (size_t i = 0; i < which->ids_n; i++) {
        bson_uint32_to_string((uint32_t)i, &index, text, sizeof text);
        queue_append_text(&ids, index, which->ids[i]);
    }
    bson_append_array_end(&in, &ids);
    bson_append_document_end(filter, &in);
    return filter;
}

/* The webhook ids of rows as a set; which of them there are in `_webhooks`. */
struct replay {
    const bson_t *filter;
    bson_t *ids; /* chosen rows */
    int64_t chosen, skipped, seen;
    bson_t known; /* webhook id: is it there; asked once each */
};

static bool lives(struct ctx *c, struct replay *r, str webhook, enum err *err)
{
    const bson_t *row;
    bson_iter_t it;
    str key = arena_str(&c->arena, webhook);

    if (!key.p) {
        *err = ctx_no_memory(c);
        return false;
    }
    if (bson_iter_init_find(&it, &r->known, key.p))
        return bson_iter_as_bool(&it);
    *err = webhook_get(c, webhook, &row);
    if (*err == OK) {
        BSON_APPEND_BOOL(&r->known, key.p, true);
        return true;
    }
    if (*err != ERR_WEBHOOK_NOT_FOUND && *err != ERR_BAD_ID)
        return false;
    ctx_forgive(c);
    *err = OK;
    BSON_APPEND_BOOL(&r->known, key.p, false);
    return false;
}

/* The next page of dead letters, oldest first; *out_n: rows of it. */
static enum err choose_page(struct ctx *c, struct replay *r, int64_t *out_n)
{
    bson_t *sort = mongo_bson(c), *members = mongo_bson(c);
    struct rows_find f = {QUEUE_JOBS, r->filter,       sort,
                          members,    .skip = r->seen, .limit = REPLAY_MOST};
    const bson_t *row;
    struct rows *rows;
    enum err err;

    if (!sort || !members)
        return ERR_OVERLOADED;
    BCON_APPEND(sort, "endAt", BCON_INT32(1));
    BCON_APPEND(members, "sub", BCON_INT32(1));
    err = rows_find(c, &f, &rows);
    for (*out_n = 0; err == OK && r->chosen < REPLAY_MOST; ++*out_n) {
        err = rows_next(c, rows, &row);
        if (err || !row)
            break;
        if (lives(c, r, queue_text(row, "sub"), &err)) {
            append_value(r->ids, row, "_id");
            r->chosen++;
        } else if (err == OK) {
            r->skipped++;
        }
    }
    r->seen += *out_n;
    return err;
}

static enum err choose_rows(struct ctx *c, struct replay *r)
{
    int64_t n = REPLAY_MOST;
    enum err err = OK;

    for (int i = 0;
         i < PAGES && n == REPLAY_MOST && r->chosen < REPLAY_MOST && err == OK;
         i++)
        err = choose_page(c, r, &n);
    return err;
}

enum err queue_count_rows(struct ctx *c, const bson_t *filter, int64_t *out)
{
    return doc_count(c, QUEUE_JOBS, filter, 0, out);
}

enum err queue_replay_dead(struct ctx *c, enum job_queue q,
                           const struct queue_dead *which,
                           struct queue_replayed *out)
{
    struct replay r = {.filter = dead_filter(c, q, which),
                       .ids = mongo_bson(c),
                       .known = BSON_INITIALIZER};
    bson_t *set, *unset;
    int64_t left = 0;
    enum err err = r.filter && r.ids ? choose_rows(c, &r) : ctx_no_memory(c);

    bson_destroy(&r.known);
    if (err == OK)
        err = append_replay(c, &set, &unset);
    if (err == OK)
        err = change_rows(c, r.ids, JOB_DEAD, set, unset, &out->replayed);
    if (err == OK)
        err = queue_count_rows(c, r.filter, &left);
    if (err)
        return err;
    queue_list_ids(c, q, r.ids);
    out->skipped = r.skipped;
    out->remaining = left > r.skipped ? left - r.skipped : 0;
    return OK;
}
