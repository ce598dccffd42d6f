/* test_change_lost - a change whose replies are lost is made once, and its own
 * work is no duplicate */
#include <mongoc/mongoc.h>

#include "lib/base/clock.h"
#include "lib/data/change.h"
#include "tests/unit/mongod.h"

static const struct change ordered = {.interest = {true, true}, .ver = 3};

static int fresh(void **state)
{
    (void)mongod_fresh(state);
    mongod_do(*state, BCON_NEW("create", "t"));
    return 0;
}
#define CHANGE(test) cmocka_unit_test_setup(test, fresh)

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

static void insert(struct ctx *c, const char *id, int n)
{
    if (change_insert(c, &ordered, "t", doc_of(c, id, n)) != OK)
        fail_msg("%s", c->reason);
}

static enum err modify(struct ctx *c, const char *id, const char *op, int n,
                       const bson_t **out)
{
    bson_t *filter = mongo_bson(c), *update = mongo_bson(c);

    BCON_APPEND(filter, "_id", BCON_UTF8(id));
    BCON_APPEND(update, BCON_UTF8(op), "{", "n", BCON_INT32(n), "}");
    return change_modify(c, &ordered, "t", filter, op[0] ? update : NULL, out);
}

static void lost_replies_repeat_nothing(void **state)
{
    static const char *const commands[] = {"commitTransaction", "insert",
                                           "findAndModify", "find"};
    struct ctx *c = *state;
    const bson_t *got;

    insert(c, "a", 0);
    for (int i = 0; i < 4; i++) {
        char id[2] = {(char)('b' + i), '\0'};

        mongod_fail(c, commands[i], 1, 0, NULL);
        insert(c, id, i);
        mongod_fail(c, commands[i], 1, 0, NULL);
        assert_int_equal(modify(c, "a", "$inc", 1, &got), OK);
        assert_int_equal(number(got, "n"), i + 1);
        assert_int_equal(count(c, "_outbox"), 1 + 2 * (i + 1));
        c->deadline = clock_mono_ms() + 30000;
    }
    assert_int_equal(count(c, "t"), 5);
}

/*
 * The commit is done, but its reply says that nobody knows; the next one says
 * that it did not happen. So body runs again and meets its own work.
 */
static enum {
    AS_IT_IS,
    TELL_UNKNOWN,
    TELL_UNDONE
} next_commit;

static bool doubtful_commit(mongoc_client_session_t *session, bson_t *reply,
                            bson_error_t *e)
{
    bool unknown = next_commit == TELL_UNKNOWN;

    if (next_commit != TELL_UNDONE) {
        bool done = mongoc_client_session_commit_transaction(session, reply, e);

        if (!done || !unknown)
            return done;
        bson_destroy(reply);
    }
    next_commit = unknown ? TELL_UNDONE : AS_IT_IS;
    bson_init(reply);
    BCON_APPEND(reply, "errorLabels", "[",
                unknown ? "UnknownTransactionCommitResult"
                        : "TransientTransactionError",
                "]");
    e->domain = MONGOC_ERROR_SERVER;
    e->code = unknown ? 50 : 251;
    return false;
}
#define mongoc_client_session_commit_transaction doubtful_commit
#include "lib/data/mongo_txn.c"

static void own_work_is_known_after_doubt(void **state)
{
    struct ctx *c = *state;
    const bson_t *got;

    insert(c, "a", 0);
    next_commit = TELL_UNKNOWN;
    insert(c, "b", 1);
    assert_int_equal(next_commit, AS_IT_IS);
    next_commit = TELL_UNKNOWN;
    assert_int_equal(modify(c, "a", "$set", 5, &got), OK);
    assert_int_equal(number(got, "n"), 5);
    assert_int_equal(next_commit, AS_IT_IS);
    next_commit = TELL_UNKNOWN;
    assert_int_equal(modify(c, "a", "", 0, &got), OK);
    assert_int_equal(number(got, "n"), 5);
    assert_int_equal(next_commit, AS_IT_IS);
    assert_int_equal(count(c, "t"), 1);
    assert_int_equal(count(c, "_outbox"), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHANGE(lost_replies_repeat_nothing),
        CHANGE(own_work_is_known_after_doubt),
    };

    return cmocka_run_group_tests_name("change_lost", tests, mongod_setup,
                                       mongod_teardown);
}
