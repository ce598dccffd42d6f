/*
 * queue_index - the claim path through the index in Redis; see queue_inside.h
 *
 * One script tells what became of the last job and grants the next one. What a
 * worker has not told yet is in its claimant; another thing that is to be told
 * meanwhile pushes that out. The row decides: whatever of the index does not
 * agree with it is told so, and is listed again from the row by the sweep.
 */
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/coord/queue_inside.h"

enum {
    NET_MS = 1000, /* until something may have come without a wake-up */
    RACE_MS = 5,   /* nothing but rows that have ended: there is more */
    LEASED_MOST_MS = 1000,
    BEYOND_MS = 50, /* a row is due before it is tried again */
    REFUSED_MS = 1000,
    STRANGER_MS = 250, /* a webhook that is newer than the snapshot */
    DISABLED_MS = 60000
};

/* ---- telling */

static enum turn turn_of(enum index_result r)
{
    switch (r) {
    case INDEX_DONE:
        return TURN_GOT;
    case INDEX_STALE:
    case INDEX_AWAY:
    case INDEX_REFUSED:
        return TURN_AWAY;
    case INDEX_UNKNOWN:
        break;
    }
    return TURN_UNKNOWN;
}

/* What is kept of a data set that is no more goes the same way: in another one
 * it is nothing. */
static enum index_result step(struct ctx *c, struct claimant *k,
                              const struct index_ask *ask,
                              struct index_step *out)
{
    enum index_result r =
        index_step(c, k->queue, ask, k->has_told ? &k->told : NULL, out);

    if (r == INDEX_DONE || r == INDEX_STALE)
        k->has_told = false;
    return r;
}

void queue_tell(struct ctx *c, struct claimant *k)
{
    const struct index_ask ask = {.token = k->told.token,
                                  .lease_ms = k->lease_ms};
    struct index_step out;

    if (k->has_told && c->index[0])
        (void)step(c, k, &ask, &out);
}

/* The next step tells it. */
static void note_told(struct ctx *c, struct claimant *k,
                      const struct index_told *told)
{
    if (k->has_told)
        queue_tell(c, k);
    k->told = *told;
    k->has_told = true;
}

static struct index_told told_of(const char *dataset, str id, str token)
{
    struct index_told told = {.health = HEALTH_SAME};

    snprintf(told.dataset, sizeof told.dataset, "%s", dataset);
    snprintf(told.id, sizeof told.id, STR_FMT, STR_ARG(id));
    snprintf(told.token, sizeof told.token, STR_FMT, STR_ARG(token));
    return told;
}

/* Of this claim; the next turn tells it. */
static enum turn tell(struct ctx *c, struct turns *t, str id,
                      enum index_verdict verdict, ms delay_ms)
{
    struct index_told told =
        told_of(t->out->dataset, id, str_of(t->out->token));

    told.verdict = verdict;
    told.delay_ms = delay_ms;
    note_told(c, t->k, &told);
    return TURN_NEXT;
}

/* ---- a job is found */

static void begin(struct turns *t)
{
    t->wait_ms = RACE_MS;
}

static void note_foreign(str what)
{
    metrics_add(METRIC_QUEUE_FOREIGN, 0, 1);
    log_note(LOG_WARN, "queue.foreign", "%.*s", what.n < 64 ? (int)what.n : 64,
             what.p ? what.p : "");
}

/* It cannot be told of by its name in a told: it waits again, and is removed.
 */
static enum turn remove_unusable(struct ctx *c, struct turns *t, str id)
{
    enum job_queue q = t->k->queue;
    enum index_result r;
    int64_t n;

    note_foreign(STR("a job of the index whose id no row can have"));
    r = index_recover(c, q, str_of(t->out->token), &n);
    if (r == INDEX_DONE)
        r = index_cancel(c, q, id);
    return r == INDEX_DONE ? TURN_NEXT : turn_of(r);
}

/* The index takes the row for another one than it is: it is listed anew, once
 * the index has forgotten what it had. */
