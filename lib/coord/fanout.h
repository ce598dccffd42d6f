#pragma once
/*
 * fanout - events become deliveries
 *
 * A batch: events of this fanout's share (and any that are older than 2 s) by
 * time; for each the subscribers that match, their bodies, their rows; one
 * majority insert of all rows (a duplicate key: done before); then the events
 * are deleted. Repeated by anybody it changes nothing, as ids are derived.
 *
 * With an index (c->index) rows are inserted as known to it (`enq`), then
 * it is told, then the events are deleted: whoever dies in between has it told
 * again by the next one. What it did not take loses `enq` before the event is
 * deleted, and the sweep brings it.
 *
 * Older first: an event that an ordered webhook subscribes to is fanned out
 * only after all older events of its document, which this batch takes along.
 * So no row of an ordered group exists before an older one.
 */
#include "lib/data/subs.h"

/* Which events are ours: those whose part * n / EVENT_PARTS is index. */
struct fanout_share {
    int index, n; /* n >= 1 */
};

/* What a batch begins with. */
struct fanout_ask {
    struct fanout_share share;
    const str *hints; /* ids of events just committed: these, wherever they
                       * belong; none: what the outbox holds of the share */
    size_t hints_n;   /* at most FANOUT_EVENTS_MAX */
    ms young_ms;      /* younger ones of the share are left to hints */
};

struct fanout_batch {
    int64_t events, jobs; /* done with; rows made */
    bool more;            /* there may be more now */
};

enum {
    FANOUT_EVENTS_MAX = 50,
    FANOUT_BYTES_MAX = 16 << 20, /* of rows in one insert */
    FANOUT_OLD_MS = 2000
};

/*
 * One batch, for those who subscribe now: a webhook that came after an event
 * that waits here gets it too, a disabled one gets none. An event without the
 * document that a filter is about (cut) matches it. A failure: nothing is lost,
 * come again; *out says what was done before it.
 */
MUST_CHECK enum err fanout_turn(struct ctx *c, const struct fanout_ask *ask,
                                struct fanout_batch *out);
