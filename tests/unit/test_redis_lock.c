/* test_redis_lock - the scripts of locks and data sets on a real redis-server:
 * what they change, and what they leave alone */
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/coord/rds_script.h"
#include "tests/unit/redis.h"

#define OWN   "00000000000000aa"
#define OTHER "00000000000000bb"

enum {
    PATIENT_MS = 10000
};

static struct rds *r;
static struct rds_reply reply;

static enum rds_result run(enum lua lua, const str *keys, size_t keys_n,
                           const str *args, size_t args_n)
{
    const struct rds_script s = {lua, keys, args, keys_n, args_n};

    return rds_run(r, &s, clock_mono_ms() + PATIENT_MS, &redis.arena, &reply);
}

#define RUN(lua, keys, ...)                                                    \
    run(lua, keys, sizeof(keys) / sizeof *(keys), WORDS(__VA_ARGS__))

static const str lock_keys[] = {STR_INIT("dataset"), STR_INIT("l:a"),
                                STR_INIT("idx")};
static const str acquire_keys[] = {STR_INIT("dataset"), STR_INIT("l:a"),
                                   STR_INIT("idx"),     STR_INIT("fence"),
                                   STR_INIT("max"),     STR_INIT("ahead")};
static const str index_keys[] = {STR_INIT("dataset"), STR_INIT("idx")};
static const str look_keys[] = {STR_INIT("dataset"), STR_INIT("idx"),
                                STR_INIT("fence"), STR_INIT("max"),
                                STR_INIT("ahead")};
static const str open_keys[] = {STR_INIT("dataset"), STR_INIT("fence"),
                                STR_INIT("max"), STR_INIT("ahead")};
static const str reserve_keys[] = {STR_INIT("dataset"), STR_INIT("max")};

static enum rds_result acquire(const char *id, const char *token)
{
    return RUN(LUA_LOCK_ACQUIRE, acquire_keys, str_of(id), STR("a"),
               str_of(token), STR("60000"), STR("here"), STR("me"));
}

static enum rds_result renew(const char *id, const char *token)
{
    return RUN(LUA_LOCK_RENEW, lock_keys, str_of(id), STR("a"), str_of(token),
               STR("120000"));
}

static enum rds_result release(const char *id, const char *token)
{
    return RUN(LUA_LOCK_RELEASE, lock_keys, str_of(id), STR("a"),
               str_of(token));
}

static enum rds_result list(const char *id)
{
    return RUN(LUA_LOCK_LIST, index_keys, str_of(id), STR("l:"), STR("0"),
               STR("0"), STR("100"));
}

static enum rds_result clean(const char *id)
{
    return RUN(LUA_LOCK_CLEAN, index_keys, str_of(id), STR("l:"), STR("0"));
}

static enum rds_result look(void)
{
    return RUN(LUA_DATASET_LOOK, look_keys, STR("l:"), STR("here"));
}

static enum rds_result clear(const char *seen)
{
    const str keys[] = {STR("dataset"), STR("q:1"), STR("q:2"), STR("q:3")};

    return RUN(LUA_DATASET_CLEAR, keys, str_of(seen));
}

static enum rds_result open_as(const char *seen, const char *id,
                               const char *fence, const char *max)
{
    return RUN(LUA_DATASET_OPEN, open_keys, str_of(seen), str_of(id),
               str_of(fence), str_of(max));
}

static enum rds_result reserve(const char *id, const char *max)
{
    return RUN(LUA_DATASET_RESERVE, reserve_keys, str_of(id), str_of(max));
}

#define MAX "4000000000000000"

static void set(const char *key, const char *value)
{
    redis_do(r, WORDS(STR("SET"), str_of(key), str_of(value)));
}

static str get(const char *key)
{
    assert_int_equal(redis_ask(r, WORDS(STR("GET"), str_of(key)), &reply),
                     RDS_OK);
    return reply.kind == RDS_TEXT ? reply.text : STR("none");
}

