#pragma once
/*
 * keeper - the maintenance leader's work on the data set: opens one after a
 * loss of Redis data or a change of home, and keeps fences reserved
 *
 *   WATCH --missing--> CLEAR --left over keys are gone--> NAME --> OPEN -->
 * WATCH |                                                    ^
 *     +--another id, in two looks 0.4 s apart; no fence----+
 *     +--home is not the configured one--> CLEAR (Redis) or NAME (MongoDB)
 *
 * NAME draws an id and writes it to MongoDB, guarded by the term; OPEN raises
 * the reservation of fences in MongoDB and gives id, fences and reservation to
 * Redis, if that still holds what was seen. A turn is a slice: at most two
 * short calls to each store. All steps may be repeated, by anybody.
 *
 * Looks older than the last change are not judged, so that nothing is opened
 * twice; who opens what need not be opened costs a refill, never a promise.
 */
#include "lib/coord/redis_watch.h"
#include "lib/coord/view.h"

enum keeper_step {
    KEEPER_WATCH,
    KEEPER_CLEAR,
    KEEPER_NAME,
    KEEPER_OPEN
};

struct keeper {
    enum keeper_step step;
    int64_t term;                  /* of whom this work is; another: anew */
    char replaced[DATASET_ID_MAX]; /* the id in MongoDB before */
    char seen[DATASET_ID_MAX];     /* P:dataset when the opening began */
    char id[DATASET_ID_MAX];       /* drawn */
    bool whole;                    /* clear the locks as well: home changed */
    char cursor[24];               /* of SCAN; "" not begun */
    int64_t reserved;              /* in MongoDB, not yet in Redis; 0: none */
    ms differs_since;              /* boot clock; 0: it does not differ */
    bool told;                     /* that Redis refuses what the step asks */
    ms changed_boot;               /* last change; older looks do not count */
};

enum keeper_verdict {
    KEEPER_IDLE, /* come again in a second */
    KEEPER_MORE, /* work is left: come again soon */
    KEEPER_LOST  /* a greater term has written: step down */
};

/*
 * One slice. c has mongo; w: NULL in mode single. v and the sight of w are the
 * last looks. *out_changed: the data set was written, look at both again.
 */
enum keeper_verdict keeper_turn(struct keeper *k, struct ctx *c,
                                struct redis_watch *w, const struct view *v,
                                int64_t term, bool *out_changed);
