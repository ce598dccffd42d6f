/* queue_recover - what workers that are no more have left; see queue.h */
#include "lib/coord/queue.h"

#include "lib/base/metrics.h"
#include "lib/coord/queue_inside.h"

enum {
    TRIES = 2 /* where the reply of the index was lost */
};

static enum err recover_row(struct ctx *c, const bson_t *row, str token,
                            bool died, int64_t *out_n)
{
    bool once = bson_has_field(row, "once");
    bool poison = queue_number(row, "stalls") + 1 >= JOB_STALLS_MAX;
    bson_t *set = mongo_bson(c);
    struct queue_move m = {.id = queue_text(row, "_id"), .token = token};
    enum err err;

    if (!died) {
        *out_n = 1;
        return queue_return_row(c, m.id, token, 0, false);
    }
    if (!set)
        return ERR_OVERLOADED;
    BCON_APPEND(set, "stalls", QUEUE_PLUS("$stalls", (int64_t)1));
    if (once || poison)
        queue_append_end(set, c->conf, once ? JOB_LOST : JOB_DEAD, once,
                         once ? "killed" : "poison");
    else
        BSON_APPEND_UTF8(set, "st", job_state_name(JOB_WAITING));
    m.set = set;
    m.unset = once || poison ? "open" : "enq";
    err = queue_change_held(c, &m, out_n);
    if (err || *out_n == 0)
        return err;
    if (once || !poison)
        return OK;
    metrics_add(METRIC_WEBHOOK_DELIVERIES, METRIC_DELIVERY_DEAD, 1);
    return tally_once(c, QUEUE_WEBHOOK, queue_text(row, "lim"),
                      &(struct settlement){.dead = 1});
}

/* What its worker would have told after the finish of this row. */
static struct settlement settlement_of(const bson_t *row)
{
    str st = queue_text(row, "st");
    bool done = str_eq(st, STR("done")), dead = str_eq(st, STR("dead"));

    return (struct settlement){.health = done ? HEALTH_OK : HEALTH_FAILED,
                               .attempts = 1,
                               .delivered = done,
                               .failed = !done,
                               .dead = dead};
}

/* The token has no row: its charge is for nothing, or only not settled. */
static enum err recover_charge(struct ctx *c, str token)
{
    bson_t *filter = mongo_bson(c), ids;
    const bson_t *row = NULL;
    struct settlement s;
    str lim;
    bool found;
    enum err err = filter
                       ? mongo_queue_find_charge(c, token, &lim, &ids, &found)
                       : ERR_OVERLOADED;

    if (err || !found)
        return err;
    BCON_APPEND(filter, "_id", "{", "$in", BCON_ARRAY(&ids), "}", "fin",
                BCON_UTF8(token.p));
    err = queue_find_by(c, filter, &row);
    if (err)
        return err;
    if (!row)
        return mongo_queue_drop(c, token);
    s = settlement_of(row);
    return mongo_queue_settle(c, QUEUE_WEBHOOK, lim, token, &s);
}

enum err queue_recover_row(struct ctx *c, str token, bool died, int64_t *out_n)
{
    const struct settlement s = {.back = !died};
    bson_t *filter = mongo_bson(c);
    const bson_t *row;
    enum err err;

    if (!filter)
        return ERR_OVERLOADED;
    *out_n = 0;
    token = arena_str(&c->arena, token);
    if (!token.p)
        return ctx_no_memory(c);
    queue_append_text(filter, "lease.tok", token);
    err = queue_find_by(c, filter, &row);
    if (err || !row)
        return err ? err : recover_charge(c, token);
    err = recover_row(c, row, token, died, out_n);
    if (err == OK && *out_n == 0) /* its finish came in between */
        return recover_charge(c, token);
    if (err || queue_is_test(queue_text(row, "lim")))
        return err;
    return mongo_queue_settle(c, QUEUE_WEBHOOK, queue_text(row, "lim"), token,
                              &s);
}

/* The rows first: what is granted again must find its row free. */
enum err queue_recover(struct ctx *c, str token, bool died, int64_t *out_n)
{
    enum err err = queue_recover_row(c, token, died, out_n);
    enum index_result r = INDEX_UNKNOWN;
    int64_t n;

    for (int i = 0; i < TRIES && err == OK && r == INDEX_UNKNOWN; i++)
        r = died ? index_recover_ran(c, QUEUE_WEBHOOK, token, &n)
                 : index_recover(c, QUEUE_WEBHOOK, token, &n);
    return err;
}
