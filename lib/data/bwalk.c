/* bwalk - see bwalk.h; little-endian machines only, as MongoDB itself */
#include "lib/data/bwalk.h"

enum {
    EMPTY_BYTES = 5, /* length and the closing NUL */
    TYPES = 0x14
};

static uint32_t u32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

/* Two texts, each with a NUL behind; 0 when one has none. */
static uint32_t regex_size(const uint8_t *p, uint32_t left)
{
    const uint8_t *end = memchr(p, '\0', left);

    if (!end)
        return 0;
    left -= (uint32_t)(end + 1 - p);
    end = memchr(end + 1, '\0', left);
    return end ? (uint32_t)(end + 1 - p) : 0;
}

/* Bytes of the value at p by its type, of which `left` are there. */
static bool value_size(unsigned type, const uint8_t *p, uint32_t left,
                       uint32_t *out)
{
    /* what stands beside the length that a value begins with */
    static const uint8_t sized[TYPES] = {[BSON_TYPE_UTF8] = 4,
                                         [BSON_TYPE_CODE] = 4,
                                         [BSON_TYPE_SYMBOL] = 4,
                                         [BSON_TYPE_BINARY] = 5,
                                         [BSON_TYPE_DBPOINTER] = 16};
    static const uint8_t fixed[TYPES] = {
        [BSON_TYPE_DOUBLE] = 8, [BSON_TYPE_OID] = 12,
        [BSON_TYPE_BOOL] = 1,   [BSON_TYPE_DATE_TIME] = 8,
        [BSON_TYPE_INT32] = 4,  [BSON_TYPE_TIMESTAMP] = 8,
        [BSON_TYPE_INT64] = 8,  [BSON_TYPE_DECIMAL128] = 16};
    uint64_t n = 0;

    if (type == BSON_TYPE_REGEX) {
        n = regex_size(p, left);
        if (n == 0)
            return false;
    } else if (type < TYPES && fixed[type]) {
        n = fixed[type];
    } else if (type < TYPES && sized[type]) {
        if (left < 4)
            return false;
        n = (uint64_t)u32(p) + sized[type];
    } else if (type == BSON_TYPE_DOCUMENT || type == BSON_TYPE_ARRAY ||
               type == BSON_TYPE_CODEWSCOPE) {
        if (left < 4 || u32(p) < EMPTY_BYTES)
            return false;
        n = u32(p);
    } else if (type != BSON_TYPE_NULL && type != BSON_TYPE_UNDEFINED &&
               type != BSON_TYPE_MINKEY && type != BSON_TYPE_MAXKEY) {
        return false;
    }
    *out = (uint32_t)n;
    return n <= left;
}

struct bwalk bwalk_of(const uint8_t *doc, size_t n)
{
    if (n < EMPTY_BYTES || n > INT32_MAX || u32(doc) != n || doc[n - 1])
        return (struct bwalk){0};
    return (struct bwalk){doc, (uint32_t)n - 1, 4};
}

bool bwalk_next(struct bwalk *w, struct belem *out)
{
    const uint8_t *key, *nul;
    uint32_t left;

    if (w->at + 1 >= w->n)
        return false;
    key = w->doc + w->at + 1;
    nul = memchr(key, '\0', w->n - w->at - 1);
    if (!nul)
        return false;
    left = (uint32_t)(w->doc + w->n - nul - 1);
    out->type = (bson_type_t)w->doc[w->at];
    out->key = (str){(const char *)key, (size_t)(nul - key)};
    out->v = nul + 1;
    if (!value_size(out->type, nul + 1, left, &out->n))
        return false;
    w->at = (uint32_t)(nul + 1 - w->doc) + out->n;
    return true;
}

struct belem bwalk_at(const bson_iter_t *it)
{
    str key = {bson_iter_key(it), bson_iter_key_len(it)};
    const uint8_t *v = (const uint8_t *)key.p + key.n + 1;

    return (struct belem){bson_iter_type(it), key, v,
                          (uint32_t)(it->raw + it->next_off - v)};
}

bool bwalk_iter(const struct bwalk *w, const struct belem *e, bson_iter_t *out)
{
    uint32_t key_n = (uint32_t)e->key.n;
    uint32_t at = (uint32_t)((const uint8_t *)e->key.p - w->doc) - 1;

    return bson_iter_init_from_data_at_offset(out, w->doc, w->n + 1, at, key_n);
}