#define ASSERT_SAME(was) assert_true(str_eq(was, redis_snapshot(r)))

static bool says(const char *word)
{
    return (reply.kind == RDS_TEXT && str_eq(reply.text, str_of(word))) ||
           (reply.kind == RDS_LIST && reply.items_n > 0 &&
            reply.items[0].kind == RDS_TEXT &&
            str_eq(reply.items[0].text, str_of(word)));
}

#define ASSERT_SAYS(call, word)                                                \
    do {                                                                       \
        assert_int_equal(call, RDS_OK);                                        \
        assert_true(says(word));                                               \
    } while (0)

static int64_t fence_of(void)
{
    assert_true(says("OK") && reply.items_n == 2);
    return reply.items[1].number;
}

static int begin(void **state)
{
    redis_begin(state);
    r = redis_open("s3cret");
    redis_await(r);
    assert_int_equal(open_as("", OWN, "0", MAX), RDS_OK);
    return 0;
}

static int end(void **state)
{
    rds_free(r);
    return redis_end(state);
}

/* ---- another data set: nothing is done, byte for byte */

static void assert_all_strangers(const char *id)
{
    str was = redis_snapshot(r);

    ASSERT_SAYS(acquire(id, "t"), "DATASET");
    ASSERT_SAYS(acquire(id, "other"), "DATASET");
    ASSERT_SAYS(renew(id, "t"), "DATASET");
    ASSERT_SAYS(release(id, "t"), "DATASET");
    ASSERT_SAYS(list(id), "DATASET");
    ASSERT_SAYS(clean(id), "DATASET");
    ASSERT_SAYS(clear(id), "DATASET");
    ASSERT_SAYS(reserve(id, "4400000000000000"), "DATASET");
    assert_int_equal(open_as(id, "00000000000000cc", "5", "6"), RDS_OK);
    assert_int_equal(reply.number, 0);
    ASSERT_SAME(was);
}

static void other_data_set_is_left_alone(void **state)
{
    (void)state;
    set("q:1", "x");
    redis_do(r, WORDS(STR("ZADD"), STR("idx"), STR("5"), STR("ended")));
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    assert_all_strangers(OTHER);
    redis_do(r, WORDS(STR("DEL"), STR("dataset")));
    assert_all_strangers(OTHER);
    redis_do(r, WORDS(STR("LPUSH"), STR("dataset"), STR("x")));
    {
        str was = redis_snapshot(r);

        ASSERT_SAYS(acquire(OTHER, "t"), "DATASET");
        assert_int_equal(renew(OTHER, "t"), RDS_ERR);
        ASSERT_SAME(was);
    }
    assert_int_equal(open_as("", OTHER, "5", "6"), RDS_OK);
    assert_int_equal(reply.number, 1);
}

/* ---- repeated after a lost reply */

static void repeated_scripts_leave_the_same(void **state)
{
    int64_t fence;
    str was;

    (void)state;
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    fence = fence_of();
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    assert_int_equal(fence_of(), fence);
    assert_int_equal(list(OWN), RDS_OK);
    assert_int_equal(reply.items_n, 2);
    ASSERT_SAYS(renew(OWN, "t"), "OK");
    ASSERT_SAYS(renew(OWN, "t"), "OK");
    assert_int_equal(fence_of(), fence);
    ASSERT_SAYS(release(OWN, "t"), "OK");
    was = redis_snapshot(r);
    ASSERT_SAYS(release(OWN, "t"), "GONE");
    ASSERT_SAYS(renew(OWN, "t"), "GONE");
    ASSERT_SAME(was);
    assert_int_equal(reserve(OWN, "4100000000000000"), RDS_OK);
    was = redis_snapshot(r);
    assert_int_equal(reserve(OWN, "4100000000000000"), RDS_OK);
    assert_int_equal(open_as("", OWN, "7", "8"), RDS_OK);
    assert_int_equal(reply.number, 1);
    ASSERT_SAME(was);
}

