#pragma once
/*
 * str - a borrowed slice of bytes: pointer and length, any bytes inside, no
 * NUL promised. It lives as long as what it points into.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const char *p;
    size_t n;
} str;

typedef int64_t ms; /* milliseconds, a span or a point of a named clock */

#define STR(literal) ((str){(literal), sizeof(literal) - 1})
#define STR_NONE     ((str){NULL, 0})

/* the same as an initializer of a static */
#define STR_INIT(literal)                                                      \
    {                                                                          \
        (literal), sizeof(literal) - 1                                         \
    }

/* printf("%.*s", STR_ARG(s)) */
#define STR_FMT    "%.*s"
#define STR_ARG(s) (int)(s).n, (s).p

static inline str str_of(const char *z)
{
    return (str){z, z ? strlen(z) : 0};
}

static inline bool str_eq(str a, str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool str_starts(str s, str prefix)
{
    return s.n >= prefix.n &&
           (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

/* The part from byte `from` on; empty when there is none. */
static inline str str_from(str s, size_t from)
{
    return from >= s.n ? (str){s.p + s.n, 0} : (str){s.p + from, s.n - from};
}

static inline str str_head(str s, size_t n)
{
    return n >= s.n ? s : (str){s.p, n};
}

/* ASCII only; locale plays no part. */
bool str_eq_nocase(str a, str b);
bool str_starts_nocase(str s, str prefix);

/* Without ASCII blanks (space, \t \n \v \f \r) at both ends. */
str str_trim(str s);

/* Index of the first `byte` at or after `from`, or SIZE_MAX. */
size_t str_find(str s, char byte, size_t from);

/* Index of the first `part`, or SIZE_MAX; an empty part is at 0. */
size_t str_find_str(str s, str part);

/*
 * Cuts the next piece up to `sep` off the front of *rest and gives it in
 * *out_piece. False when *rest is used up (its pointer is then NULL), so
 * "a,,b" gives three pieces and "" gives one empty piece.
 */
bool str_cut(str *rest, char sep, str *out_piece);

/* Decimal digits with an optional '-', nothing else; false on overflow too. */
bool str_to_i64(str s, int64_t *out);

bool str_is_digits(str s);
bool str_is_hex(str s);
