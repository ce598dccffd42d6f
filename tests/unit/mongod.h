#pragma once
/*
 * mongod - a mongod of the test program's own: a one-node replica set on a
 * free port of loopback, started once, ended with the program
 *
 *   cmocka_run_group_tests(tests, mongod_setup, mongod_teardown)
 *      WITH_MONGOD(test): *state is a struct ctx of an empty database
 *
 * Several threads or several instances of one program: a ctx each by
 * mongod_open(). Everything fails the test when it does not work.
 */
#include "lib/base/conf.h"
#include "lib/data/mongo.h"
#include "tests/unit/support.h"

struct mongod {
    struct conf *conf; /* defaults, on that server; tests may change members */
    struct mongo_pool *pool;
};
extern struct mongod mongod;

#define WITH_MONGOD(test) cmocka_unit_test_setup(test, mongod_fresh)

int mongod_setup(void **state);
int mongod_teardown(void **state);

/* Drops all collections; *state is the ctx, reset, with 30 s left. */
int mongod_fresh(void **state);

/* One more ctx with a client of its own and 30 s left. */
void mongod_open(struct ctx *c);
void mongod_close(struct ctx *c);

/* Runs cmd, which it takes, past lib/data; the reply is c's until its reset. */
const bson_t *mongod_do(struct ctx *c, bson_t *cmd);

/*
 * The next commands of this name fail before they are run: with this code and
 * label (NULL: none), or, code 0, by a closed connection. Later ones replace
 * what earlier ones have left.
 */
void mongod_fail(struct ctx *c, const char *command, int times, int code,
                 const char *label);

/* From now on maxTimeMS is not heeded: no pause of the machine ends a command.
 */
void mongod_let_take_time(struct ctx *c);

/* The document with this _id, c's until its reset, or NULL. */
const bson_t *mongod_find(struct ctx *c, const char *collection,
                          const char *id);
