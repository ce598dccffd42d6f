#pragma once
/*
 * targets - may a URL that a user gave be stored: the policy of addresses as
 * this program sees it
 *
 * A courtesy: each delivery is judged again where it dials. The names of our
 * own servers are looked up anew each time, since they move.
 */
#include "lib/base/ctx.h"

/* Its form alone. ERR_VALIDATION_ERROR with what is wrong. */
MUST_CHECK enum err targets_check(struct ctx *c, str url);

/* Its addresses, a second or two at most. ERR_TARGET_NOT_ALLOWED. */
MUST_CHECK enum err targets_judge(struct ctx *c, str url);
