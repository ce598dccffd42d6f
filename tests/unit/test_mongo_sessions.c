/* test_mongo_sessions - what a dead process has left open is ended by the next
 * one */
#include "lib/data/mongo_sessions.c"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/mongod.h"

enum {
    SLOTS = 2,
    CLIENTS = 2
};

static int fresh(void **state)
{
    clock_unset();
    (void)mongod_fresh(state);
    mongo_drop_session(((struct ctx *)*state)->mongo);
    mongod_do(*state, BCON_NEW("create", "t"));
    mongod_do(*state, BCON_NEW("insert", "t", "documents", "[", "{", "_id", "x",
                               "}", "]"));
    assert_true(mongo_sessions_setup(SLOTS, CLIENTS));
    mongo_sessions_join(0);
    return 0;
}
#define SESSIONS(test) cmocka_unit_test_setup(test, fresh)

static int count(enum state state)
{
    int n = 0;

    for (int i = 0; i < per_slot; i++)
        n += atomic_load(&own[i].state) == (int)state;
    return n;
}

/* ---- the slots */

static void a_session_is_kept_from_its_begin_to_its_end(void **state)
{
    struct ctx *c = *state;
    bson_error_t e;
    bson_iter_t it;
    const uint8_t *id;
    uint32_t n;

    assert_int_equal(count(OPEN), 0);
    assert_true(mongo_have_session(c->mongo, &e));
    assert_true(mongo_have_session(c->mongo, &e));
    assert_int_equal(count(OPEN), 1);
    assert_true(bson_iter_init_find(
        &it, mongoc_client_session_get_lsid(c->mongo->session), "id"));
    bson_iter_binary(&it, NULL, &n, &id);
    assert_int_equal(n, ID_BYTES);
    assert_memory_equal(own[0].id, id, ID_BYTES);
    mongo_drop_session(c->mongo);
    assert_int_equal(count(FREE), per_slot);
}

static void a_full_slot_keeps_no_more(void **state)
{
    struct ctx *c = *state;
    bson_error_t e;

    for (int i = 0; i < per_slot; i++)
        atomic_store(&own[i].state, LEFT);
    assert_true(mongo_have_session(c->mongo, &e));
    assert_int_equal(count(LEFT), per_slot);
    mongo_drop_session(c->mongo);
    assert_int_equal(count(LEFT), per_slot);
}

static void each_slot_knows_its_own(void **state)
{
    (void)state;
    atomic_store(&own[0].state, OPEN);
    mongo_sessions_join(1);
    assert_false(mongo_sessions_due());
    assert_int_equal(count(FREE), per_slot);
    mongo_sessions_join(0);
    assert_true(mongo_sessions_due());
    assert_int_equal(count(LEFT), 1);
}

static void what_was_half_written_was_never_used(void **state)
{
    (void)state;
    atomic_store(&own[0].state, WRITING);
    mongo_sessions_join(0);
    assert_false(mongo_sessions_due());
    assert_int_equal(count(FREE), per_slot);
}

static void without_setup_nothing_is_kept(void **state)
{
    struct ctx *c = *state;
    bson_error_t e;

    places = own = NULL;
    mongo_sessions_join(0);
    assert_false(mongo_sessions_due());
    assert_true(mongo_have_session(c->mongo, &e));
    mongo_drop_session(c->mongo);
}

/* ---- ending */

static enum err change(struct ctx *c)
{
    bson_t *cmd = mongo_bson(c), *reply;
    enum err err;

    c->op_ms = 300; /* without a transaction it waits for the other */
    BCON_APPEND(cmd, "findAndModify", "t", "query", "{", "_id", "x", "}",
                "update", "{", "$inc", "{", "n", BCON_INT32(1), "}", "}");
    err = mongo_write(c, cmd, &reply, NULL);
    c->op_ms = 0;
    ctx_forgive(c);
    return err;
}

/* Its session has a transaction from now on, which has changed x. */
static void change_within(struct ctx *c)
{
    bson_error_t e;

    assert_true(mongo_have_session(c->mongo, &e));
    assert_true(
        mongoc_client_session_start_transaction(c->mongo->session, NULL, &e));
    assert_int_equal(change(c), OK);
}

