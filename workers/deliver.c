/*
 * deliver - see deliver.h
 *
 * The token is in the board before the claim is sent and until the finish was
 * accepted or refused, and told: whoever gives back for this process, should it
 * die, knows all it may hold.
 *
 * Idle it hears of work by the marker of the index in Redis, which goes to one
 * idle worker of all instances, by a wake-up of its program, and by the timer
 * of the board. Without the index it looks itself, in turn with the others.
 */
#include "workers/deliver.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/coord/tally.h"
#include "workers/deliver_judge.h"
#include "workers/deliver_send.h"
#include "workers/places.h"
#include "workers/roles.h"
#include "workers/waiter.h"
#include "workers/worker.h"

enum {
    LOOK_EVERY_MS = 250, /* by one idle worker of the program */
    NET_MS = 1000,       /* the same with an index: under a lost marker */
    LOOK_LEAST_MS = 10,
    MARKER_SECONDS = 2,
    IDLE_CALL_MS = 1000, /* what is done between two jobs */
    INDEX_AWAY_MS = 100, /* then the words are read again */
    CLAIM_MS = 3000,     /* a claim with all its looks */
    TELL_MS = 2000,      /* one try to tell what came of a job */
    TELL_AGAIN_MS = 100,
    AWAY_MS = 500, /* MongoDB does not answer: doubling */
    AWAY_MAX_MS = 2000,
    LIMIT_BEYOND_MS = 5000, /* a child's deadline beyond the job's limit */
    TELL_BEYOND_MS = 8000,  /* the same of telling, beyond the lease: a try that
                             * began before its end may take so long */
    SLOW_MS = 1000          /* a lost reply may still arrive */
};

struct deliverer {
    struct worker w;
    struct egress egress;
    struct places places;
    struct http *http;
    struct claimant k;
    struct claim claim;
    struct waiter marker; /* a wait for it */
    bool woken;           /* somebody counts on this one to look for work */
    bool marked;          /* by the marker, which is to be handed on */
};

static void limit_life(struct deliverer *d, ms more)
{
    worker_deadline(&d->w, clock_boot_ms() + more);
}

/* More time for the same unit of work: the job lives in its ctx. */
static struct ctx *go_on(struct deliverer *d, ms most)
{
    struct ctx *c = &d->w.ctx;

    ctx_forgive(c);
    c->deadline = clock_mono_ms() + most;
    c->op_ms = most;
    return c;
}

/* ---- telling what became of a job */

/*
 * r: NULL gives the job back. Repeated until the lease is over; then the job is
 * the next one's. Nothing of it is sent any more, so the deadline only ends a
 * child that is stuck: one that waits for MongoDB must not be counted as a
 * death.
 */
static enum finish_result tell(struct deliverer *d, const struct job_result *r)
{
    const struct claim *cl = &d->claim;
    ms wait = TELL_AGAIN_MS;

    for (;;) {
        struct ctx *c = go_on(d, TELL_MS);
        enum finish_result told =
            r ? queue_finish(c, &d->k, cl, r) : queue_give_back(c, &d->k, cl);

        if (told != FINISH_UNKNOWN ||
            clock_boot_ms() + wait >= cl->lease_end_boot)
            return told;
        worker_wait(&d->w, -1, wait);
        wait = wait < AWAY_MAX_MS / 2 ? wait * 2 : AWAY_MAX_MS;
    }
}

static void count(const struct judgement *j, enum finish_result told)
{
    bool late = told != FINISH_DONE;

    metrics_add(METRIC_WEBHOOK_ATTEMPTS, late ? METRIC_ATTEMPT_LATE : j->metric,
                1);
    metrics_observe(METRIC_WEBHOOK_SECONDS, 0, j->result.took_ms * 1000);
    if (j->metric == METRIC_ATTEMPT_DENIED)
        metrics_add(METRIC_SSRF_DENIED, 0, 1);
}

/* Also when that fails the job is finished: the next one says the same. */
static void disable(struct deliverer *d)
{
    struct ctx *c = go_on(d, TELL_MS);

    if (webhook_mark_gone(c, d->claim.target->webhook.id) != OK)
        log_note(LOG_WARN, "deliver.not_disabled", "%s", c->reason);
}

/* What whoever waits for a test is told. */
static str test_result(char *text, size_t n, const struct job_result *r)
{
    int len = snprintf(text, n,
                       "{\"statusCode\":%d,\"durationMs\":%lld,"
                       "\"error\":%s%s%s}",
                       r->code, (long long)r->took_ms, r->error ? "\"" : "",
                       r->error ? r->error : "null", r->error ? "\"" : "");

    return (str){text, len > 0 && (size_t)len < n ? (size_t)len : 0};
}

