#pragma once
/*
 * sweep - what the maintenance leader takes away, and what it brings to the
 * index in Redis; each call is one short slice that anybody may repeat. *out_n:
 * how many, so that the caller knows of more.
 */
#include "lib/data/job.h"

/* Waiting deliveries of webhooks that are no more end as cancelled. */
MUST_CHECK enum err sweep_cancelled(struct ctx *c, enum job_queue q,
                                    int64_t *out_n);

enum {
    SWEEP_DEAD_MAX = 1000000 /* dead letters kept */
};
/* The oldest dead letters beyond `most`, 500 a call; logged and counted. */
MUST_CHECK enum err sweep_dead(struct ctx *c, enum job_queue q, int64_t most,
                               int64_t *out_n);

/* ---- what the index (c->index) does not know (sweep_index.c) */

enum {
    SWEEP_YOUNG_MS = 2000, /* so old a row is known to whoever made it */
    SWEEP_SHARE = 50
};

struct sweep_told {
    int64_t n; /* rows that the index knows now */
    bool more; /* there are more, and room for them */
    bool over; /* none is left */
};
/*
 * Open rows, young_ms old, that the index was not told of (another `enq`, or
 * none): it is told, the oldest first, and they are marked. Rows with a live
 * lease come too, and may run after it. A full index, or one that does not
 * answer, ends the slice: what it did not take is not marked. A full one takes
 * the first SWEEP_SHARE rows of each subscriber all the same, of some
 * subscribers a call: one that has to wait does not stop the others.
 */
MUST_CHECK enum err sweep_refill(struct ctx *c, enum job_queue q, ms young_ms,
                                 struct sweep_told *out);

/* Where the walk over overdue rows goes on; zeroed: at the beginning. */
struct sweep_walk {
    ms run_at;
    int64_t skip; /* rows of this time that were met */
};
/* The safety net: rows overdue by more than 30 s without a live lease, 500 a
 * call by their time and then from the beginning, are told again, whatever
 * `enq` says. */
MUST_CHECK enum err sweep_overdue(struct ctx *c, enum job_queue q,
                                  struct sweep_walk *walk, int64_t *out_n);
