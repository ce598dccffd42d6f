/* match_number - numbers of four types in one order, see match_inside.h */
#include <math.h>
#include <stdio.h>

#include "lib/data/match_inside.h"

enum {
    /* what the exact decimal text of any double needs: 767 digits */
    DIGITS_MAX = 768,
    TEXT_MAX = DIGITS_MAX + 32
};

#define NUMBER_INF INT32_MAX

/* 0.d1d2d3.. * 10^exp; no digits: zero */
struct decimal {
    bool negative;
    bool is_nan;
    int exp; /* NUMBER_INF: infinite */
    size_t n;
    char digits[DIGITS_MAX];
};

bool match_is_number(const struct belem *e)
{
    return e->type == BSON_TYPE_INT32 || e->type == BSON_TYPE_INT64 ||
           e->type == BSON_TYPE_DOUBLE || e->type == BSON_TYPE_DECIMAL128;
}

static double read_double(const struct belem *e)
{
    double v;

    memcpy(&v, e->v, sizeof v);
    return v;
}

static int64_t read_int(const struct belem *e)
{
    return e->type == BSON_TYPE_INT32 ? belem_i32(e) : belem_i64(e);
}

static bson_decimal128_t read_decimal(const struct belem *e)
{
    bson_decimal128_t v;

    memcpy(&v.low, e->v, sizeof v.low);
    memcpy(&v.high, e->v + sizeof v.low, sizeof v.high);
    return v;
}

bool match_is_nan(const struct belem *e)
{
    if (e->type == BSON_TYPE_DOUBLE)
        return isnan(read_double(e));
    return e->type == BSON_TYPE_DECIMAL128 &&
           (read_decimal(e).high >> 58 & 0x1f) == 0x1f;
}

/* The text of an exponent. */
static int read_exponent(const char *p)
{
    bool negative = *p == '-';
    int v = 0;

    for (p += *p == '-' || *p == '+'; *p >= '0' && *p <= '9'; p++)
        v = v * 10 + (*p - '0');
    return negative ? -v : v;
}

/* As printf and libbson spell numbers. */
static void read_text(const char *p, struct decimal *d)
{
    bool behind_point = false;

    d->negative = *p == '-';
    p += *p == '-';
    d->is_nan = *p == 'N' || *p == 'n';
    if (*p == 'I' || *p == 'i')
        d->exp = NUMBER_INF;
    if (*p < '0' || *p > '9')
        return;
    for (; *p && *p != 'E' && *p != 'e'; p++) {
        if (*p == '.') {
            behind_point = true;
            continue;
        }
        if (*p == '0' && d->n == 0) {
            d->exp -= behind_point;
            continue;
        }
        if (d->n < DIGITS_MAX)
            d->digits[d->n++] = *p;
        d->exp += !behind_point;
    }
    if (*p)
        d->exp += read_exponent(p + 1);
    while (d->n > 0 && d->digits[d->n - 1] == '0')
        d->n--;
    if (d->n == 0)
        d->exp = 0;
}

static void read_number(const struct belem *e, struct decimal *d)
{
    char text[TEXT_MAX];
    bson_decimal128_t v;

    memset(d, 0, offsetof(struct decimal, digits));
    if (e->type == BSON_TYPE_DECIMAL128) {
        v = read_decimal(e);
        bson_decimal128_to_string(&v, text);
    } else if (e->type == BSON_TYPE_DOUBLE) {
        snprintf(text, sizeof text, "%.*e", DIGITS_MAX - 1, read_double(e));
    } else {
        snprintf(text, sizeof text, "%lld", (long long)read_int(e));
    }
    read_text(text, d);
}

static int order(bool less, bool greater)
{
    return greater - less;
}

static int sign_of(const struct decimal *d)
{
    if (d->n == 0 && d->exp != NUMBER_INF)
        return 0;
    return d->negative ? -1 : 1;
}

