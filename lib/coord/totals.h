#pragma once
/*
 * totals - what a queue did for each subscriber since ever, and what it has
 * to do for it; asked of MongoDB at this moment
 *
 * The totals are counted in `_limits` by those who deliver, so they survive
 * restarts and end with their subscriber.
 */
#include "lib/base/ctx.h"
#include "lib/data/job.h"

struct totals {
    str subscriber;
    int64_t attempts, delivered, failed, dead, limited;
    int64_t recent; /* tries begun within the window of the limit */
    ms took_ms;     /* of all attempts */
    ms last_wall;   /* the last attempt's end; 0: none */
};

/* One row for each subscriber that was ever served, by its id. */
MUST_CHECK enum err totals_read(struct ctx *c, enum job_queue q,
                                const struct totals **out, size_t *out_n);

struct backlog {
    str subscriber;
    int64_t pending;  /* not ended */
    int64_t retrying; /* of them those that were tried */
};

/* One row for each subscriber that something is to be done for, by its id. */
MUST_CHECK enum err backlog_read(struct ctx *c, enum job_queue q,
                                 const struct backlog **out, size_t *out_n);

/* NULL: there is none of this id. */
const struct totals *totals_find(const struct totals *rows, size_t n, str id);
const struct backlog *backlog_find(const struct backlog *rows, size_t n,
                                   str id);
