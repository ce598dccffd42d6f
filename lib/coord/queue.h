#pragma once
/*
 * queue - deliveries that wait for a worker: who may deliver, and what became
 * of it
 *
 *   queue_claim -> POST -> queue_finish | queue_give_back
 *                  (the worker died: queue_recover by its token)
 *
 * The lease in the job row decides: a row is started, finished and given back
 * by its claim token only, and a stale token changes nothing. A claim path only
 * finds what may run: turns, limits, caps. There are two, and instances may use
 * different ones at the same time: the index in Redis (redis_queue.h) while the
 * coordinator calls Redis usable (c->index), else the rows themselves
 * (mongo_queue.h). The files of the queue (queue_*.c) alone change the state of
 * a row, and count deliveries that ended and claims that a limit refused in the
 * metrics. All calls are safe to repeat with the same token.
 */
#include "lib/base/id.h"
#include "lib/coord/redis_queue.h"
#include "lib/data/job.h"
#include "lib/data/subs.h"

enum {
    QUEUE_LEASE_BEYOND_MS = 10000, /* lease = limit of a job + this */
    QUEUE_BREAKER_FAILURES = 10,   /* in a row: the breaker opens */
    QUEUE_BREAKER_MS = 60000,
    QUEUE_SKIPS_MAX = 64, /* subscribers a worker leaves out for a while */
    QUEUE_RIVALS_MAX = 15
};

/* A subscriber that could not be served, and when to look again. */
struct queue_skip {
    char lim[JOB_ID_MAX];
    int cls;
    ms until_boot;
};

/* What a worker keeps between its claims; zeroed at first. */
struct claimant {
    enum job_queue queue;
    ms lease_ms;
    bool woken; /* by the marker of the index */
    bool has_told;
    struct index_told told;  /* the next step tells the index */
    struct tally *tally;     /* totals not yet added to `_limits`; or NULL */
    int64_t cap;             /* in flight per subscriber, all instances */
    char served[JOB_ID_MAX]; /* the place: turns go on behind it */
    char group[JOB_ID_MAX + EVENT_ORDER_MAX]; /* likewise among its groups */
    int rivals; /* that seem to want the same rows: 0 takes the first one, else
                 * one of so many more by chance */
    int urgent; /* the lowest class of a webhook .. */
    int64_t urgent_seen; /* .. in this version of them and one more */
    struct queue_skip skips[QUEUE_SKIPS_MAX];
    size_t skips_n;
    int from_class; /* more urgent ones are not looked at in this turn */
};

enum claim_result {
    CLAIM_GOT,
    CLAIM_NONE, /* nothing may run: look again after wait_ms, or when poked */
    CLAIM_AWAY, /* the index is not there: read the words again after 100 ms */
    CLAIM_UNKNOWN /* a store did not answer: queue_recover(token), then go on */
};

struct claim {
    char token[ID_TOKEN_MAX];
    char dataset[DATASET_ID_MAX]; /* of the index that gave it; "": the rows */
    struct job job;               /* until ctx_reset */
    const struct subscription *target; /* until ctx_reset */
    ms granted_boot; /* stamp before the charge: begin to send within slack_ms
                      * of it, or give back */
    ms slack_ms;
    ms lease_end_boot; /* nothing is written after it */
    bool sent;         /* by the caller: a request may have gone out */
    ms wait_ms;        /* CLAIM_NONE; and GOT from an index: for others */
};

/* How long a grant may be used. The window of the limits is longer by that, so
 * that they are exact: 1/50 of it, at least 250 ms, at most 1 s. */
ms queue_slack_ms(const struct conf *conf);

/*
 * Finds the next job that may run, charges its limits, starts its row. token is
 * made by the caller, who has stored it before. Rows of deleted webhooks are
 * cancelled on the way, those of disabled ones wait.
 */
enum claim_result queue_claim(struct ctx *c, struct claimant *k,
                              const char *token, struct claim *out);

enum job_verdict {
    VERDICT_DONE,
    VERDICT_RETRY,
    VERDICT_DEAD
};

