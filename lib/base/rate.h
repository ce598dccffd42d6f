#pragma once
/*
 * rate - a limit by two weighted windows (pure)
 *
 *      the window before          this one
 *   |---- before requests ----|---- count ---- now       |
 *                              <--- into_ms -->
 *
 * used = before * (1 - into / window) + count. So two counters stand for the
 * time of every request: exact where the requests of the window before were
 * spread evenly. Refused requests are not counted.
 */
#include "lib/base/str.h"

struct rate_rule {
    int64_t limit; /* requests in a window, at least 1 */
    ms window_ms;  /* at least 1; limit * window_ms below 2^62 */
};

struct rate_state {
    int64_t before, count;
    ms into_ms; /* since this window began, below window_ms */
};

/* One more does not go over the limit. */
bool rate_fits(const struct rate_rule *rule, const struct rate_state *s);

/* How many more fit at this moment. */
int64_t rate_left(const struct rate_rule *rule, const struct rate_state *s);

/* Until one more fits, if nobody else comes; 0 when it fits now. */
ms rate_wait_ms(const struct rate_rule *rule, const struct rate_state *s);

/* To the end of this window; when nothing is left, as rate_wait_ms. */
ms rate_reset_ms(const struct rate_rule *rule, const struct rate_state *s);
