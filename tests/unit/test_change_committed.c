/* test_change_committed - whoever committed an event knows its id */
#include <pthread.h>

#include "lib/base/clock.h"
#include "lib/data/change.h"
#include "lib/data/schema.h"
#include "tests/unit/mongod.h"

enum {
    ID_BYTES = 24,
    THREADS = 10,
    TURNS = 20,
    MODES = 2
};

static const struct change plain = {.interest = {.any = true}, .ver = 3},
                           ordered = {.interest = {true, true}, .ver = 3};

static int fresh(void **state)
{
    (void)mongod_fresh(state);
    mongo_set_transactions(mongod.pool, true);
    assert_int_equal(schema_apply(*state), OK);
    mongod_do(*state, BCON_NEW("create", "t"));
    return 0;
}
#define CHANGE(test) cmocka_unit_test_setup(test, fresh)

static enum err insert(struct ctx *c, const struct change *how, const char *id)
{
    bson_t *doc = mongo_bson(c);

    BCON_APPEND(doc, "_id", BCON_UTF8(id));
    return change_insert(c, how, "t", doc);
}

/* Without an update: removes. */
static enum err modify(struct ctx *c, const struct change *how, const char *id,
                       bool update)
{
    bson_t *filter = mongo_bson(c), *inc = mongo_bson(c);
    const bson_t *got;

    BCON_APPEND(filter, "_id", BCON_UTF8(id));
    BCON_APPEND(inc, "$inc", "{", "n", BCON_INT32(1), "}");
    return change_modify(c, how, "t", filter, update ? inc : NULL, &got);
}

/* As many as the outbox has, each there. */
static void committed_are_in_the_outbox(struct ctx *c, size_t n)
{
    bson_oid_t id;
    bson_iter_t it;

    assert_int_equal(c->committed.n, n * ID_BYTES);
    for (size_t i = 0; i < n; i++) {
        bson_oid_init_from_string(&id, c->committed.p + i * ID_BYTES);
        assert_true(bson_iter_init_find(
            &it,
            mongod_do(c, BCON_NEW("count", "_outbox", "query", "{", "_id",
                                  BCON_OID(&id), "}")),
            "n"));
        assert_int_equal(bson_iter_as_int64(&it), 1);
    }
}

static void each_change_names_its_event(void **state)
{
    struct ctx *c = *state;
    size_t n = 0;

    for (int light = 0; light < MODES; light++)
        for (int in_order = 0; in_order < 2; in_order++) {
            struct change how = in_order ? ordered : plain;

            how.light = light;
            assert_int_equal(insert(c, &how, "a"), OK);
            committed_are_in_the_outbox(c, ++n);
            assert_int_equal(modify(c, &how, "a", true), OK);
            committed_are_in_the_outbox(c, ++n);
            assert_int_equal(modify(c, &how, "a", false), OK);
            committed_are_in_the_outbox(c, ++n);
            assert_int_equal(modify(c, &how, "a", true), OK); /* is gone */
            committed_are_in_the_outbox(c, n);
        }
}

static void what_is_refused_names_none(void **state)
{
    struct ctx *c = *state;

    assert_int_equal(insert(c, &plain, "a"), OK);
    assert_int_equal(insert(c, &plain, "a"), ERR_DUPLICATE_KEY);
    ctx_forgive(c);
    committed_are_in_the_outbox(c, 1);
    ctx_reset(c);
    assert_int_equal(c->committed.n, 0);
}

struct creator {
    struct ctx c;
    pthread_t thread;
    int number;
    char ids[TURNS][ID_BYTES + 1];
};

static void *create_many(void *arg)
{
    struct creator *x = arg;

    for (int i = 0; i < TURNS; i++) {
        char id[32];

        x->c.committed = STR_NONE;
        snprintf(id, sizeof id, "%d-%d", x->number, i);
        if (insert(&x->c, &plain, id) == OK && x->c.committed.n == ID_BYTES)
            memcpy(x->ids[i], x->c.committed.p, ID_BYTES);
    }
    return NULL;
}

/* The id of the document that the event is about. */
static const char *document_of(struct ctx *c, const char *event)
{
    bson_oid_t id;
    bson_iter_t it, at;
    const bson_t *reply;

    bson_oid_init_from_string(&id, event);
    reply = mongod_do(c, BCON_NEW("find", "_outbox", "filter", "{", "_id",
                                  BCON_OID(&id), "}"));
    assert_true(
        bson_iter_init(&it, reply) &&
        bson_iter_find_descendant(&it, "cursor.firstBatch.0.docId", &at));
    return bson_iter_utf8(&at, NULL);
}

static void those_who_share_a_transaction_have_their_own(void **state)
{
    static struct creator x[THREADS];
    struct ctx *c = *state;
    char want[32];

    for (int i = 0; i < THREADS; i++) {
        x[i] = (struct creator){.number = i};
        mongod_open(&x[i].c);
        pthread_create(&x[i].thread, NULL, create_many, &x[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(x[i].thread, NULL);
        mongod_close(&x[i].c);
    }
    for (int i = 0; i < THREADS; i++)
        for (int k = 0; k < TURNS; k++) {
            snprintf(want, sizeof want, "%d-%d", i, k);
            assert_string_equal(document_of(c, x[i].ids[k]), want);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANGE(each_change_names_its_event),
        CHANGE(what_is_refused_names_none),
        CHANGE(those_who_share_a_transaction_have_their_own),
    };

    return cmocka_run_group_tests_name("change_committed", tests, mongod_setup,
                                       mongod_teardown);
}
