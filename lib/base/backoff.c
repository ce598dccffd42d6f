/* backoff - see backoff.h */
#include "lib/base/backoff.h"

ms backoff_wait_ms(int failed, ms first_ms, ms max_ms, uint32_t chance)
{
    ms wait = first_ms < max_ms ? first_ms : max_ms;
    ms quarter;

    if (failed < 1 || wait <= 0)
        return 0;
    for (; failed > 1 && wait < max_ms; failed--)
        wait = wait > max_ms / 2 ? max_ms : wait * 2;
    quarter = wait / 4;
    return wait - quarter +
           (ms)((double)quarter * ((double)chance / (double)UINT32_MAX));
}

ms backoff_retry_ms(const struct backoff *b, int64_t n, uint32_t chance)
{
    double wait = (double)b->base_ms, most = (double)b->max_ms;

    /* below 1 it would shrink, and NaN would end nothing */
    if (!(b->multiplier >= 1) || b->base_ms <= 0)
        n = 1;
    for (; n > 1 && wait < most; n--) {
        double next = wait * b->multiplier;

        if (next <= wait)
            break;
        wait = next;
    }
    if (!(wait < most))
        wait = most;
    if (wait <= 0)
        return 0;
    if (b->jitter)
        wait = wait / 2 + wait / 2 * ((double)chance / (double)UINT32_MAX);
    return (ms)wait;
}
