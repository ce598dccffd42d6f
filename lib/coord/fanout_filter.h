#pragma once
/* fanout_filter - which events of the outbox a turn begins with */
#include "lib/coord/fanout.h"

/* Events that were set aside have it: the last ms of the year 9999. */
#define FANOUT_ASIDE_TS INT64_C(253402300799999)

enum {
    FANOUT_FUTURE_MS = 60000 /* more than clocks differ by */
};

/* Appends members of a filter on `_outbox`. */
void fanout_filter(const struct fanout_ask *ask, bson_t *filter);
