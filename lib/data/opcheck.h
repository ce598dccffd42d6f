#pragma once
/*
 * opcheck - the operators that a filter may hold, and how large it may be
 *
 * Judges the finished BSON, however it was asked for. Nothing is removed: a
 * filter passes as it is or not at all.
 */
#include <bson/bson.h>

#include "lib/base/ctx.h"

enum {
    OPCHECK_DEPTH_MAX = 10,   /* the filter itself is level 1 */
    OPCHECK_NODES_MAX = 256,  /* members of documents at all depths */
    OPCHECK_ITEMS_MAX = 1000, /* in one array */
    OPCHECK_REGEX_MAX = 4,
    OPCHECK_PATTERN_BYTES = 512,
    OPCHECK_OPERATORS_MAX = 64 /* so that a set of them fits a uint64_t */
};

/* ERR_BAD_OPERATOR naming it, or ERR_FILTER_TOO_COMPLEX. */
MUST_CHECK enum err opcheck_filter(struct ctx *c, const bson_t *filter);

/* A small number of its own for each allowed operator, -1 for others. */
int opcheck_operator(str name);
