/* queue - what workers call; see queue.h and queue_inside.h */
#include "lib/coord/queue.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/coord/queue_inside.h"

enum {
    TURNS = 16,           /* looks in a claim */
    SLACK_LEAST_MS = 250, /* else a busy host gives back all that it takes */
    SLACK_MOST_MS = 1000
};

ms queue_slack_ms(const struct conf *conf)
{
    ms part = conf->webhook_rate_limit_window_ms / 50;

    if (part < SLACK_LEAST_MS)
        return SLACK_LEAST_MS;
    return part < SLACK_MOST_MS ? part : SLACK_MOST_MS;
}

/* By what a claim says, or the word of the coordinator. */
static const struct claim_path *path_of(const char *dataset)
{
    return *dataset ? &queue_by_index : &queue_by_rows;
}

bool queue_is_refused(const struct ctx *c)
{
    return c->err != OK && c->err != ERR_DB_UNAVAILABLE &&
           c->err != ERR_TIME_LIMIT && c->err != ERR_OVERLOADED;
}

bool queue_note_refused(struct ctx *c, str lim)
{
    if (!queue_is_refused(c))
        return false;
    log_note(LOG_WARN, "queue.left_out", STR_FMT ": %s", STR_ARG(lim),
             c->reason);
    ctx_forgive(c);
    return true;
}

bool queue_undo_refused(struct ctx *c, str token)
{
    int64_t n;

    if (queue_recover_row(c, token, false, &n) == OK)
        return true;
    if (!queue_is_refused(c))
        return false;
    ctx_forgive(c);
    return true;
}

bool queue_is_id(str s)
{
    size_t i = 0;

    while (i < s.n && s.p[i] > ' ' && s.p[i] <= '~')
        i++;
    return s.n > 0 && s.n < JOB_ID_MAX && i == s.n;
}

/* ---- the start of a row */

enum err queue_judge_stranger(struct ctx *c, enum job_queue q,
                              const struct candidate *job, bool *out_deleted)
{
    const bson_t *row;
    int64_t n;
    enum err err = webhook_get(c, job->subscriber, &row);

    *out_deleted = false;
    if (err != ERR_WEBHOOK_NOT_FOUND && err != ERR_BAD_ID)
        return err; /* OK: the snapshot is older than the webhook */
    ctx_forgive(c);
    *out_deleted = true;
    /* this one too when it is what a worker left whose lease is over */
    err = queue_cancel_row(c, job->id, job->once);
    if (err == OK && !queue_is_test(job->lim))
        err = queue_cancel(c, q, job->subscriber, &n);
    return err;
}

/* What is started once, or has an order, was started as such. */
static bool is_what(const struct job *row, const struct candidate *job)
{
    return str_eq(row->lim, job->lim) && str_eq(row->group, job->group) &&
           (job->once || !row->once);
}

/* The row is the token's, but must not go on. */
static enum turn put_back(struct ctx *c, struct turns *t, struct candidate *job,
                          const struct left *why)
{
    ms wait = why->why == LEFT_BEHIND ? QUEUE_ORDER_MS : 0;
    bool listed = t->path->lists && why->why != LEFT_WRONG;
    enum err err =
        queue_return_row(c, job->id, str_of(t->out->token), wait, listed);

    return err ? TURN_UNKNOWN : t->path->left(c, t, job, why);
}

static enum turn go_on(struct ctx *c, struct turns *t, struct candidate *job)
{
    const struct job *row = &t->out->job;
    struct blocker by = {false, NULL};

    if (!is_what(row, job))
        return put_back(c, t, job, &(struct left){.why = LEFT_WRONG});
    t->path->started(c, t, job);
    if (!row->ordered)
        return TURN_GOT;
    if (queue_find_blocker(c, row, str_of(t->out->token), &by) != OK)
        return TURN_UNKNOWN;
    if (!by.any)
        return TURN_GOT;
    return put_back(c, t, job,
                    &(struct left){.why = LEFT_BEHIND, .older = by.older});
}

static enum turn start(struct ctx *c, struct turns *t, struct candidate *job)
{
    struct start s = {.token = t->out->token, .lease_ms = t->k->lease_ms};
    ms sent_boot = clock_boot_ms();
    struct left why = {.why = LEFT_REFUSED};