struct job_result {
    enum job_verdict verdict;
    enum job_health health;
    ms delay_ms;        /* RETRY */
    ms hold_ms;         /* the whole subscriber waits; 0: it does not */
    const char *reason; /* DEAD: "exhausted", "gone", "target-not-allowed" */
    ms started_wall, took_ms;
    int code;          /* HTTP status; 0: none came */
    const char *error; /* class (contract 7.2); NULL: none */
    str result;        /* `once` rows: JSON for who waits; else "" */
};

enum finish_result {
    FINISH_DONE,
    FINISH_LATE,   /* the lease was lost: nothing was written */
    FINISH_UNKNOWN /* repeat until lease_end_boot */
};
enum finish_result queue_finish(struct ctx *c, struct claimant *k,
                                const struct claim *cl,
                                const struct job_result *r);

/* The row waits again, no attempt consumed, and no limit unless something was
 * sent. DONE too when the lease was lost: the token holds nothing any more. */
enum finish_result queue_give_back(struct ctx *c, struct claimant *k,
                                   const struct claim *cl);

/*
 * For a worker that does not claim now: tells the index what it has not been
 * told, and adds what the tally holds to the totals. Best effort: what the
 * index is not told it learns from the row when the lease ends.
 */
void queue_settle_up(struct ctx *c, struct claimant *k);

/*
 * On behalf of a claim whose reply was lost or whose worker died: the row with
 * this token waits again (died: stalls + 1, no attempt; a `once` row that was
 * started is lost; the second death is poison), its charge is removed; the
 * grant of a worker that died while it had the row stays, as its request may
 * have been sent. A row that was finished is counted if its worker could not.
 * *out_n: rows freed.
 */
MUST_CHECK enum err queue_recover(struct ctx *c, str token, bool died,
                                  int64_t *out_n);

/* ---- for routes, the command line and the maintenance leader */

MUST_CHECK enum err queue_pause(struct ctx *c, enum job_queue q, bool on);

/* A hold of the subscriber ends: it was enabled, or its breaker is reset. */
MUST_CHECK enum err queue_unhold(struct ctx *c, enum job_queue q, str lim);

/* Its waiting rows end as cancelled, at most 500 a call; *out_n how many. What
 * it counted in `_limits` goes too. Running ones end by themselves. */
MUST_CHECK enum err queue_cancel(struct ctx *c, enum job_queue q,
                                 str subscriber, int64_t *out_n);

/* Same ids and body, attempts from 0. ERR_BAD_ID, ERR_DELIVERY_NOT_FOUND;
 * ERR_WRONG_STATE unless it has succeeded or is dead; ERR_WEBHOOK_NOT_FOUND. */
MUST_CHECK enum err queue_replay(struct ctx *c, str delivery_id,
                                 const bson_t **out_row);

struct queue_dead {
    str webhook_id; /* "" all */
    ms since;       /* INT64_MIN: no condition */
    const str *ids;
    size_t ids_n; /* 0: no condition */
};
struct queue_replayed {
    int64_t replayed, skipped, remaining;
};
/* At most 1000 a call, oldest first. skipped: rows of deleted webhooks that
 * were met on the way; remaining: the others, with such rows that were not met.
 */
MUST_CHECK enum err queue_replay_dead(struct ctx *c, enum job_queue q,
                                      const struct queue_dead *which,
                                      struct queue_replayed *out);

/* Newest first; *out_rows is an array of rows without bodies. before:
 * INT64_MAX none. total: all that meet webhook_id. */
MUST_CHECK enum err queue_list_dead(struct ctx *c, enum job_queue q,
                                    str webhook_id, int64_t limit, ms before,
                                    const bson_t **out_rows,
                                    int64_t *out_total);

/* Deliveries of a webhook, newest first; status: as clients name it, "" any. */
MUST_CHECK enum err queue_list(struct ctx *c, str webhook_id, str status,
                               int64_t limit, ms before,
                               const bson_t **out_rows);

/* A `once` row for the test of a webhook; then its state. */
MUST_CHECK enum err queue_insert_test(struct ctx *c, const struct job_new *n);
/* *out_row: NULL while it is not ended. started: a worker has it. */
MUST_CHECK enum err queue_look_at_test(struct ctx *c, str id, bool *out_started,
                                       const bson_t **out_row);
/* Not started so far: withdrawn; *out_was false: it is running by now. */
MUST_CHECK enum err queue_withdraw_test(struct ctx *c, str id, bool *out_was);
