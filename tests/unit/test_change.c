/* test_change - a change and its event: both or none, in order; light mode */
#include <pthread.h>

#include "lib/base/clock.h"
#include "lib/base/metrics.h"
#include "lib/data/change.h"
#include "lib/data/schema.h"
#include "tests/unit/mongod.h"

enum {
    THREADS = 10,
    TURNS = 5,
    MODES = 2
};

static const struct change plain = {.interest = {.any = true}, .ver = 3},
                           ordered = {.interest = {true, true}, .ver = 3};

static int fresh(void **state)
{
    struct ctx *c = *state;

    (void)mongod_fresh(state);
    c = *state;
    mongo_set_transactions(mongod.pool, true);
    mongod.conf->webhooks_enhanced_delivery = true;
    assert_int_equal(schema_apply(c), OK);
    mongod_do(c, BCON_NEW("create", "t"));
    return 0;
}
#define CHANGE(test) cmocka_unit_test_setup(test, fresh)

static struct change lightly(const struct change *how)
{
    struct change light = *how;

    light.light = true;
    return light;
}

static bson_t *doc_of(struct ctx *c, const char *id, int n)
{
    bson_t *doc = mongo_bson(c);

    BCON_APPEND(doc, "_id", BCON_UTF8(id), "n", BCON_INT32(n));
    return doc;
}

static int64_t number(const bson_t *doc, const char *path)
{
    bson_iter_t it, at;

    return doc && bson_iter_init(&it, doc) &&
                   bson_iter_find_descendant(&it, path, &at)
               ? bson_iter_as_int64(&at)
               : -1;
}

static int64_t count(struct ctx *c, const char *collection)
{
    return number(mongod_do(c, BCON_NEW("count", BCON_UTF8(collection))), "n");
}

/* Row i of the outbox, oldest first. */
static struct event row_at(struct ctx *c, int i)
{
    const bson_t *reply =
        mongod_do(c, BCON_NEW("find", "_outbox", "sort", "{", "ord",
                              BCON_INT32(1), "_id", BCON_INT32(1), "}", "skip",
                              BCON_INT32(i), "limit", BCON_INT32(1)));
    bson_t cursor, batch, *row = mongo_bson(c);
    struct event e;

    assert_true(mongo_reply_doc(reply, "cursor", &cursor));
    assert_true(mongo_reply_doc(&cursor, "firstBatch", &batch));
    assert_true(mongo_reply_doc(&batch, "0", row));
    assert_true(event_read(c, row, &e));
    return e;
}

static void insert(struct ctx *c, const struct change *how, const char *id,
                   int n)
{
    if (change_insert(c, how, "t", doc_of(c, id, n)) != OK)
        fail_msg("%s", c->reason);
}

static enum err modify(struct ctx *c, const struct change *how, const char *id,
                       const char *op, int n, const bson_t **out)
{
    bson_t *filter = mongo_bson(c), *update = mongo_bson(c);

    BCON_APPEND(filter, "_id", BCON_UTF8(id));
    BCON_APPEND(update, BCON_UTF8(op), "{", "n", BCON_INT32(n), "}");
    return change_modify(c, how, "t", filter, op[0] ? update : NULL, out);
}

static void all_three_events_are_recorded(void **state)
{
    struct ctx *c = *state;
    const bson_t *got;
    struct event e;

    for (int light = 0; light < MODES; light++) {
        struct change how = light ? lightly(&ordered) : ordered;
        ms now = clock_server_ms();

        mongod_do(c, BCON_NEW("delete", "_outbox", "deletes", "[", "{", "q",
                              "{", "}", "limit", BCON_INT32(0), "}", "]"));
        insert(c, &how, "a", 1);
        e = row_at(c, 0);
        assert_int_equal(e.kind, EVENT_CREATE);
        assert_str(e.collection, "t");
        assert_string_equal(e.doc_id.value.v_utf8.str, "a");
        assert_int_equal(number(e.doc, "n"), 1);
        assert_true(!e.old && e.ver == 3 && e.ord > 0 && !e.cut);
        assert_in_range(e.ts, now, now + 10000);
        assert_int_equal(modify(c, &how, "a", "$set", 2, &got), OK);
        assert_int_equal(number(got, "n"), 2);
        e = row_at(c, 1);
        assert_int_equal(e.kind, EVENT_UPDATE);
        assert_int_equal(number(e.old, "n"), 1);
        assert_int_equal(number(e.doc, "n"), 2);
        assert_int_equal(modify(c, &how, "a", "", 0, &got), OK);
        assert_int_equal(number(got, "n"), 2);
        e = row_at(c, 2);
        assert_int_equal(e.kind, EVENT_DELETE);
        assert_int_equal(number(e.old, "n"), 2);
        assert_null(e.doc);
        assert_int_equal(count(c, "_outbox"), 3);
        assert_int_equal(count(c, "t"), 0);
    }
}

