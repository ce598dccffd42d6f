/* test_schema - what is made, again and by many at once, and what is let be */
#include "lib/data/schema.h"

#include <pthread.h>

#include "tests/unit/mongod.h"

enum {
    THREADS = 10
};

/* The row of listCollections or listIndexes with this name, or NULL. */
static const bson_t *row_named(struct ctx *c, bson_t *cmd, const char *name)
{
    const bson_t *reply = mongod_do(c, cmd);
    bson_t *kept = mongo_bson(c), cursor, batch;
    bson_iter_t it, row, member;

    assert_true(mongo_reply_doc(reply, "cursor", &cursor));
    assert_true(mongo_reply_doc(&cursor, "firstBatch", &batch));
    bson_iter_init(&it, &batch);
    while (bson_iter_next(&it)) {
        assert_true(bson_iter_recurse(&it, &row));
        member = row;
        if (!bson_iter_find(&member, "name") ||
            strcmp(bson_iter_utf8(&member, NULL), name) != 0)
            continue;
        while (bson_iter_next(&row))
            bson_append_iter(kept, NULL, -1, &row);
        return kept;
    }
    return NULL;
}

static const bson_t *index_of(struct ctx *c, const char *collection,
                              const char *name)
{
    return row_named(c, BCON_NEW("listIndexes", BCON_UTF8(collection)), name);
}

static int64_t number(const bson_t *doc, const char *path)
{
    bson_iter_t it, at;

    assert_non_null(doc);
    assert_true(bson_iter_init(&it, doc));
    assert_true(bson_iter_find_descendant(&it, path, &at));
    return bson_iter_as_int64(&at);
}

static bson_type_t type_of(const bson_t *doc, const char *name)
{
    bson_iter_t it;

    assert_non_null(doc);
    return bson_iter_init_find(&it, doc, name) ? bson_iter_type(&it)
                                               : BSON_TYPE_EOD;
}

static void assert_made(struct ctx *c)
{
    static const char *const first[][2] = {
        {"_cluster", "redis"}, {"_leader", "cron"}, {"_leader", "maintenance"}};
    const bson_t *doc;
    bson_iter_t it;

    for (size_t i = 0; i < sizeof first / sizeof *first; i++) {
        doc = mongod_find(c, first[i][0], first[i][1]);
        assert_int_equal(type_of(doc, "term"), BSON_TYPE_INT64);
        assert_int_equal(number(doc, "term"), 0);
    }
    doc = mongod_find(c, "_cluster", "fence");
    assert_int_equal(type_of(doc, "v"), BSON_TYPE_INT64);
    doc = mongod_find(c, "_cluster", "redis");
    assert_true(bson_iter_init_find(&it, doc, "home"));
    assert_string_equal(bson_iter_utf8(&it, NULL), "");
    assert_int_equal(type_of(doc, "dataset"), BSON_TYPE_UTF8);
    assert_int_equal(
        number(index_of(c, "_instances", "seen_1"), "expireAfterSeconds"),
        86400);
    assert_int_equal(
        number(index_of(c, "_locks", "until_1"), "expireAfterSeconds"), 86400);
    assert_int_equal(number(index_of(c, "_api_keys", "hash_1"), "unique"), 1);
}

static void all_is_made_and_counted(void **state)
{
    struct schema_made made = {0};

    assert_int_equal(schema_apply_counted(*state, &made), OK);
    assert_made(*state);
    assert_int_equal(made.collections, 10);
    assert_int_equal(made.indexes, 15);
    assert_int_equal(made.documents, 6);
}

static void again_makes_nothing_and_changes_no_document(void **state)
{
    struct schema_made made = {0};

    assert_int_equal(schema_apply(*state), OK);
    mongod_do(*state, BCON_NEW("update", "_leader", "updates", "[", "{", "q",
                               "{", "_id", "cron", "}", "u", "{", "$set", "{",
                               "term", BCON_INT64(7), "}", "}", "}", "]"));
    assert_int_equal(schema_apply_counted(*state, &made), OK);
    assert_int_equal(made.collections + made.indexes + made.documents, 0);
    assert_int_equal(number(mongod_find(*state, "_leader", "cron"), "term"), 7);
}

