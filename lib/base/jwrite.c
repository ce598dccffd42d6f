/* jwrite - see jwrite.h */
#include "lib/base/jwrite.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/utf8.h"

enum {
    DIGITS_MAX = 17, /* enough for every double */
    DIGITS_SURE = 15 /* what a double always keeps of a decimal */
};

static const double integral_max = 9007199254740992.0; /* 2^53 */

static void write_control(struct buf *b, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

    if (c == '"' || c == '\\')
        text[1] = (char)c;
    else if (letters[c])
        text[1] = letters[c];
    buf_add(b, (str){text, text[1] == 'u' ? 6 : 2});
}

/* Bytes at the front of s that are copied as they are. */
static size_t clean_len(str s)
{
    size_t n = utf8_plain_len(s);

    while (n < s.n && (unsigned char)s.p[n] >= 0x80) {
        size_t wide = utf8_len(str_from(s, n));

        if (wide == 0)
            break;
        n += wide;
        n += utf8_plain_len(str_from(s, n));
    }
    return n;
}

/* Nearly all keys and most values. */
static bool write_plain(struct buf *b, str s)
{
    char *to;

    if (utf8_plain_len(s) != s.n)
        return false;
    to = buf_room(b, s.n + 2);
    if (!to)
        return true; /* the failure is noted */
    to[0] = '"';
    if (s.n > 0)
        memcpy(to + 1, s.p, s.n);
    to[s.n + 1] = '"';
    b->n += s.n + 2;
    return true;
}

void jwrite_str(struct buf *b, str s)
{
    /* a longer one may have to go through the drain in pieces */
    if (s.n + 2 <= b->max / 2 && write_plain(b, s))
        return;
    buf_add_char(b, '"');
    while (s.n > 0) {
        size_t n = clean_len(s);

        buf_add(b, str_head(s, n));
        s = str_from(s, n);
        if (s.n == 0)
            break;
        n = 1;
        if ((unsigned char)s.p[0] < 0x80) {
            write_control(b, (unsigned char)s.p[0]);
        } else {
            n = utf8_bad_len(s);
            buf_add(b, STR("\xef\xbf\xbd"));
        }
        s = str_from(s, n);
    }
    buf_add_char(b, '"');
}

/* v is 0.digits * 10^point */
struct decimal {
    char digits[DIGITS_MAX];
    int n;
    int point;
};

/* One more in the last place. */
static void step_up(struct decimal *d)
{
    int i = d->n - 1;

    while (i >= 0 && d->digits[i] == '9')
        d->digits[i--] = '0';
    if (i >= 0) {
        d->digits[i]++;
        return;
    }
    d->digits[0] = '1';
    d->point++;
}

static bool reads_back(const struct decimal *d, double v)
{
    char text[40];

    snprintf(text, sizeof text, "0.%.*se%d", d->n, d->digits, d->point);
    return strtod(text, NULL) == v;
}

/* The nearest decimal of n digits. */
static void round_to(double v, int n, struct decimal *out)
{
    char text[40]; /* d.ddde+dd */
    int used = snprintf(text, sizeof text, "%.*e", n - 1, v);
    char *e = memchr(text, 'e', (size_t)used);
    int64_t exponent = 0;

    out->n = n;
    out->digits[0] = text[0];
    memcpy(out->digits + 1, text + 2, (size_t)n - 1);
    (void)str_to_i64(str_of(e + 2), &exponent); /* behind the sign */
    out->point = (int)(e[1] == '-' ? -exponent : exponent) + 1;
}

/*
 * Below a power of two doubles lie twice as dense as above, so that the
 * nearest decimal may miss it while the next one above does not.
 */
static bool try_digits(double v, int n, struct decimal *out)
{
    int exponent;

    round_to(v, n, out);
    if (n == DIGITS_MAX || reads_back(out, v))
        return true;
    if (frexp(v, &exponent) > 0.5)
        return false;
    step_up(out);
    return reads_back(out, v);
}

/*
 * Prices and the like. A division of exact doubles rounds as reading does,
 * and no two decimals of 15 digits are the same double: what fits is it.
 */
static bool try_few_decimals(double v, struct decimal *out)
{
    static const double tens[] = {1e1, 1e2, 1e3, 1e4, 1e5, 1e6};

    for (int i = 0; i < (int)(sizeof tens / sizeof *tens); i++) {
        double whole = nearbyint(v * tens[i]);
        char text[DIGITS_MAX];
        int at = DIGITS_MAX;

        if (whole >= 1e15)
            return false;
        if (whole / tens[i] != v)
            continue;
        for (uint64_t u = (uint64_t)whole; u > 0; u /= 10)
            text[--at] = (char)('0' + u % 10);
        out->n = DIGITS_MAX - at;
        memcpy(out->digits, text + at, (size_t)out->n);
        out->point = out->n - i - 1;
        return true;
    }
    return false;
}

static void shortest(double v, struct decimal *out)
{
    int n = v < DBL_MIN ? 1 : DIGITS_SURE;

    if (try_few_decimals(v, out))
        return;
    while (!try_digits(v, n, out))
        n++;
    while (out->n > 1 && out->digits[out->n - 1] == '0')
        out->n--;
}

static void add_zeros(struct buf *b, int n)
{
    buf_add(b, str_head(STR("00000000000000000000"), (size_t)n));
}

static void write_decimal(struct buf *b, const struct decimal *d)
{
    str all = {d->digits, (size_t)d->n};
    bool plain = d->point > -6 && d->point <= 21;
    int whole = plain ? d->point : 1;

    if (whole <= 0) {
        buf_add(b, STR("0."));
        add_zeros(b, -whole);
        buf_add(b, all);
        return;
    }
    buf_add(b, str_head(all, (size_t)whole));
    if (d->n > whole) {
        buf_add_char(b, '.');
        buf_add(b, str_from(all, (size_t)whole));
    } else {
        add_zeros(b, whole - d->n);
    }
    if (!plain) {
        buf_add(b, d->point > 0 ? STR("e+") : STR("e"));
        buf_add_i64(b, d->point - 1);
    }
}

void jwrite_double(struct buf *b, double v)
{
    struct decimal d;

    if (!isfinite(v)) {
        buf_add(b, STR("null"));
        return;
    }
    if (fabs(v) < integral_max && v == (double)(int64_t)v) {
        buf_add_i64(b, (int64_t)v);
        return;
    }
    if (v < 0)
        buf_add_char(b, '-');
    shortest(fabs(v), &d);
    write_decimal(b, &d);
}

void jwrite_time(struct buf *b, const char *before, ms wall)
{
    char text[CLOCK_ISO_MAX];
    size_t n = wall ? clock_iso(wall, text) : 0;

    buf_add(b, str_of(before));
    if (n > 0)
        jwrite_str(b, (str){text, n});
    else
        buf_add(b, STR("null"));
}
