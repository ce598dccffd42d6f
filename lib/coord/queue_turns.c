/*
 * queue_turns - the claim path through MongoDB: turns among the subscribers;
 * see queue_inside.h
 *
 * Each worker keeps its place among them and what it leaves out for a while.
 */
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/metrics.h"
#include "lib/coord/queue_inside.h"

enum {
    LOSSES = 3, /* charges for nothing: somebody else was quicker */
    SKIP_MOST_MS = 1000,
    IDLE_MS = 250,  /* until something may have come */
    GONE_MS = 1000, /* a webhook that is deleted or disabled */
    RACE_MS = 5
};

/* ---- subscribers that are left out for a while */

static void remember_place(struct claimant *k, str lim)
{
    snprintf(k->served, sizeof k->served, STR_FMT, STR_ARG(lim));
}

static void drop_old_skips(struct claimant *k, ms now_boot)
{
    size_t n = 0;

    for (size_t i = 0; i < k->skips_n; i++)
        if (k->skips[i].until_boot > now_boot)
            k->skips[n++] = k->skips[i];
    k->skips_n = n;
}

/* Without room the one that ends first gives way: it is only looked at again
 * sooner. */
static void skip(struct claimant *k, const struct candidate *job, ms wait_ms)
{
    size_t at = k->skips_n;

    if (at < QUEUE_SKIPS_MAX) {
        k->skips_n++;
    } else {
        at = 0;
        for (size_t i = 1; i < QUEUE_SKIPS_MAX; i++)
            if (k->skips[i].until_boot < k->skips[at].until_boot)
                at = i;
    }
    if (wait_ms > SKIP_MOST_MS)
        wait_ms = SKIP_MOST_MS;
    snprintf(k->skips[at].lim, sizeof k->skips[at].lim, STR_FMT,
             STR_ARG(job->lim));
    k->skips[at].cls = job->cls;
    k->skips[at].until_boot = clock_boot_ms() + (wait_ms > 0 ? wait_ms : 1);
    remember_place(k, job->lim);
}

/*
 * As many are left out as there is room for, all of the most urgent classes:
 * the rest of these may be blocked likewise, and must not hold the next class
 * up for ever. Their turn comes as the others' waits end.
 */
static int class_after_skips(const struct claimant *k)
{
    int cls = 0;

    if (k->skips_n < QUEUE_SKIPS_MAX)
        return 0;
    for (size_t i = 0; i < k->skips_n; i++)
        if (k->skips[i].cls >= cls)
            cls = k->skips[i].cls + 1;
    return cls < JOB_CLASS_LAST ? cls : JOB_CLASS_LAST;
}

static enum look_result look(struct ctx *c, struct claimant *k,
                             struct candidate *out)
{
    enum look_result result;

    k->from_class = class_after_skips(k);
    result = mongo_queue_look(c, k, out);
    if (result != LOOK_NONE || k->from_class == 0)
        return result;
    k->from_class = 0;
    return mongo_queue_look(c, k, out);
}

static ms wait_of(const struct claimant *k)
{
    ms now = clock_boot_ms(), wait = IDLE_MS;

    for (size_t i = 0; i < k->skips_n; i++)
        if (k->skips[i].until_boot - now < wait)
            wait = k->skips[i].until_boot - now;
    return wait > 0 ? wait : 1;
}

/* ---- a row is found and charged */

/* Workers that begin at the same place would meet at every row. */
static void begin_somewhere(struct claimant *k, const struct subs *subs)
{
    size_t n = subs_count(subs);

    if (k->served[0] == '\0' && n > 0)
        remember_place(k, subs_at(subs, id_chance() % n)->webhook.id);
}

/* Nothing can be more urgent than the class of some webhook, but for tests,
 * whose subscribers are behind all others. */
static void note_urgent(struct claimant *k, const struct subs *subs)
{
    size_t n = subs_count(subs);

    if (k->urgent_seen == subs_version(subs) + 1)
        return;
    k->urgent = n > 0 ? JOB_CLASS_LAST : 0;
    for (size_t i = 0; i < n; i++) {
        int cls = job_class(subs_at(subs, i)->webhook.priority);

        k->urgent = cls < k->urgent ? cls : k->urgent;
    }
    k->urgent_seen = subs_version(subs) + 1;
}

static void begin(struct turns *t)
{
    drop_old_skips(t->k, clock_boot_ms());
    begin_somewhere(t->k, t->subs);
    note_urgent(t->k, t->subs);
}

/* The row did not start, or must not go on: its charge is taken back. */
static enum err take_back(struct ctx *c, const struct turns *t,
                          const struct candidate *job)
{
    const struct settlement s = {.back = true};

    return queue_is_test(job->lim)
               ? OK
               : mongo_queue_settle(c, t->k->queue, job->lim,
                                    str_of(t->out->token), &s);
}

