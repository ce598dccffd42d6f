/* test_mongo_lock - what only the home MongoDB has: rows of strangers, fences
 * that outlive their locks, first upserts at the same time */
#include "lib/coord/mongo_lock.c"

#include <pthread.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "tests/unit/home.h"

enum {
    LONG_MS = 60000,
    THREADS = 4,
    ROUNDS = 12
};

static const bson_t *row_of(const char *name)
{
    return mongod_find(home.c, "_locks", name);
}

static int64_t member(const bson_t *row, const char *name)
{
    bson_iter_t it;

    assert_true(bson_iter_init_find(&it, row, name));
    return bson_iter_as_int64(&it);
}

static ms date(const bson_t *row, const char *name)
{
    bson_iter_t it;

    assert_true(bson_iter_init_find(&it, row, name));
    assert_true(BSON_ITER_HOLDS_DATE_TIME(&it));
    return bson_iter_date_time(&it);
}

/* Replaces the row past all rules; takes it. */
static void put(bson_t *row)
{
    bson_iter_t it;
    bson_t query = BSON_INITIALIZER;

    assert_true(bson_iter_init_find(&it, row, "_id"));
    bson_append_iter(&query, "_id", -1, &it);
    mongod_do(home.c, BCON_NEW("update", "_locks", "updates", "[", "{", "q",
                               BCON_DOCUMENT(&query), "u", BCON_DOCUMENT(row),
                               "upsert", BCON_BOOL(true), "}", "]",
                               "bypassDocumentValidation", BCON_BOOL(true)));
    bson_destroy(&query);
    bson_destroy(row);
}

/* One member of a good, held row "a" made wrong. */
static void put_but(const char *name, bson_t *value)
{
    bson_t *row = BCON_NEW("_id", "a");
    ms now = clock_wall_ms();
    bson_iter_t it;

    if (value && bson_iter_init_find(&it, value, name))
        bson_append_iter(row, NULL, 0, &it);
    if (strcmp(name, "tok") != 0)
        BSON_APPEND_UTF8(row, "tok", "theirs");
    if (strcmp(name, "fence") != 0)
        BSON_APPEND_INT64(row, "fence", 7);
    if (strcmp(name, "until") != 0)
        BSON_APPEND_DATE_TIME(row, "until", now + LONG_MS);
    if (strcmp(name, "ds") != 0)
        BSON_APPEND_UTF8(row, "ds", HOME_ID);
    if (strcmp(name, "at") != 0)
        BSON_APPEND_DATE_TIME(row, "at", now);
    put(row);
    bson_destroy(value);
}

/* A row that is none of ours: free at once, replaced, counted nowhere. */
static void assert_free(void)
{
    struct lock theirs = {.name = "a", .token = "theirs", .ttl_ms = LONG_MS};
    struct lock_count count;
    struct lock_row *rows;
    struct lock l;
    size_t n;

    assert_int_equal(home_renew(&theirs, LONG_MS), ERR_LOCK_NOT_FOUND);
    assert_int_equal(home_release(&theirs), ERR_LOCK_NOT_FOUND);
    assert_int_equal(lock_list(home.c, &home.place, &rows, &n), OK);
    assert_int_equal(n, 0);
    assert_int_equal(lock_count(home.c, &home.place, STR("x"), &count), OK);
    assert_int_equal(count.held, 0);
    l = home_take("a", LONG_MS);
    assert_in_range(l.fence, 1700000000000000, 4000000000000000);
    assert_int_equal(home_renew(&l, LONG_MS), OK);
    assert_int_equal(home_release(&l), OK);
}

static void good_row_of_theirs_is_held(void **state)
{
    struct lock theirs = {.name = "a", .token = "theirs"};
    struct lock_ask ask = home_ask("a");
    struct lock_holder holder;
    struct lock l;

    (void)state;
    put_but("nothing", NULL);
    assert_int_equal(home_acquire(&ask, &l, &holder), ERR_LOCK_HELD);
    assert_str(holder.owner, "");
    assert_int_equal(home_renew(&theirs, LONG_MS), OK);
    assert_int_equal(theirs.fence, 7);
    assert_int_equal(home_release(&theirs), OK);
}

