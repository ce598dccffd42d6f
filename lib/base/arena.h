#pragma once
/*
 * arena - memory and clean-ups of one unit of work
 *
 *   arena_init -> { arena_alloc | arena_defer }* -> arena_reset -> ... -> done
 *
 * Bump allocation in blocks that are kept between units, up to a ceiling.
 * arena_reset() runs the deferred clean-ups in reverse order and takes all
 * memory back; nothing allocated before may be used after. Memory is zeroed.
 * Test builds (-DARENA_POISON) overwrite it on reset.
 */
#include <stddef.h>

#include "lib/base/err.h"
#include "lib/base/str.h"

struct arena_block;
struct arena_defer;

struct arena {
    struct arena_block *blocks; /* newest first */
    struct arena_defer *defers; /* newest first */
    size_t used_bytes;          /* in all blocks */
    size_t max_bytes;
};

/* Allocates nothing yet. max_bytes bounds what one unit of work may take. */
void arena_init(struct arena *a, size_t max_bytes);
void arena_done(struct arena *a);
void arena_reset(struct arena *a);

/* Zeroed, aligned for any type (128 bytes and more: to 128), or NULL when the
 * ceiling or heap is reached. */
void *arena_alloc(struct arena *a, size_t bytes);

/* fn(arg) runs at reset. Without memory it runs at once and ERR_OVERLOADED. */
MUST_CHECK enum err arena_defer(struct arena *a, void (*fn)(void *), void *arg);

/* Copies, NUL-terminated behind the slice; .p is NULL without memory. */
str arena_str(struct arena *a, str s);
str arena_strf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
