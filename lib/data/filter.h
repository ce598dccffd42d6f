#pragma once
/*
 * filter - the query string of a document list: filter, page, order, fields
 *
 * All results live until the ctx is reset.
 */
#include <bson/bson.h>

#include "lib/base/ctx.h"

enum {
    FILTER_SEARCH_FIELDS_MAX = 20
};

struct list_query {
    bool csv; /* format=csv */
    int64_t page, limit;
    bson_t *filter;            /* never NULL, without the search */
    bson_t *sort, *projection; /* NULL when absent */
    bson_t *shown_projection;  /* {} when absent */
    str *fields;               /* included ones, as given */
    size_t fields_n;
    str search; /* raw; empty = none */
};

struct filter_limits {
    int64_t default_page_size, max_page_size;
};

/* Parses and builds; the filter has passed opcheck. */
MUST_CHECK enum err filter_parse(struct ctx *c, str query,
                                 const struct filter_limits *lim,
                                 struct list_query *out);

/*
 * Joins the search into q->filter: a regex on each field, or a search of the
 * text index when n is 0. Without a search nothing is done.
 */
MUST_CHECK enum err filter_add_search(struct ctx *c, struct list_query *q,
                                      const str *fields, size_t n);
