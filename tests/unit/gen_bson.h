#pragma once
/*
 * gen_bson - documents and filters drawn from a seed: small pools, so that
 * values meet, of every type and with the edges of numbers
 */
#include <bson/bson.h>

struct gen {
    uint64_t state; /* the seed, not 0 */
    bool mixed;     /* also dates and ids as texts */
    bool wrong;     /* some operands of filters are of a wrong kind */
};

uint32_t gen_below(struct gen *g, uint32_t n);

/* Members a, b, c and the like; the caller destroys it. */
bson_t *gen_document(struct gen *g);

/* The caller destroys it. */
bson_t *gen_filter(struct gen *g);