    switch (queue_start(c, job, &s)) {
    case START_OK:
        t->out->lease_end_boot = sent_boot + t->k->lease_ms;
        if (job_read(s.row, &t->out->job))
            return go_on(c, t, job);
        break;
    case START_UNKNOWN:
        if (!queue_note_refused(c, job->lim))
            return TURN_UNKNOWN;
        break;
    case START_GONE:
        why.why = LEFT_GONE;
        break;
    case START_WAIT:
        why = (struct left){LEFT_WAIT, s.wait_ms, s.leased, NULL};
        break;
    }
    return t->path->left(c, t, job, &why);
}

static enum turn take_turn(struct ctx *c, struct turns *t)
{
    struct candidate job;
    enum turn turn = t->path->find(c, t, &job);

    t->tried = 0;
    if (turn == TURN_GOT)
        do
            turn = start(c, t, &job);
        while (turn == TURN_AGAIN);
    return turn;
}

/* ---- claims */

static enum claim_result unknown(struct ctx *c)
{
    if (queue_is_refused(c))
        log_note(LOG_WARN, "queue.refused", "%s", c->reason);
    ctx_forgive(c);
    return CLAIM_UNKNOWN;
}

enum claim_result queue_claim(struct ctx *c, struct claimant *k,
                              const char *token, struct claim *out)
{
    struct turns t = {.k = k, .out = out, .path = path_of(c->index)};
    enum turn turn = TURN_NEXT;

    *out = (struct claim){.slack_ms = queue_slack_ms(c->conf)};
    snprintf(out->token, sizeof out->token, "%s", token);
    snprintf(out->dataset, sizeof out->dataset, "%s", c->index);
    if (subs_get(c, &t.subs) != OK)
        return unknown(c);
    t.path->begin(&t);
    for (int i = 0; i < TURNS && turn == TURN_NEXT; i++)
        turn = take_turn(c, &t);
    switch (turn) {
    case TURN_GOT:
        return CLAIM_GOT;
    case TURN_AWAY:
        return CLAIM_AWAY;
    case TURN_UNKNOWN:
        return unknown(c);
    case TURN_NEXT:
    case TURN_AGAIN:
    case TURN_NONE:
        break;
    }
    out->wait_ms = t.path->wait(&t);
    return CLAIM_NONE;
}

/* ---- what became of a job */

struct settlement queue_settlement(const struct claim *cl,
                                   const struct job_result *r)
{
    if (!r)
        return (struct settlement){.back = !cl->sent};
    return (struct settlement){.health = r->health,
                               .hold_ms = r->hold_ms,
                               .attempts = 1,
                               .delivered = r->verdict == VERDICT_DONE,
                               .failed = r->verdict != VERDICT_DONE,
                               .dead = r->verdict == VERDICT_DEAD,
                               .took_ms = r->took_ms};
}

/* The row comes first: it decides, and says whether there is anything to
 * settle. */
static enum finish_result settle(struct ctx *c, struct claimant *k,
                                 const struct claim *cl,
                                 const struct job_result *r)
{
    if (path_of(cl->dataset)->settle(c, k, cl, r) == OK)
        return FINISH_DONE;
    return FINISH_UNKNOWN;
}

static enum finish_result noted(struct ctx *c, enum finish_result result)
{
    if (result == FINISH_UNKNOWN && c->err != ERR_DB_UNAVAILABLE &&
        c->err != ERR_TIME_LIMIT)
        log_note(LOG_WARN, "queue.refused", "%s", c->reason);
    if (result == FINISH_UNKNOWN)
        ctx_forgive(c);
    return result;
}

enum finish_result queue_finish(struct ctx *c, struct claimant *k,
                                const struct claim *cl,
                                const struct job_result *r)
{
    enum finish_result result = queue_finish_row(c, cl, r);

    return noted(c, result == FINISH_DONE ? settle(c, k, cl, r) : result);
}

enum finish_result queue_give_back(struct ctx *c, struct claimant *k,
                                   const struct claim *cl)
{
    enum err err = queue_return_row(c, cl->job.id, str_of(cl->token), 0,
                                    path_of(cl->dataset)->lists);

    return noted(c, err ? FINISH_UNKNOWN : settle(c, k, cl, NULL));
}

void queue_settle_up(struct ctx *c, struct claimant *k)
{
    queue_tell(c, k);
    if (k->tally)
        tally_flush(k->tally, c, false);
}