static enum turn leave_out(struct ctx *c, struct turns *t,
                           const struct candidate *job)
{
    skip(t->k, job, SKIP_MOST_MS);
    return queue_undo_refused(c, str_of(t->out->token)) ? TURN_NEXT
                                                        : TURN_UNKNOWN;
}

static enum turn charge(struct ctx *c, struct turns *t,
                        const struct candidate *job)
{
    ms window = c->conf->webhook_rate_limit_window_ms;
    struct charge how = {.limit = t->out->target->webhook.max_per_window,
                         .window_ms = window + t->out->slack_ms};

    switch (mongo_queue_charge(c, t->k, job, t->out->token, &how)) {
    case CHARGE_GRANTED:
        return TURN_GOT;
    case CHARGE_REFUSED:
        metrics_add(METRIC_WEBHOOK_LIMITED, 0, how.limited);
        skip(t->k, job, how.wait_ms);
        return how.all ? TURN_NONE : TURN_NEXT;
    case CHARGE_UNKNOWN:
        break;
    }
    return queue_note_refused(c, job->lim) ? leave_out(c, t, job)
                                           : TURN_UNKNOWN;
}

static enum turn judge_stranger(struct ctx *c, struct turns *t,
                                const struct candidate *job)
{
    bool deleted = false;
    enum err err = queue_judge_stranger(c, t->k->queue, job, &deleted);

    skip(t->k, job, deleted ? GONE_MS : IDLE_MS);
    return err ? TURN_UNKNOWN : TURN_NEXT;
}

static enum turn find(struct ctx *c, struct turns *t, struct candidate *job)
{
    switch (look(c, t->k, job)) {
    case LOOK_NONE:
        return TURN_NONE;
    case LOOK_BLOCKED:
        skip(t->k, job, job->wait_ms);
        return TURN_NEXT;
    case LOOK_UNKNOWN:
        return TURN_UNKNOWN;
    case LOOK_FOUND:
        break;
    }
    t->out->target = subs_by_id(t->subs, job->subscriber);
    if (!t->out->target)
        return judge_stranger(c, t, job);
    t->out->granted_boot = clock_boot_ms();
    if (queue_is_test(job->lim))
        return TURN_GOT;
    if (!t->out->target->webhook.enabled) {
        skip(t->k, job, GONE_MS);
        return TURN_NEXT;
    }
    return charge(c, t, job);
}

/* ---- what became of it */

/* The more are lost, the more rows a worker chooses from. */
static void note_rivals(struct claimant *k, bool lost)
{
    if (lost)
        k->rivals = k->rivals < QUEUE_RIVALS_MAX / 2 ? 2 * k->rivals + 1
                                                     : QUEUE_RIVALS_MAX;
    else if (k->rivals > 0)
        k->rivals--;
}

static void started(struct ctx *c, struct turns *t, const struct candidate *job)
{
    (void)c;
    remember_place(t->k, job->lim);
    note_rivals(t->k, t->tried > 0);
}

/* None of them started. */
static enum turn give_up(struct ctx *c, struct turns *t,
                         const struct candidate *job, ms early_ms)
{
    note_rivals(t->k, early_ms == 0);
    if (take_back(c, t, job) != OK)
        return TURN_UNKNOWN;
    if (early_ms > 0)
        skip(t->k, job, early_ms); /* nothing of it is due before */
    else
        remember_place(t->k, job->lim);
    return ++t->losses < LOSSES ? TURN_NEXT : TURN_NONE;
}

/* Where somebody else was quicker another row is tried under the same charge,
 * as it does not matter which. */
static enum turn left(struct ctx *c, struct turns *t, struct candidate *job,
                      const struct left *why)
{
    switch (why->why) {
    case LEFT_REFUSED:
        return leave_out(c, t, job);
    case LEFT_BEHIND:
    case LEFT_WRONG:
        return take_back(c, t, job) == OK ? TURN_NEXT : TURN_UNKNOWN;
    case LEFT_WAIT:
        if (job->due_ms > 0)
            return give_up(c, t, job, why->wait_ms);
        break;
    case LEFT_GONE:
        break;
    }
    if (t->tried == job->others_n)
        return give_up(c, t, job, 0);
    job->id = job->others[t->tried++];
    return TURN_AGAIN;
}

static ms wait_after(const struct turns *t)
{
    return t->losses ? RACE_MS : wait_of(t->k);
}

static enum err settle(struct ctx *c, struct claimant *k,
                       const struct claim *cl, const struct job_result *r)
{
    const struct settlement s = queue_settlement(cl, r);

    return queue_is_test(cl->job.lim)
               ? OK
               : mongo_queue_settle(c, k->queue, cl->job.lim, str_of(cl->token),
                                    &s);
}

const struct claim_path queue_by_rows = {.begin = begin,
                                         .find = find,
                                         .started = started,
                                         .left = left,
                                         .wait = wait_after,
                                         .settle = settle};
