#pragma once
/*
 * measure - what the HTTP side counts, in the metrics that all processes share:
 * answers by row of the route table and status, durations by path
 */
#include "fcgi-app/router.h"

/* In the supervisor, before the fork. */
MUST_CHECK enum err measure_setup(int processes);

/* One request begins to be answered: as one that no row serves. */
void measure_begin(struct request *q);

/* A row serves it; HEAD has a series of its own. */
void measure_route(struct request *q, const struct route *route);

void measure_end(const struct request *q, const struct reply *out, int64_t us);

/* When the supervisor started. */
ms measure_started_wall(void);
double measure_uptime_s(void);
