/* test_rds_script - the Lua scripts on a real redis-server */
#include <signal.h>

#include "lib/base/clock.h"
#include "lib/base/rate.h"
#include "lib/coord/rds_script.h"
#include "tests/unit/redis.h"

/* Asks for one of 3 in a window of a day. */
static enum rds_result take(struct rds *r, str key, const char *how,
                            struct rds_reply *out)
{
    const str args[] = {STR("86400000"), STR("3"), str_of(how)};
    const struct rds_script s = {LUA_RATE_TAKE, &key, args, 1, 3};

    return rds_run(r, &s, clock_mono_ms() + 10000, &redis.arena, out);
}

/* How many fit of ten. */
static int takes(struct rds *r, str key)
{
    struct rds_reply reply;
    int n = 0;

    for (int i = 0; i < 10; i++) {
        assert_int_equal(take(r, key, "take", &reply), RDS_OK);
        assert_int_equal(reply.items_n, 4);
        n += reply.items[0].number == 1;
    }
    return n;
}

static void script_is_sent_where_it_is_not_known(void **state)
{
    struct rds *r = redis_open("s3cret");
    struct rds_reply reply;

    (void)state;
    redis_await(r);
    assert_int_equal(take(r, STR("a"), "take", &reply), RDS_OK);
    redis_do(r, WORDS(STR("SCRIPT"), STR("FLUSH")));
    assert_int_equal(take(r, STR("a"), "take", &reply), RDS_OK);
    assert_int_equal(reply.items[2].number, 2);
    redis_stop();
    redis_start("--appendonly", "no");
    redis_await(r);
    assert_int_equal(take(r, STR("a"), "take", &reply), RDS_OK);
    assert_int_equal(reply.items[2].number, 1);
    rds_free(r);
}

static void rate_take_counts_to_the_limit_and_no_refusal(void **state)
{
    struct rds *r = redis_open("s3cret");
    struct rds_reply reply;

    (void)state;
    redis_await(r);
    assert_int_equal(takes(r, STR("a\0b")), 3);
    assert_int_equal(takes(r, STR("a")), 3);
    assert_int_equal(take(r, STR("a"), "ask", &reply), RDS_OK);
    assert_int_equal(reply.items[0].number, 0);
    assert_int_equal(reply.items[1].number + reply.items[2].number, 3);
    assert_in_range(reply.items[3].number, 0, 86399999);
    assert_int_equal(redis_ask(r, WORDS(STR("PTTL"), STR("a")), &reply),
                     RDS_OK);
    assert_in_range(reply.number, 172700000, 172800000);
    rds_free(r);
}

static void rate_take_that_asks_writes_nothing(void **state)
{
    struct rds *r = redis_open("s3cret");
    struct rds_reply reply;

    (void)state;
    redis_await(r);
    assert_int_equal(take(r, STR("a"), "ask", &reply), RDS_OK);
    assert_int_equal(reply.items[0].number, 1);
    assert_int_equal(redis_ask(r, WORDS(STR("EXISTS"), STR("a")), &reply),
                     RDS_OK);
    assert_int_equal(reply.number, 0);
    rds_free(r);
}

static void rate_take_adds_past_the_limit(void **state)
{
    struct rds *r = redis_open("s3cret");
    struct rds_reply reply;

    (void)state;
    redis_await(r);
    for (int i = 0; i < 5; i++)
        assert_int_equal(take(r, STR("a"), "add", &reply), RDS_OK);
    assert_int_equal(reply.items[0].number, 0);
    assert_int_equal(reply.items[1].number + reply.items[2].number, 5);
    assert_int_equal(takes(r, STR("a")), 0);
    rds_free(r);
}

/* The reply was lost and the caller asked again: the same state, one more. */
static void rate_take_repeated_counts_at_most_one_more(void **state)
{
    struct rds *r = redis_open("s3cret");
    struct rds_reply first, second;

    (void)state;
    redis_await(r);
    assert_int_equal(take(r, STR("a"), "take", &first), RDS_OK);
    assert_int_equal(take(r, STR("a"), "take", &second), RDS_OK);
    assert_int_equal(first.items[1].number + first.items[2].number, 1);
    assert_int_equal(second.items[1].number + second.items[2].number, 2);
    assert_int_equal(takes(r, STR("a")), 1);
    rds_free(r);
}

/* Sets the counts of a window some windows ago. */
static void set_counts(struct rds *r, const char *ago, const char *count)
{
    static const char set[] =
        "local t = redis.call('TIME') "
        "local w = math.floor((t[1] * 1000 + t[2] / 1000) / 86400000) "
        "redis.call('HSET', KEYS[1], 'w', w - ARGV[1], 'b', 7, 'n', ARGV[2]) "
        "return w";

    redis_do(r, WORDS(STR("EVAL"), str_of(set), STR("1"), STR("a"), str_of(ago),
                      str_of(count)));
}

/* Counts of the window before weigh, those of older and future ones do not. */
static void rate_take_weighs_the_window_before(void **state)
{
    static const struct {
        const char *ago, *count;
        int64_t before, now;
    } rows[] = {
        {"0", "2", 7, 2},
        {"1", "2", 2, 0},
        {"1", "1000", 1000, 0},
        {"2", "50", 0, 0},
        {"300", "50", 0, 0},
        /* after a step of the clock */
        {"-5", "50", 0, 0},
    };
    const struct rate_rule rule = {3, 86400000};
    struct rds *r = redis_open("s3cret");
    struct rds_reply reply;

    (void)state;
    redis_await(r);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rate_state s = {rows[i].before, rows[i].now, 0};

        set_counts(r, rows[i].ago, rows[i].count);
        assert_int_equal(take(r, STR("a"), "ask", &reply), RDS_OK);
        assert_int_equal(reply.items[1].number, s.before);
        assert_int_equal(reply.items[2].number, s.count);
        s.into_ms = reply.items[3].number;
        assert_int_equal(reply.items[0].number, rate_fits(&rule, &s));
    }
    rds_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(script_is_sent_where_it_is_not_known),
        WITH_SERVER(rate_take_counts_to_the_limit_and_no_refusal),
        WITH_SERVER(rate_take_that_asks_writes_nothing),
        WITH_SERVER(rate_take_adds_past_the_limit),
        WITH_SERVER(rate_take_repeated_counts_at_most_one_more),
        WITH_SERVER(rate_take_weighs_the_window_before),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