static enum turn forget(struct ctx *c, struct turns *t, str id)
{
    note_foreign(id);
    (void)tell(c, t, id, INDEX_GONE, 0);
    queue_tell(c, t->k);
    return queue_unlist_row(c, id) == OK ? TURN_NEXT : TURN_UNKNOWN;
}

static enum turn judge_stranger(struct ctx *c, struct turns *t,
                                struct candidate *job)
{
    bool deleted;

    if (queue_judge_stranger(c, t->k->queue, job, &deleted) != OK)
        return TURN_UNKNOWN;
    return deleted ? tell(c, t, job->id, INDEX_GONE, 0)
                   : tell(c, t, job->id, INDEX_BACK, STRANGER_MS);
}

/* Of a job that is a test, or whose subscriber the snapshot does not know: only
 * the row can say what it is. */
static enum turn ask_row(struct ctx *c, struct turns *t, struct candidate *job)
{
    const bson_t *row;

    if (queue_find_row(c, job->id, &row) != OK)
        return TURN_UNKNOWN;
    if (!row || !bson_has_field(row, "open"))
        return tell(c, t, job->id, INDEX_GONE, 0);
    if (!str_eq(queue_text(row, "lim"), job->lim) ||
        !str_eq(queue_text(row, "g"), job->group))
        return forget(c, t, job->id);
    job->subscriber = queue_text(row, "sub");
    t->out->target = subs_by_id(t->subs, job->subscriber);
    return t->out->target ? TURN_GOT : judge_stranger(c, t, job);
}

/*
 * Its webhook is disabled: all of it waits. Whether it still is so is asked
 * after the index was told: who enables it ends the hold after that, or is seen
 * here.
 */
static enum turn hold(struct ctx *c, struct turns *t,
                      const struct candidate *job)
{
    const bson_t *row;
    struct webhook w;
    int64_t left;
    enum err err;

    (void)tell(c, t, job->id, INDEX_BACK, 0);
    t->k->told.hold_ms = DISABLED_MS;
    queue_tell(c, t->k);
    err = webhook_get(c, job->lim, &row);
    if (err == OK && webhook_read(&c->arena, c->conf, row, &w) && w.enabled)
        (void)index_subscriber(c, t->k->queue, job->lim, INDEX_UNHOLD, 0, 0,
                               &left);
    if (err == ERR_WEBHOOK_NOT_FOUND)
        ctx_forgive(c);
    return c->err ? TURN_UNKNOWN : TURN_NEXT;
}

static enum turn judge(struct ctx *c, struct turns *t, struct candidate *job)
{
    enum turn turn = TURN_GOT;

    t->out->target =
        queue_is_test(job->lim) ? NULL : subs_by_id(t->subs, job->lim);
    if (!t->out->target)
        turn = ask_row(c, t, job);
    if (turn == TURN_GOT && !t->out->target->webhook.enabled &&
        !queue_is_test(job->lim))
        return hold(c, t, job);
    return turn;
}

static enum turn find(struct ctx *c, struct turns *t, struct candidate *job)
{
    const struct index_ask ask = {.token = t->out->token,
                                  .lease_ms = t->k->lease_ms,
                                  .want = true,
                                  .woken = t->k->woken};
    struct index_step got;
    enum turn turn;
    ms due;

    t->out->granted_boot = clock_boot_ms();
    turn = turn_of(step(c, t->k, &ask, &got));
    if (turn != TURN_GOT)
        return turn;
    t->k->woken = false;
    t->k->told.token[0] = '\0';
    metrics_add(METRIC_WEBHOOK_LIMITED, 0, got.limited);
    due = got.due_ms >= 0 && got.due_ms < NET_MS ? got.due_ms : NET_MS;
    if (!got.claimed) {
        t->wait_ms = due;
        return TURN_NONE;
    }
    t->out->wait_ms = due;
    if (!queue_is_id(got.id))
        return remove_unusable(c, t, got.id);
    *job = (struct candidate){.id = arena_str(&c->arena, got.id),
                              .lim = got.lim,
                              .group = got.group,
                              .subscriber = got.lim,
                              .ordered = !str_eq(got.lim, got.group),
                              .once = got.once};
    t->limit = got.limit;
    t->window_ms = got.window_ms;
    return job->id.p ? judge(c, t, job) : TURN_UNKNOWN;
}

