#pragma once
/*
 * target - a URL that a user gave: absolute, http or https, no user
 * information, no fragment; parsed by libcurl's parser, the one that dials
 */
#include "lib/base/ctx.h"
#include "lib/run/egress.h"

/* ERR_VALIDATION_ERROR with what is wrong (for the member url). */
MUST_CHECK enum err target_check(struct ctx *c, str url, bool https_only);

/*
 * As a courtesy when it is saved: resolves the host and judges each address;
 * never connects. ERR_TARGET_NOT_ALLOWED when any address is denied; a name
 * that does not resolve now is fine (the delivery decides). Takes at most
 * most_ms.
 */
MUST_CHECK enum err target_judge(struct ctx *c, const struct egress *e, str url,
                                 ms most_ms);

/*
 * The URL as it is dialled: ASCII, an international host in its xn-- form.
 * NULL when it cannot be used; ends with target_free().
 */
char *target_wire(str url);
void target_free(char *wire);
