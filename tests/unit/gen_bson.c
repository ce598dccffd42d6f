/* gen_bson - see gen_bson.h */
#include "tests/unit/gen_bson.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    NEST_MAX = 3
};

uint32_t gen_below(struct gen *g, uint32_t n)
{
    g->state ^= g->state << 13;
    g->state ^= g->state >> 7;
    g->state ^= g->state << 17;
    return (uint32_t)(g->state >> 33) % n;
}

bool gen_one_in(struct gen *g, uint32_t n)
{
    return gen_below(g, n) == 0;
}

void gen_number(struct gen *g, bson_t *to, const char *key)
{
    static const int64_t longs[] = {0,
                                    1,
                                    2,
                                    -1,
                                    9007199254740991,
                                    9007199254740992,
                                    9007199254740993,
                                    INT64_MAX,
                                    INT64_MAX - 1,
                                    INT64_MIN,
                                    -9007199254740993};
    static const double doubles[] = {
        0.0,       -0.0,   1.0,    2.0,     2.5,    0.1,
        -1.0,      0.5,    NAN,    3.0,     5.0,    INFINITY,
        -INFINITY, 0x1p53, 0x1p63, -0x1p63, 5e-324, 1.7976931348623157e308};
    static const char *const decimals[] = {
        "0",         "1",
        "0.1",       "2.50",
        "-1",        "NaN",
        "-0",        "9007199254740993",
        "1E1",       "Infinity",
        "5E-1",      "9223372036854775807",
        "-Infinity", "9223372036854775808",
        "3",         "1E-6176",
        "9E+6144",   "0.1000000000000000055511151231257827"};
    bson_decimal128_t d;

    switch (gen_below(g, 6)) {
    case 0:
        bson_append_int64(to, key, -1, PICK(g, longs));
        break;
    case 1:
        bson_append_double(to, key, -1, PICK(g, doubles));
        break;
    case 2:
        bson_decimal128_from_string(PICK(g, decimals), &d);
        bson_append_decimal128(to, key, -1, &d);
        break;
    default:
        bson_append_int32(to, key, -1, (int)gen_below(g, 8) - 1);
    }
}

/* None that is a date or an id: test_match has them. */
static void add_text(struct gen *g, bson_t *to, const char *key)
{
    static const char *const texts[] = {
        "", "a", "ab", "abc", "A", "b", "\xc3\xa9", "a\nb", "1", "aXb", "ba"};

    bson_append_utf8(to, key, -1, PICK(g, texts), -1);
}

void gen_binary(struct gen *g, bson_t *to, const char *key)
{
    uint8_t bytes[12];
    uint32_t n = gen_below(g, gen_one_in(g, 4) ? 12 : 3);

    for (uint32_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)(1U << gen_below(g, 9));
    bson_append_binary(
        to, key, -1, gen_one_in(g, 3) ? BSON_SUBTYPE_USER : BSON_SUBTYPE_BINARY,
        bytes, n);
}

static void add_oid(struct gen *g, bson_t *to, const char *key)
{
    static const char *const ids[] = {"507f1f77bcf86cd799439011",
                                      "507f1f77bcf86cd799439012"};
    bson_oid_t oid;

    bson_oid_init_from_string(&oid, PICK(g, ids));
    bson_append_oid(to, key, -1, &oid);
}

static void add_date(struct gen *g, bson_t *to, const char *key)
{
    static const int64_t dates[] = {0, 1704067200000, 1704067200001, -1};

    bson_append_date_time(to, key, -1, PICK(g, dates));
}

const char *const gen_patterns[GEN_PATTERNS] = {
    "a", "^a",    "b$",     "^ab?c*$",  "A",    "a.b",     ".",
    "",  "^\\d$", "a #x\n", "(a)(?=b)", "[^a]", "\xc3\xa9"};
const char *const gen_options[GEN_OPTIONS] = {"",  "",  "i",  "s",
                                              "m", "x", "im", "is"};

/* What JSON cannot say. */
static void add_rare(struct gen *g, bson_t *to, const char *key, bool stored)
{
    bson_t scope = BSON_INITIALIZER;
    bson_oid_t oid = {{1}};

    switch (gen_below(g, stored ? 10 : 5)) {
    case 0:
        bson_append_timestamp(to, key, -1, 1 + gen_below(g, 2),
                              gen_below(g, 2));
        break;
    case 1:
        bson_append_regex(to, key, -1, PICK(g, gen_patterns),
                          PICK(g, gen_options));
        break;
    case 2:
        gen_binary(g, to, key);
        break;
    case 3:
        bson_append_minkey(to, key, -1);
        break;
    case 4:
        bson_append_maxkey(to, key, -1);
        break;
    case 5:
        bson_append_undefined(to, key, -1);
        break;
    case 6:
        bson_append_symbol(to, key, -1, "a", -1);
        break;
    case 7:
        bson_append_code(to, key, -1, "a");
        break;
    case 8:
        bson_append_code_with_scope(to, key, -1, "a", &scope);
        break;
    case 9:
        bson_append_dbpointer(to, key, -1, "a", &oid);
        break;
    }
    bson_destroy(&scope);
}

static void add_document(struct gen *g, bson_t *to, const char *key,
                         bool stored, int depth)
{
    static const char *const keys[] = {"a", "b", "c", "0", "1", ""};
    bson_t in;

    bson_append_document_begin(to, key, -1, &in);
    for (uint32_t n = gen_below(g, 4), i = 0; i < n; i++) {
        const char *name = PICK(g, keys);

        if (!bson_has_field(&in, name) || !*name)
            gen_value(g, &in, name, stored, depth + 1);
    }
    bson_append_document_end(to, &in);
}

static void add_array(struct gen *g, bson_t *to, const char *key, bool stored,
                      int depth)
{
    bson_t in;
    char index[16];

    bson_append_array_begin(to, key, -1, &in);
    for (uint32_t n = gen_below(g, 4), i = 0; i < n; i++) {
        snprintf(index, sizeof index, "%u", i);
        gen_value(g, &in, index, stored, depth + 1);
    }
    bson_append_array_end(to, &in);
}

void gen_value(struct gen *g, bson_t *to, const char *key, bool stored,
               int depth)
{
    switch (gen_below(g, depth < NEST_MAX ? 16 : 10)) {
    case 0:
    case 1:
    case 2:
    case 3:
        gen_number(g, to, key);
        break;
    case 4:
    case 5:
        add_text(g, to, key);
        break;
    case 6:
        bson_append_bool(to, key, -1, gen_one_in(g, 2));
        break;
    case 7:
        bson_append_null(to, key, -1);
        break;
    case 8:
        if (gen_one_in(g, 2))
            add_oid(g, to, key);
        else
            add_date(g, to, key);
        break;
    case 9:
        add_rare(g, to, key, stored);
        break;
    case 10:
    case 11:
    case 12:
        add_document(g, to, key, stored, depth);
        break;
    default:
        add_array(g, to, key, stored, depth);
    }
}

bson_t *gen_document(struct gen *g)
{
    static const char *const keys[] = {"a", "b", "c", "a", "b", "c", ""};
    bson_t *doc = bson_new();

    for (uint32_t n = gen_below(g, 4), i = 0; i < n; i++) {
        const char *name = PICK(g, keys);

        if (!bson_has_field(doc, name) || !*name)
            gen_value(g, doc, name, true, 0);
    }
    return doc;
}
