/* test_mongo_txn - transactions: whole or not at all, repeated, shared */
#include <pthread.h>

#include "lib/base/clock.h"
#include "tests/unit/mongod.h"

enum {
    THREADS = 8,
    TURNS = 10
};

static int fresh(void **state)
{
    (void)mongod_fresh(state);
    mongod_do(*state, BCON_NEW("create", "t"));
    return 0;
}
#define TXN(test) cmocka_unit_test_setup(test, fresh)

static enum err put(struct ctx *c, const char *id, int n)
{
    bson_t *cmd = mongo_bson(c), *reply;

    BCON_APPEND(cmd, "insert", "t", "documents", "[", "{", "_id", BCON_UTF8(id),
                "n", BCON_INT32(n), "}", "]");
    return mongo_write(c, cmd, &reply, NULL);
}

static enum err add_one(struct ctx *c)
{
    bson_t *cmd = mongo_bson(c), *reply;

    BCON_APPEND(cmd, "findAndModify", "t", "query", "{", "_id", "x", "}",
                "update", "{", "$inc", "{", "n", BCON_INT32(1), "}", "}");
    return mongo_write(c, cmd, &reply, NULL);
}

static int number(struct ctx *c, const char *id)
{
    const bson_t *doc = mongod_find(c, "t", id);
    bson_iter_t it;

    return doc && bson_iter_init_find(&it, doc, "n") ? bson_iter_int32(&it)
                                                     : -1;
}

struct steps {
    enum err end; /* what body gives */
    int turns;
    enum err seen[2];
};

static enum err put_two(struct ctx *c, void *arg)
{
    struct steps *s = arg;

    s->turns++;
    s->seen[0] = put(c, "a", 1);
    s->seen[1] = put(c, "b", 2);
    if (s->seen[0] || s->seen[1])
        return s->seen[0] ? s->seen[0] : s->seen[1];
    return s->end ? ctx_fail(c, s->end, "so be it") : OK;
}

static void both_writes_are_there_after_it(void **state)
{
    struct ctx *c = *state;
    struct steps s = {0};

    assert_int_equal(mongo_transaction(c, put_two, &s), OK);
    assert_int_equal(number(c, "a"), 1);
    assert_int_equal(number(c, "b"), 2);
    assert_int_equal(s.turns, 1);
    assert_int_equal(put(c, "c", 3), OK); /* and the client goes on without */
    assert_int_equal(number(c, "c"), 3);
}

static void a_failure_of_body_leaves_nothing(void **state)
{
    struct ctx *c = *state;
    struct steps s = {.end = ERR_WRONG_STATE};

    assert_int_equal(mongo_transaction(c, put_two, &s), ERR_WRONG_STATE);
    assert_string_equal(c->reason, "so be it");
    assert_int_equal(number(c, "a"), -1);
    assert_int_equal(number(c, "b"), -1);
    assert_int_equal(s.turns, 1);
    ctx_forgive(c);
    s.end = OK;
    assert_int_equal(mongo_transaction(c, put_two, &s), OK);
    assert_int_equal(number(c, "b"), 2);
}

static void a_duplicate_key_is_told_and_leaves_nothing(void **state)
{
    struct ctx *c = *state;
    struct steps s = {0};

    assert_int_equal(put(c, "b", 7), OK);
    assert_int_equal(mongo_transaction(c, put_two, &s), ERR_DUPLICATE_KEY);
    assert_int_equal(number(c, "a"), -1);
    assert_int_equal(number(c, "b"), 7);
    assert_false(mongo_is_in_doubt(c));
}

static enum err add_twice(struct ctx *c, void *arg)
{
    int *turns = arg;
    enum err err;

    ++*turns;
    err = add_one(c);
    return err ? err : add_one(c);
}

struct adder {
    struct ctx c;
    pthread_t thread;
    int turns;
    enum err err;
};

static void *add_many(void *arg)
{
    struct adder *a = arg;

    for (int i = 0; i < TURNS && a->err == OK; i++) {
        a->err = mongo_transaction(&a->c, add_twice, &a->turns);
        if (a->err == OK)
            ctx_reset(&a->c);
        a->c.deadline = clock_mono_ms() + 30000;
    }
    return NULL;
}

