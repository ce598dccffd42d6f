/* json_out - see json_out.h */
#include "lib/data/json_out.h"

#include "lib/base/clock.h"
#include "lib/base/id.h"
#include "lib/base/jwrite.h"
#include "lib/data/bwalk.h"

enum {
    DEPTH_MAX = 250,
    UUID_BYTES = 16
};

struct writer {
    struct buf *b;
    int depth; /* of the innermost open object or array */
};

static void write_members(struct writer *w, struct bwalk at, bool is_array);

static void write_base64(struct buf *b, const uint8_t *p, size_t n)
{
    static const char sign[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    while (n > 0) {
        size_t part = n < 3 ? n : 3;
        unsigned v = (unsigned)p[0] << 16 |
                     (part > 1 ? (unsigned)p[1] << 8 : 0) |
                     (part > 2 ? (unsigned)p[2] : 0);
        char text[4] = {sign[v >> 18], sign[v >> 12 & 63],
                        part > 1 ? sign[v >> 6 & 63] : '=',
                        part > 2 ? sign[v & 63] : '='};

        buf_add(b, (str){text, sizeof text});
        p += part;
        n -= part;
    }
}

static void write_uuid(struct buf *b, const uint8_t p[UUID_BYTES])
{
    char hex[2 * UUID_BYTES + 1];

    id_hex(p, UUID_BYTES, hex);
    buf_addf(b, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
}

static void write_binary(struct buf *b, const bson_iter_t *it)
{
    bson_subtype_t subtype = BSON_SUBTYPE_BINARY;
    const uint8_t *p = NULL;
    uint32_t n = 0;

    bson_iter_binary(it, &subtype, &n, &p);
    if (!p)
        return;
    if (subtype == BSON_SUBTYPE_UUID && n == UUID_BYTES)
        write_uuid(b, p);
    else
        write_base64(b, p, n);
}

/* False for a date that no text can express. */
static bool write_date(struct buf *b, const bson_iter_t *it)
{
    char text[CLOCK_ISO_MAX];
    size_t n = clock_iso(bson_iter_date_time(it), text);

    buf_add(b, (str){text, n});
    return n > 0;
}

static void write_oid(struct buf *b, const bson_oid_t *oid)
{
    char text[ID_OBJECT_MAX];

    id_hex(oid->bytes, sizeof oid->bytes, text);
    buf_add(b, (str){text, sizeof text - 1});
}

static str iter_text(const bson_iter_t *it)
{
    uint32_t n = 0;
    const char *p = BSON_ITER_HOLDS_UTF8(it) ? bson_iter_utf8(it, &n)
                                             : bson_iter_symbol(it, &n);

    return p ? (str){p, n} : STR("");
}

bool json_out_text(struct buf *b, const bson_iter_t *it)
{
    switch ((int)bson_iter_type(it)) {
    case BSON_TYPE_UTF8:
    case BSON_TYPE_SYMBOL:
        buf_add(b, iter_text(it));
        return true;
    case BSON_TYPE_OID:
        write_oid(b, bson_iter_oid(it));
        return true;
    case BSON_TYPE_DATE_TIME:
        return write_date(b, it);
    case BSON_TYPE_BINARY:
        write_binary(b, it);
        return true;
    }
    return false;
}

static void write_decimal(struct buf *b, const bson_iter_t *it)
{
    char text[BSON_DECIMAL128_STRING];
    bson_decimal128_t v;

    if (!bson_iter_decimal128(it, &v)) {
        buf_add(b, STR("null"));
        return;
    }
    bson_decimal128_to_string(&v, text);
    buf_add(b, STR("{\"$numberDecimal\":\""));
    buf_add(b, str_of(text));
    buf_add(b, STR("\"}"));
}

static void write_container(struct writer *w, const struct belem *e)
{
    if (w->depth < DEPTH_MAX)
        write_members(w, bwalk_of(e->v, e->n), e->type == BSON_TYPE_ARRAY);
    else
        buf_add(w->b, STR("null"));
}

static void write_scope(struct writer *w, const bson_iter_t *it)
{
    const uint8_t *scope = NULL;
    const char *code;
    uint32_t code_n = 0, scope_n = 0;

    code = bson_iter_codewscope(it, &code_n, &scope_n, &scope);
    buf_add(w->b, STR("{\"$code\":"));
    jwrite_str(w->b, code ? (str){code, code_n} : STR(""));
    buf_add(w->b, STR(",\"$scope\":"));
    if (w->depth < DEPTH_MAX && scope)
        write_members(w, bwalk_of(scope, scope_n), false);
    else
        buf_add(w->b, STR("{}"));
    buf_add_char(w->b, '}');
}

static void write_pointer(struct buf *b, const bson_iter_t *it)
{
    const bson_oid_t *oid = NULL;
    const char *name = NULL;
    uint32_t n = 0;

    bson_iter_dbpointer(it, &n, &name, &oid);
    if (!name || !oid) {
        buf_add(b, STR("null"));
        return;
    }
    buf_add(b, STR("{\"$dbPointer\":{\"$ref\":"));
    jwrite_str(b, (str){name, n});
    buf_add(b, STR(",\"$id\":{\"$oid\":\""));
    write_oid(b, oid);
    buf_add(b, STR("\"}}}"));
}

static void write_regex(struct buf *b, const bson_iter_t *it)
{
    const char *options = NULL;
    const char *pattern = bson_iter_regex(it, &options);

    buf_add(b, STR("{\"$regularExpression\":{\"pattern\":"));
    jwrite_str(b, str_of(pattern));
    buf_add(b, STR(",\"options\":"));
    jwrite_str(b, str_of(options));
    buf_add(b, STR("}}"));
}

static void write_code(struct buf *b, const bson_iter_t *it)
{
    uint32_t n = 0;
    const char *code = bson_iter_code(it, &n);

    buf_add(b, STR("{\"$code\":"));
    jwrite_str(b, code ? (str){code, n} : STR(""));
    buf_add_char(b, '}');
}

static void write_timestamp(struct buf *b, const bson_iter_t *it)
{
    uint32_t t = 0, i = 0;

    bson_iter_timestamp(it, &t, &i);
    buf_add(b, STR("{\"$timestamp\":{\"t\":"));
    buf_add_i64(b, t);
    buf_add(b, STR(",\"i\":"));
    buf_add_i64(b, i);
    buf_add(b, STR("}}"));
}

/* The types that documents rarely hold. */
static void write_rare(struct writer *w, const bson_iter_t *it)
{
    switch ((int)bson_iter_type(it)) {
    case BSON_TYPE_BINARY:
        buf_add_char(w->b, '"');
        write_binary(w->b, it);
        buf_add_char(w->b, '"');
        return;
    case BSON_TYPE_DECIMAL128:
        write_decimal(w->b, it);
        return;
    case BSON_TYPE_TIMESTAMP:
        write_timestamp(w->b, it);
        return;
    case BSON_TYPE_REGEX:
        write_regex(w->b, it);
        return;
    case BSON_TYPE_CODE:
        write_code(w->b, it);
        return;
    case BSON_TYPE_CODEWSCOPE:
        write_scope(w, it);
        return;
    case BSON_TYPE_DBPOINTER:
        write_pointer(w->b, it);
        return;
    case BSON_TYPE_MINKEY:
        buf_add(w->b, STR("{\"$minKey\":1}"));
        return;
    case BSON_TYPE_MAXKEY:
        buf_add(w->b, STR("{\"$maxKey\":1}"));
        return;
    }
    buf_add(w->b, STR("null"));
}

static void write_oid_quoted(struct buf *b, const struct belem *e)
{
    char *to = buf_room(b, 2 * e->n + 3);

    if (!to)
        return;
    to[0] = '"';
    id_hex(e->v, e->n, to + 1);
    to[2 * e->n + 1] = '"';
    b->n += 2 * e->n + 2;
}

static void write_date_quoted(struct buf *b, const struct belem *e)
{
    char text[CLOCK_ISO_MAX];
    size_t n = clock_iso(belem_i64(e), text);

    if (n > 0)
        jwrite_str(b, (str){text, n});
    else
        buf_add(b, STR("null"));
}

/* False for the types that documents rarely hold. */
static bool write_common(struct writer *w, const struct belem *e)
{
    double v;

    switch ((int)e->type) {
    case BSON_TYPE_UTF8:
    case BSON_TYPE_SYMBOL:
        jwrite_str(w->b, belem_text(e));
        return true;
    case BSON_TYPE_INT32:
        buf_add_i64(w->b, belem_i32(e));
        return true;
    case BSON_TYPE_INT64:
        buf_add_i64(w->b, belem_i64(e));
        return true;
    case BSON_TYPE_DOUBLE:
        memcpy(&v, e->v, sizeof v);
        jwrite_double(w->b, v);
        return true;
    case BSON_TYPE_BOOL:
        buf_add(w->b, e->v[0] ? STR("true") : STR("false"));
        return true;
    case BSON_TYPE_NULL:
        buf_add(w->b, STR("null"));
        return true;
    case BSON_TYPE_OID:
        write_oid_quoted(w->b, e);
        return true;
    case BSON_TYPE_DATE_TIME:
        write_date_quoted(w->b, e);
        return true;
    case BSON_TYPE_DOCUMENT:
    case BSON_TYPE_ARRAY:
        write_container(w, e);
        return true;
    }
    return false;
}

static void write_members(struct writer *w, struct bwalk at, bool is_array)
{
    struct buf *b = w->b;
    struct belem e;
    bson_iter_t it;
    bool first = true;

    buf_add_char(b, is_array ? '[' : '{');
    w->depth++;
    while (!b->err && bwalk_next(&at, &e)) {
        if (!first)
            buf_add_char(b, ',');
        first = false;
        if (!is_array) {
            jwrite_str(b, e.key);
            buf_add_char(b, ':');
        }
        if (write_common(w, &e))
            continue;
        if (bwalk_iter(&at, &e, &it))
            write_rare(w, &it);
        else
            buf_add(b, STR("null"));
    }
    w->depth--;
    buf_add_char(b, is_array ? ']' : '}');
}

static void write_root(struct buf *b, const uint8_t *doc, size_t n,
                       bool is_array)
{
    struct writer w = {.b = b};

    write_members(&w, bwalk_of(doc, n), is_array);
}

void json_out_doc(struct buf *b, const bson_t *doc)
{
    write_root(b, bson_get_data(doc), doc->len, false);
}

void json_out_array(struct buf *b, const bson_t *array)
{
    write_root(b, bson_get_data(array), array->len, true);
}

void json_out_bytes(struct buf *b, const uint8_t *doc, size_t n)
{
    write_root(b, doc, n, false);
}

void json_out_value(struct buf *b, const bson_iter_t *it)
{
    struct belem e = bwalk_at(it);
    struct writer w = {.b = b};

    if (!write_common(&w, &e))
        write_rare(&w, it);
}

void json_out_member(struct buf *b, const bson_iter_t *in, const char *name,
                     str none)
{
    bson_iter_t it = *in;

    if (bson_iter_find(&it, name))
        json_out_value(b, &it);
    else
        buf_add(b, none);
}

bool json_out_text_member(const bson_t *doc, const char *name, str *out)
{
    bson_iter_t it;
    uint32_t n;

    if (!bson_iter_init_find(&it, doc, name) || !BSON_ITER_HOLDS_UTF8(&it))
        return false;
    out->p = bson_iter_utf8(&it, &n);
    out->n = n;
    return true;
}
