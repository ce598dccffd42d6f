#pragma once
/*
 * search - what `search=` looks in: the named fields, else the text index,
 * else the text fields that a sample of the collection shows
 */
#include "lib/data/filter.h"

/* Joins the search of q into its filter; *out_none: nothing can match. */
MUST_CHECK enum err search_resolve(struct ctx *c, const char *collection,
                                   struct list_query *q, bool *out_none);
