#pragma once
/*
 * limit - how many requests a caller may send (RATE_LIMIT_*)
 *
 *   limit_setup (supervisor) -> fork -> { limit_caller -> limit_outcome }
 *
 * Counted in Redis while that answers, by all instances together; else in a
 * table that the processes of this instance share. A request never waits for a
 * Redis known to be away, and at most 50 ms for one that just went. The table
 * has a fixed size: when many callers meet in a part of it, the one longest
 * unseen is forgotten, then the one with the smallest count; threads that
 * collide in that may gain or lose a count or two.
 *
 * Counted are all answers but those of health, of metrics, to OPTIONS, and of
 * requests shed while all threads are busy.
 * Whoever holds no I/O permit must not wait: routes without I/O, and what the
 * router refuses while all permits are out, are counted in the table.
 */
#include "fcgi-app/reply.h"

/* ERR_OVERLOADED without memory. Before the fork, so that all share. */
MUST_CHECK enum err limit_setup(const struct conf *conf);

/*
 * Counts q->caller and sets the headers of it, or ERR_RATE_LIMITED, whatever
 * failed before. With RATE_LIMIT_SKIP_SUCCESSFUL it only looks: the headers
 * and the count are limit_outcome's. So as many more may pass as are under way
 * at a time; they are counted and make the next wait longer.
 */
MUST_CHECK enum err limit_caller(struct ctx *c, const struct request *q,
                                 struct reply *out, bool may_wait);

/* After the handler, before the reply: counts what limit_caller left. */
void limit_outcome(struct ctx *c, const struct request *q, struct reply *out,
                   enum err err, bool may_wait);
