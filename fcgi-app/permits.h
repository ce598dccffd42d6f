#pragma once
/*
 * permits - what the threads of a process may do at the same time
 *
 *   permits_take -> { permits_begin_wait -> permits_end_wait } -> permits_give
 *
 * All threads but one may do I/O: the last free one serves probes. A quarter
 * of them, at least one, may wait for what only others can bring about; where
 * those others need this process, only when a permit is left for them.
 */
#include "lib/base/ctx.h"

/* Once, before any thread. */
bool permits_setup(int64_t threads);

/*
 * For a route that does I/O: waits for a permit for at most a second; after a
 * wait in vain nobody waits until one is given back, so that probes do not
 * queue behind those who wait. ERR_OVERLOADED.
 */
MUST_CHECK enum err permits_take(struct ctx *c);
bool permits_try(void); /* without a wait */
void permits_give(void);

/* False: enough wait already, or the process ends. */
bool permits_begin_wait(void);
bool permits_begin_wait_for_clients(void);
void permits_end_wait(void);

/* Nobody waits from now on: permits_are_closed() tells those who do. */
void permits_close(void);
bool permits_are_closed(void);