static void changes_of_one_document_all_succeed(void **state)
{
    static struct adder a[THREADS];
    int turns = 0;

    assert_int_equal(put(*state, "x", 0), OK);
    for (int i = 0; i < THREADS; i++) {
        a[i] = (struct adder){0};
        mongod_open(&a[i].c);
        pthread_create(&a[i].thread, NULL, add_many, &a[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(a[i].thread, NULL);
        assert_int_equal(a[i].err, OK);
        turns += a[i].turns;
        mongod_close(&a[i].c);
    }
    assert_int_equal(number(*state, "x"), 2 * THREADS * TURNS);
    assert_true(turns > THREADS * TURNS); /* some met */
}

/* Another's transaction that has changed x and goes on. */
static struct ctx other;
static bool other_went_on;

static enum err wait_in_vain(struct ctx *c, void *arg)
{
    enum err err = add_one(c);

    (void)arg;
    assert_int_equal(err, OK);
    other.deadline = clock_mono_ms() + 300;
    other_went_on = true;
    assert_int_equal(mongo_transaction(&other, add_twice, &(int){0}),
                     ERR_OVERLOADED);
    return OK;
}

static void who_meets_another_till_the_deadline_is_told_so(void **state)
{
    struct ctx *c = *state;

    mongod_open(&other);
    assert_int_equal(put(c, "x", 0), OK);
    assert_int_equal(mongo_transaction(c, wait_in_vain, NULL), OK);
    assert_true(other_went_on);
    assert_int_equal(number(c, "x"), 1);
    mongod_close(&other);
}

static void of_a_shared_one_no_failure_is_noted(void **state)
{
    struct ctx *c = *state;
    struct steps s = {0};
    bool doubt = true;

    assert_int_equal(put(c, "b", 7), OK);
    assert_false(mongo_try_transaction(c, put_two, &s, &doubt));
    assert_int_equal(c->err, OK);
    assert_false(doubt);
    assert_int_equal(number(c, "a"), -1);
}

static enum err put_capped(struct ctx *c, void *arg)
{
    bson_t *cmd = mongo_bson(c), *reply;

    (void)arg;
    BCON_APPEND(cmd, "insert", "capped", "documents", "[", "{", "n",
                BCON_INT32(1), "}", "]");
    return mongo_write(c, cmd, &reply, NULL);
}

static void what_takes_part_in_none_is_told(void **state)
{
    struct ctx *c = *state;

    mongod_do(c, BCON_NEW("create", "capped", "capped", BCON_BOOL(true), "size",
                          BCON_INT32(4096)));
    assert_int_not_equal(mongo_transaction(c, put_capped, NULL), OK);
    assert_true(mongo_is_unfit(c));
    ctx_forgive(c);
    assert_int_equal(mongo_transaction(c, put_two, &(struct steps){0}), OK);
    assert_false(mongo_is_unfit(c));
}

static void a_lost_commit_is_repeated_as_a_commit(void **state)
{
    struct ctx *c = *state;
    struct steps s = {0};

    mongod_fail(c, "commitTransaction", 3, 0, NULL);
    assert_int_equal(mongo_transaction(c, put_two, &s), OK);
    assert_int_equal(s.turns, 1);
    assert_int_equal(number(c, "a"), 1);
}

static void a_lost_command_repeats_body(void **state)
{
    struct ctx *c = *state;
    struct steps s = {0};

    mongod_fail(c, "insert", 1, 0, NULL);
    assert_int_equal(mongo_transaction(c, put_two, &s), OK);
    assert_int_equal(s.turns, 2);
    assert_int_equal(number(c, "b"), 2);
}

static void a_commit_that_did_not_happen_repeats_body(void **state)
{
    struct ctx *c = *state;
    struct steps s = {0};

    mongod_fail(c, "commitTransaction", 1, 251, "TransientTransactionError");
    assert_int_equal(mongo_transaction(c, put_two, &s), OK);

    assert_int_equal(s.turns, 2);
    assert_false(mongo_is_in_doubt(c));
    assert_int_equal(number(c, "b"), 2);
}

/* Else what it changed would be held for a minute. */
static void an_abort_that_is_lost_is_made_good_by_the_next(void **state)
{
    struct ctx *c = *state;
    struct steps s = {.end = ERR_WRONG_STATE};

    mongod_fail(c, "abortTransaction", 2, 0, NULL);
    assert_int_equal(mongo_transaction(c, put_two, &s), ERR_WRONG_STATE);
    ctx_forgive(c);
    s = (struct steps){0};
    assert_int_equal(mongo_transaction(c, put_two, &s), OK);
    assert_int_equal(s.turns, 1);
}

static void without_time_it_ends_at_once(void **state)
{
    struct ctx *c = *state;
    struct steps s = {0};

    c->deadline = 1;
    assert_int_equal(mongo_transaction(c, put_two, &s), ERR_TIME_LIMIT);
    assert_int_equal(s.turns, 0);
}

static void nobody_has_transactions_until_it_is_told(void **state)
{
    struct ctx *c = *state;

    assert_false(mongo_has_transactions(c));
    mongo_set_transactions(mongod.pool, true);
    assert_true(mongo_has_transactions(c));
    mongo_set_transactions(mongod.pool, false);
    assert_false(mongo_has_transactions(c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TXN(both_writes_are_there_after_it),
        TXN(a_failure_of_body_leaves_nothing),
        TXN(a_duplicate_key_is_told_and_leaves_nothing),
        TXN(changes_of_one_document_all_succeed),
        TXN(who_meets_another_till_the_deadline_is_told_so),
        TXN(of_a_shared_one_no_failure_is_noted),
        TXN(what_takes_part_in_none_is_told),
        TXN(a_lost_commit_is_repeated_as_a_commit),
        TXN(a_lost_command_repeats_body),
        TXN(a_commit_that_did_not_happen_repeats_body),
        TXN(an_abort_that_is_lost_is_made_good_by_the_next),
        TXN(without_time_it_ends_at_once),
        TXN(nobody_has_transactions_until_it_is_told),
    };

    return cmocka_run_group_tests_name("mongo_txn", tests, mongod_setup,
                                       mongod_teardown);
}
