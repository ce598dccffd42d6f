#pragma once
/*
 * figures - counts of a queue for the whole deployment, written by the
 * maintenance leader into `_cluster` `queue:<q>`, read by all with the view
 */
#include "lib/data/job.h"

enum {
    FIGURES_FRESH_MS = 2000, /* and rest_ms: for so long they are shown */
    FIGURES_REST_MAX_MS = 10000
};

struct figures {
    int64_t waiting;   /* due, not leased */
    int64_t active;    /* leased */
    int64_t delayed;   /* not due yet */
    int64_t completed; /* since ever, by the totals of the subscribers */
    int64_t failed;    /* likewise: tries that failed */
    int64_t dead;      /* dead letters there are */
    int64_t limited;   /* subscribers that wait for their limit now */
    int64_t breakers;  /* open ones */
    ms oldest_ms;      /* age of the oldest that waits; 0: none */
    ms rest_ms;        /* the leader counts again after so long */
};

/* Counts by index. */
MUST_CHECK enum err figures_count(struct ctx *c, enum job_queue q,
                                  struct figures *out);

/* By the leader of this term; *out_lost: a greater term has written. */
MUST_CHECK enum err figures_store(struct ctx *c, enum job_queue q, int64_t term,
                                  const struct figures *f, bool *out_lost);

/* False: the row says nothing of the kind. *out_at: server time of the count.
 */
bool figures_read(const bson_t *row, struct figures *out, ms *out_at);