static void scripts_and_data_may_be_lost(void **state)
{
    (void)state;
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    redis_do(r, WORDS(STR("SCRIPT"), STR("FLUSH")));
    ASSERT_SAYS(renew(OWN, "t"), "OK");
    ASSERT_SAYS(release(OWN, "t"), "OK");
    redis_do(r, WORDS(STR("FLUSHALL")));
    ASSERT_SAYS(acquire(OWN, "t"), "DATASET");
    ASSERT_SAYS(release(OWN, "t"), "DATASET");
    assert_str(redis_snapshot(r), "");
}

/* ---- keys of strangers: an answer, and nothing half done */

static void wrong_types_are_refused_whole(void **state)
{
    static const char *const keys[] = {"l:a", "idx", "fence", "max"};

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        bool number = i >= 2; /* MGET has seen no number there */
        str was;

        redis_do(r, WORDS(STR("DEL"), STR("l:a"), STR("idx"), STR("fence"),
                          STR("max")));
        set("fence", "5");
        set("max", MAX);
        redis_do(r, WORDS(STR("DEL"), str_of(keys[i])));
        redis_do(r, WORDS(STR("SADD"), str_of(keys[i]), STR("x")));
        was = redis_snapshot(r);
        if (number)
            ASSERT_SAYS(acquire(OWN, "t"), "CLOSED");
        else
            assert_int_equal(acquire(OWN, "t"), RDS_ERR);
        ASSERT_SAME(was);
    }
}

static void lock_with_an_index_of_another_type_is_kept_whole(void **state)
{
    str was;

    (void)state;
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    redis_do(r, WORDS(STR("SET"), STR("idx"), STR("x")));
    was = redis_snapshot(r);
    assert_int_equal(acquire(OWN, "t"), RDS_ERR);
    assert_int_equal(renew(OWN, "t"), RDS_ERR);
    assert_int_equal(release(OWN, "t"), RDS_ERR);
    assert_int_equal(list(OWN), RDS_ERR);
    assert_int_equal(clean(OWN), RDS_ERR);
    ASSERT_SAME(was);
    assert_int_equal(look(), RDS_OK); /* who watches takes it away */
    ASSERT_SAYS(renew(OWN, "t"), "OK");
}

static void numbers_that_are_none_close_the_home(void **state)
{
    static const char *const odd[] = {"",    "x",    "nan",
                                      "inf", "-nan", "4503599627370496"};

    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        str was;

        set("fence", odd[i]);
        set("max", MAX);
        was = redis_snapshot(r);
        ASSERT_SAYS(acquire(OWN, "t"), "CLOSED");
        ASSERT_SAME(was);
        assert_int_equal(look(), RDS_OK);
        assert_int_equal(reply.items[1].number, 0);
        redis_do(r, WORDS(STR("DEL"), STR("dataset")));
        assert_int_equal(open_as("", OWN, "77", MAX), RDS_OK);
        assert_str(get("fence"), "77");
        set("max", i < 3 ? odd[i] : "5");
        ASSERT_SAYS(acquire(OWN, "t"), "CLOSED");
        assert_str(get("fence"), "77");
    }
    redis_do(r, WORDS(STR("DEL"), STR("fence")));
    set("max", MAX);
    ASSERT_SAYS(acquire(OWN, "t"), "CLOSED");
}

static void entries_of_strangers_are_no_locks(void **state)
{
    (void)state;
    set("l:b", "text");
    redis_do(r, WORDS(STR("HSET"), STR("l:c"), STR("t"), STR("x"), STR("f"),
                      STR("none")));
    redis_do(r, WORDS(STR("ZADD"), STR("idx"), STR("4000000000000"), STR("c"),
                      STR("inf"), STR("b"), STR("-inf"), STR("d")));
    assert_int_equal(list(OWN), RDS_OK);
    assert_int_equal(reply.items_n, 3);
    assert_int_equal(reply.items[1].items_n, 2);
    assert_int_equal(reply.items[2].items_n, 2);
    assert_int_equal(look(), RDS_OK);
    assert_int_equal(reply.items[4].number, 2);
    assert_int_equal(reply.items[5].number, 1);
    assert_int_equal(reply.items[6].number, 0);
    assert_int_equal(clean(OWN), RDS_OK);
    assert_int_equal(reply.items[0].number, 1);
    assert_int_equal(reply.items[1].number, -1);
}

