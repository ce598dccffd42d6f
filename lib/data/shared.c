/* shared - see shared.h */
#include "lib/data/shared.h"

#include "lib/base/clock.h"
#include "lib/base/metrics.h"
#include "lib/data/combine.h"
#include "lib/data/mongo_error.h"

enum {
    DOCUMENT_MAX = 64 * 1024 /* larger ones are inserted alone */
};

/* First member of what is combined. */
struct part {
    struct combine_op op;
    ms deadline; /* of its request */
    ms begun;
};

struct get {
    struct part part;
    bson_value_t id; /* ObjectId or text */
    bson_t *found;   /* a copy, the owner's */
};

struct insert {
    struct part part;
    const bson_t *doc;
    enum insert_result {
        UNKNOWN,
        STORED,
        REFUSED
    } result;
    bson_error_t error; /* REFUSED */
};

/* Key n of an array; below 1000 libbson has the texts ready. */
static const char *index_of(uint32_t n)
{
    const char *key;
    char unused[16];

    bson_uint32_to_string(n, &key, unused, sizeof unused);
    return key;
}

static struct get *next_get(const struct get *g)
{
    return (struct get *)(void *)g->part.op.next;
}

static struct insert *next_insert(const struct insert *i)
{
    return (struct insert *)(void *)i->part.op.next;
}

static struct part part_of(const struct ctx *c, const char *collection)
{
    return (struct part){.op.key = collection,
                         .deadline = c->deadline,
                         .begun = clock_mono_ms()};
}

/* What is shared ends before the request that has the least time left; gives
 * the own deadline back. */
static ms limit_to_all(struct ctx *c, const struct part *first)
{
    const struct combine_op *op = &first->op;
    ms own = c->deadline;

    for (; op; op = op->next) {
        ms other = ((const struct part *)(const void *)op)->deadline;

        if (other < c->deadline)
            c->deadline = other;
    }
    return own;
}

static bool try_together(struct ctx *c, const struct part *first,
                         const bson_t *cmd, bool writing, bson_t *reply)
{
    ms own = limit_to_all(c, first);
    bool done = mongo_try(c, cmd, writing, reply);

    c->deadline = own;
    return done;
}

/* The id as one value: of two forms the first, which is the ObjectId. */
static void set_id(struct get *g, str id)
{
    if (doc_oid(id, &g->id.value.v_oid)) {
        g->id.value_type = BSON_TYPE_OID;
        return;
    }
    g->id.value_type = BSON_TYPE_UTF8;
    g->id.value.v_utf8.str = (char *)(uintptr_t)id.p; /* only read */
    g->id.value.v_utf8.len = (uint32_t)id.n;
}

static bool is_id(const struct get *g, const bson_iter_t *it)
{
    const bson_value_t *want = &g->id;
    uint32_t n;

    if (bson_iter_type(it) != want->value_type)
        return false;
    if (BSON_ITER_HOLDS_OID(it))
        return bson_oid_equal(bson_iter_oid(it), &want->value.v_oid);
    return str_eq((str){bson_iter_utf8(it, &n), n},
                  (str){want->value.v_utf8.str, want->value.v_utf8.len});
}

static void hand_out(struct get *first, const bson_t *doc)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, doc, "_id"))
        return;
    for (struct get *g = first; g; g = next_get(g))
        if (!g->found && is_id(g, &it))
            g->found = bson_copy(doc);
}

static void hand_out_rows(struct get *first, const bson_t *reply)
{
    bson_t batch, doc;
    const uint8_t *data;
    bson_iter_t it;
    uint32_t n;

    if (!mongo_reply_rows(reply, &batch))
        return;
    bson_iter_init(&it, &batch);
    while (bson_iter_next(&it)) {
        bson_iter_document(&it, &n, &data);
        if (bson_init_static(&doc, data, n))
            hand_out(first, &doc);
    }
}

/* What a reply of 16 MiB lacks is asked for again by who misses it. */
static void get_together(struct ctx *c, struct get *first)
{
    bson_t cmd = BSON_INITIALIZER, reply, filter, id, list;
    uint32_t n = 0;

    BSON_APPEND_UTF8(&cmd, "find", first->part.op.key);
    BSON_APPEND_DOCUMENT_BEGIN(&cmd, "filter", &filter);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &id);
    BSON_APPEND_ARRAY_BEGIN(&id, "$in", &list);
    for (const struct get *g = first; g; g = next_get(g))
        bson_append_value(&list, index_of(n++), -1, &g->id);
    bson_append_array_end(&id, &list);
    bson_append_document_end(&filter, &id);
    bson_append_document_end(&cmd, &filter);
    BSON_APPEND_BOOL(&cmd, "singleBatch", true);
    if (try_together(c, &first->part, &cmd, false, &reply))
        hand_out_rows(first, &reply);
    bson_destroy(&reply);
    bson_destroy(&cmd);
}

static void destroy(void *arg)
{
    bson_destroy(arg);
}

enum err shared_get(struct ctx *c, const struct doc_key *key,
                    shared_get_alone alone, const bson_t **out)
{
    struct combine *k = mongo_combine(c, MONGO_GETS);
    struct get mine = {.part = part_of(c, key->collection)};
    bool is_alone = false;
    enum err err = OK;

    set_id(&mine, key->id);
    if (combine_begin(k, &mine.part.op)) {
        is_alone = !mine.part.op.next;
        if (is_alone)
            err = alone(c, key, out);
        else
            get_together(c, &mine);
        combine_end(k, &mine.part.op);
    }
    if (is_alone)
        return err;
    if (!mine.found) {
        mongo_op_used(c, clock_mono_ms() - mine.part.begun);
        return alone(c, key, out);
    }
    *out = mine.found;
    err = arena_defer(&c->arena, destroy, mine.found);
    return err ? ctx_no_memory(c) : OK;
}

