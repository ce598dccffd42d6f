/* coord - see coord.h */
#include "tests/unit/coord.h"

#include <math.h>

static void append_simple(bson_t *out, const char *key, int i)
{
    static const uint8_t bytes[] = {1, 2, 3};
    bson_oid_t oid;

    switch (i) {
    case 0:
        BSON_APPEND_NULL(out, key);
        break;
    case 1:
        BSON_APPEND_BOOL(out, key, true);
        break;
    case 2:
        bson_oid_init_from_string(&oid, "0123456789abcdef01234567");
        BSON_APPEND_OID(out, key, &oid);
        break;
    case 3:
        BSON_APPEND_BINARY(out, key, BSON_SUBTYPE_BINARY, bytes, sizeof bytes);
        break;
    case 4:
        BSON_APPEND_REGEX(out, key, "a.*", "i");
        break;
    case 5:
        BSON_APPEND_MINKEY(out, key);
        break;
    case 6:
        BSON_APPEND_MAXKEY(out, key);
        break;
    case 7:
        BSON_APPEND_TIMESTAMP(out, key, UINT32_MAX, 1);
        break;
    case 8:
        BSON_APPEND_UNDEFINED(out, key);
        break;
    }
}

static void append_nested(bson_t *out, const char *key, int i)
{
    bson_t inner = BSON_INITIALIZER;

    BCON_APPEND(&inner, "0", "{", "term", "x", "until", BCON_BOOL(true), "what",
                BCON_INT32(1), "instance", BCON_NULL, "}");
    if (i == 0)
        BSON_APPEND_ARRAY(out, key, &inner);
    else
        BSON_APPEND_DOCUMENT(out, key, &inner);
    bson_destroy(&inner);
}

static void append_decimal(bson_t *out, const char *key)
{
    bson_decimal128_t d;

    bson_decimal128_from_string("9E+6000", &d);
    BSON_APPEND_DECIMAL128(out, key, &d);
}

void coord_hostile(bson_t *out, const char *key, int i)
{
    static const double doubles[] = {1e300, -1e300, NAN, INFINITY, 0.5};
    static const int64_t wholes[] = {INT64_MAX, INT64_MIN, -1};
    static const int64_t dates[] = {INT64_MAX, INT64_MIN, 0};
    static const char *const texts[] = {"", "9", "$$NOW"};

    if (i < 9)
        append_simple(out, key, i);
    else if (i < 11)
        append_nested(out, key, i - 9);
    else if (i < 16)
        BSON_APPEND_DOUBLE(out, key, doubles[i - 11]);
    else if (i < 19)
        BSON_APPEND_INT64(out, key, wholes[i - 16]);
    else if (i < 22)
        BSON_APPEND_DATE_TIME(out, key, dates[i - 19]);
    else if (i < 25)
        BSON_APPEND_UTF8(out, key, texts[i - 22]);
    else
        append_decimal(out, key);
}

void coord_put(struct ctx *c, const char *collection, bson_t *doc)
{
    bson_t query = BSON_INITIALIZER;
    bson_iter_t it;

    assert_true(bson_iter_init_find(&it, doc, "_id"));
    bson_append_iter(&query, "_id", -1, &it);
    (void)mongod_do(c, BCON_NEW("update", BCON_UTF8(collection), "updates", "[",
                                "{", "q", BCON_DOCUMENT(&query), "u",
                                BCON_DOCUMENT(doc), "upsert", BCON_BOOL(true),
                                "}", "]"));
    bson_destroy(&query);
    bson_destroy(doc);
}

void coord_change(struct ctx *c, const char *collection, const char *id,
                  bson_t *update)
{
    (void)mongod_do(c, BCON_NEW("update", BCON_UTF8(collection), "updates", "[",
                                "{", "q", "{", "_id", BCON_UTF8(id), "}", "u",
                                "[", BCON_DOCUMENT(update), "]", "}", "]"));
    bson_destroy(update);
}

void coord_drop(struct ctx *c, const char *collection)
{
    (void)mongod_do(c, BCON_NEW("drop", BCON_UTF8(collection)));
}
