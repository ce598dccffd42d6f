#pragma once
/*
 * hint - ids of events just committed, in a list in Redis (`P:ev`)
 *
 * Saves the fanouts the wait for their next look at the outbox; nothing rests
 * on it. Who pops one does that event. At most 100,000: beyond it the oldest
 * go.
 */
#include "lib/base/ctx.h"

enum {
    HINT_MOST = 100000,
    HINT_MS = 50 /* of pushing, at most */
};

/* ids: n of 24 hex digits. Best effort: a failure is counted in the metrics. */
void hint_push(struct ctx *c, const str *ids, size_t n);

/* Words for BLPOP with a time in seconds; NULL: no memory. */
const str *hint_wait_words(struct ctx *c, int seconds, size_t *out_n);

/* Up to `most` that are there; what is no id is dropped and counted. */
size_t hint_pop(struct ctx *c, str *out_ids, size_t most);
