#pragma once
/*
 * bwalk - the elements of a BSON document in their order (bsonspec.org 1.1)
 *
 * Several times as fast as libbson's iterator, which judges each value again;
 * here a length that leads outside ends the walk. For results, not for the
 * judging of input.
 */
#include <bson/bson.h>

#include "lib/base/str.h"

struct bwalk {
    const uint8_t *doc;
    uint32_t n, at; /* its bytes; where the next element begins */
};

struct belem {
    bson_type_t type;
    str key;
    const uint8_t *v; /* value, n bytes */
    uint32_t n;
};

/* From the first element. A document whose length is wrong has none. */
struct bwalk bwalk_of(const uint8_t *doc, size_t n);

/* False at the end, and when what follows is no element. */
bool bwalk_next(struct bwalk *w, struct belem *out);

/* The element that libbson's iterator stands on. */
struct belem bwalk_at(const bson_iter_t *it);

/* libbson's iterator on e, for what only it can read. */
bool bwalk_iter(const struct bwalk *w, const struct belem *e, bson_iter_t *out);

/* Text of a UTF8 or SYMBOL element. */
static inline str belem_text(const struct belem *e)
{
    return e->n < 5 ? STR("") : (str){(const char *)e->v + 4, e->n - 5};
}

static inline int32_t belem_i32(const struct belem *e)
{
    int32_t v;

    memcpy(&v, e->v, sizeof v);
    return v;
}

static inline int64_t belem_i64(const struct belem *e)
{
    int64_t v;

    memcpy(&v, e->v, sizeof v);
    return v;
}
