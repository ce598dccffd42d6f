/* queue_list - deliveries and dead letters listed, tests of webhooks; see
 * queue.h */
#include "lib/coord/queue.h"

#include "lib/base/conf.h"
#include "lib/coord/queue_inside.h"
#include "lib/data/rows.h"

/* Newest first by `by`, as an array document. */
static enum err list(struct ctx *c, bson_t *filter, const char *by,
                     int64_t limit, const bson_t **out)
{
    bson_t *sort = mongo_bson(c), *but = mongo_bson(c), *array = mongo_bson(c);
    struct rows_find f = {QUEUE_JOBS, filter, sort, but, .limit = limit};
    const bson_t *row = NULL;
    const char *index;
    struct rows *rows;
    char text[16];
    enum err err;

    if (!sort || !but || !array)
        return ERR_OVERLOADED;
    BSON_APPEND_INT32(sort, by, -1);
    BSON_APPEND_INT32(but, "body", 0);
    err = rows_find(c, &f, &rows);
    for (uint32_t i = 0; err == OK; i++) {
        err = rows_next(c, rows, &row);
        if (err || !row)
            break;
        bson_uint32_to_string(i, &index, text, sizeof text);
        BSON_APPEND_DOCUMENT(array, index, row);
    }
    *out = array;
    return err;
}

static void append_before(bson_t *filter, const char *name, ms before)
{
    if (before != INT64_MAX)
        BCON_APPEND(filter, name, "{", "$lt", BCON_DATE_TIME(before), "}");
}

enum err queue_list_dead(struct ctx *c, enum job_queue q, str webhook_id,
                         int64_t limit, ms before, const bson_t **out_rows,
                         int64_t *out_total)
{
    bson_t *filter = mongo_bson(c), *page = mongo_bson(c);
    enum err err;

    if (!filter || !page)
        return ERR_OVERLOADED;
    BCON_APPEND(filter, "q", BCON_UTF8(job_queue_name(q)), "st",
                BCON_UTF8(job_state_name(JOB_DEAD)));
    if (webhook_id.n > 0)
        queue_append_text(filter, "sub", webhook_id);
    bson_concat(page, filter);
    if (before == INT64_MAX)
        BCON_APPEND(page, "endAt", "{", "$exists", BCON_BOOL(true), "}");
    BCON_APPEND(filter, "endAt", "{", "$exists", BCON_BOOL(true), "}");
    append_before(page, "endAt", before);
    err = queue_count_rows(c, filter, out_total);
    return err ? err : list(c, page, "endAt", limit, out_rows);
}

enum err queue_list(struct ctx *c, str webhook_id, str status, int64_t limit,
                    ms before, const bson_t **out_rows)
{
    bson_t *filter = mongo_bson(c);

    if (!filter)
        return ERR_OVERLOADED;
    queue_append_text(filter, "sub", webhook_id);
    append_before(filter, "at", before);
    if (status.n > 0 && !job_status_filter(status, filter))
        return ctx_fail(c, ERR_BAD_QUERY,
                        "status is pending, delivering, retrying, success, "
                        "dead or cancelled");
    return list(c, filter, "at", limit, out_rows);
}

/* ---- the test of a webhook */

/* It has no limit and no order. */
static void list_test(struct ctx *c, const struct job_new *n)
{
    const struct index_job one = {.id = n->id,
                                  .lim = n->lim,
                                  .group = n->group,
                                  .cls = n->cls,
                                  .ts = n->ts,
                                  .once = n->once};

    queue_list_job(c, n->queue, &one);
}

enum err queue_insert_test(struct ctx *c, const struct job_new *n)
{
    bson_t *cmd = mongo_bson(c), *row, *reply;
    enum err err = cmd ? job_row(c, n, &row) : ERR_OVERLOADED;

    if (err)
        return err;
    BCON_APPEND(cmd, "insert", QUEUE_JOBS, "documents", "[", BCON_DOCUMENT(row),
                "]");
    err = mongo_write_majority(c, cmd, &reply);
    if (err == ERR_DUPLICATE_KEY) { /* a repeat: its id is drawn */
        ctx_forgive(c);
        return OK;
    }
    if (err == OK)
        list_test(c, n);
    return err;
}

enum err queue_look_at_test(struct ctx *c, str id, bool *out_started,
                            const bson_t **out_row)
{
    const bson_t *row;
    enum err err = queue_find_row(c, id, &row);

    if (err)
        return err;
    if (!row)
        return ctx_fail(c, ERR_DELIVERY_NOT_FOUND, "No such delivery");
    *out_started = queue_number(row, "starts") > 0;
    *out_row = bson_has_field(row, "open") ? NULL : row;
    return OK;
}

enum err queue_withdraw_test(struct ctx *c, str id, bool *out_was)
{
    const bson_t *row;
    enum err err = queue_cancel_row(c, id, true);

    if (err == OK)
        err = queue_find_row(c, id, &row);
    if (err == OK)
        queue_unlist(c, QUEUE_WEBHOOK, id);
    if (err == OK)
        *out_was = row && str_eq(queue_text(row, "st"),
                                 str_of(job_state_name(JOB_CANCELLED)));
    return err;
}
