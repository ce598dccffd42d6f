/* queue - claims; see queue.h and queue_inside.h */
#include "lib/coord/queue.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/coord/queue_inside.h"

enum {
    TURNS = 16, /* subscribers looked at in a claim */
    LOSSES = 3, /* charges for nothing: somebody else was quicker */
    SKIP_MOST_MS = 1000,
    IDLE_MS = 250,  /* until something may have come */
    GONE_MS = 1000, /* a webhook that is deleted or disabled */
    ORDER_MS = 200, /* a row that must wait for an older one */
    RACE_MS = 5,
    SLACK_LEAST_MS = 250, /* else a busy host gives back all that it takes */
    SLACK_MOST_MS = 1000
};

enum turn {
    TURN_GOT,
    TURN_NEXT, /* another subscriber, or another row */
    TURN_NONE,
    TURN_UNKNOWN
};

struct turns {
    struct claimant *k;
    const struct subs *subs;
    struct claim *out;
    int losses;
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

/* ---- one turn */

/* Whose rows are found, but whom the snapshot does not know: is it gone? */
static enum turn judge_stranger(struct ctx *c, const struct turns *t,
                                const struct candidate *job)
{
    const bson_t *row;
    int64_t n;
    enum err err = webhook_get(c, job->subscriber, &row);

    skip(t->k, job, err ? GONE_MS : IDLE_MS);
    if (err == OK)
        return TURN_NEXT; /* the snapshot is older than the webhook */
    if (err != ERR_WEBHOOK_NOT_FOUND && err != ERR_BAD_ID)
        return TURN_UNKNOWN;
    ctx_forgive(c);
    /* this one too when it is what a worker left whose lease is over */
    err = queue_cancel_row(c, job->id, job->once);
    if (err == OK && !queue_is_test(job->lim))
        err = queue_cancel(c, t->k->queue, job->subscriber, &n);
    return err ? TURN_UNKNOWN : TURN_NEXT;
}

/* The server has answered, but will not do it. */
static bool is_refused(const struct ctx *c)
{
    return c->err != OK && c->err != ERR_DB_UNAVAILABLE &&
           c->err != ERR_TIME_LIMIT && c->err != ERR_OVERLOADED;
}

/* A row that it cannot work with must not hold up the other subscribers. What
 * was done for the token before it said so is undone. */
static enum turn leave_out(struct ctx *c, const struct turns *t,
                           const struct candidate *job)
{
    int64_t n;

    if (!is_refused(c))
        return TURN_UNKNOWN;
    log_note(LOG_WARN, "queue.left_out", STR_FMT ": %s", STR_ARG(job->lim),
             c->reason);
    ctx_forgive(c);
    skip(t->k, job, SKIP_MOST_MS);
    if (queue_recover(c, str_of(t->out->token), false, &n) != OK) {
        if (!is_refused(c))
            return TURN_UNKNOWN;
        ctx_forgive(c);
    }
    return TURN_NEXT;
}

/* An open row of the group that comes before this one */
static bson_t *find_older(struct ctx *c, const struct job *job)
{
    bson_t *cmd = mongo_bson(c);

    if (cmd)
        BCON_APPEND(cmd, "find", QUEUE_JOBS, "filter", "{", "g",
                    BCON_UTF8(job->group.p), "open", BCON_BOOL(true), "ord",
                    "{", "$lte", BCON_INT64(job->ord), "}", "$or", "[", "{",
                    "ord", "{", "$lt", BCON_INT64(job->ord), "}", "}", "{",
                    "_id", "{", "$lt", BCON_UTF8(job->id.p), "}", "}", "]", "}",
                    "hint", "group_1");
    return cmd;
}

/* A row of the group that somebody else has by now */
static bson_t *find_running(struct ctx *c, const struct job *job, str token)
{
    bson_t *cmd = mongo_bson(c);

    if (cmd)
        BCON_APPEND(cmd, "find", QUEUE_JOBS, "filter", "{", "lease.tok", "{",
                    "$gt", "", "$ne", BCON_UTF8(token.p), "}", "g",
                    BCON_UTF8(job->group.p), "$expr", "{", "$gt", "[",
                    "$lease.until", "$$NOW", "]", "}", "}", "hint", "lease_1");
    return cmd;
}

static enum err is_any(struct ctx *c, bson_t *cmd, bool *out)
{
    bson_t *reply, batch;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "projection", "{", "_id", BCON_INT32(1), "}", "limit",
                BCON_INT32(1), "singleBatch", BCON_BOOL(true));
    err = mongo_read(c, cmd, &reply);
    if (err)
        return err;
    *out = mongo_reply_rows(reply, &batch) && bson_count_keys(&batch) > 0;
    return OK;
}

/*
 * Must it wait for another of its group? All older ones are there or have
 * ended before a row is: only a replay brings one back beside a newer one that
 * runs. Asked after the lease was taken, so that of two such one sees the
 * other.
 */
