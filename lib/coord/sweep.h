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

/*
 * Open rows, older than 2 s, that the index (c->index) was not told of
 * (another `enq`, or none): it is told, oldest first, and they are marked. Rows
 * with a live lease too, after it. *out_more: there are more and room for them.
 */
MUST_CHECK enum err sweep_refill(struct ctx *c, enum job_queue q,
                                 int64_t *out_n, bool *out_more);

/* Where the walk over overdue rows goes on; zeroed: at the beginning. */
struct sweep_walk {
    ms run_at;
    char id[JOB_ID_MAX];
};
/* The safety net: rows overdue by more than 30 s without a live lease, 500 a
 * call, are told again, whatever `enq` says. */
MUST_CHECK enum err sweep_overdue(struct ctx *c, enum job_queue q,
                                  struct sweep_walk *walk, int64_t *out_n);
