#pragma once
/*
 * tally - totals of subscribers that one worker has counted and not yet added
 * to `_limits`
 *
 *   tally_new -> { tally_add }* , tally_flush -> tally_free
 *
 * The index in Redis grants without a write to `_limits`, so what each delivery
 * adds to the totals of its subscriber is written once a second, in one
 * command. A worker that is killed takes at most a second of them along.
 */
#include "lib/coord/mongo_queue.h"

struct tally;

struct tally *tally_new(void); /* NULL: no memory */
void tally_free(struct tally *t);

/* attempts, delivered, failed, dead, took_ms of s; `limited`: refused by the
 * limit. Full: flushed first, by c. */
void tally_add(struct tally *t, struct ctx *c, enum job_queue q, str lim,
               const struct settlement *s, int64_t limited);

/* When there is something and the last time is a second ago, or at once with
 * `now`. A failure is tried again later; what the server refuses is not. */
void tally_flush(struct tally *t, struct ctx *c, bool now);

/* Adds to one subscriber without a tally. */
MUST_CHECK enum err tally_once(struct ctx *c, enum job_queue q, str lim,
                               const struct settlement *s);
