/* json_number - see json_number.h */
#include "lib/data/json_number.h"

#include <math.h>
#include <stdlib.h>

struct number {
    uint64_t digits; /* all of them, without point and sign */
    int scale;       /* the value is digits * 10^scale */
    bool negative, whole;
    bool exact; /* the members above hold it all */
};

/* Digits of *s onto n->digits; counts them. */
static int take_digits(str *s, struct number *n)
{
    int count = 0;

    for (; s->n > 0 && *s->p >= '0' && *s->p <= '9'; s->p++, s->n--) {
        unsigned digit = (unsigned)(*s->p - '0');

        if (n->digits > (UINT64_MAX - digit) / 10)
            n->exact = false;
        else
            n->digits = n->digits * 10 + digit;
        count += n->exact;
    }
    return count;
}

static struct number split(str s)
{
    struct number n = {.whole = true, .exact = true};
    int64_t exponent;

    if (*s.p == '-') {
        n.negative = true;
        s = str_from(s, 1);
    }
    take_digits(&s, &n);
    if (s.n > 0 && *s.p == '.') {
        n.whole = false;
        s = str_from(s, 1);
        n.scale = -take_digits(&s, &n);
    }
    if (s.n == 0)
        return n;
    n.whole = false;
    s = str_from(s, s.n > 1 && s.p[1] == '+' ? 2 : 1);
    if (s.n < 6 && str_to_i64(s, &exponent))
        n.scale += (int)exponent;
    else
        n.exact = false;
    return n;
}

/* Within these bounds one operation on exact doubles rounds right. */
static bool simple_double(const struct number *n, double *out)
{
    static const double tens[] = {
        1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
        1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    double v = (double)n->digits;

    if (!n->exact || n->digits > (uint64_t)1 << 53 || n->scale < -22 ||
        n->scale > 22)
        return false;
    v = n->scale < 0 ? v / tens[-n->scale] : v * tens[n->scale];
    *out = n->negative ? -v : v;
    return true;
}

static enum err parse_double(str text, struct buf *spare, double *out)
{
    spare->n = 0;
    buf_add(spare, text);
    buf_add_char(spare, 0);
    if (spare->err)
        return spare->err;
    *out = strtod(spare->p, NULL);
    return isfinite(*out) ? OK : ERR_BAD_JSON;
}

static bool fits_int32(double v)
{
    return v >= INT32_MIN && v <= INT32_MAX && v == (int32_t)v &&
           !(v == 0 && signbit(v));
}

enum err json_number(str text, struct buf *spare, struct json_number *out)
{
    struct number n = split(text);
    uint64_t limit = (uint64_t)INT64_MAX + n.negative;
    bool minus_zero = n.negative && n.digits == 0;
    double v = 0;

    if (n.whole && n.exact && n.digits <= limit && !minus_zero) {
        uint64_t bits = n.negative ? 0 - n.digits : n.digits;

        *out = (struct json_number){.is_int = true, .i = (int64_t)bits};
        return OK;
    }
    if (!simple_double(&n, &v)) {
        enum err err = parse_double(text, spare, &v);

        if (err)
            return err;
    }
    if (!n.whole && fits_int32(v))
        *out = (struct json_number){.is_int = true, .i = (int64_t)v};
    else
        *out = (struct json_number){.d = v};
    return OK;
}
