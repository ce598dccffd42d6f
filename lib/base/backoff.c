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
