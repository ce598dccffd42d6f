#pragma once
/*
 * buf - growable output with a ceiling and a remembered failure
 *
 * Appends return nothing: the first failure sticks, later appends do nothing,
 * and buf.err is looked at once, at the end. A buf with a drain never fails
 * for size: when `max` is reached the drain takes the bytes (buf_clear) and
 * writing goes on, which is how a reply of any length has bounded memory.
 */
#include "lib/base/err.h"
#include "lib/base/str.h"

struct buf {
    char *p;
    size_t n, cap; /* n <= cap <= max */
    size_t max;    /* ceiling of n */
    enum err full; /* what err becomes at the ceiling */
    enum err err;  /* OK until the first failure */
    /* Sends b->p[0..n) away; what it returns becomes err. May be NULL. */
    enum err (*drain)(void *arg, struct buf *b);
    void *drain_arg;
};

/* Over n bytes of the caller's, without buf_done(); beyond them it fails. */
static inline struct buf buf_over(char *p, size_t n)
{
    return (struct buf){.p = p, .cap = n, .max = n, .full = ERR_INTERNAL};
}

/* Allocates nothing yet. */
void buf_init(struct buf *b, size_t max, enum err full);
void buf_done(struct buf *b);
void buf_clear(struct buf *b); /* empty, no failure, no drain; memory kept */

void buf_addf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void buf_add_i64(struct buf *b, int64_t v); /* decimal */

/*
 * Room for n more bytes at the end, or NULL with err set. The caller writes
 * at most n bytes there and adds what it wrote to b->n. n must be < max.
 */
char *buf_room_slow(struct buf *b, size_t n);
static inline char *buf_room(struct buf *b, size_t n)
{
    if (!b->err && n <= b->cap - b->n && n > 0)
        return b->p + b->n;
    return buf_room_slow(b, n);
}

void buf_add_slow(struct buf *b, str s);
static inline void buf_add(struct buf *b, str s)
{
    if (b->err || s.n > b->cap - b->n) {
        buf_add_slow(b, s);
    } else if (s.n > 0) {
        memcpy(b->p + b->n, s.p, s.n);
        b->n += s.n;
    }
}

static inline void buf_add_char(struct buf *b, char c)
{
    char *to = buf_room(b, 1);

    if (to) {
        *to = c;
        b->n++;
    }
}

void buf_set_err(struct buf *b, enum err err);

static inline str buf_str(const struct buf *b)
{
    return (str){b->p, b->n};
}