static void conclude(struct deliverer *d, const struct http_answer *a,
                     ms started_wall)
{
    const struct claim *cl = &d->claim;
    struct judgement j;
    char text[160];

    deliver_judge(&cl->job, &cl->target->webhook, a, id_chance(), &j);
    j.result.started_wall = started_wall;
    if (cl->job.once)
        j.result.result = test_result(text, sizeof text, &j.result);
    if (j.gone)
        disable(d);
    count(&j, tell(d, &j.result));
}

/* ---- one job */

static bool may_claim(const struct worker *w)
{
    return w->words.open && !w->words.paused[QUEUE_WEBHOOK];
}

static bool may_go_on(void *worker)
{
    return !worker_must_abort(worker);
}

static void deliver(struct deliverer *d)
{
    struct sending s = {.http = d->http,
                        .stop_fd = d->w.signal_fd,
                        .may_go_on = may_go_on,
                        .arg = &d->w};
    ms started_wall = clock_server_ms();
    enum send_result sent;
    struct http_answer a;

    board_busy(d->w.board, d->w.slot);
    sent =
        deliver_send(go_on(d, d->w.conf->webhook_timeout), &s, &d->claim, &a);
    d->claim.sent = sent == SEND_ANSWERED;
    worker_deadline(&d->w, d->claim.lease_end_boot + TELL_BEYOND_MS);
    if (sent == SEND_ANSWERED && a.outcome != HTTP_STOPPED)
        conclude(d, &a, started_wall);
    else
        (void)tell(d, NULL); /* not told: its lease ends */
}

/*
 * The reply of a claim was lost: nothing was sent, but the row may be ours. The
 * board keeps the token until that is undone; a command on its way may arrive
 * after the first try.
 */
static void undo_claim(struct deliverer *d, const char *token)
{
    ms wait = AWAY_MS;
    int done = 0;

    while (done < 2 && !worker_must_end(&d->w)) {
        int64_t n;

        limit_life(d, CLAIM_MS + LIMIT_BEYOND_MS);
        if (queue_recover(worker_begin(&d->w, CLAIM_MS), str_of(token), false,
                          &n) == OK) {
            done++;
            wait = SLOW_MS;
        }
        if (done < 2)
            worker_wait(&d->w, -1, wait);
        wait = wait * 2 < AWAY_MAX_MS ? wait * 2 : AWAY_MAX_MS;
    }
}

/* ---- the marker */

static const str *marker_words(struct ctx *c, int seconds, size_t *out_n,
                               size_t *out_key)
{
    *out_key = 1;
    return index_wait_words(c, QUEUE_WEBHOOK, seconds, out_n);
}

/* Another idle worker gets it. */
static void hand_marker_on(struct deliverer *d)
{
    struct ctx *c = &d->w.ctx;
    struct rds_reply reply;
    size_t n, key;
    const str *wait = marker_words(c, MARKER_SECONDS, &n, &key);

    d->marked = false;
    if (wait && rds_find(c))
        (void)rds_call(c->rds,
                       (str[]){STR("ZADD"), wait[key], STR("0"), STR("w")}, 4,
                       clock_mono_ms() + WAITER_END_MS, &c->arena, &reply);
}

/* This one is not idle any more, or must not claim. */
static void leave_marker(struct deliverer *d)
{
    struct rds_reply reply;

    if (waiter_fd(&d->marker) >= 0 && waiter_end(&d->marker, &d->w.ctx, &reply))
        d->marked = true;
    if (d->marked)
        hand_marker_on(d);
}

/* ---- claims */

/* The next one may run then, as far as this one has learned. */
static void note_due(const struct deliverer *d)
{
    ms wait = d->claim.wait_ms;

    board_look_by(d->w.board,
                  clock_boot_ms() +
                      (wait > LOOK_LEAST_MS ? wait : LOOK_LEAST_MS));
}

static enum claim_result claim(struct deliverer *d, const char *token)
{
    enum claim_result got;

    limit_life(d, d->w.conf->webhook_timeout + LIMIT_BEYOND_MS);
    board_claiming(d->w.board, d->w.slot, token);
    d->k.cap = d->w.words.cap[QUEUE_WEBHOOK];
    d->k.woken = d->woken;
    got = queue_claim(worker_begin(&d->w, CLAIM_MS), &d->k, token, &d->claim);
    if (!d->k.has_told)
        board_told(d->w.board, d->w.slot);
    if (got == CLAIM_GOT || got == CLAIM_NONE)
        d->woken = d->marked = false; /* the index hands it on */
    if (got == CLAIM_NONE || (got == CLAIM_GOT && d->claim.dataset[0]))
        note_due(d); /* else nobody may look while this one is busy */
    return got;
}

/* There may be more for others; without an index they do not hear of it. */
static void wake_others(struct deliverer *d)
{
    if (!d->claim.dataset[0])
        board_poke(d->w.board, 1);
    leave_marker(d);
}