/* A hash that has no end is no lease. */
static void lock_without_an_end_is_free(void **state)
{
    (void)state;
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    ASSERT_SAYS(acquire(OWN, "u"), "BUSY");
    assert_int_equal(reply.items_n, 4);
    assert_str(reply.items[1].text, "me");
    assert_str(reply.items[2].text, "here");
    assert_in_range(reply.items[3].number, 1, 60000);
    redis_do(r, WORDS(STR("PERSIST"), STR("l:a")));
    ASSERT_SAYS(acquire(OWN, "u"), "OK");
    ASSERT_SAYS(acquire(OWN, "t"), "BUSY");
}

/* ---- fences */

static void fence_is_above_the_last_and_not_above_the_greatest(void **state)
{
    int64_t fence;

    (void)state;
    set("fence", "3999999999999998");
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    assert_int_equal(fence_of(), 3999999999999999);
    assert_str(get("fence"), "3999999999999999");
    ASSERT_SAYS(release(OWN, "t"), "OK");
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    assert_int_equal(fence_of(), 4000000000000000);
    ASSERT_SAYS(release(OWN, "t"), "OK");
    ASSERT_SAYS(acquire(OWN, "t"), "CLOSED");
    assert_str(get("fence"), MAX);
    assert_int_equal(reserve(OWN, "4000000000000001"), RDS_OK);
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    assert_int_equal(fence_of(), 4000000000000001);
    /* the time when the last one is smaller */
    ASSERT_SAYS(release(OWN, "t"), "OK");
    set("fence", "5");
    assert_int_equal(look(), RDS_OK);
    fence = reply.items[3].number;
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    assert_in_range(fence_of(), fence, fence + 60000000);
}

static void reservation_only_rises(void **state)
{
    (void)state;
    assert_int_equal(reserve(OWN, "3999999999999999"), RDS_OK);
    assert_int_equal(reply.number, 4000000000000000);
    assert_str(get("max"), MAX);
    assert_int_equal(reserve(OWN, "4000000000000007"), RDS_OK);
    assert_int_equal(reply.number, 4000000000000007);
    assert_str(get("max"), "4000000000000007");
    redis_do(r, WORDS(STR("DEL"), STR("max")));
    assert_int_equal(reserve(OWN, "9"), RDS_OK);
    assert_str(get("max"), "9");
}

static void data_set_is_opened_over_the_one_seen(void **state)
{
    (void)state;
    set("fence", "500");
    assert_int_equal(open_as("", OTHER, "7", "8"), RDS_OK);
    assert_int_equal(reply.number, 0);
    assert_str(get("dataset"), OWN);
    assert_int_equal(open_as(OWN, OTHER, "400", "600"), RDS_OK);
    assert_int_equal(reply.number, 1);
    assert_str(get("dataset"), OTHER);
    assert_str(get("fence"), "500"); /* never lower */
    assert_str(get("max"), "600");
    assert_int_equal(open_as(OTHER, OWN, "501", "600"), RDS_OK);
    assert_str(get("fence"), "501");
    redis_do(r, WORDS(STR("FLUSHALL")));
    assert_int_equal(open_as("", OWN, "1795693595561628", MAX), RDS_OK);
    assert_int_equal(reply.number, 1);
    assert_str(get("dataset"), OWN);
    assert_str(get("fence"), "1795693595561628");
    assert_str(get("max"), MAX);
}

