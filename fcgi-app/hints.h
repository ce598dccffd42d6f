#pragma once
/*
 * hints - tells the fanouts of events just committed, beside the requests
 *
 *   hints_start -> { hints_give } ... -> hints_stop
 *
 * One thread of the process pushes what the others give (lib/coord/hint.h): no
 * request ever waits for Redis, and what comes while it pushes goes together.
 * Best effort. All is dropped while Redis is not usable from here, and so is
 * what there is no room for: the fanouts look at the outbox as well.
 */
#include "lib/base/ctx.h"

/* Nothing to start in mode single. False: no thread could be made. */
bool hints_start(const struct conf *conf);

/* What this unit of work has committed. Waits for nobody. */
void hints_give(const struct ctx *c);

/* Pushes what was given and ends, at the latest by this time (monotonic). */
void hints_stop(ms by);
