/* utf8 - see utf8.h; ranges of Unicode 15, table 3-7 */
#include "lib/base/utf8.h"

#define EACH_BYTE(b) (0x0101010101010101u * (b))

/* Follow-up bytes that `lead` wants, and the range of the first of them. */
static size_t want(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    if (lead < 0xe0)
        return 1;
    if (lead == 0xe0)
        *low = 0xa0;
    if (lead == 0xed)
        *high = 0x9f;
    if (lead < 0xf0)
        return 2;
    if (lead == 0xf0)
        *low = 0x90;
    if (lead == 0xf4)
        *high = 0x8f;
    return 3;
}

/* Bytes of the character, or of the part of it that is there. */
static size_t measure(str s, bool *out_whole)
{
    const unsigned char *p = (const unsigned char *)s.p;
    unsigned char low, high;
    size_t n = want(p[0], &low, &high), i = 1;

    while (i <= n && i < s.n && p[i] >= low && p[i] <= high) {
        low = 0x80;
        high = 0xbf;
        i++;
    }
    *out_whole = p[0] < 0x80 || (n > 0 && i == n + 1);
    return i;
}

size_t utf8_len(str s)
{
    bool whole = false;
    size_t n = s.n > 0 ? measure(s, &whole) : 0;

    return whole ? n : 0;
}

size_t utf8_bad_len(str s)
{
    bool whole;

    return measure(s, &whole);
}

bool utf8_is_valid(str s)
{
    while (s.n > 0) {
        size_t n = utf8_plain_len(s);

        if (n == 0)
            n = utf8_len(s);
        if (n == 0)
            return false;
        s = str_from(s, n);
    }
    return true;
}

/* U+0080 to U+009F */
static bool is_c1(str s)
{
    return s.n > 1 && (unsigned char)s.p[0] == 0xc2 &&
           (unsigned char)s.p[1] < 0xa0;
}

bool utf8_is_line(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ||
            is_c1(str_from(s, i)))
            return false;
    return utf8_is_valid(s);
}

size_t utf8_put(char to[UTF8_MAX], uint32_t code)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char)(0xc0 | code >> 6);
        to[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (char)(0xe0 | code >> 12);
        to[1] = (char)(0x80 | (code >> 6 & 0x3f));
        to[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | code >> 18);
    to[1] = (char)(0x80 | (code >> 12 & 0x3f));
    to[2] = (char)(0x80 | (code >> 6 & 0x3f));
    to[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* A borrow shows up only above a byte that is itself not plain. */
static bool all_plain(uint64_t x)
{
    uint64_t quote = (x ^ EACH_BYTE('"')) - EACH_BYTE(1);
    uint64_t slash = (x ^ EACH_BYTE('\\')) - EACH_BYTE(1);
    uint64_t control = x - EACH_BYTE(0x20);

    return ((quote | slash | control | x) & EACH_BYTE(0x80)) == 0;
}

size_t utf8_plain_len(str s)
{
    size_t i = 0;
    uint64_t x;

    for (; s.n - i >= sizeof x; i += sizeof x) {
        memcpy(&x, s.p + i, sizeof x);
        if (!all_plain(x))
            break;
    }
    if (i < s.n && s.n - i < sizeof x && s.n >= sizeof x) {
        /* the last word once more, over the end of the one before */
        memcpy(&x, s.p + s.n - sizeof x, sizeof x);
        if (all_plain(x))
            return s.n;
    }
    while (i < s.n) {
        unsigned char c = (unsigned char)s.p[i];

        if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\')
            break;
        i++;
    }
    return i;
}
