#pragma once
/*
 * usable - may this program use Redis? (pure)
 *
 * Usable: it has answered for 1 s, is of a kind that can be used, and holds
 * the data set that MongoDB names. Away: its pings have failed for 1.5 s, it is
 * of a kind that cannot be used, it holds another data set, or the data set is
 * not known for 2 s. Nobody else decides.
 */
#include "lib/coord/dataset.h"

enum {
    USABLE_AFTER_MS = 1000,
    USABLE_AWAY_MS = 1500,
    USABLE_UNREAD_MS = 2000
};

struct usable {
    bool usable;
    ms up_since;   /* answers without a failure since; 0: does not answer */
    ms down_since; /* pings fail since; 0: they do not */
};

/* One ping and what it showed, at `now` (boot clock). */
struct usable_look {
    bool answers;
    bool fit;         /* master, 7 or later, no cluster, noeviction */
    const char *held; /* P:dataset; "" when there is none */
};

/* d: the data set as MongoDB names it. True when u->usable has changed. */
bool usable_note(struct usable *u, const struct usable_look *look,
                 const struct dataset *d, ms now);
