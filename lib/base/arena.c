/* arena - see arena.h */
#include "lib/base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BLOCK_BYTES = 16 * 1024, /* a normal request fits in the first block */
    ALIGNMENT = alignof(max_align_t),
    LARGE = 128, /* from this size on aligned to it, as bson_t asks */
};

struct arena_block {
    struct arena_block *next;
    size_t size, used;
    alignas(LARGE) char data[];
};

struct arena_defer {
    struct arena_defer *next;
    void (*fn)(void *);
    void *arg;
};

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena){.max_bytes = max_bytes};
}

static void run_defers(struct arena *a)
{
    while (a->defers) {
        struct arena_defer *d = a->defers;

        a->defers = d->next;
        d->fn(d->arg);
    }
}

static void free_blocks(struct arena_block *b)
{
    while (b) {
        struct arena_block *next = b->next;

        free(b);
        b = next;
    }
}

void arena_done(struct arena *a)
{
    run_defers(a);
    free_blocks(a->blocks);
    *a = (struct arena){0};
}

/* One block of the normal size is kept: the next unit starts without malloc. */
void arena_reset(struct arena *a)
{
    struct arena_block *keep = NULL;

    run_defers(a);
    for (struct arena_block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        if (!keep && b->size == BLOCK_BYTES)
            keep = b;
        else
            free(b);
    }
    a->blocks = keep;
    a->used_bytes = 0;
    if (!keep)
        return;
#ifdef ARENA_POISON
    memset(keep->data, 0xdb, keep->used);
#endif
    keep->next = NULL;
    keep->used = 0;
    a->used_bytes = keep->size;
}

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static struct arena_block *add_block(struct arena *a, size_t bytes)
{
    size_t size = bytes > BLOCK_BYTES ? round_up(bytes, LARGE) : BLOCK_BYTES;
    struct arena_block *b;

    if (size > a->max_bytes || a->used_bytes > a->max_bytes - size)
        return NULL;
    b = aligned_alloc(LARGE, sizeof *b + size);
    if (!b)
        return NULL;
    *b = (struct arena_block){.next = a->blocks, .size = size};
    a->blocks = b;
    a->used_bytes += size;
    return b;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    struct arena_block *b = a->blocks;
    size_t at;

    if (bytes > a->max_bytes)
        return NULL;
    bytes = round_up(bytes, ALIGNMENT);
    at = b ? round_up(b->used, bytes < LARGE ? ALIGNMENT : LARGE) : 0;
    if (!b || at > b->size || b->size - at < bytes) {
        b = add_block(a, bytes);
        at = 0;
    }
    if (!b)
        return NULL;
    b->used = at + bytes;
    return memset(b->data + at, 0, bytes);
}

enum err arena_defer(struct arena *a, void (*fn)(void *), void *arg)
{
    struct arena_defer *d = arena_alloc(a, sizeof *d);

    if (!d) {
        fn(arg);
        return ERR_OVERLOADED;
    }
    *d = (struct arena_defer){a->defers, fn, arg};
    a->defers = d;
    return OK;
}

str arena_str(struct arena *a, str s)
{
    char *p = arena_alloc(a, s.n + 1);

    if (!p)
        return STR_NONE;
    if (s.n)
        memcpy(p, s.p, s.n);
    return (str){p, s.n};
}

str arena_strf(struct arena *a, const char *fmt, ...)
{
    va_list list;
    char *p;
    int n;

    va_start(list, fmt);
    n = vsnprintf(NULL, 0, fmt, list);
    va_end(list);
    p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (!p)
        return STR_NONE;
    va_start(list, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, list);
    va_end(list);
    return (str){p, (size_t)n};
}
