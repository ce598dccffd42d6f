#pragma once
/*
 * mongo_queue - the claim path through MongoDB: which job may run next
 *
 * Nothing is prepared when a row is inserted: candidates come straight from
 * `_jobs` by index, turns among the subscribers of the most urgent class, then
 * the subscriber's row of `_limits` is charged:
 *
 *   { _id: "<queue>:<lim>", grants[times], fl[{tok, until, at, ids}], hold,
 *     fails, pc, and totals: attempts, delivered, failed, dead, limited,
 *     tookMs, last }
 *
 * grants is an exact sliding window by $$NOW; fl is what is in flight, of dead
 * workers until its time ends; one of the ids is the row it was for.
 * `<queue>:*` is the same for the limit over all.
 */
#include "lib/coord/queue.h"

enum look_result {
    LOOK_FOUND,
    LOOK_BLOCKED, /* lim has due rows, but the heads of its groups wait */
    LOOK_NONE,
    LOOK_UNKNOWN
};

enum {
    CANDIDATE_OTHERS_MAX = 3
};

struct candidate {
    str id, lim, group, subscriber;   /* each with a NUL behind */
    str others[CANDIDATE_OTHERS_MAX]; /* rows of lim that are due, too: for
                                       * who comes too late for id */
    size_t others_n;
    bool ordered, once;
    int cls;
    ms due_ms;  /* until it is due, as far as this process knows the time */
    ms wait_ms; /* BLOCKED: until it is worth to look at lim again */
};

/* The next due row without a live lease that k does not skip. */
enum look_result mongo_queue_look(struct ctx *c, struct claimant *k,
                                  struct candidate *out);

enum charge_result {
    CHARGE_GRANTED,
    CHARGE_REFUSED, /* held, at the cap, limit reached: wait_ms */
    CHARGE_UNKNOWN
};

struct charge {
    int64_t limit; /* grants in a window */
    ms window_ms;  /* lengthened by the slack */
    ms wait_ms;    /* REFUSED: at most 1 s */
    bool limited;  /* REFUSED by a limit of requests */
    bool all;      /* REFUSED by the limit over all subscribers */
};

/* Charges the subscriber, and all together where that is limited. */
enum charge_result mongo_queue_charge(struct ctx *c, const struct claimant *k,
                                      const struct candidate *job,
                                      const char *token, struct charge *inout);

/* What a settled charge adds to the totals of its subscriber. */
struct settlement {
    bool back; /* it did not run: the grant is taken back */
    enum job_health health;
    ms hold_ms;
    int64_t attempts, delivered, failed, dead;
    ms took_ms;
};
MUST_CHECK enum err mongo_queue_settle(struct ctx *c, enum job_queue q, str lim,
                                       str token, const struct settlement *s);

/* The charges of a token, whoever's: removed as not run. */
MUST_CHECK enum err mongo_queue_drop(struct ctx *c, str token);

/* The subscriber waits so long (0: no more). */
MUST_CHECK enum err mongo_queue_hold(struct ctx *c, enum job_queue q, str lim,
                                     ms hold_ms);
