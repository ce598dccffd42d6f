/* test_dataset - the documents of `_cluster` on a real mongod */
#include <pthread.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/coord/dataset.h"
#include "tests/unit/mongod.h"

#define ID_A "00000000000000aa"
#define ID_B "00000000000000bb"
#define HOUR INT64_C(3600000000)

/* Replaces document `id` past all rules; takes doc. */
static void put(struct ctx *c, const char *id, bson_t *doc)
{
    BSON_APPEND_UTF8(doc, "_id", id);
    mongod_do(c, BCON_NEW("update", "_cluster", "updates", "[", "{", "q", "{",
                          "_id", BCON_UTF8(id), "}", "u", BCON_DOCUMENT(doc),
                          "upsert", BCON_BOOL(true), "}", "]"));
    bson_destroy(doc);
}

static struct dataset get(struct ctx *c)
{
    struct dataset d;

    assert_int_equal(dataset_read(c, &d), OK);
    return d;
}

static bool writes(struct ctx *c, const char *seen, int64_t term,
                   const char *id)
{
    bool done;

    assert_int_equal(dataset_write(c, seen, term, DATASET_REDIS, id, &done),
                     OK);
    return done;
}

static int64_t reserve(struct ctx *c, int64_t at_least, int64_t ahead)
{
    int64_t v;

    assert_int_equal(dataset_reserve(c, at_least, ahead, &v), OK);
    return v;
}

static int64_t take(struct ctx *c, int64_t at_least)
{
    int64_t v;

    assert_int_equal(dataset_fence(c, at_least, &v), OK);
    return v;
}

static void home_is_that_of_the_settings(void **state)
{
    struct conf conf = {.cluster_enabled = true, .redis_url = "redis://h"};

    (void)state;
    assert_int_equal(dataset_home_of(&conf), DATASET_REDIS);
    conf.redis_url = "none";
    assert_int_equal(dataset_home_of(&conf), DATASET_MONGO);
    conf.redis_url = "redis://h";
    conf.cluster_enabled = false;
    assert_int_equal(dataset_home_of(&conf), DATASET_MONGO);
}

static void what_is_stored_is_read(void **state)
{
    struct ctx *c = *state;
    ms before = clock_boot_ms();
    struct dataset d = get(c);

    assert_int_equal(d.home, DATASET_NOWHERE);
    assert_string_equal(d.id, "");
    assert_int_equal(d.fence, 0);
    assert_in_range(d.read_boot, before, clock_boot_ms());
    put(c, "redis", BCON_NEW("home", "mongo", "dataset", ID_A));
    put(c, "fence", BCON_NEW("v", BCON_INT64(1795693595561628)));
    put(c, "subs", BCON_NEW("home", "redis", "v", BCON_INT64(1)));
    d = get(c);
    assert_int_equal(d.home, DATASET_MONGO);
    assert_string_equal(d.id, ID_A);
    assert_int_equal(d.fence, 1795693595561628);
    put(c, "redis", BCON_NEW("home", "redis", "dataset", ""));
    d = get(c);
    assert_int_equal(d.home, DATASET_REDIS);
    assert_string_equal(d.id, "");
}

/* What a stranger may have stored: a document as JSON would say it. */
static bson_t *nonsense(int i)
{
    switch (i) {
    case 0:
        return BCON_NEW("home", BCON_INT32(1), "dataset", BCON_INT32(2), "term",
                        "x", "v", "x");
    case 1:
        return BCON_NEW("home", "redis", "dataset", "nonsense", "term",
                        BCON_DOUBLE(1e300), "v", BCON_DOUBLE(1e300));
    case 2:
        return BCON_NEW("home", "redis", "dataset", "[", ID_A, "]", "term", "[",
                        BCON_INT32(9), "]", "v", "{", "}");
    case 3:
        return BCON_NEW("home", "moon", "dataset", ID_A "aa", "term",
                        BCON_INT64(INT64_MIN), "v", BCON_INT64(INT64_MIN));
    case 4:
        return BCON_NEW("home", BCON_NULL, "term", BCON_INT64(INT64_MAX), "v",
                        BCON_INT64(INT64_MAX));
    case 5:
        return BCON_NEW("dataset", BCON_DATE_TIME(INT64_MAX), "term", BCON_NULL,
                        "v", BCON_INT64(DATASET_FENCE_END));
    default:
        return NULL;
    }
}

static void nonsense_counts_as_absent(void **state)
{
    struct ctx *c = *state;
    bson_t *doc;

    for (int i = 0; (doc = nonsense(i)) != NULL; i++) {
        struct dataset d;
        int64_t v;

        put(c, "redis", doc);
        put(c, "fence", nonsense(i));
        d = get(c);
        assert_string_equal(d.id, "");
        assert_int_equal(d.fence, 0);
        v = take(c, 0);
        assert_in_range(v, 1700000000000000, 4000000000000000);
        assert_true(take(c, 0) > v);
        assert_false(writes(c, ID_B, 5, ID_A));
        assert_true(writes(c, "", 5, ID_A));
        assert_string_equal(get(c).id, ID_A);
        assert_int_equal(get(c).home, DATASET_REDIS);
    }
}

