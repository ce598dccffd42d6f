#pragma once
/*
 * rows_json - lists of rows as JSON, and what part of the deliveries, newest
 * first, is asked for
 */
#include "fcgi-app/params.h"
#include "lib/base/buf.h"

typedef struct _bson_t bson_t;

struct rows_page {
    int64_t limit;
    ms before; /* INT64_MAX: from the newest */
};

/* An object id as it stands in rows: in lower case. */
str rows_id(struct ctx *c, str id);

/* limit (1-100, default 20) and before. */
MUST_CHECK enum err rows_page_read(struct ctx *c, const struct params *p,
                                   struct rows_page *out);

/* [..] of an array of rows, each as `write` shows it; gives their number. */
size_t rows_json(struct buf *b, const bson_t *rows,
                 void (*write)(struct buf *b, const bson_t *row,
                               const void *arg),
                 const void *arg);