static int compare_sizes(const struct decimal *l, const struct decimal *r)
{
    size_t n = l->n < r->n ? l->n : r->n;
    int x;

    if (l->exp != r->exp)
        return order(l->exp<r->exp, l->exp> r->exp);
    x = n ? memcmp(l->digits, r->digits, n) : 0;
    return x ? x : order(l->n<r->n, l->n> r->n);
}

static int compare_decimals(const struct belem *a, const struct belem *b)
{
    struct decimal l, r;
    int sl, sr;

    read_number(a, &l);
    read_number(b, &r);
    if (l.is_nan || r.is_nan)
        return order(!r.is_nan, !l.is_nan);
    sl = sign_of(&l);
    sr = sign_of(&r);
    if (sl != sr || sl == 0)
        return sl - sr;
    return sl * compare_sizes(&l, &r);
}

static int compare_doubles(double l, double r)
{
    if (isnan(l) || isnan(r))
        return order(!isnan(r), !isnan(l));
    return order(l<r, l> r);
}

static int compare_double_int(double l, int64_t r)
{
    int64_t whole;
    double part;

    if (isnan(l) || l < -0x1p63)
        return -1;
    if (l >= 0x1p63)
        return 1;
    whole = (int64_t)l;
    if (whole != r)
        return order(whole<r, whole> r);
    part = l - (double)whole; /* exact: beyond 2^53 there is none */
    return order(part<0, part> 0);
}

int match_compare_numbers(const struct belem *l, const struct belem *r)
{
    bool is_l = l->type == BSON_TYPE_DOUBLE, is_r = r->type == BSON_TYPE_DOUBLE;
    int64_t a, b;

    if (l->type == BSON_TYPE_DECIMAL128 || r->type == BSON_TYPE_DECIMAL128)
        return compare_decimals(l, r);
    if (is_l && is_r)
        return compare_doubles(read_double(l), read_double(r));
    if (is_l)
        return compare_double_int(read_double(l), read_int(r));
    if (is_r)
        return -compare_double_int(read_double(r), read_int(l));
    a = read_int(l);
    b = read_int(r);
    return order(a<b, a> b);
}

static bool whole_decimal(const struct belem *e, int64_t *out, bool *out_exact)
{
    struct decimal d;
    uint64_t v = 0, most;
    int i;

    read_number(e, &d);
    if (d.is_nan || d.exp > 19)
        return false;
    for (i = 0; i < d.exp; i++)
        v = v * 10 + ((size_t)i < d.n ? (uint64_t)(d.digits[i] - '0') : 0);
    most = (uint64_t)INT64_MAX + d.negative;
    if (v > most)
        return false;
    *out = d.negative ? (int64_t)(0 - v) : (int64_t)v;
    *out_exact = d.exp >= 0 ? d.n <= (size_t)d.exp : d.n == 0;
    return true;
}

bool match_whole(const struct belem *e, int64_t *out, bool *out_exact)
{
    double v;

    if (e->type == BSON_TYPE_DECIMAL128)
        return whole_decimal(e, out, out_exact);
    if (e->type != BSON_TYPE_DOUBLE) {
        *out = read_int(e);
        *out_exact = true;
        return true;
    }
    v = read_double(e);
    if (!(v >= -0x1p63 && v < 0x1p63))
        return false;
    *out = (int64_t)v;
    *out_exact = (double)*out == v;
    return true;
}

/* Half to even. */
static bool rounds_up(const struct decimal *d, uint64_t whole)
{
    char digit = '0';

    if (d->exp >= 0 && (size_t)d->exp < d->n)
        digit = d->digits[d->exp];
    if (digit != '5')
        return digit > '5';
    return (size_t)d->exp + 1 < d->n || whole % 2;
}

bool match_bits_of(const struct belem *e, int64_t *out)
{
    bool is_exact;
    struct decimal d;

    if (e->type != BSON_TYPE_DECIMAL128)
        return match_whole(e, out, &is_exact) && is_exact;
    if (!match_whole(e, out, &is_exact)) {
        *out = INT64_MIN;
    } else if (!is_exact) {
        read_number(e, &d);
        if (rounds_up(&d, (uint64_t)*out))
            *out += d.negative ? -1 : 1;
    }
    return true;
}
