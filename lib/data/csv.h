#pragma once
/*
 * csv - documents to CSV text
 *
 * Header and texts are quoted, numbers and booleans bare, null and missing
 * empty; objects are JSON; items of arrays are joined by "; ". Lines end in
 * LF, which is written before each row: the last one has none.
 */
#include <bson/bson.h>

#include "lib/base/buf.h"

struct csv_style {
    char delimiter, quote;
    char escape;   /* stands before each quote inside a text */
    bool formulas; /* a text that begins like a formula gets a leading ' */
};

void csv_out_header(struct buf *b, const struct csv_style *s,
                    const str *columns, size_t n);

/* A column a.b that is no key of its own reaches inside nested documents. */
void csv_out_row(struct buf *b, const struct csv_style *s, const bson_t *doc,
                 const str *columns, size_t n);
