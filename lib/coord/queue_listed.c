/* queue_listed - rows that others than workers change: the index in Redis hears
 * of it at once, best effort; see queue_inside.h */
#include "lib/base/clock.h"
#include "lib/coord/index_row.h"
#include "lib/coord/queue_inside.h"

enum {
    REMOVALS = 4 /* calls for one webhook, of 500 jobs each */
};

static bool in_use(const struct ctx *c)
{
    return c->index[0] != '\0';
}

void queue_list_job(struct ctx *c, enum job_queue q, const struct index_job *j)
{
    enum index_seat seat;

    if (in_use(c))
        (void)index_enqueue(c, q, INDEX_AT_ONCE, j, 1, &seat);
}

void queue_list_row(struct ctx *c, enum job_queue q, const struct subs *subs,
                    const bson_t *row)
{
    struct index_job one;

    if (index_row_read(c->conf, subs, row, clock_server_ms(), &one))
        queue_list_job(c, q, &one);
}

/* Up to INDEX_ENQUEUE_MAX rows at *it. */
static bool list_some(struct ctx *c, enum job_queue q, const struct subs *subs,
                      bson_iter_t *it)
{
    struct index_job jobs[INDEX_ENQUEUE_MAX];
    enum index_seat seats[INDEX_ENQUEUE_MAX];
    ms now = clock_server_ms();
    bson_t row;
    size_t n = 0;

    while (n < INDEX_ENQUEUE_MAX && mongo_next_doc(it, &row))
        n += index_row_read(c->conf, subs, &row, now, &jobs[n]);
    return n > 0 &&
           index_enqueue(c, q, INDEX_BY_SWEEP, jobs, n, seats) == INDEX_DONE;
}

void queue_list_ids(struct ctx *c, enum job_queue q, const bson_t *ids)
{
    bson_t *cmd = mongo_bson(c), *reply, batch;
    const struct subs *subs;
    bson_iter_t it;

    if (!in_use(c) || !cmd || bson_empty(ids))
        return;
    BCON_APPEND(cmd, "find", QUEUE_JOBS, "filter", "{", "_id", "{", "$in",
                BCON_ARRAY(ids), "}", "open", BCON_BOOL(true), "}", "batchSize",
                BCON_INT32((int32_t)bson_count_keys(ids)), "singleBatch",
                BCON_BOOL(true));
    index_row_project(cmd);
    if (subs_get(c, &subs) == OK && mongo_read(c, cmd, &reply) == OK &&
        mongo_reply_rows(reply, &batch) && bson_iter_init(&it, &batch))
        while (list_some(c, q, subs, &it))
            ;
    ctx_forgive(c); /* the sweep lists what is left */
}

void queue_unlist_all(struct ctx *c, enum job_queue q, str lim)
{
    int64_t left = 1;

    for (int i = 0; i < REMOVALS && left > 0 && in_use(c); i++)
        if (index_subscriber(c, q, lim, INDEX_REMOVE, 0, 0, &left) !=
            INDEX_DONE)
            return;
}

void queue_unlist(struct ctx *c, enum job_queue q, str id)
{
    if (in_use(c))
        (void)index_cancel(c, q, id);
}

void queue_hold_no_more(struct ctx *c, enum job_queue q, str lim)
{
    int64_t left;

    if (in_use(c))
        (void)index_subscriber(c, q, lim, INDEX_UNHOLD, 0, 0, &left);
}
