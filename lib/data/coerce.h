#pragma once
/*
 * coerce - texts of a query string become typed BSON values
 *
 * All append one member to `out` under `key`.
 */
#include <bson/bson.h>

#include "lib/base/ctx.h"

/* Empty, owned by the ctx's arena; NULL with the failure noted. */
bson_t *coerce_doc_new(struct ctx *c);

/* The text as it is. */
void coerce_append_text(bson_t *out, str key, str text);

/*
 * true, false, null; 24 hex digits; whole and decimal numbers; dates; else
 * the text.
 */
MUST_CHECK enum err coerce_append(struct ctx *c, bson_t *out, str key,
                                  str text);

/* False for members whose text is one by its nature: $regex, $options .. */
bool coerce_is_wanted(str key);

/*
 * All members of doc, with the texts inside coerced at any depth but those
 * directly in arrays.
 */
MUST_CHECK enum err coerce_append_members(struct ctx *c, bson_t *out,
                                          const bson_t *doc);

/* {"$op": text coerced} */
MUST_CHECK enum err coerce_append_op(struct ctx *c, bson_t *out, str key,
                                     const char *op, str text);

/*
 * The value of a plain condition: JSON object, list, range, comparison,
 * pattern, wildcards or a plain text. A `..` without ends is ERR_BAD_QUERY.
 */
MUST_CHECK enum err coerce_append_condition(struct ctx *c, bson_t *out, str key,
                                            str text);

/* {"$regex": pattern, "$options": "i"} */
void coerce_append_regex(bson_t *out, str key, str pattern);

/* The text with each regex metacharacter escaped; .p is NULL without memory. */
str coerce_escape(struct ctx *c, str text);