static void keys_are_cleared_while_the_data_set_is_the_one_seen(void **state)
{
    (void)state;
    set("q:1", "x");
    set("q:3", "x");
    set("q:4", "x");
    ASSERT_SAYS(clear(""), "DATASET");
    assert_str(get("q:1"), "x");
    assert_int_equal(clear(OWN), RDS_OK);
    assert_int_equal(reply.number, 2);
    assert_str(get("q:1"), "none");
    assert_str(get("q:3"), "none");
    assert_str(get("q:4"), "x");
    set("q:1", "x");
    redis_do(r, WORDS(STR("DEL"), STR("dataset")));
    ASSERT_SAYS(clear(OWN), "DATASET");
    assert_int_equal(clear(""), RDS_OK);
    assert_int_equal(reply.number, 1);
}

/* ---- bounds, memory */

static int64_t index_size(void)
{
    assert_int_equal(redis_ask(r, WORDS(STR("ZCARD"), STR("idx")), &reply),
                     RDS_OK);
    return reply.number;
}

static void acquire_drops_a_few_ended_entries(void **state)
{
    static const char fill[] = "for i = 1, 200 do "
                               "redis.call('ZADD', 'idx', i, 'n' .. i) end "
                               "return {}";

    (void)state;
    redis_do(r, WORDS(STR("EVAL"), str_of(fill), STR("0")));
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    assert_int_equal(index_size(), 200 - 64 + 1);
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    ASSERT_SAYS(acquire(OWN, "u"), "BUSY");
    assert_int_equal(index_size(), 200 - 64 + 1);
    assert_int_equal(look(), RDS_OK);
    assert_str(reply.items[0].text, OWN);
    assert_int_equal(reply.items[4].number, 1);
    assert_int_equal(reply.items[5].number, 136);
    assert_int_equal(reply.items[6].number, 1);
    assert_int_equal(clean(OWN), RDS_OK);
    assert_int_equal(reply.items[0].number, 136);
    assert_int_equal(index_size(), 1);
}

static void release_and_clean_up_need_no_memory(void **state)
{
    str was;

    (void)state;
    ASSERT_SAYS(acquire(OWN, "t"), "OK");
    redis_do(r, WORDS(STR("ZADD"), STR("idx"), STR("5"), STR("ended")));
    redis_do(r, WORDS(STR("CONFIG"), STR("SET"), STR("maxmemory"), STR("1")));
    was = redis_snapshot(r);
    assert_int_equal(acquire(OWN, "u"), RDS_ERR);
    assert_true(rds_refused_with(r, STR("OOM")));
    assert_int_equal(renew(OWN, "t"), RDS_ERR);
    assert_int_equal(look(), RDS_ERR);
    ASSERT_SAME(was);
    assert_int_equal(list(OWN), RDS_OK);
    assert_int_equal(reply.items_n, 2);
    assert_int_equal(clean(OWN), RDS_OK);
    assert_int_equal(reply.items[0].number, 1);
    ASSERT_SAYS(release(OWN, "t"), "OK");
    assert_int_equal(clear(OWN), RDS_OK);
}

#define WITH_DATA_SET(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DATA_SET(other_data_set_is_left_alone),
        WITH_DATA_SET(repeated_scripts_leave_the_same),
        WITH_DATA_SET(scripts_and_data_may_be_lost),
        WITH_DATA_SET(wrong_types_are_refused_whole),
        WITH_DATA_SET(lock_with_an_index_of_another_type_is_kept_whole),
        WITH_DATA_SET(numbers_that_are_none_close_the_home),
        WITH_DATA_SET(entries_of_strangers_are_no_locks),
        WITH_DATA_SET(lock_without_an_end_is_free),
        WITH_DATA_SET(fence_is_above_the_last_and_not_above_the_greatest),
        WITH_DATA_SET(reservation_only_rises),
        WITH_DATA_SET(data_set_is_opened_over_the_one_seen),
        WITH_DATA_SET(keys_are_cleared_while_the_data_set_is_the_one_seen),
        WITH_DATA_SET(acquire_drops_a_few_ended_entries),
        WITH_DATA_SET(release_and_clean_up_need_no_memory),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
