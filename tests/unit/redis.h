#pragma once
/*
 * redis - a redis-server of the test's own, on a unix socket in its folder,
 * with the password s3cret; a new one for each test
 */
#include <sys/types.h>

#include "lib/coord/rds.h"
#include "tests/unit/support.h"

struct redis {
    pid_t pid;
    const char *url;    /* after redis_setup() */
    struct arena arena; /* of replies, until the test ends */
};
extern struct redis redis;

#define WITH_SERVER(test)                                                      \
    cmocka_unit_test_setup_teardown(test, redis_begin, redis_end)

/* A command and its number of words */
#define WORDS(...)                                                             \
    (const str[]){__VA_ARGS__}, sizeof((const str[]){__VA_ARGS__}) / sizeof(str)

void redis_setup(void); /* in main */
int redis_begin(void **state);
int redis_end(void **state);

/* One more option and its value. */
void redis_start(const char *name, const char *value);
void redis_stop(void);

struct rds *redis_open(const char *password);
enum rds_result redis_ping(struct rds *r); /* within 5 s */
void redis_await(struct rds *r);           /* until it answers */

/* A command within 300 ms; redis_do, which has the time that r gives it, fails
 * the test unless it is RDS_OK. */
enum rds_result redis_ask(struct rds *r, const str *words, size_t n,
                          struct rds_reply *out);
void redis_do(struct rds *r, const str *words, size_t n);

/* All keys with their bytes and their ends, until the test ends. */
str redis_snapshot(struct rds *r);
