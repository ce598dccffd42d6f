#pragma once
/* columns - the union of top-level keys of all rows, in first-seen order */
#include "lib/data/rows.h"

struct columns {
    str *v;
    size_t n;
    uint16_t *slots; /* a hash over v: 1 + index, 0 is free */
};

/* Reads all rows once. ERR_EXPORT_TOO_LARGE above 10,000 columns. */
MUST_CHECK enum err columns_collect(struct ctx *c, const struct rows_find *f,
                                    struct columns *cols);
