#pragma once
/*
 * veil - what nobody reads of a system collection, where the settings open
 * these: secrets of webhooks
 *
 * They are neither shown nor searched: a condition, an order or a count that
 * depends on one would tell it letter by letter.
 */
#include "lib/data/filter.h"

/* doc, or a copy of the arena's without them. NULL with the failure noted. */
const bson_t *veil_doc(struct ctx *c, const char *collection,
                       const bson_t *doc);

/* ERR_BAD_QUERY when q asks for one; else they are kept out of what it finds.
 */
MUST_CHECK enum err veil_query(struct ctx *c, const char *collection,
                               struct list_query *q);
