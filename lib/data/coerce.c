/* coerce - see coerce.h */
#include "lib/data/coerce.h"

#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/data/json_in.h"

enum {
    OID_DIGITS = 24
};

static void destroy(void *doc)
{
    bson_destroy(doc);
}

bson_t *coerce_doc_new(struct ctx *c)
{
    bson_t *doc = bson_new();

    if (arena_defer(&c->arena, destroy, doc) == OK)
        return doc;
    (void)ctx_fail(c, ERR_OVERLOADED, "The request needs too much memory");
    return NULL;
}

/* What has no text would become null in libbson's hands. */
void coerce_append_text(bson_t *out, str key, str text)
{
    bson_append_utf8(out, key.p, (int)key.n, text.n ? text.p : "", (int)text.n);
}

static enum err append_double(struct ctx *c, bson_t *out, str key, str text)
{
    char *z = ctx_alloc(c, text.n + 1);

    if (!z)
        return ERR_OVERLOADED;
    memcpy(z, text.p, text.n);
    bson_append_double(out, key.p, (int)key.n, strtod(z, NULL));
    return OK;
}

/* -?digits or -?digits.digits */
static bool is_number(str text, bool *out_whole)
{
    str digits = str_from(text, str_starts(text, STR("-")));
    size_t dot = str_find(digits, '.', 0);

    *out_whole = dot == SIZE_MAX;
    return str_is_digits(str_head(digits, dot)) &&
           (*out_whole || str_is_digits(str_from(digits, dot + 1)));
}

static enum err append_number(struct ctx *c, bson_t *out, str key, str text,
                              bool whole)
{
    int64_t v;

    if (!whole || !str_to_i64(text, &v))
        return append_double(c, out, key, text);
    if (v >= INT32_MIN && v <= INT32_MAX)
        bson_append_int32(out, key.p, (int)key.n, (int32_t)v);
    else
        bson_append_int64(out, key.p, (int)key.n, v);
    return OK;
}

enum err coerce_append(struct ctx *c, bson_t *out, str key, str text)
{
    bool yes = str_eq_nocase(text, STR("true")), whole;
    bson_oid_t oid;
    ms wall;

    if (yes || str_eq_nocase(text, STR("false"))) {
        bson_append_bool(out, key.p, (int)key.n, yes);
    } else if (str_eq_nocase(text, STR("null"))) {
        bson_append_null(out, key.p, (int)key.n);
    } else if (text.n == OID_DIGITS && str_is_hex(text)) {
        bson_oid_init_from_string_unsafe(&oid, text.p);
        bson_append_oid(out, key.p, (int)key.n, &oid);
    } else if (is_number(text, &whole)) {
        return append_number(c, out, key, text, whole);
    } else if (clock_parse_iso(text, &wall)) {
        bson_append_date_time(out, key.p, (int)key.n, wall);
    } else {
        coerce_append_text(out, key, text);
    }
    return OK;
}

bool coerce_is_wanted(str key)
{
    static const char *const texts[] = {"$regex", "$options", "$type",
                                        "$search", "$language"};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (str_eq(key, str_of(texts[i])))
            return false;
    return true;
}

static enum err append_members(struct ctx *c, bson_t *out, bson_iter_t *at,
                               bool is_array);

static enum err append_nested(struct ctx *c, bson_t *out, bson_iter_t *at)
{
    bool is_array = BSON_ITER_HOLDS_ARRAY(at);
    int key_len = (int)bson_iter_key_len(at);
    bson_iter_t inner;
    bson_t child;
    enum err err;

    if (!bson_iter_recurse(at, &inner))
        return ctx_fail(c, ERR_INTERNAL, "A value cannot be read");
    if (is_array)
        bson_append_array_begin(out, bson_iter_key(at), key_len, &child);
    else
        bson_append_document_begin(out, bson_iter_key(at), key_len, &child);
    err = append_members(c, &child, &inner, is_array);
    if (is_array)
        bson_append_array_end(out, &child);
    else
        bson_append_document_end(out, &child);
    return err;
}

/* Recursion is bounded by the depth that the JSON reader lets through. */
static enum err append_members(struct ctx *c, bson_t *out, bson_iter_t *at,
                               bool is_array)
{
    enum err err = OK;

    while (!err && bson_iter_next(at)) {
        str key = {bson_iter_key(at), bson_iter_key_len(at)};
        bson_type_t type = bson_iter_type(at);
        uint32_t len;

        if (type == BSON_TYPE_DOCUMENT || type == BSON_TYPE_ARRAY) {
            err = append_nested(c, out, at);
        } else if (type == BSON_TYPE_UTF8 && !is_array &&
                   coerce_is_wanted(key)) {
            const char *text = bson_iter_utf8(at, &len);

            err = coerce_append(c, out, key, (str){text, len});
        } else {
            bson_append_iter(out, key.p, (int)key.n, at);
        }
    }
    return err;
}

enum err coerce_append_members(struct ctx *c, bson_t *out, const bson_t *doc)
{
    bson_iter_t at;

    if (!bson_iter_init(&at, doc))
        return ctx_fail(c, ERR_INTERNAL, "A value cannot be read");
    return append_members(c, out, &at, false);
}

