#pragma once
/*
 * view - one look at what the instances share: data set, terms, roster
 *
 * One aggregate on the primary, an indexed read of a few small collections.
 * What strangers stored there never fails the look: it counts as absent.
 */
#include "lib/coord/dataset.h"
#include "lib/coord/figures.h"
#include "lib/coord/leader.h"

enum {
    VIEW_INSTANCES_MAX = 1000, /* the latest seen */
    VIEW_ALIVE_MS = 5000,      /* an instance unseen for longer is dead */
    VIEW_AHEAD_MS = 5000       /* one seen so late from now is none */
};

struct view_instance {
    str id, boot, host, version, mode, digest;
    int64_t pid, processes;
    int64_t slots[QUEUE_N]; /* processes able to hold a job; 0 while unknown */
    ms age_ms; /* since it was seen, by the server's clock; never below 0 */
    ms seen_wall, started_wall;
    bool redis_ok, draining;
    str metrics; /* of `me` only: metrics_export() of its workers */
};

struct view_queue {
    bool known; /* its row is there */
    bool paused;
    bool counted; /* figures were ever stored */
    bool fresh;   /* and not so long ago that they say nothing by now */
    struct figures figures;
    ms figures_age_ms; /* by the server's clock */
};

struct view {
    ms taken_boot; /* stamp before the look was sent */
    ms rtt_ms;
    ms server_wall; /* $$NOW of it */
    struct dataset dataset;
    int64_t dataset_term; /* that wrote it; 0: none, or it says nonsense */
    struct leader_term terms[LEADER_N];
    int64_t subs_version; /* of subscriptions; 0: not known */
    struct view_queue queues[QUEUE_N];
    const struct view_instance *instances; /* alive ones, by id */
    size_t instances_n;
};

/* Everything lives in the ctx's arena. */
MUST_CHECK enum err view_read(struct ctx *c, str me, struct view *out);

/* All slots of a queue on live instances, and the cap that follows:
 * max(1, 0.4 of them). */
int64_t view_slots(const struct view *v, enum job_queue q);
int64_t view_cap(const struct view *v, enum job_queue q);

/* The place of `me` among the live instances that are not draining, by id, and
 * their number; {0, 1} when it is not among them. */
void view_share(const struct view *v, str me, int *out_index, int *out_n);

/* NULL: it is not alive. */
const struct view_instance *view_find(const struct view *v, str id);

/* A live instance leads the service: its row; NULL: nobody does. */
const struct view_instance *view_leader(const struct view *v,
                                        enum leader_service s);
