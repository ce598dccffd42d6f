/* clock - see clock.h; calendar arithmetic after Hinnant, "chrono-Compatible
 * Low-Level Date Algorithms" */
#include "lib/base/clock.h"

#include <stdatomic.h>
#include <time.h>

static bool fixed;
static ms fixed_mono, fixed_wall;
static _Atomic ms wall_minus_server;

static int64_t read_us(clockid_t id)
{
    struct timespec t;

    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t clock_mono_us(void)
{
    return fixed ? fixed_mono * 1000 : read_us(CLOCK_MONOTONIC);
}

ms clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

ms clock_boot_ms(void)
{
    return fixed ? fixed_mono : read_us(CLOCK_BOOTTIME) / 1000;
}

ms clock_wall_ms(void)
{
    return fixed ? fixed_wall : read_us(CLOCK_REALTIME) / 1000;
}

ms clock_server_ms(void)
{
    return clock_wall_ms() -
           atomic_load_explicit(&wall_minus_server, memory_order_relaxed);
}

void clock_note_offset(ms offset)
{
    atomic_store_explicit(&wall_minus_server, offset, memory_order_relaxed);
}

void clock_set(ms mono, ms wall)
{
    fixed = true;
    fixed_mono = mono;
    fixed_wall = wall;
}

void clock_unset(void)
{
    fixed = false;
}

static int64_t days_from_civil(int64_t y, unsigned m, unsigned d)
{
    int64_t era;
    unsigned yoe, doy, doe;

    y -= m <= 2;
    era = (y >= 0 ? y : y - 399) / 400;
    yoe = (unsigned)(y - era * 400);
    doy = (153 * (m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + (int64_t)doe - 719468;
}

/* n digits and what follows them; printf would take most of a row's time */
static char *put_digits(char *to, unsigned v, int n, char after)
{
    for (int i = n; i-- > 0; v /= 10)
        to[i] = (char)('0' + v % 10);
    to[n] = after;
    return to + n + 1;
}

size_t clock_iso(ms wall, char out[CLOCK_ISO_MAX])
{
    static const ms day_ms = 86400000;
    int64_t days, era, y;
    unsigned doe, yoe, doy, mp, d, m, rest;
    char *to = out;

    if (wall > 8640000000000000 || wall < -8640000000000000)
        return 0;
    days = wall / day_ms - (wall % day_ms < 0);
    rest = (unsigned)(wall - days * day_ms);
    days += 719468;
    era = (days >= 0 ? days : days - 146096) / 146097;
    doe = (unsigned)(days - era * 146097);
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    mp = (5 * doy + 2) / 153;
    d = doy - (153 * mp + 2) / 5 + 1;
    m = mp < 10 ? mp + 3 : mp - 9;
    y = (int64_t)yoe + era * 400 + (m <= 2);
    if (y < 0 || y > 9999)
        *to++ = y < 0 ? '-' : '+';
    to = put_digits(to, (unsigned)(y < 0 ? -y : y), to == out ? 4 : 6, '-');
    to = put_digits(to, m, 2, '-');
    to = put_digits(to, d, 2, 'T');
    to = put_digits(to, rest / 3600000, 2, ':');
    to = put_digits(to, rest / 60000 % 60, 2, ':');
    to = put_digits(to, rest / 1000 % 60, 2, '.');
    to = put_digits(to, rest % 1000, 3, 'Z');
    *to = '\0';
    return (size_t)(to - out);
}

/* Takes exactly n digits off the front. */
static bool take_digits(str *s, size_t n, unsigned *out)
{
    str head = str_head(*s, n);
    int64_t v;

    if (head.n != n || !str_is_digits(head) || !str_to_i64(head, &v))
        return false;
    *out = (unsigned)v;
    *s = str_from(*s, n);
    return true;
}

static bool take_char(str *s, char c)
{
    if (s->n == 0 || s->p[0] != c)
        return false;
    *s = str_from(*s, 1);
    return true;
}

static unsigned days_in_month(unsigned y, unsigned m)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30,
                                         31, 31, 30, 31, 30, 31};
    bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);

    return m == 2 && leap ? 29 : days[m - 1];
}

static bool take_date(str *s, int64_t *out_days)
{
    unsigned y, m, d;

    if (!take_digits(s, 4, &y) || !take_char(s, '-') ||
        !take_digits(s, 2, &m) || !take_char(s, '-') || !take_digits(s, 2, &d))
        return false;
    if (m < 1 || m > 12 || d < 1 || d > days_in_month(y, m))
        return false;
    *out_days = days_from_civil(y, m, d);
    return true;
}

/* Digits beyond the third say less than a millisecond and are cut. */
static bool take_fraction(str *s, ms *out)
{
    ms v = 0;
    size_t n = 0;

    for (; n < s->n && s->p[n] >= '0' && s->p[n] <= '9'; n++)
        if (n < 3)
            v = v * 10 + (s->p[n] - '0');
    for (size_t i = n; i < 3; i++)
        v *= 10;
    *s = str_from(*s, n);
    *out = v;
    return n > 0;
}

static bool take_time(str *s, ms *out)
{
    unsigned h, min, sec = 0;
    ms fraction = 0;

    if (!take_digits(s, 2, &h) || !take_char(s, ':') ||
        !take_digits(s, 2, &min) || h > 23 || min > 59)
        return false;
    if (take_char(s, ':')) {
        if (!take_digits(s, 2, &sec) || sec > 59)
            return false;
        if (take_char(s, '.') && !take_fraction(s, &fraction))
            return false;
    }
    *out = ((ms)h * 3600 + (ms)min * 60 + sec) * 1000 + fraction;
    return true;
}

static bool take_zone(str *s, ms *out)
{
    unsigned h, min;
    int sign;

    *out = 0;
    if (s->n == 0 || take_char(s, 'Z'))
        return true;
    sign = s->p[0] == '-' ? -1 : 1;
    if (!take_char(s, '+') && !take_char(s, '-'))
        return false;
    if (!take_digits(s, 2, &h) || !take_char(s, ':') ||
        !take_digits(s, 2, &min) || h > 23 || min > 59)
        return false;
    *out = sign * ((ms)h * 3600 + (ms)min * 60) * 1000;
    return true;
}

bool clock_parse_iso(str s, ms *out_wall)
{
    int64_t days;
    ms time = 0, zone = 0;

    if (!take_date(&s, &days))
        return false;
    if (s.n > 0) {
        if (!take_char(&s, 'T') && !take_char(&s, ' '))
            return false;
        if (!take_time(&s, &time) || !take_zone(&s, &zone) || s.n > 0)
            return false;
    }
    *out_wall = days * 86400000 + time - zone;
    return true;
}