static void what_is_not_there_raises_none(void **state)
{
    struct ctx *c = *state;
    const bson_t *got = (const bson_t *)(uintptr_t)1;

    for (int light = 0; light < MODES; light++) {
        struct change how = light ? lightly(&ordered) : ordered;

        assert_int_equal(modify(c, &how, "a", "$set", 2, &got), OK);
        assert_null(got);
        assert_int_equal(modify(c, &how, "a", "", 0, &got), OK);
        assert_null(got);
    }
    assert_int_equal(count(c, "_outbox"), 0);
    assert_int_equal(count(c, "_order"), 0);
}

static void what_is_not_there_counts_as_no_event(void **state)
{
    int64_t events = metrics_sum(METRIC_EVENTS, 0);
    const bson_t *got;

    assert_int_equal(modify(*state, &plain, "a", "$set", 1, &got), OK);
    assert_int_equal(modify(*state, &plain, "a", "", 0, &got), OK);
    assert_true(metrics_sum(METRIC_EVENTS, 0) == events);
    insert(*state, &plain, "a", 1);
    assert_true(metrics_sum(METRIC_EVENTS, 0) == events + 1);
}

static void what_is_refused_raises_none(void **state)
{
    struct ctx *c = *state;
    const bson_t *got;

    for (int light = 0; light < MODES; light++) {
        struct change how = light ? lightly(&plain) : plain;

        if (!light)
            insert(c, &how, "a", 1);
        assert_int_equal(change_insert(c, &how, "t", doc_of(c, "a", 9)),
                         ERR_DUPLICATE_KEY);
        ctx_forgive(c);
        assert_int_equal(modify(c, &how, "a", "$nonsense", 2, &got),
                         ERR_VALIDATION_ERROR);
        ctx_forgive(c);
    }
    assert_int_equal(count(c, "_outbox"), 1);
    assert_int_equal(number(mongod_find(c, "t", "a"), "n"), 1);
}

/* Not without its row: the server refuses that one. */
static void without_its_row_nothing_changes(void **state)
{
    struct ctx *c = *state;
    const bson_t *got;

    insert(c, &plain, "a", 1);
    mongod_do(c, BCON_NEW("collMod", "_outbox", "validator", "{", "never",
                          BCON_INT32(1), "}"));
    assert_int_not_equal(change_insert(c, &plain, "t", doc_of(c, "b", 1)), OK);
    ctx_forgive(c);
    assert_int_not_equal(modify(c, &plain, "a", "$set", 2, &got), OK);
    ctx_forgive(c);
    assert_int_not_equal(modify(c, &plain, "a", "", 2, &got), OK);
    assert_null(mongod_find(c, "t", "b"));
    assert_int_equal(number(mongod_find(c, "t", "a"), "n"), 1);
    assert_int_equal(count(c, "_outbox"), 1);
}

/* In light mode the change stands, and what was lost is counted. */
static void a_lost_event_of_light_mode_is_counted(void **state)
{
    struct ctx *c = *state;
    struct change how = lightly(&plain);
    int64_t lost = metrics_sum(METRIC_EVENTS_LOST, 0);

    mongod_do(c, BCON_NEW("collMod", "_outbox", "validator", "{", "never",
                          BCON_INT32(1), "}"));
    insert(c, &how, "a", 1);
    assert_int_equal(c->err, OK);
    assert_int_equal(number(mongod_find(c, "t", "a"), "n"), 1);
    assert_true(metrics_sum(METRIC_EVENTS_LOST, 0) == lost + 1);
}

static void order_is_taken_only_where_it_counts(void **state)
{
    struct ctx *c = *state;

    insert(c, &plain, "a", 1);
    assert_true(row_at(c, 0).ord == 0);
    assert_int_equal(count(c, "_order"), 0);
    insert(c, &ordered, "b", 1);
    assert_int_equal(count(c, "_order"), 1);
    assert_non_null(mongod_find(c, "_order", "t:b"));
}

