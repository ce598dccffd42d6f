/* str - comparing, cutting and reading of borrowed slices */
#include "lib/base/str.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool str_eq_nocase(str a, str b)
{
    return a.n == b.n && str_starts_nocase(a, b);
}

bool str_starts_nocase(str s, str prefix)
{
    if (s.n < prefix.n)
        return false;
    for (size_t i = 0; i < prefix.n; i++)
        if (lower(s.p[i]) != lower(prefix.p[i]))
            return false;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

str str_trim(str s)
{
    while (s.n > 0 && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

size_t str_find(str s, char byte, size_t from)
{
    const char *hit;

    if (from >= s.n)
        return SIZE_MAX;
    hit = memchr(s.p + from, byte, s.n - from);
    return hit ? (size_t)(hit - s.p) : SIZE_MAX;
}

size_t str_find_str(str s, str part)
{
    const char *hit;

    if (part.n == 0)
        return 0;
    if (s.n == 0)
        return SIZE_MAX;
    hit = memmem(s.p, s.n, part.p, part.n);
    return hit ? (size_t)(hit - s.p) : SIZE_MAX;
}

bool str_cut(str *rest, char sep, str *out_piece)
{
    size_t at;

    if (rest->p == NULL)
        return false;
    at = str_find(*rest, sep, 0);
    if (at == SIZE_MAX) {
        *out_piece = *rest;
        *rest = STR_NONE;
    } else {
        *out_piece = str_head(*rest, at);
        *rest = str_from(*rest, at + 1);
    }
    return true;
}

bool str_to_i64(str s, int64_t *out)
{
    bool negative = s.n > 0 && s.p[0] == '-';
    uint64_t most = negative ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX;
    uint64_t v = 0;

    s = str_from(s, negative);
    if (!str_is_digits(s))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned)(s.p[i] - '0');

        if (v > (most - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

bool str_is_digits(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return s.n > 0;
}

bool str_is_hex(str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = lower(s.p[i]);

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return s.n > 0;
}
