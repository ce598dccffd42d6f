#pragma once
/*
 * hint - ids of events just committed, in a list in Redis (`P:ev`)
 *
 * Saves the fanouts the wait for their next look at the outbox; nothing rests
 * on it. Who pops one does that event. At most 100,000: beyond it the oldest
 * go.
 */
#include "lib/base/ctx.h"
#include "lib/coord/rds.h"

enum {
    HINT_MOST = 100000,
    HINT_POP_MAX = 50,
    HINT_MS = 50 /* of a command, at most */
};

/* ids: n of 24 hex digits. Best effort: a failure is counted in the metrics. */
void hint_push(struct ctx *c, const str *ids, size_t n);

/* Words for BLMPOP with a time in seconds, which pops up to HINT_POP_MAX, and
 * where its key stands; NULL: no memory. */
const str *hint_wait_words(struct ctx *c, int seconds, size_t *out_n,
                           size_t *out_key);

/* The ids in its reply; what is no id is counted. */
size_t hint_read(const struct rds_reply *reply, str out_ids[HINT_POP_MAX]);