/* Above the time, and above the last one also where that is ahead. */
static void order_grows_past_a_clock_that_went_back(void **state)
{
    struct ctx *c = *state;
    int64_t ahead = (clock_wall_ms() + 3600000) * 1000;
    const bson_t *got;

    insert(c, &ordered, "a", 1);
    assert_in_range(row_at(c, 0).ord, (clock_wall_ms() - 10000) * 1000,
                    (clock_wall_ms() + 10000) * 1000);
    mongod_do(c, BCON_NEW("update", "_order", "updates", "[", "{", "q", "{",
                          "_id", "t:a", "}", "u", "{", "$set", "{", "ord",
                          BCON_INT64(ahead), "}", "}", "}", "]"));
    assert_int_equal(modify(c, &ordered, "a", "$set", 2, &got), OK);
    assert_true(row_at(c, 1).ord == ahead + 1);
}

struct changer {
    struct ctx c;
    pthread_t thread;
    enum err err;
    char reason[512];
};

static void *change_many(void *arg)
{
    struct changer *x = arg;
    const bson_t *got;

    for (int i = 0; i < TURNS && x->err == OK; i++) {
        x->err = modify(&x->c, &ordered, "a", "$inc", 1, &got);
        snprintf(x->reason, sizeof x->reason, "%s", x->c.reason);
        ctx_reset(&x->c);
        x->c.deadline = clock_mono_ms() + 30000;
    }
    return NULL;
}

