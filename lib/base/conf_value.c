/* conf_value - reading, writing and showing values by the type of their row */
#include <stdlib.h>

#include "lib/base/conf_row.h"

struct unit {
    str suffix; /* greatest first */
    int64_t factor;
};

static const struct unit sizes[] = {
    {{"mb", 2}, 1048576},
    {{"kb", 2}, 1024},
    {{"", 0}, 1},
};
static const struct unit spans[] = {
    {{"d", 1}, 86400000},
    {{"h", 1}, 3600000},
    {{"m", 1}, 60000},
    {{"s", 1}, 1000},
};
static const char *const yes[] = {"true", "1", "yes", "on"};
static const char *const no[] = {"false", "0", "no", "off"};

static bool units_read(const struct unit *u, size_t n, str v, int64_t *out)
{
    size_t digits = 0;
    int64_t count;

    while (digits < v.n && v.p[digits] >= '0' && v.p[digits] <= '9')
        digits++;
    if (digits == 0 || !str_to_i64(str_head(v, digits), &count))
        return false;
    v = str_from(v, digits);
    for (size_t i = 0; i < n; i++)
        if (str_eq_nocase(v, u[i].suffix))
            return !__builtin_mul_overflow(count, u[i].factor, out);
    return false;
}

static void units_write(const struct unit *u, size_t n, int64_t v,
                        struct buf *b)
{
    for (size_t i = 0; i < n; i++)
        if ((v != 0 && v % u[i].factor == 0) || i + 1 == n) {
            buf_add_i64(b, v / u[i].factor);
            buf_add(b, u[i].suffix);
            return;
        }
}

bool conf_span(str v, ms *out)
{
    return units_read(spans, 4, v, out);
}

static bool octal_read(str v, int64_t *out)
{
    int64_t got = 0;

    if (v.n == 0 || v.n > 8)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '7')
            return false;
        got = got * 8 + (v.p[i] - '0');
    }
    *out = got;
    return true;
}

static bool word_read(const struct conf_row *row, str v, int64_t *out)
{
    str rest = str_of(row->words), word;

    for (int64_t i = 0; str_cut(&rest, ',', &word); i++)
        if (str_eq_nocase(str_trim(word), v)) {
            /* words behind the last of their own mean the last */
            *out = i > row->max ? row->max : i;
            return true;
        }
    return false;
}

static bool whole_read(const struct conf_row *row, str v, int64_t *out)
{
    if (row->type == CONF_SIZE)
        return units_read(sizes, 3, v, out);
    if (row->type == CONF_SPAN)
        return conf_span(v, out);
    if (row->type == CONF_OCTAL)
        return octal_read(v, out);
    if (row->type == CONF_ENUM)
        return word_read(row, v, out);
    return str_to_i64(v, out);
}

static bool whole_set(const struct conf_row *row, str v, int64_t *out)
{
    int64_t got;

    if (!whole_read(row, v, &got) || got < row->min || got > row->max)
        return false;
    *out = got;
    return true;
}

static bool bool_set(str v, bool *out)
{
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (str_eq_nocase(v, str_of(yes[i])))
            *out = true;
        else if (str_eq_nocase(v, str_of(no[i])))
            *out = false;
        else
            continue;
        return true;
    }
    return false;
}

