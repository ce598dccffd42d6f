/* json_in - see json_in.h; writes BSON bytes as the events come */
#include "lib/data/json_in.h"

#include "lib/base/buf.h"
#include "lib/base/id.h"
#include "lib/base/jread.h"
#include "lib/data/json_number.h"

enum {
    BSON_BYTES_MAX = 16 << 20,
    TEXT_BYTES_MAX = 1 << 30, /* keeps every offset within 32 bits */
    FEW_KEYS = 8,             /* up to here a search goes through all keys */
    FIRST_SLOTS = 4 * FEW_KEYS
};

#define REPLACED UINT32_MAX

struct key {
    uint32_t at; /* of the element: type byte, then the key */
    uint32_t n;
    uint32_t hash; /* only once the level has slots */
    uint32_t last; /* the key whose value counts: itself or a later one;
                      REPLACED in those later ones */
};

struct level {
    uint32_t at;    /* of its length */
    uint32_t index; /* of the next array item */
    size_t keys, keys_n;
    size_t slots, slots_n; /* open addressing, number of key + 1, 0 is free */
    bool is_array, has_equal_keys;
};

struct builder {
    struct ctx *c;
    str text;
    struct buf out;
    struct buf keys, slots; /* stacks: of all levels, innermost last */
    struct buf spare;
    struct level level[JREAD_DEPTH_MAX];
    size_t depth;
    size_t type_at; /* type byte that waits for its value */
    uint64_t seed[2];
    bool seeded;
    enum json_root root;
};

static void put_u32(char *to, uint32_t v)
{
    v = BSON_UINT32_TO_LE(v);
    memcpy(to, &v, sizeof v);
}

static void put_u64(char *to, uint64_t v)
{
    v = BSON_UINT64_TO_LE(v);
    memcpy(to, &v, sizeof v);
}

