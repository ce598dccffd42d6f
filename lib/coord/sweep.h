#pragma once
/*
 * sweep - what the maintenance leader takes away; each call is one short slice
 * that anybody may repeat. *out_n: how many, so that the caller knows of more.
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
