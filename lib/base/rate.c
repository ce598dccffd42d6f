/* rate - see rate.h */
#include "lib/base/rate.h"

/* What is not used, in requests * ms: whole numbers, so nothing is rounded. */
static int64_t room(const struct rate_rule *rule, const struct rate_state *s)
{
    return (rule->limit - s->count) * rule->window_ms -
           s->before * (rule->window_ms - s->into_ms);
}

bool rate_fits(const struct rate_rule *rule, const struct rate_state *s)
{
    return room(rule, s) >= rule->window_ms;
}

int64_t rate_left(const struct rate_rule *rule, const struct rate_state *s)
{
    int64_t left = room(rule, s) / rule->window_ms;

    return left > 0 ? left : 0;
}

/*
 * How far into a window is `before` forgotten enough for one more, with
 * `count` in it: before * (window - into) <= (limit - count - 1) * window.
 */
static ms fits_at(const struct rate_rule *rule, int64_t before, int64_t count)
{
    int64_t most = (rule->limit - count - 1) * rule->window_ms;
    ms weighs = before > 0 ? most / before : rule->window_ms;

    return weighs < rule->window_ms ? rule->window_ms - weighs : 0;
}

ms rate_wait_ms(const struct rate_rule *rule, const struct rate_state *s)
{
    if (rate_fits(rule, s))
        return 0;
    if (s->count < rule->limit)
        return fits_at(rule, s->before, s->count) - s->into_ms;
    return rule->window_ms - s->into_ms + fits_at(rule, s->count, 0);
}

ms rate_reset_ms(const struct rate_rule *rule, const struct rate_state *s)
{
    return rate_fits(rule, s) ? rule->window_ms - s->into_ms
                              : rate_wait_ms(rule, s);
}
