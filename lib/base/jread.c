/* jread - see jread.h */
#include "lib/base/jread.h"

#include "lib/base/utf8.h"

struct reader {
    const char *start, *p, *end;
    struct arena *arena;
    const struct jread_sink *sink;
    struct jread_fault *fault;
    char *scratch; /* for strings with escapes */
    size_t scratch_bytes;
    size_t values, depth;
    bool fresh; /* nothing yet in the innermost object or array */
    bool is_object[JREAD_DEPTH_MAX];
};

static enum err fault_at(struct reader *r, const char *p, const char *what)
{
    *r->fault = (struct jread_fault){(size_t)(p - r->start), what};
    return ERR_BAD_JSON;
}

/* What stands at r->p is not what must. */
static enum err fault_here(struct reader *r, const char *what)
{
    return fault_at(r, r->p, r->p == r->end ? "unexpected end" : what);
}

static enum err emit(struct reader *r, enum jread_event event, str text)
{
    return r->sink ? r->sink->on(r->sink->arg, event, text) : OK;
}

static void skip_blanks(struct reader *r)
{
    while (r->p < r->end &&
           (*r->p == ' ' || *r->p == '\n' || *r->p == '\r' || *r->p == '\t'))
        r->p++;
}

static bool next_is(const struct reader *r, char c)
{
    return r->p < r->end && *r->p == c;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* r->p is at the `\` and moves behind the escape. */
static enum err check_escape(struct reader *r, bool is_key)
{
    unsigned bits = 0;

    if (r->end - r->p < 2)
        return fault_at(r, r->end, "unexpected end");
    if (r->p[1] != 'u') {
        if (!r->p[1] || !strchr("\"\\/bfnrt", r->p[1]))
            return fault_here(r, "unknown escape");
        r->p += 2;
        return OK;
    }
    if (r->end - r->p < 6)
        return fault_here(r, "broken \\u escape");
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(r->p[i]);

        if (digit < 0)
            return fault_here(r, "broken \\u escape");
        bits |= (unsigned)digit;
    }
    if (bits == 0 && is_key)
        return fault_here(r, "NUL in a key");
    r->p += 6;
    return OK;
}

/* From behind the opening quote to the closing one. */
static enum err check_string(struct reader *r, bool is_key, bool *out_escapes)
{
    enum err err = OK;

    *out_escapes = false;
    while (!err) {
        str rest;
        size_t n;

        r->p += utf8_plain_len((str){r->p, (size_t)(r->end - r->p)});
        if (r->p == r->end)
            return fault_here(r, "");
        if (*r->p == '"')
            return OK;
        if (*r->p == '\\') {
            *out_escapes = true;
            err = check_escape(r, is_key);
            continue;
        }
        rest = (str){r->p, (size_t)(r->end - r->p)};
        if ((unsigned char)rest.p[0] < 0x20)
            return fault_here(r, "control character in a string");
        n = utf8_len(rest);
        if (n == 0)
            return fault_here(r, "invalid UTF-8");
        r->p += n;
    }
    return err;
}

static uint32_t hex4(const char *p)
{
    return (uint32_t)(hex_digit(p[0]) << 12 | hex_digit(p[1]) << 8 |
                      hex_digit(p[2]) << 4 | hex_digit(p[3]));
}

/* *p is behind `\u` and moves behind all that makes the character. */
static uint32_t take_unicode(const char **p, const char *end)
{
    uint32_t code = hex4(*p), low;

    *p += 4;
    if (code < 0xd800 || code > 0xdfff)
        return code;
    if (code > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
        return UTF8_REPLACEMENT;
    low = hex4(*p + 2);
    if (low < 0xdc00 || low > 0xdfff)
        return UTF8_REPLACEMENT;
    *p += 6;
    return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

static char simple_escape(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return c;
    }
}

/* raw has passed check_string(); a decoded text is never longer. */
static size_t decode(str raw, char *to)
{
    const char *p = raw.p, *end = raw.p + raw.n;
    char *at = to;

    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        size_t run = (size_t)((slash ? slash : end) - p);

        memcpy(at, p, run);
        at += run;
        p += run;
        if (!slash)
            break;
        p += 2;
        if (p[-1] == 'u')
            at += utf8_put(at, take_unicode(&p, end));
        else
            *at++ = simple_escape(p[-1]);
    }
    return (size_t)(at - to);
}

/* Doubles, so that all strings of a text take linear time and memory. */
static enum err need_scratch(struct reader *r, size_t bytes)
{
    if (bytes <= r->scratch_bytes)
        return OK;
    if (bytes < 2 * r->scratch_bytes)
        bytes = 2 * r->scratch_bytes;
    if (bytes < 256)
        bytes = 256;
    r->scratch = arena_alloc(r->arena, bytes);
    r->scratch_bytes = r->scratch ? bytes : 0;
    return r->scratch ? OK : ERR_OVERLOADED;
}

static enum err read_string(struct reader *r, enum jread_event event)
{
    bool escapes;
    str s;
    enum err err;

    r->p++;
    s.p = r->p;
    err = check_string(r, event == JREAD_KEY, &escapes);
    if (err)
        return err;
    s.n = (size_t)(r->p - s.p);
    r->p++;
    if (!r->sink)
        return OK;
    if (escapes) {
        err = need_scratch(r, s.n);
        if (err)
            return err;
        s = (str){r->scratch, decode(s, r->scratch)};
    }
    return emit(r, event, s);
}

static bool skip_digits(struct reader *r)
{
    const char *from = r->p;

    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    return r->p > from;
}

static enum err read_number(struct reader *r)
{
    const char *from = r->p;

    if (next_is(r, '-'))
        r->p++;
    if (next_is(r, '0'))
        r->p++;
    else if (!skip_digits(r))
        return fault_here(r, "a digit is missing");
    if (next_is(r, '.')) {
        r->p++;
        if (!skip_digits(r))
            return fault_here(r, "a digit is missing");
    }
    if (next_is(r, 'e') || next_is(r, 'E')) {
        r->p++;
        if (next_is(r, '+') || next_is(r, '-'))
            r->p++;
        if (!skip_digits(r))
            return fault_here(r, "a digit is missing");
    }
    return emit(r, JREAD_NUMBER, (str){from, (size_t)(r->p - from)});
}

static enum err read_word(struct reader *r, str word, enum jread_event event)
{
    if (!str_starts((str){r->p, (size_t)(r->end - r->p)}, word))
        return fault_here(r, "unexpected character");
    r->p += word.n;
    return emit(r, event, word);
}

static enum err open_level(struct reader *r)
{
    bool is_object = *r->p == '{';

    if (r->depth == JREAD_DEPTH_MAX)
        return fault_here(r, "too deeply nested");
    r->is_object[r->depth++] = is_object;
    r->fresh = true;
    r->p++;
    return emit(r, is_object ? JREAD_OBJECT : JREAD_ARRAY, STR_NONE);
}

static enum err read_value(struct reader *r)
{
    if (r->p == r->end)
        return fault_here(r, "");
    if (++r->values > JREAD_VALUES_MAX)
        return fault_here(r, "too many values");
    switch (*r->p) {
    case '{':
    case '[':
        return open_level(r);
    case '"':
        return read_string(r, JREAD_STRING);
    case 't':
        return read_word(r, STR("true"), JREAD_TRUE);
    case 'f':
        return read_word(r, STR("false"), JREAD_FALSE);
    case 'n':
        return read_word(r, STR("null"), JREAD_NULL);
    default:
        if (*r->p == '-' || (*r->p >= '0' && *r->p <= '9'))
            return read_number(r);
        return fault_here(r, "unexpected character");
    }
}

static enum err read_key(struct reader *r)
{
    enum err err;

    if (!next_is(r, '"'))
        return fault_here(r, "a key is missing");
    err = read_string(r, JREAD_KEY);
    if (err)
        return err;
    skip_blanks(r);
    if (!next_is(r, ':'))
        return fault_here(r, "a colon is missing");
    r->p++;
    skip_blanks(r);
    return OK;
}

/* The end of the innermost object or array, or its next member. */
static enum err read_next(struct reader *r)
{
    bool is_object = r->is_object[r->depth - 1];
    enum err err = OK;

    skip_blanks(r);
    if (next_is(r, is_object ? '}' : ']')) {
        r->p++;
        r->depth--;
        r->fresh = false;
        return emit(r, JREAD_END, STR_NONE);
    }
    if (!r->fresh) {
        if (!next_is(r, ','))
            return fault_here(r, "a comma or the end of the list is missing");
        r->p++;
        skip_blanks(r);
    }
    r->fresh = false;
    if (is_object)
        err = read_key(r);
    return err ? err : read_value(r);
}

enum err jread(str text, struct arena *scratch, const struct jread_sink *sink,
               struct jread_fault *out_fault)
{
    struct reader r = {.arena = scratch, .sink = sink, .fault = out_fault};
    enum err err;

    if (!text.p)
        text = STR("");
    r.start = r.p = text.p;
    r.end = text.p + text.n;
    if (str_starts(text, STR("\xef\xbb\xbf")))
        r.p += 3;
    skip_blanks(&r);
    err = read_value(&r);
    while (!err && r.depth > 0)
        err = read_next(&r);
    if (err)
        return err;
    skip_blanks(&r);
    if (r.p < r.end)
        return fault_here(&r, "text behind the value");
    return OK;
}
