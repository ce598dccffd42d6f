/* text - see text.h */
#include "lib/base/text.h"

#include <assert.h>

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void text_base64(const void *bytes, size_t n, char *out)
{
    const unsigned char *from = bytes;

    for (; n >= 3; n -= 3, from += 3) {
        *out++ = base64_digits[from[0] >> 2];
        *out++ = base64_digits[(from[0] & 3) << 4 | from[1] >> 4];
        *out++ = base64_digits[(from[1] & 15) << 2 | from[2] >> 6];
        *out++ = base64_digits[from[2] & 63];
    }
    if (n > 0) {
        unsigned second = n == 2 ? from[1] : 0;

        *out++ = base64_digits[from[0] >> 2];
        *out++ = base64_digits[(from[0] & 3) << 4 | second >> 4];
        *out++ = '=';
        if (n == 2)
            out[-1] = base64_digits[(second & 15) << 2];
        *out++ = '=';
    }
    *out = '\0';
}

/* 0-63, or -1. */
static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : -1;
}

bool text_base64_read(str s, unsigned char *out, size_t max, size_t *out_n)
{
    size_t pads = 0, n, done = 0;
    uint32_t bits = 0;

    if (s.n % 4 != 0)
        return false;
    while (pads < 2 && pads < s.n && s.p[s.n - 1 - pads] == '=')
        pads++;
    n = s.n / 4 * 3 - pads;
    if (n > max)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        int v = i < s.n - pads ? base64_value(s.p[i]) : 0;

        if (v < 0)
            return false;
        bits = bits << 6 | (uint32_t)v;
        for (int b = 0; i % 4 == 3 && b < 3; b++) {
            unsigned char byte = (unsigned char)(bits >> (16 - 8 * b));

            if (done < n)
                out[done++] = byte;
            else if (byte != 0)
                return false; /* bits that no encoder sets */
        }
    }
    *out_n = n;
    return true;
}

void text_base62(const unsigned char *bytes, size_t n, int digits, char *out)
{
    static const char names[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    unsigned char rest[32];

    assert(n <= sizeof rest);
    memcpy(rest, bytes, n);
    out[digits] = '\0';
    while (digits-- > 0) {
        unsigned left = 0;

        for (size_t i = 0; i < n; i++) {
            left = left << 8 | rest[i];
            rest[i] = (unsigned char)(left / 62);
            left %= 62;
        }
        out[digits] = names[left];
    }
}

void text_base36(uint64_t v, int digits, char *out)
{
    static const char names[] = "0123456789abcdefghijklmnopqrstuvwxyz";

    out[digits] = '\0';
    for (; digits-- > 0; v /= 36)
        out[digits] = names[v % 36];
}

void text_percent(struct buf *b, str s)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c > ' ' && c < 0x7f && c != '%') {
            buf_add_char(b, s.p[i]);
            continue;
        }
        buf_add_char(b, '%');
        buf_add_char(b, hex[c >> 4]);
        buf_add_char(b, hex[c & 15]);
    }
}