static void one_collection_alone(void **state)
{
    assert_int_equal(schema_apply_one(*state, "_api_keys"), OK);
    assert_int_equal(number(index_of(*state, "_api_keys", "hash_1"), "unique"),
                     1);
    assert_null(mongod_find(*state, "_leader", "cron"));
}

static void missing_parts_come_back(void **state)
{
    struct schema_made made = {0};

    assert_int_equal(schema_apply(*state), OK);
    mongod_do(*state,
              BCON_NEW("delete", "_leader", "deletes", "[", "{", "q", "{",
                       "_id", "cron", "}", "limit", BCON_INT32(1), "}", "]"));
    mongod_do(*state, BCON_NEW("dropIndexes", "_locks", "index", "until_1"));
    mongod_do(*state, BCON_NEW("drop", "_instances"));
    assert_int_equal(schema_apply_counted(*state, &made), OK);
    assert_made(*state);
    assert_int_equal(made.collections, 1);
    assert_int_equal(made.indexes, 2);
    assert_int_equal(made.documents, 1);
}

/* Its documents stay, also those that the validator would refuse. */
static void collection_of_before_gets_its_validator(void **state)
{
    const bson_t *row;

    mongod_do(*state, BCON_NEW("insert", "_locks", "documents", "[", "{", "_id",
                               "old", "until", "never", "}", "]"));
    assert_int_equal(schema_apply(*state), OK);
    row =
        row_named(*state, BCON_NEW("listCollections", BCON_INT32(1)), "_locks");
    assert_non_null(row);
    assert_true(number(row, "options.validator.$jsonSchema.required") >= 0);
    assert_non_null(mongod_find(*state, "_locks", "old"));
    assert_made(*state);
}

static void wrong_types_are_refused_by_the_server(void **state)
{
    bson_t *cmd = mongo_bson(*state), *reply;
    struct ctx *c = *state;

    assert_int_equal(schema_apply(c), OK);
    BCON_APPEND(cmd, "insert", "_locks", "documents", "[", "{", "_id", "bad",
                "until", "never", "}", "]");
    assert_int_equal(mongo_write(c, cmd, &reply, NULL), ERR_VALIDATION_ERROR);
    assert_null(mongod_find(c, "_locks", "bad"));
}

/* A view has no validator; the rest of that row cannot be made either. */
static void what_cannot_be_made_is_a_failure(void **state)
{
    struct ctx *c = *state;

    mongod_do(
        c, BCON_NEW("create", "_leader", "viewOn", "x", "pipeline", "[", "]"));
    assert_int_not_equal(schema_apply(c), OK);
    assert_int_not_equal(c->err, OK);
}

static void *apply_in_thread(void *arg)
{
    struct ctx *c = arg;

    return schema_apply(c) == OK ? NULL : c;
}

static void many_at_once_all_succeed(void **state)
{
    pthread_t threads[THREADS];
    static struct ctx c[THREADS];

    for (int round = 0; round < 3; round++) {
        mongod_fresh(state);
        for (int i = 0; i < THREADS; i++) {
            mongod_open(&c[i]);
            pthread_create(&threads[i], NULL, apply_in_thread, &c[i]);
        }
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < THREADS; i++) {
            assert_string_equal(c[i].reason, "");
            assert_int_equal(c[i].err, OK);
            mongod_close(&c[i]);
        }
        assert_made(*state);
    }
}

static void without_time_it_ends_at_once(void **state)
{
    struct ctx *c = *state;

    c->deadline = 1;
    assert_int_equal(schema_apply(c), ERR_TIME_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MONGOD(all_is_made_and_counted),
        WITH_MONGOD(again_makes_nothing_and_changes_no_document),
        WITH_MONGOD(one_collection_alone),
        WITH_MONGOD(missing_parts_come_back),
        WITH_MONGOD(collection_of_before_gets_its_validator),
        WITH_MONGOD(wrong_types_are_refused_by_the_server),
        WITH_MONGOD(what_cannot_be_made_is_a_failure),
        WITH_MONGOD(many_at_once_all_succeed),
        WITH_MONGOD(without_time_it_ends_at_once),
    };

    return cmocka_run_group_tests_name("schema", tests, mongod_setup,
                                       mongod_teardown);
}