/* {index, code, errmsg}; a fail-over is no refusal */
static void mark_refused(struct insert *first, bson_iter_t *it)
{
    struct insert *one = first;
    bson_iter_t row;
    int64_t index;

    if (!bson_iter_recurse(it, &row) || !bson_iter_find(&row, "index"))
        return;
    index = bson_iter_as_int64(&row);
    while (one && index-- > 0)
        one = next_insert(one);
    if (one) {
        mongo_write_error(it, &one->error);
        one->result = mongo_is_transient(&one->error) ? UNKNOWN : REFUSED;
    }
}

/* Nothing is known of any unless stored and refused ones are all of them. */
static void mark_all(struct insert *first, uint32_t n, const bson_t *reply)
{
    bson_t errors = BSON_INITIALIZER;
    bson_iter_t it;

    (void)mongo_reply_doc(reply, "writeErrors", &errors);
    if (!bson_iter_init_find(&it, reply, "n") ||
        bson_iter_as_int64(&it) + bson_count_keys(&errors) != n)
        return;
    for (struct insert *one = first; one; one = next_insert(one))
        one->result = STORED;
    bson_iter_init(&it, &errors);
    while (bson_iter_next(&it))
        mark_refused(first, &it);
}

static void insert_together(struct ctx *c, struct insert *first)
{
    bson_t cmd = BSON_INITIALIZER, reply, list;
    uint32_t n = 0;

    BSON_APPEND_UTF8(&cmd, "insert", first->part.op.key);
    BSON_APPEND_ARRAY_BEGIN(&cmd, "documents", &list);
    for (const struct insert *one = first; one; one = next_insert(one))
        bson_append_document(&list, index_of(n++), -1, one->doc);
    bson_append_array_end(&cmd, &list);
    BSON_APPEND_BOOL(&cmd, "ordered", false);
    if (try_together(c, &first->part, &cmd, true, &reply))
        mark_all(first, n, &reply);
    bson_destroy(&reply);
    bson_destroy(&cmd);
}

enum err shared_insert(struct ctx *c, const char *collection, const bson_t *doc,
                       shared_insert_alone alone)
{
    struct combine *k = mongo_combine(c, MONGO_INSERTS);
    struct insert mine = {.part = part_of(c, collection), .doc = doc};
    bool is_alone = doc->len > DOCUMENT_MAX;
    enum err err = OK;

    if (is_alone)
        return alone(c, collection, doc, false);
    if (combine_begin(k, &mine.part.op)) {
        is_alone = !mine.part.op.next;
        if (is_alone)
            err = alone(c, collection, doc, false);
        else
            insert_together(c, &mine);
        combine_end(k, &mine.part.op);
    }
    if (is_alone)
        return err;
    switch (mine.result) {
    case STORED:
        return OK;
    case REFUSED:
        return mongo_translate(c, &mine.error, true);
    case UNKNOWN:
        break;
    }
    mongo_op_used(c, clock_mono_ms() - mine.part.begun);
    return alone(c, collection, doc, true);
}

/* ---- a document and its event */

struct change_op {
    struct part part;
    const bson_t *doc, *row;
    bool stored, doubt;
};

static struct change_op *next_change(const struct change_op *x)
{
    return (struct change_op *)(void *)x->part.op.next;
}

static enum err insert_all(struct ctx *c, const struct change_op *first,
                           bool rows)
{
    const char *collection = rows ? "_outbox" : first->part.op.key;
    bson_t *cmd = mongo_bson(c), *reply, list;
    uint32_t n = 0;

    if (!cmd)
        return ERR_OVERLOADED;
    BSON_APPEND_UTF8(cmd, "insert", collection);
    BSON_APPEND_ARRAY_BEGIN(cmd, "documents", &list);
    for (const struct change_op *x = first; x; x = next_change(x))
        bson_append_document(&list, index_of(n++), -1, rows ? x->row : x->doc);
    bson_append_array_end(cmd, &list);
    return mongo_write(c, cmd, &reply, NULL);
}

static enum err change_turn(struct ctx *c, void *arg)
{
    enum err err = insert_all(c, arg, false);

    return err ? err : insert_all(c, arg, true);
}

static void change_together(struct ctx *c, struct change_op *first)
{
    ms own = limit_to_all(c, &first->part);
    bool doubt = false;
    bool done = mongo_try_transaction(c, change_turn, first, &doubt);

    c->deadline = own;
    for (struct change_op *x = first; x; x = next_change(x)) {
        x->stored = done;
        x->doubt = doubt;
        metrics_add(METRIC_EVENTS, 0, done);
    }
}

enum err shared_change(struct ctx *c, const char *collection, const bson_t *doc,
                       const bson_t *row, shared_change_alone alone, void *arg)
{
    struct combine *k = mongo_combine(c, MONGO_CHANGES);
    struct change_op mine = {
        .part = part_of(c, collection), .doc = doc, .row = row};
    bool is_alone = false;
    enum err err = OK;

    if (doc->len > DOCUMENT_MAX)
        return alone(c, arg, false);
    if (combine_begin(k, &mine.part.op)) {
        is_alone = !mine.part.op.next;
        if (is_alone)
            err = alone(c, arg, false);
        else
            change_together(c, &mine);
        combine_end(k, &mine.part.op);
    }
    if (is_alone || mine.stored)
        return err;
    mongo_op_used(c, clock_mono_ms() - mine.part.begun);
    return alone(c, arg, mine.doubt);
}