static enum err is_behind(struct ctx *c, const struct job *job, str token,
                          bool *out)
{
    enum err err = is_any(c, find_older(c, job), out);

    if (err == OK && !*out && job->replays > 0)
        err = is_any(c, find_running(c, job, token), out);
    return err;
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

static enum turn check_order(struct ctx *c, const struct turns *t,
                             const struct candidate *job)
{
    str token = str_of(t->out->token);
    bool behind = false;
    enum err err = is_behind(c, &t->out->job, token, &behind);

    if (err)
        return TURN_UNKNOWN;
    if (!behind)
        return TURN_GOT;
    err = queue_return_row(c, job->id, token, ORDER_MS);
    if (err == OK)
        err = take_back(c, t, job);
    return err ? TURN_UNKNOWN : TURN_NEXT;
}

/* The more are lost, the more rows a worker chooses from. */
static void note_rivals(struct claimant *k, bool lost)
{
    if (lost)
        k->rivals = k->rivals < QUEUE_RIVALS_MAX / 2 ? 2 * k->rivals + 1
                                                     : QUEUE_RIVALS_MAX;
    else if (k->rivals > 0)
        k->rivals--;
}

/* None of them started. */
static enum turn give_up(struct ctx *c, struct turns *t,
                         const struct candidate *job, ms early_ms)
{
    if (take_back(c, t, job) != OK)
        return TURN_UNKNOWN;
    if (early_ms > 0)
        skip(t->k, job, early_ms); /* nothing of it is due before */
    else
        remember_place(t->k, job->lim);
    return ++t->losses < LOSSES ? TURN_NEXT : TURN_NONE;
}

/* The row, or, where somebody else was quicker, another one: under the same
 * charge, as it does not matter which. */
static enum turn start(struct ctx *c, struct turns *t, struct candidate *job)
{
    struct start s = {.token = t->out->token, .lease_ms = t->k->lease_ms};

    for (size_t next = 0;; next++) {
        ms sent_boot = clock_boot_ms();
        enum start_result result = queue_start(c, job, &s);
        bool early = result == START_WAIT && job->due_ms > 0;

        if (result == START_UNKNOWN)
            return leave_out(c, t, job);
        if (result == START_OK && job_read(s.row, &t->out->job)) {
            t->out->lease_end_boot = sent_boot + t->k->lease_ms;
            remember_place(t->k, job->lim);
            note_rivals(t->k, next > 0);
            return t->out->job.ordered ? check_order(c, t, job) : TURN_GOT;
        }
        if (next == job->others_n || early) {
            note_rivals(t->k, !early);
            return give_up(c, t, job, early ? s.wait_ms : 0);
        }
        job->id = job->others[next];
    }
}

static enum turn charge(struct ctx *c, struct turns *t, struct candidate *job)
{
    ms window = c->conf->webhook_rate_limit_window_ms;
    struct charge how = {.limit = t->out->target->webhook.max_per_window,
                         .window_ms = window + t->out->slack_ms};

    t->out->granted_boot = clock_boot_ms();
    switch (mongo_queue_charge(c, t->k, job, t->out->token, &how)) {
    case CHARGE_GRANTED:
        return start(c, t, job);
    case CHARGE_REFUSED:
        metrics_add(METRIC_WEBHOOK_LIMITED, 0, how.limited);
        skip(t->k, job, how.wait_ms);
        return how.all ? TURN_NONE : TURN_NEXT;
    case CHARGE_UNKNOWN:
        break;
    }
    return leave_out(c, t, job);
}

static enum turn take_turn(struct ctx *c, struct turns *t)
{
    struct candidate job;

    switch (look(c, t->k, &job)) {
    case LOOK_NONE:
        return TURN_NONE;
    case LOOK_BLOCKED:
        skip(t->k, &job, job.wait_ms);
        return TURN_NEXT;
    case LOOK_UNKNOWN:
        return TURN_UNKNOWN;
    case LOOK_FOUND:
        break;
    }
    t->out->target = subs_by_id(t->subs, job.subscriber);
    if (!t->out->target)
        return judge_stranger(c, t, &job);
    if (queue_is_test(job.lim)) {
        t->out->granted_boot = clock_boot_ms();
        return start(c, t, &job);
    }
    if (!t->out->target->webhook.enabled) {
        skip(t->k, &job, GONE_MS);
        return TURN_NEXT;
    }
    return charge(c, t, &job);
}

ms queue_slack_ms(const struct conf *conf)
{
    ms part = conf->webhook_rate_limit_window_ms / 50;

    if (part < SLACK_LEAST_MS)
        return SLACK_LEAST_MS;
    return part < SLACK_MOST_MS ? part : SLACK_MOST_MS;
}

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

static enum claim_result unknown(struct ctx *c)
{
    if (is_refused(c))
        log_note(LOG_WARN, "queue.refused", "%s", c->reason);
    ctx_forgive(c);
    return CLAIM_UNKNOWN;
}

enum claim_result queue_claim(struct ctx *c, struct claimant *k,
                              const char *token, struct claim *out)
{
    struct turns t = {.k = k, .out = out};
    enum turn turn = TURN_NEXT;

    *out = (struct claim){.slack_ms = queue_slack_ms(c->conf)};
    snprintf(out->token, sizeof out->token, "%s", token);
    drop_old_skips(k, clock_boot_ms());
    if (subs_get(c, &t.subs) != OK)
        return unknown(c);
    begin_somewhere(k, t.subs);
    note_urgent(k, t.subs);
    for (int i = 0; i < TURNS && turn == TURN_NEXT; i++)
        turn = take_turn(c, &t);
    if (turn == TURN_GOT)
        return CLAIM_GOT;
    if (turn == TURN_UNKNOWN)
        return unknown(c);
    out->wait_ms = t.losses ? RACE_MS : wait_of(k);
    return CLAIM_NONE;
}
