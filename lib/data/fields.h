#pragma once
/* fields - comma lists of field paths: what to sort by, what to show */
#include "lib/data/filter.h"

/* ERR_BAD_QUERY for an empty name, a repeated one and `$` segments. */
MUST_CHECK enum err fields_parse_sort(struct ctx *c, str text, bson_t **out);

/*
 * Fills projection, fields and fields_n of q. ERR_BAD_QUERY also when it
 * mixes inclusion and exclusion (other than of _id) or paths clash.
 */
MUST_CHECK enum err fields_parse_projection(struct ctx *c, str text,
                                            struct list_query *q);