static void nonsense_is_free_and_replaced(void **state)
{
    ms now = clock_wall_ms();

    (void)state;
    put_but("tok", NULL);
    assert_free();
    put_but("tok", BCON_NEW("tok", ""));
    assert_free();
    put_but("tok", BCON_NEW("tok", "[", "theirs", "]"));
    assert_free();
    put_but("tok", BCON_NEW("tok", BCON_INT32(5)));
    assert_free();
    put_but("fence", BCON_NEW("fence", "x"));
    assert_free();
    put_but("fence", BCON_NEW("fence", BCON_DOUBLE(1e300)));
    assert_free();
    put_but("fence", BCON_NEW("fence", BCON_INT64(INT64_MAX)));
    assert_free();
    put_but("fence", BCON_NEW("fence", BCON_INT64(INT64_MIN)));
    assert_free();
    put_but("fence", BCON_NEW("fence", "[", BCON_INT32(7), "]"));
    assert_free();
    put_but("until", NULL);
    assert_free();
    put_but("until", BCON_NEW("until", "soon"));
    assert_free();
    put_but("until", BCON_NEW("until", BCON_INT64(INT64_MAX)));
    assert_free();
    put_but("until", BCON_NEW("until", BCON_MAXKEY));
    assert_free();
    put_but("until", BCON_NEW("until", BCON_DATE_TIME(INT64_MAX)));
    assert_free();
    put_but("until", BCON_NEW("until", BCON_DATE_TIME(INT64_MIN)));
    assert_free();
    put_but("until", BCON_NEW("until", BCON_DATE_TIME(now + 86400000)));
    assert_free();
    put_but("until",
            BCON_NEW("until", "[", BCON_DATE_TIME(now + LONG_MS), "]"));
    assert_free();
    put_but("ds", NULL);
    assert_free();
    put_but("ds", BCON_NEW("ds", HOME_OTHER));
    assert_free();
    put_but("ds", BCON_NEW("ds", "[", HOME_ID, "]"));
    assert_free();
}

/* `at` is no part of what a lock is: it is not known how long it was held. */
static void odd_time_of_the_grant_is_no_harm(void **state)
{
    const ms odd[] = {INT64_MIN, INT64_MAX, -1};
    struct lock_row *rows;
    size_t n;

    (void)state;
    for (int i = 0; i < 4; i++) {
        struct lock theirs = {.name = "a", .token = "theirs"};

        put_but("at", i < 3 ? BCON_NEW("at", BCON_DATE_TIME(odd[i]))
                            : BCON_NEW("at", "x"));
        assert_int_equal(lock_list(home.c, &home.place, &rows, &n), OK);
        assert_int_equal(n, 1);
        assert_int_equal(rows[0].at_wall, 0);
        assert_int_equal(home_release(&theirs), OK);
        assert_int_equal(theirs.held_ms, -1);
    }
}

static void row_too_large_is_none(void **state)
{
    static char large[100000];
    bson_t *row =
        BCON_NEW("_id", "a", "tok", "theirs", "fence", BCON_INT64(7), "ds",
                 HOME_ID, "until", BCON_DATE_TIME(clock_wall_ms() + LONG_MS));

    (void)state;
    memset(large, 'x', sizeof large - 1);
    BSON_APPEND_UTF8(row, "owner", large);
    put(row);
    assert_free();
}

/* A fence that no counter of ours has reached yet. */
static void stored_fence_is_always_exceeded(void **state)
{
    const int64_t far = INT64_C(4000000000000000);
    struct lock l;

    (void)state;
    put(BCON_NEW("_id", "a", "tok", "", "fence", BCON_INT64(far), "until",
                 BCON_DATE_TIME(1000), "at", BCON_DATE_TIME(1000), "ds",
                 HOME_ID));
    l = home_take("a", LONG_MS);
    assert_true(l.fence > far);
    assert_true(home_take("b", LONG_MS).fence > l.fence);
}

/* A grant under way while others came and went is not made any more. */
static void late_grant_is_not_made(void **state)
{
    struct lock l = home_take("a", LONG_MS), late = l;
    struct lock_ask ask = home_ask("a");
    struct lock_holder holder;
    struct grant g = {&home.place.dataset, &late, &ask, &holder};
    int64_t at_least = 0;

    (void)state;
    memset(late.token, 'z', ID_TOKEN_MAX - 1);
    assert_int_equal(home_release(&l), OK);
    assert_int_equal(try_upsert(home.c, &g, l.fence - 1, &at_least), LOCK_GONE);
    assert_int_equal(at_least, l.fence + 1);
    assert_int_equal(try_upsert(home.c, &g, l.fence, &at_least), LOCK_GONE);
    assert_null(home_row("a"));
    assert_int_equal(try_upsert(home.c, &g, l.fence + 1, &at_least), LOCK_DONE);
    assert_int_equal(late.fence, l.fence + 1);
}

static void released_row_keeps_its_fence_for_hours(void **state)
{
    struct lock l = home_take("a", LONG_MS);
    struct lock_count count;
    const bson_t *row;
    int64_t removed;

    (void)state;
    assert_int_equal(home_release(&l), OK);
    row = row_of("a");
    assert_int_equal(member(row, "fence"), l.fence);
    assert_in_range(date(row, "until"), clock_wall_ms() - 13 * 3600000,
                    clock_wall_ms() - 11 * 3600000);
    /* nor does the clean-up take it while a grant may be under way */
    assert_int_equal(lock_clean(home.c, &home.place, &removed), OK);
    assert_int_equal(lock_count(home.c, &home.place, STR("here"), &count), OK);
    clock_unset();
    if (clock_wall_ms() - date(row, "at") < 1500)
        assert_int_equal(removed, 0);
    home_stop_clock();
    while (removed == 0) {
        home_nap(50);
        assert_int_equal(lock_clean(home.c, &home.place, &removed), OK);
    }
    assert_int_equal(removed, 1);
    clock_unset();
    assert_true(clock_wall_ms() - date(row, "at") >= 2000);
    assert_null(row_of("a"));
}

