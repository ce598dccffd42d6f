#pragma once
/* conjoin - conditions in order of appearance become one filter */
#include <bson/bson.h>

#include "lib/base/ctx.h"

/*
 * The names in `conditions` may repeat. Operator objects of one field with
 * different operators are merged; when that is not enough to make all names
 * different, the filter is {$and: [..]}.
 */
MUST_CHECK enum err conjoin(struct ctx *c, const bson_t *conditions,
                            bson_t **out_filter);