/* ---- what became of it */

/* The limit may have changed since the job was listed. */
static void started(struct ctx *c, struct turns *t, const struct candidate *job)
{
    int64_t limit = t->out->target->webhook.max_per_window;
    ms window = c->conf->webhook_rate_limit_window_ms + t->out->slack_ms;
    int64_t left;

    if (!queue_is_test(job->lim) &&
        (t->limit != limit || t->window_ms != window))
        (void)index_subscriber(c, t->k->queue, job->lim, INDEX_LIMIT, limit,
                               window, &left);
}

static enum turn wait_for(struct ctx *c, struct turns *t,
                          const struct candidate *job, const struct left *why)
{
    ms wait = why->wait_ms;

    if (why->leased && wait > LEASED_MOST_MS)
        wait = LEASED_MOST_MS; /* who has it may finish any time */
    return tell(c, t, job->id, INDEX_BACK, wait + BEYOND_MS);
}

/* The index let a younger one run: it may not know the older one. */
static enum turn wait_behind(struct ctx *c, struct turns *t,
                             const struct candidate *job, const bson_t *older)
{
    if (older)
        queue_list_row(c, t->k->queue, t->subs, older);
    return tell(c, t, job->id, INDEX_BACK, QUEUE_ORDER_MS);
}

static enum turn leave_out(struct ctx *c, struct turns *t,
                           const struct candidate *job)
{
    if (!queue_undo_refused(c, str_of(t->out->token)))
        return TURN_UNKNOWN;
    return tell(c, t, job->id, INDEX_BACK, REFUSED_MS);
}

static enum turn left(struct ctx *c, struct turns *t, struct candidate *job,
                      const struct left *why)
{
    switch (why->why) {
    case LEFT_GONE:
        break;
    case LEFT_WAIT:
        return wait_for(c, t, job, why);
    case LEFT_BEHIND:
        return wait_behind(c, t, job, why->older);
    case LEFT_WRONG:
        return forget(c, t, job->id);
    case LEFT_REFUSED:
        return leave_out(c, t, job);
    }
    return tell(c, t, job->id, INDEX_GONE, 0);
}

static ms wait_after(const struct turns *t)
{
    return t->wait_ms;
}

static bool ends(const struct claim *cl, const struct job_result *r)
{
    return queue_state_after(r->verdict, cl->job.once) != JOB_WAITING;
}

/* Not in Redis and not in `_limits`: the next claim tells the one, the tally
 * the other. */
static enum err settle(struct ctx *c, struct claimant *k,
                       const struct claim *cl, const struct job_result *r)
{
    const struct settlement s = queue_settlement(cl, r);
    struct index_told told =
        told_of(cl->dataset, cl->job.id, str_of(cl->token));

    if (strcmp(k->told.token, told.token) == 0 &&
        strcmp(k->told.id, told.id) == 0)
        return OK; /* it was settled before */
    if (r && ends(cl, r))
        told.verdict = INDEX_ENDED;
    else /* what was sent costs a grant, finished or not */
        told.verdict = r || cl->sent ? INDEX_RETRY : INDEX_BACK;
    told.delay_ms = r ? r->delay_ms : 0;
    told.health = s.health;
    told.hold_ms = s.hold_ms;
    note_told(c, k, &told);
    if (k->tally && r && !queue_is_test(cl->job.lim)) {
        tally_add(k->tally, c, k->queue, cl->job.lim, &s, 0);
        tally_flush(k->tally, c, false);
    }
    return OK;
}

const struct claim_path queue_by_index = {.lists = true,
                                          .begin = begin,
                                          .find = find,
                                          .started = started,
                                          .left = left,
                                          .wait = wait_after,
                                          .settle = settle};