/* 50 changes at a time; their order is that of the numbers they made. */
static void parallel_changes_of_one_document_all_succeed(void **state)
{
    static struct changer x[THREADS];
    struct ctx *c = *state;
    int64_t last = 0;

    insert(c, &ordered, "a", 0);
    for (int i = 0; i < THREADS; i++) {
        x[i] = (struct changer){0};
        mongod_open(&x[i].c);
        pthread_create(&x[i].thread, NULL, change_many, &x[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(x[i].thread, NULL);
        assert_string_equal(x[i].reason, "");
        assert_int_equal(x[i].err, OK);
        mongod_close(&x[i].c);
    }
    assert_int_equal(count(c, "_outbox"), 1 + THREADS * TURNS);
    for (int i = 0; i <= THREADS * TURNS; i++) {
        struct event e = row_at(c, i);

        assert_true(e.ord > last);
        assert_int_equal(number(e.doc, "n"), i);
        if (i > 0)
            assert_int_equal(number(e.old, "n"), i - 1);
        last = e.ord;
    }
}

struct creator {
    struct ctx c;
    pthread_t thread;
    int number, made, twins;
};

/* Own ids, and one of ten that all want. */
static void *create_many(void *arg)
{
    struct creator *x = arg;
    char id[16];

    for (int i = 0; i < 40; i++) {
        enum err err;

        snprintf(id, sizeof id, "%d-%d", i % 4 ? x->number : 99, i);
        err = change_insert(&x->c, &plain, "t", doc_of(&x->c, id, i));
        x->made += err == OK;
        x->twins += err == ERR_DUPLICATE_KEY;
        ctx_reset(&x->c);
        x->c.deadline = clock_mono_ms() + 30000;
    }
    return NULL;
}

static void each_of_many_creations_has_its_own_outcome(void **state)
{
    static struct creator x[THREADS];
    struct ctx *c = *state;
    int64_t events = metrics_sum(METRIC_EVENTS, 0);
    int made = 0, twins = 0;

    for (int i = 0; i < THREADS; i++) {
        x[i] = (struct creator){.number = i};
        mongod_open(&x[i].c);
        pthread_create(&x[i].thread, NULL, create_many, &x[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(x[i].thread, NULL);
        made += x[i].made;
        twins += x[i].twins;
        mongod_close(&x[i].c);
    }
    assert_int_equal(made, THREADS * 30 + 10);
    assert_int_equal(twins, THREADS * 10 - 10);
    assert_int_equal(count(c, "t"), made);
    assert_int_equal(count(c, "_outbox"), made);
    assert_true(metrics_sum(METRIC_EVENTS, 0) == events + made);
}

/* ---- what is too much for the outbox */

static void large_documents_are_cut(void **state)
{
    struct ctx *c = *state;
    size_t n = 9 << 20;
    char *text = ctx_alloc(c, n + 1);

    for (int light = 0; light < MODES; light++) {
        struct change how = light ? lightly(&plain) : plain;
        bson_t *doc = doc_of(c, light ? "b" : "a", 1);
        struct event e;

        memset(text, 'x', n);
        bson_append_utf8(doc, "t", 1, text, (int)n);
        if (change_insert(c, &how, "t", doc) != OK)
            fail_msg("%s", c->reason);
        e = row_at(c, light);
        assert_true(e.cut && !e.doc);
        assert_string_equal(e.doc_id.value.v_utf8.str, light ? "b" : "a");
    }
}

/* As deep as the server takes a document, and a row is one deeper. */
static void deep_documents_are_cut(void **state)
{
    struct ctx *c = *state;
    int deepest = 0;

    for (int depth = 170; depth < 210; depth++) {
        bson_t *doc, *inner = mongo_bson(c);
        char id[16];

        for (int i = 0; i < depth; i++) {
            bson_t *outer = mongo_bson(c);

            BSON_APPEND_DOCUMENT(outer, "d", inner);
            inner = outer;
        }
        snprintf(id, sizeof id, "%d", depth);
        doc = doc_of(c, id, 1);
        BSON_APPEND_DOCUMENT(doc, "d", inner);
        if (change_insert(c, &plain, "deep", doc) == OK)
            deepest = depth;
        ctx_forgive(c);
    }
    assert_true(deepest > 0);
    assert_int_equal(count(c, "_outbox"), deepest - 170 + 1);
    assert_int_equal(count(c, "deep"), deepest - 170 + 1);
    mongod_do(c, BCON_NEW("delete", "_outbox", "deletes", "[", "{", "q", "{",
                          "cut", "{", "$exists", BCON_BOOL(false), "}", "}",
                          "limit", BCON_INT32(0), "}", "]"));
    assert_true(count(c, "_outbox") > 0);
}

static void capped_collections_have_events_too(void **state)
{
    struct ctx *c = *state;
    const bson_t *got;
    bson_t *filter = mongo_bson(c), *update = mongo_bson(c);

    mongod_do(c, BCON_NEW("create", "capped", "capped", BCON_BOOL(true), "size",
                          BCON_INT32(65536)));
    assert_int_equal(change_insert(c, &plain, "capped", doc_of(c, "a", 1)), OK);
    BCON_APPEND(filter, "_id", "a");
    BCON_APPEND(update, "$set", "{", "n", BCON_INT32(2), "}");
    assert_int_equal(change_modify(c, &plain, "capped", filter, update, &got),
                     OK);
    assert_int_equal(number(got, "n"), 2);
    assert_int_equal(count(c, "_outbox"), 2);
}

/* ---- who wants what */

static struct change wanted(struct ctx *c, const char *collection)
{
    struct change how;

    if (change_wanted(c, collection, EVENT_CREATE, &how) != OK)
        fail_msg("%s", c->reason);
    return how;
}

static void who_subscribes_decides(void **state)
{
    struct ctx *c = *state;

    mongod_do(c, BCON_NEW("insert", "_webhooks", "documents", "[", "{", "url",
                          "http://127.0.0.1:1/", "collection", "t", "events",
                          "[", "create", "]", "}", "{", "url",
                          "http://127.0.0.1:1/", "collection", "_t", "events",
                          "[", "create", "]", "}", "]"));
    subs_raise(1);
    mongod_do(c, BCON_NEW("update", "_cluster", "updates", "[", "{", "q", "{",
                          "_id", "subs", "}", "u", "{", "$set", "{", "ver",
                          BCON_INT64(1), "}", "}", "}", "]"));
    assert_true(wanted(c, "t").interest.any);
    assert_false(wanted(c, "t").interest.ordered);
    assert_true(wanted(c, "t").ver == 1);
    assert_false(wanted(c, "u").interest.any || wanted(c, "_t").interest.any);
    assert_false(wanted(c, "t").light);
    mongod.conf->webhooks_enhanced_delivery = false;
    assert_true(wanted(c, "t").light);
    mongod.conf->webhooks_enhanced_delivery = true;
    mongo_set_transactions(mongod.pool, false);
    assert_true(wanted(c, "t").light);
}

static int setup(void **state)
{
    struct metric_labels none = {0};

    if (metrics_setup(1, none, none) != OK)
        return 1;
    metrics_join(0);
    return mongod_setup(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANGE(all_three_events_are_recorded),
        CHANGE(what_is_not_there_raises_none),
        CHANGE(what_is_not_there_counts_as_no_event),
        CHANGE(what_is_refused_raises_none),
        CHANGE(without_its_row_nothing_changes),
        CHANGE(a_lost_event_of_light_mode_is_counted),
        CHANGE(order_is_taken_only_where_it_counts),
        CHANGE(order_grows_past_a_clock_that_went_back),
        CHANGE(parallel_changes_of_one_document_all_succeed),
        CHANGE(each_of_many_creations_has_its_own_outcome),
        CHANGE(large_documents_are_cut),
        CHANGE(deep_documents_are_cut),
        CHANGE(capped_collections_have_events_too),
        CHANGE(who_subscribes_decides),
    };

    return cmocka_run_group_tests_name("change", tests, setup, mongod_teardown);
}