enum err coerce_append_op(struct ctx *c, bson_t *out, str key, const char *op,
                          str text)
{
    bson_t child;
    enum err err;

    bson_append_document_begin(out, key.p, (int)key.n, &child);
    err = coerce_append(c, &child, str_of(op), text);
    bson_append_document_end(out, &child);
    return err;
}

void coerce_append_regex(bson_t *out, str key, str pattern)
{
    bson_t child;

    bson_append_document_begin(out, key.p, (int)key.n, &child);
    coerce_append_text(&child, STR("$regex"), pattern);
    coerce_append_text(&child, STR("$options"), STR("i"));
    bson_append_document_end(out, &child);
}

static size_t put_escaped(char *p, char byte)
{
    size_t n = 0;

    if (strchr(".*+?^${}()|[]\\", byte) && byte)
        p[n++] = '\\';
    p[n++] = byte;
    return n;
}

str coerce_escape(struct ctx *c, str text)
{
    char *p = ctx_alloc(c, 2 * text.n + 1);
    size_t n = 0;

    for (size_t i = 0; p && i < text.n; i++)
        n += put_escaped(p + n, text.p[i]);
    return (str){p, n};
}

static enum err append_json(struct ctx *c, bson_t *out, str key, str text)
{
    enum json_root root;
    bson_t *doc, child;
    enum err err = json_in(c, text, &root, &doc);

    if (err == ERR_BAD_JSON) {
        ctx_forgive(c);
        coerce_append_text(out, key, text);
        return OK;
    }
    if (err)
        return err;
    bson_append_document_begin(out, key.p, (int)key.n, &child);
    err = coerce_append_members(c, &child, doc);
    bson_append_document_end(out, &child);
    return err;
}

static enum err append_list(struct ctx *c, bson_t *out, str key, str text)
{
    bson_t op, list;
    uint32_t i = 0;
    enum err err = OK;
    str piece;

    bson_append_document_begin(out, key.p, (int)key.n, &op);
    bson_append_array_begin(&op, "$in", -1, &list);
    while (!err && str_cut(&text, ',', &piece)) {
        const char *index;
        char digits[16];
        size_t n = bson_uint32_to_string(i++, &index, digits, sizeof digits);

        err = coerce_append(c, &list, (str){index, n}, str_trim(piece));
    }
    bson_append_array_end(&op, &list);
    bson_append_document_end(out, &op);
    return err;
}

static enum err append_range(struct ctx *c, bson_t *out, str key, str text)
{
    size_t dots = str_find_str(text, STR(".."));
    str from = str_trim(str_head(text, dots));
    str rest = str_from(text, dots + 2);
    str to = str_trim(str_head(rest, str_find_str(rest, STR(".."))));
    enum err err = OK;
    bson_t op;

    if (from.n == 0 && to.n == 0)
        return ctx_fail(c, ERR_BAD_QUERY, "The range of '%.*s' has no ends",
                        (int)(key.n > 100 ? 100 : key.n), key.p);
    bson_append_document_begin(out, key.p, (int)key.n, &op);
    if (from.n > 0)
        err = coerce_append(c, &op, STR("$gte"), from);
    if (!err && to.n > 0)
        err = coerce_append(c, &op, STR("$lte"), to);
    bson_append_document_end(out, &op);
    return err;
}

static enum err append_wildcards(struct ctx *c, bson_t *out, str key, str text)
{
    char *p = ctx_alloc(c, 2 * text.n + 3);
    size_t n = 0;

    if (!p)
        return ERR_OVERLOADED;
    p[n++] = '^';
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '*')
            p[n++] = '.';
        if (text.p[i] == '*')
            p[n++] = '*';
        else
            n += put_escaped(p + n, text.p[i]);
    }
    p[n++] = '$';
    coerce_append_regex(out, key, (str){p, n});
    return OK;
}

static enum err append_comparison(struct ctx *c, bson_t *out, str key, str text)
{
    static const struct {
        const char *sign, *op;
    } rows[] = {
        {">=", "$gte"}, {"<=", "$lte"}, {">", "$gt"},
        {"<", "$lt"},   {"!", "$ne"},
    };
    size_t i = 0;

    while (i + 1 < sizeof rows / sizeof *rows &&
           !str_starts(text, str_of(rows[i].sign)))
        i++;
    return coerce_append_op(c, out, key, rows[i].op,
                            str_from(text, strlen(rows[i].sign)));
}

enum err coerce_append_condition(struct ctx *c, bson_t *out, str key, str text)
{
    char first = '\0', last = '\0';

    if (text.n > 0) {
        first = text.p[0];
        last = text.p[text.n - 1];
    }
    if (first == '{' && last == '}')
        return append_json(c, out, key, text);
    if (first == '$') {
        coerce_append_text(out, key, text);
        return OK;
    }
    if (str_find(text, ',', 0) != SIZE_MAX)
        return append_list(c, out, key, text);
    if (str_find_str(text, STR("..")) != SIZE_MAX)
        return append_range(c, out, key, text);
    if (first == '>' || first == '<' || first == '!')
        return append_comparison(c, out, key, text);
    if (first == '/' && last == '/' && text.n > 2) {
        coerce_append_regex(out, key, (str){text.p + 1, text.n - 2});
        return OK;
    }
    if (str_find(text, '*', 0) != SIZE_MAX)
        return append_wildcards(c, out, key, text);
    return coerce_append(c, out, key, text);
}
