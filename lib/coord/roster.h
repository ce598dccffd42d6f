#pragma once
/*
 * roster - the heartbeat of a `workers` program: its row in `_instances`
 *
 *   roster_beat (the first one claims the name) ... -> roster_leave
 *
 * Of two programs with one name the newer one has the row: the older sees that
 * at its next beat and ends for good.
 */
#include "lib/base/ctx.h"
#include "lib/base/id.h"
#include "lib/data/job.h"

/* One life of a workers program: made before the fork, shared by its children.
 */
struct roster_life {
    char boot[ID_TOKEN_MAX];
    bool claimed; /* the row has been this life's */
    ms started_wall;
    int pid; /* of the supervisor */
};

struct roster_figures {
    const char *mode; /* "single", "degraded", "cluster" */
    bool redis_ok, draining;
    int64_t processes;
    int64_t slots[QUEUE_N]; /* of this program */
    str metrics;            /* metrics_export() */
};

/*
 * Writes the row; *out_mine false: a newer program has this name. The first
 * beat of a life takes the name over.
 */
MUST_CHECK enum err roster_beat(struct ctx *c, struct roster_life *life,
                                const struct roster_figures *f, bool *out_mine);

/* Removes the row of this life. */
MUST_CHECK enum err roster_leave(struct ctx *c, const struct roster_life *life);

enum {
    ROSTER_DIGEST_MAX = 17 /* 16 hex digits and NUL */
};

/*
 * Of the settings that all instances must agree on: prefix, use of Redis,
 * database, leases and default ttl.
 */
void roster_digest(const struct conf *conf, char out[ROSTER_DIGEST_MAX]);
