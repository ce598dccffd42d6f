/* drift - see drift.h */
#include "lib/base/drift.h"

#include <stdlib.h>

static int by_size(const void *a, const void *b)
{
    ms x = *(const ms *)a, y = *(const ms *)b;

    return (x > y) - (x < y);
}

void drift_note(struct drift *d, ms rtt_ms, ms wall_after, ms server_wall)
{
    if (rtt_ms > DRIFT_RTT_MS)
        return;
    d->samples[d->n++ % DRIFT_SAMPLES] = wall_after - rtt_ms / 2 - server_wall;
}

bool drift_read(const struct drift *d, ms *out)
{
    ms sorted[DRIFT_SAMPLES];
    size_t n = d->n < DRIFT_SAMPLES ? d->n : DRIFT_SAMPLES;

    if (n == 0)
        return false;
    memcpy(sorted, d->samples, sizeof sorted);
    qsort(sorted, n, sizeof *sorted, by_size);
    *out = sorted[n / 2];
    return true;
}
