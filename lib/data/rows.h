#pragma once
/*
 * rows - the documents that a query finds
 *
 *   rows_find | rows_stream -> rows_next ... -> (ends with the arena)
 *
 * A document is borrowed until the next rows_next().
 */
#include "lib/data/mongo.h"

struct rows_find {
    const char *collection;
    const bson_t *filter;            /* never NULL */
    const bson_t *sort, *projection; /* may be NULL */
    int64_t skip, limit;             /* 0 = none */
};

struct rows;

/* One command where the rows fit in it; else the driver's cursor. */
MUST_CHECK enum err rows_find(struct ctx *c, const struct rows_find *f,
                              struct rows **out);

/* A cursor from the start, for results of any length. */
MUST_CHECK enum err rows_stream(struct ctx *c, const struct rows_find *f,
                                struct rows **out);

/* How many rows there are when all are here already, else -1. */
int64_t rows_n(const struct rows *rows);

/* *out_doc is NULL at the end. */
MUST_CHECK enum err rows_next(struct ctx *c, struct rows *rows,
                              const bson_t **out_doc);
