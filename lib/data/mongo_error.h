#pragma once
/*
 * mongo_error - the driver's and the server's errors made ours, by number,
 * never by text; they travel no further than this
 */
#include <bson/bson.h>

#include "lib/base/ctx.h"

/* Notes the failure in c and returns it. */
MUST_CHECK enum err mongo_translate(struct ctx *c, const bson_error_t *e,
                                    bool writing);

/* Fail-overs and lost connections: another try may find the primary. */
bool mongo_is_transient(const bson_error_t *e);

/* One row of a reply's "writeErrors", as the driver would tell it. */
void mongo_write_error(const bson_iter_t *row, bson_error_t *out);