/* As if all sessions that are open were those of a process before. */
static void begin_next_life(struct ctx *c)
{
    mongo_drop_session(c->mongo);
    mongo_sessions_join(0);
}

static struct ctx dead; /* of the process before */

static int with_dead(void **state)
{
    (void)fresh(state);
    mongod_open(&dead);
    return 0;
}

static int close_dead(void **state)
{
    (void)state;
    clock_unset();
    mongod_close(&dead);
    return 0;
}
#define WITH_DEAD(test)                                                        \
    cmocka_unit_test_setup_teardown(test, with_dead, close_dead)

static void what_the_dead_one_has_changed_is_free_again(void **state)
{
    struct ctx *c = *state;

    change_within(&dead);
    assert_int_not_equal(change(c), OK);
    begin_next_life(c);
    assert_true(mongo_sessions_due());
    mongo_sessions_end(c);
    assert_int_equal(c->err, OK);
    assert_int_equal(change(c), OK);
}

static void a_second_turn_ends_what_came_late(void **state)
{
    struct ctx *c = *state;
    bson_error_t e;

    assert_true(mongo_have_session(dead.mongo, &e));
    begin_next_life(c);
    clock_set(1000, 0);
    c->deadline = dead.deadline = 60000;
    assert_true(mongo_sessions_due());
    mongo_sessions_end(c);
    change_within(&dead);
    assert_int_equal(count(LEFT), 1);
    clock_set(1000 + LATE_MS - 1, 0);
    assert_false(mongo_sessions_due());
    clock_set(1000 + LATE_MS, 0);
    assert_true(mongo_sessions_due());
    mongo_sessions_end(c);
    assert_int_equal(change(c), OK);
    assert_int_equal(count(LEFT), 0);
    clock_set(60000, 0);
    assert_false(mongo_sessions_due());
}

static void a_session_of_this_process_goes_on(void **state)
{
    struct ctx *c = *state, alive;
    bson_error_t e;

    assert_true(mongo_have_session(dead.mongo, &e));
    begin_next_life(c);
    mongod_open(&alive);
    change_within(&alive);
    mongo_sessions_end(c);
    assert_int_equal(count(LEFT), 1);
    assert_int_equal(count(OPEN), 2);
    assert_true(mongoc_client_session_commit_transaction(alive.mongo->session,
                                                         NULL, &e));
    mongod_close(&alive);
}

/* In memory of the child alone nobody would find it. */
static void the_session_of_a_killed_process_is_there(void **state)
{
    pid_t pid = fork();

    (void)state;
    assert_true(pid >= 0);
    if (pid == 0) {
        atomic_store(&own[0].state, OPEN);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    mongo_sessions_join(0);
    assert_int_equal(count(LEFT), 1);
}

static void an_end_that_fails_is_due_again(void **state)
{
    struct ctx *c = *state;
    bson_error_t e;

    assert_true(mongo_have_session(dead.mongo, &e));
    begin_next_life(c);
    clock_set(1000, 0);
    c->deadline = 0; /* no time */
    for (int i = 0; i < TRIES; i++) {
        assert_true(mongo_sessions_due());
        assert_int_equal(count(LEFT), 1);
        mongo_sessions_end(c);
        assert_int_equal(c->err, OK);
        assert_false(mongo_sessions_due());
        clock_set(clock_mono_ms() + AGAIN_MS, 0);
    }
    assert_false(mongo_sessions_due());
    assert_int_equal(count(LEFT), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SESSIONS(a_session_is_kept_from_its_begin_to_its_end),
        SESSIONS(a_full_slot_keeps_no_more),
        SESSIONS(each_slot_knows_its_own),
        SESSIONS(what_was_half_written_was_never_used),
        SESSIONS(the_session_of_a_killed_process_is_there),
        SESSIONS(without_setup_nothing_is_kept),
        WITH_DEAD(what_the_dead_one_has_changed_is_free_again),
        WITH_DEAD(a_second_turn_ends_what_came_late),
        WITH_DEAD(a_session_of_this_process_goes_on),
        WITH_DEAD(an_end_that_fails_is_due_again),
    };

    return cmocka_run_group_tests_name("mongo_sessions", tests, mongod_setup,
                                       mongod_teardown);
}
