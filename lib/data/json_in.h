#pragma once
/*
 * json_in - strict JSON text to BSON
 *
 * Whole literals become int32, int64 or double, the smallest that holds them;
 * others int32 when they are integral and fit, else double. Strings stay
 * strings and {"$oid":..} and the like stay plain objects. Order is kept; of
 * equal keys the last value stands at the first one's place.
 */
#include <bson/bson.h>

#include "lib/base/ctx.h"

enum json_root {
    JSON_OBJECT,
    JSON_ARRAY, /* the document has the keys "0", "1", .. */
    JSON_SCALAR /* the document is empty */
};

/*
 * *out_doc is owned by the ctx until ctx_reset. Notes ERR_BAD_JSON (with the
 * byte), ERR_DOCUMENT_TOO_LARGE above 16 MiB of BSON, or ERR_OVERLOADED.
 */
MUST_CHECK enum err json_in(struct ctx *c, str text, enum json_root *out_root,
                            bson_t **out_doc);
