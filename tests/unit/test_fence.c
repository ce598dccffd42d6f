/*
 * test_fence - fences grow whatever a Redis loses or thinks of the time: the
 * scripts that give and open, on a real server
 */
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/coord/rds_script.h"
#include "tests/unit/redis.h"

#define DATASET "0123456789abcdef"
#define OTHER   "fedcba9876543210"

static const int64_t hour_us = INT64_C(3600) * 1000000;

static struct rds *connect(void)
{
    struct rds *r = redis_open("s3cret");

    redis_await(r);
    return r;
}

static void run(struct rds *r, enum lua lua, const str *keys, size_t keys_n,
                const str *args, size_t args_n, struct rds_reply *out)
{
    const struct rds_script s = {lua, keys, args, keys_n, args_n};

    assert_int_equal(rds_run(r, &s, clock_mono_ms() + 5000, &redis.arena, out),
                     RDS_OK);
}

/* A data set whose fences are above `fence`, and at most an hour more. */
static bool open_set(struct rds *r, str seen, str id, int64_t fence)
{
    const str keys[] = {STR("p:dataset"), STR("p:l:fence"), STR("p:l:max"),
                        STR("p:l:ahead")};
    const str args[] = {
        seen, id, arena_strf(&redis.arena, "%lld", (long long)fence),
        arena_strf(&redis.arena, "%lld", (long long)(fence + hour_us))};
    struct rds_reply reply;

    run(r, LUA_DATASET_OPEN, keys, 4, args, 4, &reply);
    return reply.number == 1;
}

/* Of a lock of this name; 0: not granted, with the word why in *out. */
static int64_t acquire(struct rds *r, str id, str name, str *out)
{
    const str keys[] = {
        STR("p:dataset"),
        arena_strf(&redis.arena, "p:l:k:%.*s", (int)name.n, name.p),
        STR("p:l:idx"),
        STR("p:l:fence"),
        STR("p:l:max"),
        STR("p:l:ahead")};
    const str args[] = {id, name, name, STR("60000"), STR("i"), STR("o")};
    struct rds_reply reply;

    run(r, LUA_LOCK_ACQUIRE, keys, 6, args, 6, &reply);
    if (reply.kind != RDS_LIST) {
        *out = reply.text;
        return 0;
    }
    assert_true(reply.items_n == 2 && reply.items[1].kind == RDS_INT);
    return reply.items[1].number;
}

static int64_t granted(struct rds *r, str name)
{
    str why = STR("");
    int64_t fence = acquire(r, STR(DATASET), name, &why);

    if (fence == 0)
        fail_msg("refused: %.*s", (int)why.n, why.p);
    return fence;
}

static void set_number(struct rds *r, str key, int64_t v)
{
    redis_do(r, WORDS(STR("SET"), key,
                      arena_strf(&redis.arena, "%lld", (long long)v)));
}

static int64_t now_us(void)
{
    return clock_wall_ms() * 1000;
}

/* Else no lock would be granted while it is there. */
static void nonsense_ahead_of_the_clock_counts_as_none(void **state)
{
    static const char *const held[] = {"9007199254740991", "inf", "nan", "x"};
    struct rds *r = connect();
    int64_t last = 0;

    (void)state;
    assert_true(open_set(r, STR(""), STR(DATASET), now_us()));
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) {
        int64_t fence;

        redis_do(r, WORDS(STR("SET"), STR("p:l:ahead"), str_of(held[i])));
        fence = granted(r, str_of(held[i]));
        assert_true(fence > last);
        last = fence;
    }
    rds_free(r);
}

/* The file lacked its last second: fences of that second are not given again,
 * although they are ahead of the clock. */
static void lost_second_gives_no_fence_twice(void **state)
{
    int64_t ahead[] = {-hour_us / 2, 0, 3 * hour_us};

    (void)state;
    for (size_t i = 0; i < sizeof ahead / sizeof *ahead; i++) {
        struct rds *r = connect();
        int64_t base = now_us() + ahead[i], first, second;

        redis_do(r, WORDS(STR("FLUSHALL")));
        assert_true(open_set(r, STR(""), STR(DATASET), base));
        first = granted(r, STR("a"));
        assert_true(first > base);
        set_number(r, STR("p:l:fence"), base);
        second = granted(r, STR("b"));
        assert_true(second > first);
        rds_free(r);
    }
}

static void fences_grow_while_the_clock_stands_or_falls(void **state)
{
    struct rds *r = connect();
    int64_t last;

    (void)state;
    assert_true(open_set(r, STR(""), STR(DATASET), now_us()));
    last = now_us() + hour_us / 2; /* given when the clock was wrong */
    set_number(r, STR("p:l:fence"), last);
    assert_int_equal(granted(r, STR("a")), last + 1);
    assert_int_equal(granted(r, STR("b")), last + 2);
    assert_int_equal(granted(r, STR("a")), last + 1); /* same token */
    rds_free(r);
}

static void none_is_given_above_the_reservation(void **state)
{
    struct rds *r = connect();
    int64_t base = now_us();
    str why = STR("");

    (void)state;
    assert_true(open_set(r, STR(""), STR(DATASET), base));
    set_number(r, STR("p:l:fence"), base + hour_us - 1);
    assert_int_equal(granted(r, STR("a")), base + hour_us);
    assert_int_equal(acquire(r, STR(DATASET), STR("b"), &why), 0);
    assert_str(why, "CLOSED");
    redis_do(r, WORDS(STR("DEL"), STR("p:l:max")));
    assert_int_equal(acquire(r, STR(DATASET), STR("b"), &why), 0);
    assert_str(why, "CLOSED");
    rds_free(r);
}

static void another_data_set_gives_none(void **state)
{
    struct rds *r = connect();
    str why = STR("");

    (void)state;
    assert_int_equal(acquire(r, STR(DATASET), STR("a"), &why), 0);
    assert_str(why, "DATASET");
    assert_true(open_set(r, STR(""), STR(OTHER), now_us()));
    assert_int_equal(acquire(r, STR(DATASET), STR("a"), &why), 0);
    assert_str(why, "DATASET");
    assert_false(open_set(r, STR(DATASET), STR(DATASET), now_us()));
    assert_true(open_set(r, STR(OTHER), STR(DATASET), now_us()));
    assert_true(granted(r, STR("a")) > 0);
    rds_free(r);
}

/* Opened anew by hand: the locks are kept, and later fences are greater. */
static void fences_outlive_the_name(void **state)
{
    struct rds *r = connect();
    int64_t first, base = now_us() + hour_us / 2;

    (void)state;
    assert_true(open_set(r, STR(""), STR(OTHER), base));
    redis_do(r, WORDS(STR("DEL"), STR("p:dataset")));
    assert_true(open_set(r, STR(""), STR(DATASET), now_us()));
    first = granted(r, STR("a"));
    assert_true(first > base);
    set_number(r, STR("p:l:fence"), base);
    assert_true(granted(r, STR("b")) > first);
    rds_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(lost_second_gives_no_fence_twice),
        WITH_SERVER(fences_grow_while_the_clock_stands_or_falls),
        WITH_SERVER(none_is_given_above_the_reservation),
        WITH_SERVER(another_data_set_gives_none),
        WITH_SERVER(fences_outlive_the_name),
        WITH_SERVER(nonsense_ahead_of_the_clock_counts_as_none),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
