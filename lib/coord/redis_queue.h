#pragma once
/*
 * redis_queue - the claim path through Redis: an index of the open rows that
 * knows which job may run next
 *
 * Each function is one script (sql-free-schemas/redis/queue_*.lua), one round
 * trip by c->rds of at most a second, and safe to repeat. The index can be
 * emptied at any moment: the rows in MongoDB decide, so a job that it repeats
 * or resurrects costs a look. Keys of the wrong type or with values that make
 * no sense are removed and counted (`foreign`); what they held comes back from
 * the rows.
 *
 * Every call says which data set it means, c->index, and does nothing in
 * another one, or when that is "".
 */
#include "lib/base/id.h"
#include "lib/coord/dataset.h"
#include "lib/data/job.h"

enum index_result {
    INDEX_DONE,
    INDEX_STALE,   /* another data set is open there: nothing was done */
    INDEX_AWAY,    /* not reached: nothing was done */
    INDEX_UNKNOWN, /* done or not: repeat, or index_recover() */
    INDEX_REFUSED  /* out of memory, or no permission: logged */
};

/* ---- jobs come */

/* What the index needs of a row. */
struct index_job {
    str id, lim, group; /* ordered when group differs from lim */
    int cls;
    ms ts;
    int64_t ord; /* of an ordered one */
    ms delay_ms; /* until it is due; 0: now */
    bool once;
    int64_t limit; /* of its subscriber, in window_ms; 0: none */
    ms window_ms;  /* with the slack of grants in it */
};

enum index_seat {
    INDEX_NEW,
    INDEX_KNOWN, /* it was there */
    INDEX_FULL   /* it was not taken: the sweep brings it when there is room */
};

enum index_source {
    INDEX_BY_FANOUT, /* refused while the index spills */
    INDEX_BY_SWEEP,  /* oldest first */
    INDEX_AT_ONCE    /* few, which others wait for: also into a full index */
};

enum {
    INDEX_ENQUEUE_MAX = 50 /* jobs of one call */
};

/* seats[n]: what became of each. Wakes one idle worker. */
enum index_result index_enqueue(struct ctx *c, enum job_queue q,
                                enum index_source by,
                                const struct index_job *jobs, size_t n,
                                enum index_seat *seats);

/* ---- jobs are claimed and finished */

enum index_verdict {
    INDEX_ENDED, /* it ran, and its row is terminal by now */
    INDEX_GONE,  /* it did not run, as its row has ended before or is none:
                  * costs no limit */
    INDEX_RETRY, /* it ran and waits again, after delay_ms */
    INDEX_BACK   /* it did not run: costs no limit; after delay_ms */
};

/* What became of a claimed job, told after the row has it. */
struct index_told {
    char dataset[DATASET_ID_MAX]; /* that gave it: in another it is nothing */
    char id[JOB_ID_MAX], token[ID_TOKEN_MAX];
    enum index_verdict verdict;
    ms delay_ms;
    enum job_health health; /* queue.h */
    ms hold_ms;             /* the whole subscriber waits; 0: it does not */
};

struct index_ask {
    const char *token; /* of this claim */
    ms lease_ms;
    bool want;  /* a job; false: only tells */
    bool woken; /* by the marker: pass it on when there is more */
};

struct index_step {
    bool known;   /* told: it was in flight under its token (or gone) */
    bool claimed; /* then: */
    str id, lim, group;
    bool once;
    int64_t limit; /* of the subscriber as the index knows it */
    ms window_ms;
    int64_t limited; /* subscribers met whose limit was reached */
    ms due_ms;       /* until something may be due; -1: nothing is known */
};

/* Tells what became of one job (told: NULL nothing), then claims the next: one
 * round trip does both. */
enum index_result index_step(struct ctx *c, enum job_queue q,
                             const struct index_ask *ask,
                             const struct index_told *told,
                             struct index_step *out);

/* Whatever is in flight under the token waits again, at no cost. For a claim
 * whose reply was lost and for workers that died. */
enum index_result index_recover(struct ctx *c, enum job_queue q, str token,
                                int64_t *out_n);
/* The same for a worker that died while it had the row: the grants stay, as
 * its request may have been sent. */
enum index_result index_recover_ran(struct ctx *c, enum job_queue q, str token,
                                    int64_t *out_n);

/* ---- subscribers and settings */

enum index_action {
    INDEX_HOLD,   /* for value ms */
    INDEX_UNHOLD, /* the breaker is closed too */
    INDEX_LIMIT,  /* value grants in `window` ms from now on */
    INDEX_REMOVE  /* what waits, at most 500; *out_left: more is there */
};
enum index_result index_subscriber(struct ctx *c, enum job_queue q, str lim,
                                   enum index_action action, int64_t value,
                                   ms window, int64_t *out_left);

/* One job, if it waits. */
enum index_result index_cancel(struct ctx *c, enum job_queue q, str id);

/* What the maintenance leader copies each second. */
struct index_meta {
    int64_t cap;       /* in flight per subscriber */
    int64_t max;       /* jobs in the index */
    int64_t limit_all; /* grants over all subscribers in a window; 0: none */
    ms window_ms;
    bool spill_over; /* the sweep found nothing left: fanout may add again */
};
enum index_result index_meta(struct ctx *c, enum job_queue q,
                             const struct index_meta *m);

struct index_stats {
    int64_t jobs, active, delayed, held;
    int64_t limited, breakers; /* subscribers, of the first 1000 held */
    int64_t foreign;           /* keys and members that made no sense */
    bool spill;
    bool complete; /* since the data set was opened the sweep ended once */
};
enum index_result index_stats(struct ctx *c, enum job_queue q,
                              struct index_stats *out);

/* Grants of each subscriber within its window, for at most 100 of them. */
enum index_result index_recent(struct ctx *c, enum job_queue q, const str *lims,
                               size_t n, int64_t *out);

/* Words for BZPOPMIN on the marker with a time in seconds, in the arena; NULL:
 * no memory. */
const str *index_wait_words(struct ctx *c, enum job_queue q, int seconds,
                            size_t *out_n);
