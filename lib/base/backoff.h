#pragma once
/*
 * backoff - number of the attempt to the wait before it (pure). Waits double
 * from a first one up to a ceiling; chance makes callers spread out.
 */
#include "lib/base/str.h"

/*
 * failed is how many tries failed in a row, from 1; below that there is no
 * wait. The wait is between 3/4 and all of first_ms doubled failed - 1 times
 * (at most max_ms): chance is any random number, UINT32_MAX is all of it.
 */
ms backoff_wait_ms(int failed, ms first_ms, ms max_ms, uint32_t chance);

/* How a delivery is repeated. */
struct backoff {
    ms base_ms, max_ms;
    double multiplier;
    bool jitter; /* half of each wait is random */
};

/*
 * The wait after failed try n (1, 2, ..): d = min(max, base x multiplier^(n-1))
 * or, with jitter, between d/2 and d.
 */
ms backoff_retry_ms(const struct backoff *b, int64_t n, uint32_t chance);