static void data_set_is_written_over_the_one_seen(void **state)
{
    struct ctx *c = *state;
    bool done;

    assert_false(writes(c, ID_A, 1, ID_B));
    assert_true(writes(c, "", 1, ID_A));
    assert_true(writes(c, "", 1, ID_A)); /* repeated after a lost reply */
    assert_false(writes(c, "", 1, ID_B));
    assert_string_equal(get(c).id, ID_A);
    assert_int_equal(dataset_write(c, ID_A, 1, DATASET_MONGO, ID_B, &done), OK);
    assert_true(done);
    assert_string_equal(get(c).id, ID_B);
    assert_int_equal(get(c).home, DATASET_MONGO);
}

static void former_term_does_not_write(void **state)
{
    struct ctx *c = *state;

    assert_true(writes(c, "", 7, ID_A));
    assert_false(writes(c, ID_A, 6, ID_B));
    assert_string_equal(get(c).id, ID_A);
    assert_true(writes(c, ID_A, 7, ID_B));
    assert_true(writes(c, ID_B, 8, ID_A));
    assert_false(writes(c, ID_A, 7, ID_B));
}

/* Nothing else of the document is lost. */
static void since_is_the_servers_time(void **state)
{
    struct ctx *c = *state;
    const bson_t *doc;
    bson_iter_t it;

    put(c, "redis", BCON_NEW("home", "", "dataset", "", "note", "kept"));
    assert_true(writes(c, "", 1, ID_A));
    doc = mongod_find(c, "_cluster", "redis");
    assert_true(bson_has_field(doc, "note"));
    assert_true(bson_iter_init_find(&it, doc, "since"));
    assert_true(BSON_ITER_HOLDS_DATE_TIME(&it));
    assert_in_range(bson_iter_date_time(&it), clock_wall_ms() - 60000,
                    clock_wall_ms() + 60000);
}

static void reservation_only_rises(void **state)
{
    struct ctx *c = *state;
    int64_t now = clock_wall_ms() * 1000, v = reserve(c, 0, HOUR);

    assert_in_range(v, now + HOUR - 60000000, now + HOUR + 60000000);
    assert_int_equal(get(c).fence, v);
    assert_int_equal(reserve(c, 0, 0), v);
    assert_int_equal(reserve(c, v - 5, HOUR), v + HOUR);
    assert_int_equal(reserve(c, v + 5 * HOUR, HOUR), v + 6 * HOUR);
    /* what no fence can be is not taken for one */
    assert_int_equal(reserve(c, DATASET_FENCE_END, 0), v + 6 * HOUR);
    assert_int_equal(reserve(c, INT64_MAX, 0), v + 6 * HOUR);
}

static void fences_are_above_all_before(void **state)
{
    struct ctx *c = *state;
    int64_t v = take(c, 0);

    assert_in_range(v, clock_wall_ms() * 1000 - 60000000,
                    clock_wall_ms() * 1000 + 60000000);
    for (int i = 0; i < 5; i++) {
        int64_t next = take(c, 0);

        assert_true(next > v);
        v = next;
    }
    v = reserve(c, 0, HOUR);
    assert_int_equal(take(c, 0), v + 1);
    assert_int_equal(take(c, v + 100), v + 100);
    assert_int_equal(take(c, v), v + 101);
}

enum {
    THREADS = 4,
    TAKES = 40
};

static void *take_many(void *arg)
{
    int64_t *out = arg;
    struct ctx c;

    mongod_open(&c);
    for (int i = 0; i < TAKES; i++)
        if (dataset_fence(&c, 0, &out[i]) != OK)
            out[i] = 0;
    mongod_close(&c);
    return NULL;
}

static void no_fence_is_taken_twice(void **state)
{
    static int64_t taken[THREADS][TAKES];
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, taken[i]),
                         0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS * TAKES; i++) {
        int64_t v = taken[i / TAKES][i % TAKES];

        assert_true(v > 0);
        assert_true(i % TAKES == 0 || v > taken[i / TAKES][i % TAKES - 1]);
        for (int k = 0; k < i; k++)
            assert_true(taken[k / TAKES][k % TAKES] != v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(home_is_that_of_the_settings),
        WITH_MONGOD(what_is_stored_is_read),
        WITH_MONGOD(nonsense_counts_as_absent),
        WITH_MONGOD(data_set_is_written_over_the_one_seen),
        WITH_MONGOD(former_term_does_not_write),
        WITH_MONGOD(since_is_the_servers_time),
        WITH_MONGOD(reservation_only_rises),
        WITH_MONGOD(fences_are_above_all_before),
        WITH_MONGOD(no_fence_is_taken_twice),
    };

    return cmocka_run_group_tests(tests, mongod_setup, mongod_teardown);
}