/* The token holds nothing any more but what the index is told later. */
static void release(struct deliverer *d, const char *token)
{
    if (d->k.has_told && strcmp(d->k.told.token, token) == 0)
        board_untold(d->w.board, d->w.slot);
    else
        board_idle(d->w.board, d->w.slot);
    worker_deadline(&d->w, 0);
}

/* Looks for a job and does it; false: there is none now. */
static bool work(struct deliverer *d)
{
    char token[ID_TOKEN_MAX];
    enum claim_result got;

    if (id_token(token) != OK) {
        d->woken = false;
        return false;
    }
    got = claim(d, token);
    if (got == CLAIM_GOT) {
        wake_others(d);
        worker_wait(&d->w, -1, 0);
        if (may_claim(&d->w)) /* a claim may take longer than a pause */
            deliver(d);
        else
            (void)tell(d, NULL);
    } else if (got == CLAIM_UNKNOWN) {
        leave_marker(d); /* that takes a while */
        undo_claim(d, token);
        if (worker_must_end(&d->w))
            return false; /* its slot tells what is left to be undone */
    } else if (got == CLAIM_AWAY) {
        worker_wait(&d->w, -1, INDEX_AWAY_MS);
    }
    release(d, token);
    return got == CLAIM_GOT;
}

/* ---- the loop */

/* Before it waits, or ends: no command unless something is due. */
static void settle(struct deliverer *d, bool ends)
{
    struct ctx *c = worker_begin(&d->w, IDLE_CALL_MS);

    limit_life(d, IDLE_CALL_MS + LIMIT_BEYOND_MS);
    queue_settle_up(c, &d->k);
    if (ends && d->k.tally)
        tally_flush(d->k.tally, c, true);
    if (!d->k.has_told)
        board_told(d->w.board, d->w.slot);
    worker_deadline(&d->w, 0);
}

static void watch_marker(struct deliverer *d)
{
    struct ctx *c = worker_begin(&d->w, IDLE_CALL_MS);

    if (may_claim(&d->w) && c->index[0]) {
        waiter_begin(&d->marker, c);
        return;
    }
    leave_marker(d);
}

/* Sleeps until there may be work, or `wait`. */
static void doze(struct deliverer *d, ms wait)
{
    struct board *b = d->w.board;
    bool may = may_claim(&d->w);
    struct rds_reply reply;
    unsigned ready;

    settle(d, false);
    watch_marker(d);
    ready = worker_wait_for(&d->w,
                            (int[]){may ? board_work_fd(b) : -1,
                                    may ? board_timer_fd(b) : -1,
                                    waiter_fd(&d->marker)},
                            3, wait);
    if (ready & 1 && board_take(board_work_fd(b)))
        d->woken = true;
    if (ready & 2)
        (void)board_take(board_timer_fd(b));
    if (ready & 4 && waiter_look(&d->marker, &d->w.ctx, &reply))
        d->woken = d->marked = true;
}

/* Is it the turn of this one to look for work? */
static bool is_due(struct deliverer *d, ms *out_wait)
{
    bool index = d->w.words.dataset[0];

    if (!may_claim(&d->w))
        return false;
    if (!d->woken && board_may_look(d->w.board, clock_boot_ms(),
                                    index ? NET_MS : LOOK_EVERY_MS, out_wait))
        d->woken = true;
    return d->woken;
}

static void loop(struct deliverer *d)
{
    struct worker *w = &d->w;
    bool more = false;

    worker_wait(w, -1, 0);
    while (!worker_must_end(w)) {
        ms wait = LOOK_EVERY_MS;

        worker_tidy(w);
        if (places_are_due(&d->places))
            places_look(&d->places);
        if ((more && may_claim(w)) || is_due(d, &wait)) {
            more = work(d);
            worker_wait(w, -1, 0);
            continue;
        }
        more = false;
        doze(d, wait);
    }
    settle(d, true);
    leave_marker(d);
}

/* Handles are not freed: they end with the process. */
int deliver_run(void *arg, int slot)
{
    static struct deliverer d;
    const struct roles_task *task = arg;

    if (!worker_open(&d.w, task, slot))
        return 1;
    places_init(&d.places, task->conf, d.w.ctx.mongo, &d.egress);
    d.http = http_new(&d.egress, task->conf->webhook_https_only);
    if (!d.http) {
        log_note(LOG_ERROR, "deliver.failed", "libcurl cannot be set up");
        return 1;
    }
    waiter_init(&d.marker, marker_words, MARKER_SECONDS);
    d.k.tally = tally_new();
    d.k.queue = QUEUE_WEBHOOK;
    d.k.lease_ms = task->conf->webhook_timeout + QUEUE_LEASE_BEYOND_MS;
    board_begin(task->board, slot);
    loop(&d);
    return 0;
}
