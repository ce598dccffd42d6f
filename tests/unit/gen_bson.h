#pragma once
/*
 * gen_bson - documents and filters drawn from a seed: small pools, so that
 * values meet, of every type and with the edges of numbers
 */
#include <bson/bson.h>

struct gen {
    uint64_t state; /* the seed, not 0 */
    bool wrong;     /* some operands of filters are of a wrong kind */
};

enum {
    GEN_PATTERNS = 13,
    GEN_OPTIONS = 8
};
extern const char *const gen_patterns[GEN_PATTERNS];
extern const char *const gen_options[GEN_OPTIONS];

uint32_t gen_below(struct gen *g, uint32_t n);
bool gen_one_in(struct gen *g, uint32_t n);
#define PICK(g, pool) ((pool)[gen_below((g), sizeof(pool) / sizeof *(pool))])

/* Append a member. stored: of a type that no filter may hold, too. */
void gen_value(struct gen *g, bson_t *to, const char *key, bool stored,
               int depth);
void gen_number(struct gen *g, bson_t *to, const char *key);
void gen_binary(struct gen *g, bson_t *to, const char *key);

/* Members a, b, c and one without a name; the caller destroys it. */
bson_t *gen_document(struct gen *g);

/* The caller destroys it. */
bson_t *gen_filter(struct gen *g);
