#pragma once
/*
 * home - a home of locks, open, for one test: Redis or MongoDB
 *
 *   int main: redis_setup(); cmocka_run_group_tests(t, mongod_setup, ..)
 *      IN_REDIS(test), IN_MONGO(test): the same test in either
 *
 * home.c is the test's ctx, home.place where the locks are. The clock of
 * the program stands from the start of such a test, and mongod heeds no
 * maxTimeMS: a call to a home that answers does not run out of its LOCK_CALL_MS
 * then, however long the machine pauses. A test whose home does not answer, or
 * that measures time, calls clock_unset().
 */
#include "lib/coord/backend.h"
#include "tests/unit/mongod.h"
#include "tests/unit/redis.h"

#define HOME_ID    "00000000000000aa"
#define HOME_OTHER "00000000000000bb"

struct home {
    struct ctx *c;
    struct lock_place place;
    const struct lock_backend *backend;
};
extern struct home home;

#define IN_REDIS(test)                                                         \
    {                                                                          \
#test " [redis]", test, home_redis_stands, home_end, NULL              \
    }
#define IN_MONGO(test)                                                         \
    {                                                                          \
#test " [mongo]", test, home_mongo_stands, home_end, NULL              \
    }
#define IN_BOTH(test) IN_REDIS(test), IN_MONGO(test)

/* By the real clock, and by one that stands. */
int home_redis(void **state);
int home_mongo(void **state);
int home_redis_stands(void **state);
int home_mongo_stands(void **state);
int home_end(void **state);

/* `_cluster.redis` from now on */
void home_name(const char *where, const char *id);

/* Redis only: P:dataset from now on; fences may be given for an hour more. */
void home_open(const char *id);

/* One more ctx with handles of its own. */
void home_join(struct ctx *c);
void home_leave(struct ctx *c);

/*
 * n entries "<kind><number>", made past the scripts: locks of `owner` that end
 * in left_ms, or ended that long ago when it is below 0.
 */
void home_fill(const char *kind, int n, ms left_ms);

/* Asks for `name` once, for a while. */
struct lock_ask home_ask(const char *name);

/* Takes it or fails the test. */
struct lock home_take(const char *name, ms ttl_ms);

/* As lock.h has them, with nothing noted in home.c; acquire: a new place. */
enum err home_acquire(const struct lock_ask *ask, struct lock *out,
                      struct lock_holder *holder);
enum err home_renew(struct lock *l, ms ttl);
enum err home_release(struct lock *l);

/* The row of the listing, or NULL. */
struct lock_row *home_row(const char *name);

/* Until the lock has ended, whatever it was. */
void home_await_end(const char *name);

void home_nap(ms span);

/* (Again) at the time that it is. */
void home_stop_clock(void);
