/* buf - see buf.h */
#include "lib/base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    FIRST_BYTES = 4096
};

void buf_init(struct buf *b, size_t max, enum err full)
{
    *b = (struct buf){.max = max, .full = full};
}

void buf_done(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->err = OK;
    b->drain = NULL;
}

void buf_set_err(struct buf *b, enum err err)
{
    if (b->err == OK)
        b->err = err;
}

static bool grow(struct buf *b, size_t need)
{
    size_t cap = b->cap ? b->cap : FIRST_BYTES;
    char *p;

    while (cap < need)
        cap *= 2;
    if (cap > b->max)
        cap = b->max;
    p = realloc(b->p, cap);
    if (!p) {
        buf_set_err(b, ERR_OVERLOADED);
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

char *buf_room_slow(struct buf *b, size_t n)
{
    if (b->err)
        return NULL;
    if (n > b->max - b->n && b->drain) {
        buf_set_err(b, b->drain(b->drain_arg, b));
        if (b->err)
            return NULL;
    }
    if (n > b->max - b->n) {
        buf_set_err(b, b->full);
        return NULL;
    }
    if (b->n + n > b->cap && !grow(b, b->n + n))
        return NULL;
    return b->p + b->n;
}

void buf_add_slow(struct buf *b, str s)
{
    while (s.n > 0) {
        /* a slice above the ceiling goes through the drain in pieces */
        str head = b->drain ? str_head(s, b->max / 2) : s;
        char *to = buf_room(b, head.n);

        if (!to)
            return;
        memcpy(to, head.p, head.n);
        b->n += head.n;
        s = str_from(s, head.n);
    }
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    size_t room = b->err ? 0 : b->cap - b->n;
    va_list list;
    char *to;
    int n;

    va_start(list, fmt);
    n = vsnprintf(room ? b->p + b->n : NULL, room, fmt, list);
    va_end(list);
    if (n >= 0 && (size_t)n < room) {
        b->n += (size_t)n;
        return;
    }
    to = n < 0 ? NULL : buf_room(b, (size_t)n + 1);
    if (!to)
        return;
    va_start(list, fmt);
    vsnprintf(to, (size_t)n + 1, fmt, list);
    va_end(list);
    b->n += (size_t)n;
}

void buf_add_i64(struct buf *b, int64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    uint64_t u = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

    do {
        digits[--at] = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0)
        digits[--at] = '-';
    buf_add(b, (str){digits + at, sizeof digits - at});
}
