#pragma once
/*
 * keeper - the maintenance leader's work on the data set: opens one after a
 * loss of Redis data or a change of home, and keeps fences reserved
 *
 *   WATCH --missing--> CLEAR --left over keys are gone--> NAME --> OPEN -->
 * WATCH |                                                    ^
 *     +--another id, in two looks 0.4 s apart--------------+
 *     +--home is not the configured one--> CLEAR (Redis) or NAME (MongoDB)
 *
 * NAME draws an id and writes it to MongoDB, guarded by the term; OPEN gives it
 * to Redis, if that still holds what was seen. Each turn does at most one round
 * trip to each store, so that a turn is a slice; all steps may be repeated.
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
    char seen[DATASET_ID_MAX]; /* P:dataset when the opening began */
    char id[DATASET_ID_MAX];   /* drawn */
    int64_t term;              /* of whom this work is; another term: anew */
    uint64_t cursor;           /* of SCAN */
    bool whole;                /* clear the locks as well: home changed */
    ms differs_since;          /* boot clock; 0: it does not differ */
    ms next_note;              /* of what is worth a line only each minute */
};

enum keeper_verdict {
    KEEPER_IDLE, /* come again in a second */
    KEEPER_MORE, /* work is left: come again soon */
    KEEPER_LOST  /* a greater term has written: step down */
};

/*
 * One slice. c has mongo; w is NULL or not answering when Redis cannot be
 * reached. *out_changed: the data set was written, look at MongoDB again.
 */
enum keeper_verdict keeper_turn(struct keeper *k, struct ctx *c,
                                struct redis_watch *w, const struct view *v,
                                int64_t term, bool *out_changed);