static uint64_t turn(uint64_t v, int bits)
{
    return v << bits | v >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = turn(v[1], 13) ^ v[0];
    v[0] = turn(v[0], 32);
    v[2] += v[3];
    v[3] = turn(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = turn(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = turn(v[1], 17) ^ v[2];
    v[2] = turn(v[2], 32);
}

/* SipHash-1-3: keys made to collide would cost quadratic time otherwise. */
static uint32_t hash_of(struct builder *b, str s)
{
    uint64_t v[4], word, tail = (uint64_t)s.n << 56;

    if (!b->seeded) {
        b->seed[0] = (uint64_t)id_chance() << 32 | id_chance();
        b->seed[1] = (uint64_t)id_chance() << 32 | id_chance();
        b->seeded = true;
    }
    v[0] = b->seed[0] ^ 0x736f6d6570736575u;
    v[1] = b->seed[1] ^ 0x646f72616e646f6du;
    v[2] = b->seed[0] ^ 0x6c7967656e657261u;
    v[3] = b->seed[1] ^ 0x7465646279746573u;
    for (; s.n >= 8; s = str_from(s, 8)) {
        memcpy(&word, s.p, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < s.n; i++)
        tail |= (uint64_t)(unsigned char)s.p[i] << (8 * i);
    v[3] ^= tail;
    sip_round(v);
    v[0] ^= tail;
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    word = v[0] ^ v[1] ^ v[2] ^ v[3];
    return (uint32_t)(word ^ word >> 32);
}

static struct key *keys_of(struct builder *b, const struct level *l)
{
    return (struct key *)(void *)b->keys.p + l->keys;
}

static str key_text(const struct builder *b, const struct key *k)
{
    return (str){b->out.p + k->at + 1, k->n};
}

/* The slot of that key, or the free one where it belongs. */
static uint32_t *find_slot(struct builder *b, const struct level *l, str s,
                           uint32_t hash)
{
    uint32_t *slots = (uint32_t *)(void *)b->slots.p + l->slots;
    const struct key *keys = keys_of(b, l);
    size_t at = hash & (l->slots_n - 1);

    while (slots[at]) {
        const struct key *k = &keys[slots[at] - 1];

        if (k->hash == hash && str_eq(key_text(b, k), s))
            break;
        at = (at + 1) & (l->slots_n - 1);
    }
    return &slots[at];
}

/* More slots than twice the keys; the level is the innermost one. */
static enum err grow_slots(struct builder *b, struct level *l)
{
    size_t n = l->slots_n ? 2 * l->slots_n : FIRST_SLOTS;
    struct key *keys = keys_of(b, l);
    char *to;

    b->slots.n = l->slots * sizeof(uint32_t);
    to = buf_room(&b->slots, n * sizeof(uint32_t));
    if (!to)
        return b->slots.err;
    memset(to, 0, n * sizeof(uint32_t));
    b->slots.n += n * sizeof(uint32_t);
    for (size_t i = 0; i < l->keys_n; i++)
        if (l->slots_n == 0)
            keys[i].hash = hash_of(b, key_text(b, &keys[i]));
    l->slots_n = n;
    for (size_t i = 0; i < l->keys_n; i++)
        if (keys[i].last != REPLACED)
            *find_slot(b, l, key_text(b, &keys[i]), keys[i].hash) =
                (uint32_t)i + 1;
    return OK;
}

static struct key *find_among_few(struct builder *b, const struct level *l,
                                  str s)
{
    struct key *k = keys_of(b, l);

    for (size_t i = 0; i < l->keys_n; i++, k++)
        if (k->last != REPLACED && str_eq(key_text(b, k), s))
            return k;
    return NULL;
}

/* Remembers the key of the element at `at`. */
static enum err note_key(struct builder *b, struct level *l, str s, uint32_t at)
{
    uint32_t self = (uint32_t)l->keys_n;
    struct key *k = (void *)buf_room(&b->keys, sizeof *k), *first;
    uint32_t *slot = NULL;
    enum err err = OK;

    if (!k)
        return b->keys.err;
    *k = (struct key){.at = at, .n = (uint32_t)s.n, .last = self};
    if (l->keys_n >= FEW_KEYS && 2 * l->keys_n >= l->slots_n)
        err = grow_slots(b, l);
    if (err)
        return err;
    if (l->slots_n > 0) {
        k->hash = hash_of(b, s);
        slot = find_slot(b, l, s, k->hash);
        first = *slot ? &keys_of(b, l)[*slot - 1] : NULL;
    } else {
        first = find_among_few(b, l, s);
    }
    if (first) {
        first->last = self;
        k->last = REPLACED;
        l->has_equal_keys = true;
    } else if (slot) {
        *slot = self + 1;
    }
    l->keys_n++;
    b->keys.n += sizeof *k;
    return OK;
}

static enum err add_key(struct builder *b, str key)
{
    char *to = buf_room(&b->out, key.n + 2);

    if (!to)
        return b->out.err;
    to[0] = 0;
    if (key.n)
        memcpy(to + 1, key.p, key.n);
    to[key.n + 1] = 0;
    b->type_at = b->out.n;
    b->out.n += key.n + 2;
    return note_key(b, &b->level[b->depth - 1], key, (uint32_t)b->type_at);
}

/* Type byte, for an array item its index too, and room for the value. */
static char *begin_value(struct builder *b, bson_type_t type, size_t bytes)
{
    struct level *l = &b->level[b->depth - 1];
    char *to, digits[10];
    size_t at = sizeof digits;
    uint32_t v;

    if (!l->is_array) {
        b->out.p[b->type_at] = (char)type;
        return buf_room(&b->out, bytes);
    }
    v = l->index++;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    to = buf_room(&b->out, bytes + sizeof digits + 2);
    if (!to)
        return NULL;
    *to++ = (char)type;
    memcpy(to, digits + at, sizeof digits - at);
    to += sizeof digits - at;
    *to++ = 0;
    b->out.n += sizeof digits - at + 2;
    return to;
}

static enum err open_level(struct builder *b, bool is_array)
{
    char *to;

    if (b->depth == 0) {
        b->root = is_array ? JSON_ARRAY : JSON_OBJECT;
        to = buf_room(&b->out, 4);
    } else {
        to = begin_value(b, is_array ? BSON_TYPE_ARRAY : BSON_TYPE_DOCUMENT, 4);
    }
    if (!to)
        return b->out.err;
    b->level[b->depth++] = (struct level){
        .at = (uint32_t)b->out.n,
        .keys = b->keys.n / sizeof(struct key),
        .slots = b->slots.n / sizeof(uint32_t),
        .is_array = is_array,
    };
    b->out.n += 4;
    return OK;
}

/* Writes the members anew, each with its last value. */
static enum err drop_replaced(struct builder *b, const struct level *l)
{
    const struct key *keys = keys_of(b, l);
    size_t body = l->at + 4;

    b->spare.n = 0;
    for (size_t i = 0; i < l->keys_n; i++) {
        uint32_t last = keys[i].last;
        size_t from, to;

        if (last == REPLACED)
            continue;
        from = keys[last].at;
        to = last + 1 < l->keys_n ? keys[last + 1].at : b->out.n;
        buf_add(&b->spare, (str){b->out.p + from, to - from});
    }
    if (b->spare.err)
        return b->spare.err;
    memcpy(b->out.p + body, b->spare.p, b->spare.n);
    b->out.n = body + b->spare.n;
    return OK;
}

static enum err close_level(struct builder *b)
{
    const struct level *l = &b->level[--b->depth];
    enum err err = l->has_equal_keys ? drop_replaced(b, l) : OK;

    if (err)
        return err;
    b->keys.n = l->keys * sizeof(struct key);
    b->slots.n = l->slots * sizeof(uint32_t);
    buf_add_char(&b->out, 0);
    put_u32(b->out.p + l->at, (uint32_t)(b->out.n - l->at));
    return b->out.err;
}

static enum err add_string(struct builder *b, str s)
{
    char *to = begin_value(b, BSON_TYPE_UTF8, s.n + 5);

    if (!to)
        return b->out.err;
    put_u32(to, (uint32_t)s.n + 1);
    if (s.n)
        memcpy(to + 4, s.p, s.n);
    to[s.n + 4] = 0;
    b->out.n += s.n + 5;
    return OK;
}

static enum err add_bool(struct builder *b, bool v)
{
    char *to = begin_value(b, BSON_TYPE_BOOL, 1);

    if (!to)
        return b->out.err;
    *to = v;
    b->out.n++;
    return OK;
}

static enum err add_int(struct builder *b, int64_t v)
{
    bool small = v >= INT32_MIN && v <= INT32_MAX;
    char *to = begin_value(b, small ? BSON_TYPE_INT32 : BSON_TYPE_INT64, 8);

    if (!to)
        return b->out.err;
    if (small)
        put_u32(to, (uint32_t)v);
    else
        put_u64(to, (uint64_t)v);
    b->out.n += small ? 4 : 8;
    return OK;
}

static enum err add_double(struct builder *b, double v)
{
    char *to = begin_value(b, BSON_TYPE_DOUBLE, 8);
    uint64_t bits;

    if (!to)
        return b->out.err;
    memcpy(&bits, &v, sizeof bits);
    put_u64(to, bits);
    b->out.n += 8;
    return OK;
}

static enum err add_number(struct builder *b, str s)
{
    struct json_number v;
    enum err err = json_number(s, &b->spare, &v);

    if (err == ERR_BAD_JSON)
        return ctx_fail(b->c, err,
                        "Invalid JSON: number beyond a double at byte %zu",
                        (size_t)(s.p - b->text.p));
    if (err || b->depth == 0)
        return err;
    return v.is_int ? add_int(b, v.i) : add_double(b, v.d);
}

static enum err add_null(struct builder *b)
{
    (void)begin_value(b, BSON_TYPE_NULL, 0);
    return b->out.err;
}

static enum err on_event(void *arg, enum jread_event event, str text)
{
    struct builder *b = arg;

    if (b->depth == 0 && event != JREAD_OBJECT && event != JREAD_ARRAY &&
        event != JREAD_NUMBER)
        return OK;
    switch (event) {
    case JREAD_OBJECT:
        return open_level(b, false);
    case JREAD_ARRAY:
        return open_level(b, true);
    case JREAD_END:
        return close_level(b);
    case JREAD_KEY:
        return add_key(b, text);
    case JREAD_STRING:
        return add_string(b, text);
    case JREAD_NUMBER:
        return add_number(b, text);
    case JREAD_TRUE:
        return add_bool(b, true);
    case JREAD_FALSE:
        return add_bool(b, false);
    case JREAD_NULL:
        return add_null(b);
    }
    return OK;
}

static void destroy_doc(void *doc)
{
    bson_destroy(doc);
}

static enum err take_doc(struct builder *b, bson_t **out)
{
    bson_t *doc;
    enum err err;

    if (b->root == JSON_SCALAR)
        doc = bson_new();
    else if (b->out.n > BSON_BYTES_MAX)
        return ERR_DOCUMENT_TOO_LARGE;
    else
        doc = bson_new_from_data((const uint8_t *)b->out.p, b->out.n);
    if (!doc)
        return ERR_INTERNAL;
    err = arena_defer(&b->c->arena, destroy_doc, doc);
    if (!err)
        *out = doc;
    return err;
}

static enum err build(struct builder *b, bson_t **out)
{
    struct jread_sink sink = {on_event, b};
    struct jread_fault fault = {0};
    enum err err;

    (void)buf_room(&b->out, b->text.n + 64);
    err = jread(b->text, &b->c->arena, &sink, &fault);
    if (!err)
        err = take_doc(b, out);
    switch ((int)err) {
    case OK:
        return OK;
    case ERR_BAD_JSON:
        return ctx_fail(b->c, err, "Invalid JSON: %s at byte %zu", fault.what,
                        fault.offset);
    case ERR_DOCUMENT_TOO_LARGE:
        return ctx_fail(b->c, err, "The document is larger than 16 MiB");
    case ERR_OVERLOADED:
        return ctx_fail(b->c, err, "The request needs too much memory");
    }
    return ctx_fail(b->c, err, "The document cannot be built");
}

enum err json_in(struct ctx *c, str text, enum json_root *out_root,
                 bson_t **out_doc)
{
    struct builder b = {.c = c, .text = text, .root = JSON_SCALAR};
    size_t max;
    enum err err;

    if (text.n > TEXT_BYTES_MAX)
        return ctx_fail(c, ERR_BODY_TOO_LARGE, "The text is too long");
    /* equal keys are dropped late: until then they may take more room */
    max = BSON_BYTES_MAX + text.n + 64;
    buf_init(&b.out, max, ERR_DOCUMENT_TOO_LARGE);
    buf_init(&b.spare, max, ERR_DOCUMENT_TOO_LARGE);
    buf_init(&b.keys, JREAD_VALUES_MAX * sizeof(struct key) + 1,
             ERR_DOCUMENT_TOO_LARGE);
    buf_init(&b.slots, (size_t)8 * JREAD_VALUES_MAX * sizeof(uint32_t),
             ERR_DOCUMENT_TOO_LARGE);
    err = build(&b, out_doc);
    if (!err)
        *out_root = b.root;
    buf_done(&b.out);
    buf_done(&b.spare);
    buf_done(&b.keys);
    buf_done(&b.slots);
    return err;
}
