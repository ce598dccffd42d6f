#pragma once
/*
 * mongo_sessions - the driver's sessions of a program's processes, kept in
 * memory that outlives each of them
 *
 *   mongo_sessions_setup (supervisor, before the fork)
 *      -> mongo_sessions_join (child) -> sessions come and go by themselves
 *      -> while mongo_sessions_due: mongo_sessions_end
 *
 * A process that is killed within a transaction leaves it to the server, which
 * keeps it, and all documents that it has changed, for a minute: changes of
 * them fail meanwhile. So the next process of that slot asks the server to end
 * the sessions that it finds there: at once, and again after a second, because
 * a command of the dead one may still have been on its way. Any user of the
 * database may do that with sessions of its own; unknown ones do not matter.
 *
 * Sessions of a program that ends as a whole are not ended. Without
 * mongo_sessions_setup, or when a slot is full, sessions are not kept.
 */
#include "lib/base/ctx.h"

/* Once a program; clients: of a process at most. False without memory. */
MUST_CHECK bool mongo_sessions_setup(int slots, int clients);

/* In the child, before its first client and its threads: it has this slot. */
void mongo_sessions_join(int slot);

/* Is there something to end now? By one thread of the process. */
bool mongo_sessions_due(void);

/*
 * Ends, by one command within c's deadline, what the processes before have
 * left. By that same thread; c's client reads from the primary. A failure is
 * the business of the next call: it is due again half a second later, at most
 * twenty times.
 */
void mongo_sessions_end(struct ctx *c);