static void clean_up_takes_what_strangers_left(void **state)
{
    ms now = clock_wall_ms();
    int64_t removed;
    struct lock l;

    (void)state;
    l = home_take("mine", LONG_MS);
    put(BCON_NEW("_id", BCON_INT32(5), "until", "x"));
    put(BCON_NEW("_id", "{", "a", "[", "]", "}", "fence", "x"));
    put(BCON_NEW("_id", BCON_DATE_TIME(5)));
    put(BCON_NEW("_id", "b", "until", BCON_DATE_TIME(INT64_MAX), "at",
                 BCON_DATE_TIME(INT64_MAX)));
    put(BCON_NEW("_id", "c", "until", BCON_DATE_TIME(INT64_MIN), "at",
                 BCON_DATE_TIME(INT64_MIN)));
    put(BCON_NEW("_id", "d", "until", BCON_DATE_TIME(now + LONG_MS), "ds",
                 HOME_OTHER));
    assert_int_equal(lock_clean(home.c, &home.place, &removed), OK);
    assert_int_equal(removed, 6);
    assert_int_equal(home_release(&l), OK);
}

/* Whoever does not know yet that the home has changed grants nothing. */
static void number_of_a_former_home_is_not_used(void **state)
{
    struct dataset old;
    struct lock_holder holder;
    struct lock_ask ask = home_ask("a");
    struct lock l = {.name = "a", .token = "t", .ttl_ms = LONG_MS};

    (void)state;
    assert_int_equal(dataset_read(home.c, &old), OK);
    home_name("redis", HOME_OTHER);
    assert_int_equal(mongo_lock.acquire(home.c, &old, &l, &ask, &holder),
                     LOCK_STALE);
    home_name("redis", HOME_ID);
    assert_int_equal(mongo_lock.acquire(home.c, &old, &l, &ask, &holder),
                     LOCK_STALE);
    assert_null(row_of("a"));
    home_name("mongo", HOME_ID);
    assert_int_equal(mongo_lock.acquire(home.c, &old, &l, &ask, &holder),
                     LOCK_DONE);
}

static void change_of_the_data_set_ends_all_locks(void **state)
{
    struct lock l = home_take("a", LONG_MS), next;

    (void)state;
    home_name("mongo", HOME_OTHER);
    home.place = (struct lock_place){0};
    assert_int_equal(home_renew(&l, LONG_MS), ERR_LOCK_NOT_FOUND);
    assert_null(home_row("a"));
    next = home_take("a", LONG_MS);
    assert_true(next.fence > l.fence);
    assert_int_equal(home_release(&l), ERR_LOCK_NOT_HELD);
    assert_int_equal(home_release(&next), OK);
}

/* ---- several at a time */

struct racer {
    pthread_barrier_t *start;
    struct lock got[ROUNDS]; /* without a name: not got */
    enum err errs[ROUNDS];
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct lock_place place = {0};
    struct ctx c;

    home_join(&c);
    for (int i = 0; i < ROUNDS; i++) {
        char name[32];
        struct lock_ask ask;
        struct lock_holder holder;

        snprintf(name, sizeof name, "first%d", i);
        ask = home_ask(name);
        pthread_barrier_wait(r->start);
        r->errs[i] = lock_acquire(&c, &place, &ask, &r->got[i], &holder);
        ctx_forgive(&c);
    }
    home_leave(&c);
    return NULL;
}

static void first_grants_at_the_same_time_are_one(void **state)
{
    static struct racer racers[THREADS];
    pthread_barrier_t start;
    pthread_t threads[THREADS];
    int grants = 0;

    (void)state;
    pthread_barrier_init(&start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){.start = &start};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]),
                         0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
    for (int round = 0; round < ROUNDS; round++) {
        int granted = 0, held = 0;

        for (int i = 0; i < THREADS; i++) {
            granted += racers[i].errs[round] == OK;
            held += racers[i].errs[round] == ERR_LOCK_HELD;
        }
        /* on a busy machine it may be too late for a grant */
        assert_true(granted == 1 || (granted == 0 && held < THREADS));
        grants += granted;
    }
    assert_true(grants > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_MONGO(good_row_of_theirs_is_held),
        IN_MONGO(nonsense_is_free_and_replaced),
        IN_MONGO(odd_time_of_the_grant_is_no_harm),
        IN_MONGO(row_too_large_is_none),
        IN_MONGO(stored_fence_is_always_exceeded),
        IN_MONGO(late_grant_is_not_made),
        IN_MONGO(released_row_keeps_its_fence_for_hours),
        IN_MONGO(clean_up_takes_what_strangers_left),
        IN_MONGO(number_of_a_former_home_is_not_used),
        IN_MONGO(change_of_the_data_set_ends_all_locks),
        IN_MONGO(first_grants_at_the_same_time_are_one),
    };

    return cmocka_run_group_tests(tests, mongod_setup, mongod_teardown);
}
