#pragma once
/*
 * drift - how far this machine's wall clock is from a server's: the median of
 * the last samples, so that one slow answer or a step in between says nothing
 * (pure). The first one counts by itself: a clock that is an hour off must not
 * be believed until there are more.
 */
#include "lib/base/str.h"

enum {
    DRIFT_SAMPLES = 5,
    DRIFT_RTT_MS = 200 /* of a slower round trip the clock says nothing */
};

/* Zeroed at first. */
struct drift {
    ms samples[DRIFT_SAMPLES];
    size_t n; /* ever taken */
};

/* The server's clock was read half a round trip before wall_after. */
void drift_note(struct drift *d, ms rtt_ms, ms wall_after, ms server_wall);

/* Wall clock less the server's; false before there is a sample. */
bool drift_read(const struct drift *d, ms *out);