static bool float_set(const struct conf_row *row, str v, double *out)
{
    char z[32];
    double got;
    size_t dots = 0;

    if (v.n == 0 || v.n >= sizeof z)
        return false;
    for (size_t i = 0; i < v.n; i++) {
        dots += v.p[i] == '.';
        if (v.p[i] != '.' && (v.p[i] < '0' || v.p[i] > '9'))
            return false;
    }
    if (dots > 1 || v.p[0] == '.' || v.p[v.n - 1] == '.')
        return false;
    memcpy(z, v.p, v.n);
    z[v.n] = '\0';
    got = strtod(z, NULL);
    if (got < (double)row->min || got > (double)row->max)
        return false;
    *out = got;
    return true;
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static bool is_pem_break(const struct conf_row *row, char c)
{
    return row->form == CONF_PEM && (c == '\n' || c == '\r' || c == '\t');
}

/* PEM keys in one line spell their line breaks as \n. */
static str pem_unfold(struct arena *a, str v)
{
    char *p = arena_alloc(a, v.n + 1);
    size_t n = 0;

    for (size_t i = 0; p != NULL && i < v.n; i++) {
        bool is_escape = v.p[i] == '\\' && i + 1 < v.n && v.p[i + 1] == 'n';

        p[n++] = is_escape ? '\n' : v.p[i];
        i += is_escape;
    }
    return (str){p, n};
}

static bool text_set(struct conf *c, const struct conf_row *row, str v,
                     const char **out)
{
    str copy;

    if ((int64_t)v.n < row->min || (int64_t)v.n > row->max)
        return false;
    for (size_t i = 0; i < v.n; i++)
        if (is_control(v.p[i]) && !is_pem_break(row, v.p[i]))
            return false;
    if (!conf_form_ok(row->form, v, &c->arena))
        return false;
    copy = row->form == CONF_PEM ? pem_unfold(&c->arena, v)
                                 : arena_str(&c->arena, v);
    if (copy.p == NULL)
        return false;
    *out = copy.p;
    return true;
}

bool conf_value_set(struct conf *c, const struct conf_row *row, str v)
{
    void *at = (char *)c + row->offset;

    switch (row->type) {
    case CONF_INT:
    case CONF_MS:
    case CONF_SIZE:
    case CONF_SPAN:
    case CONF_OCTAL:
    case CONF_ENUM:
        return whole_set(row, v, at);
    case CONF_BOOL:
        return bool_set(v, at);
    case CONF_FLOAT:
        return float_set(row, v, at);
    case CONF_CHAR:
        if (v.n != 1 || (v.p[0] & 0x80) || strchr("\r\n", v.p[0]))
            return false;
        *(char *)at = v.p[0];
        return true;
    case CONF_CIDRS:
        return addr_ranges_parse(v, &c->arena, at);
    case CONF_STR:
    case CONF_SECRET:
    case CONF_URI:
    case CONF_URL:
    case CONF_PATH:
        return text_set(c, row, v, at);
    }
    return false;
}

static void number_write(const struct conf_row *row, int64_t v, struct buf *b)
{
    str rest = str_of(row->words), word = STR("");

    if (row->type == CONF_SIZE) {
        units_write(sizes, 3, v, b);
    } else if (row->type == CONF_SPAN) {
        units_write(spans, 4, v, b);
    } else if (row->type == CONF_OCTAL) {
        buf_addf(b, "%04llo", (unsigned long long)v);
    } else if (row->type == CONF_ENUM) {
        for (int64_t i = 0; i <= v && str_cut(&rest, ',', &word); i++)
            ;
        buf_add(b, str_trim(word));
    } else {
        buf_add_i64(b, v);
    }
}

void conf_value_write(const struct conf *c, const struct conf_row *row,
                      struct buf *b)
{
    const void *at = (const char *)c + row->offset;

    switch (row->type) {
    case CONF_INT:
    case CONF_MS:
    case CONF_SIZE:
    case CONF_SPAN:
    case CONF_OCTAL:
    case CONF_ENUM:
        number_write(row, *(const int64_t *)at, b);
        break;
    case CONF_BOOL:
        buf_add(b, str_of(*(const bool *)at ? "true" : "false"));
        break;
    case CONF_FLOAT:
        buf_addf(b, "%.15g", *(const double *)at);
        break;
    case CONF_CHAR:
        buf_add_char(b, *(const char *)at);
        break;
    case CONF_CIDRS:
        buf_add(b, str_of(c->origins[row - conf_rows].text));
        break;
    case CONF_STR:
    case CONF_SECRET:
    case CONF_URI:
    case CONF_URL:
    case CONF_PATH:
        buf_add(b, str_of(*(const char *const *)at));
        break;
    }
}

void conf_value_expect(const struct conf_row *row, struct buf *b)
{
    static const char *const names[] = {
        "int",  "ms",    "size", "span",   "octal", "bool", "float", "enum",
        "char", "cidrs", "str",  "secret", "uri",   "url",  "path"};

    buf_add(b, str_of(names[row->type]));
    if (row->type == CONF_BOOL) {
        buf_add(b, STR(" (true/false, 1/0, yes/no, on/off)"));
    } else if (row->type == CONF_ENUM) {
        buf_addf(b, " %s", row->words);
    } else if (row->type == CONF_CHAR) {
        buf_add(b, STR(", one ASCII byte, not CR, LF or NUL"));
    } else if (row->type == CONF_CIDRS) {
        buf_add(b, STR(", comma list of addresses and ADDRESS/BITS"));
    } else if (row->type < CONF_STR) {
        if (row->max == INT64_MAX)
            return;
        buf_add_char(b, ' ');
        number_write(row, row->min, b);
        buf_add_char(b, '-');
        number_write(row, row->max, b);
    } else {
        if (conf_form_expect(row->form)[0])
            buf_addf(b, " %s", conf_form_expect(row->form));
        if (row->max < CONF_TEXT_FREE)
            buf_addf(b, ", %d-%d bytes", (int)row->min, (int)row->max);
        else if (row->min > 1)
            buf_addf(b, ", at least %d bytes", (int)row->min);
        buf_add(b, STR(", without control characters"));
    }
}

/* The bytes of v from `from` up to `to` become stars of a fixed number. */
static str star(struct arena *a, str v, size_t from, size_t to)
{
    return arena_strf(a, STR_FMT "***" STR_FMT, STR_ARG(str_head(v, from)),
                      STR_ARG(str_from(v, to)));
}

/*
 * user:PASSWORD@ up to the last @, for a password may hold any byte when it
 * is written carelessly; then the secret members of the query.
 */
static str uri_mask(struct arena *a, str v)
{
    size_t start = str_find_str(v, STR("://")), at = SIZE_MAX, colon, end;

    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] == '@')
            at = i;
    if (at != SIZE_MAX && start == SIZE_MAX)
        return STR("***");
    colon = at == SIZE_MAX ? SIZE_MAX : str_find(v, ':', start + 3);
    if (colon < at)
        v = star(a, v, colon + 1, at);
    for (at = str_find(v, '?', 0); at < v.n; at = str_find(v, '&', at + 1)) {
        size_t equals = str_find(v, '=', at);
        str key = {v.p + at + 1, equals - at - 1};
        bool is_secret = false;

        if (equals == SIZE_MAX)
            break;
        for (size_t i = 0; i < key.n; i++)
            is_secret = is_secret ||
                        str_starts_nocase(str_from(key, i), STR("pass")) ||
                        str_starts_nocase(str_from(key, i), STR("secret")) ||
                        str_starts_nocase(str_from(key, i), STR("token")) ||
                        str_starts_nocase(str_from(key, i), STR("properties"));
        end = str_find(v, '&', equals);
        if (is_secret)
            v = star(a, v, equals + 1, end == SIZE_MAX ? v.n : end);
    }
    return v;
}

/* What stands where a public key belongs may be the private one. */
static bool is_no_public_key(const struct conf_row *row, str v)
{
    return str_find_str(v, STR("PRIVATE")) != SIZE_MAX ||
           (row->form == CONF_PEM && !conf_form_ok(CONF_PEM, v, NULL));
}

void conf_value_show(const struct conf_row *row, str v, struct buf *b)
{
    bool is_secret = row->type == CONF_SECRET || is_no_public_key(row, v);
    struct arena a;

    arena_init(&a, 64 * (size_t)CONF_TEXT_FREE);
    if (is_secret && v.n > 0)
        v = STR("***");
    else if (row->type == CONF_URI || row->type == CONF_URL)
        v = uri_mask(&a, v);
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '\n')
            buf_add(b, STR("\\n"));
        else if (is_control(v.p[i]))
            buf_addf(b, "\\x%02x", (unsigned char)v.p[i]);
        else
            buf_add_char(b, v.p[i]);
    }
    arena_done(&a);
}
