/* test_waiter - a blocking pop beside everything else, in a real redis-server
 */
#include "workers/waiter.c"

#include <poll.h>
#include <signal.h>
#include <stdio.h>

#include "lib/base/conf.h"
#include "tests/unit/redis.h"

enum {
    PATIENCE_MS = 10000
};

static struct ctx c;
static struct conf conf;
static struct waiter w;

static const str *words_of_pop(struct ctx *unused, int seconds, size_t *out_n,
                               size_t *out_key)
{
    static const str words[] = {STR_INIT("BLPOP"), STR_INIT("list"),
                                STR_INIT("60")};

    (void)unused;
    (void)seconds;
    *out_n = 3;
    *out_key = 1;
    return words;
}

static int begin(void **state)
{
    (void)redis_begin(state);
    conf = (struct conf){.cluster_enabled = true,
                         .redis_url = redis.url,
                         .redis_password = "s3cret",
                         .redis_connection_timeout = PATIENCE_MS,
                         .redis_command_timeout = PATIENCE_MS,
                         .redis_retry_delay = 10};
    ctx_init(&c, &conf, 1 << 20);
    waiter_init(&w, words_of_pop, 60);
    assert_non_null(rds_find(&c));
    redis_await(c.rds);
    return 0;
}

static int end(void **state)
{
    clock_unset();
    rds_free(w.rds);
    rds_free(c.rds);
    ctx_done(&c);
    return redis_end(state);
}

static int64_t number(const str *words, size_t n)
{
    struct rds_reply reply;

    assert_int_equal(rds_call(c.rds, words, n, clock_mono_ms() + PATIENCE_MS,
                              &c.arena, &reply),
                     RDS_OK);
    return reply.number;
}

static void push(void)
{
    (void)number(WORDS(STR("RPUSH"), STR("list"), STR("x")));
}

static int64_t length(void)
{
    return number(WORDS(STR("LLEN"), STR("list")));
}

static void assert_popped(const struct rds_reply *reply)
{
    assert_int_equal(reply->items_n, 2);
    assert_str(reply->items[1].text, "x");
}

/* As the loop of a worker, until something is popped. */
static void await_pop(void)
{
    ms give_up = clock_mono_ms() + PATIENCE_MS;
    struct rds_reply reply;

    do {
        struct pollfd p = {.events = POLLIN};

        assert_true(clock_mono_ms() < give_up);
        waiter_begin(&w, &c);
        p.fd = waiter_fd(&w);
        (void)poll(&p, 1, 20);
    } while (!waiter_look(&w, &c, &reply));
    assert_popped(&reply);
}

/* Until the server knows that so many wait. */
static void await_blocked(const char *n)
{
    ms give_up = clock_mono_ms() + PATIENCE_MS;
    struct rds_reply reply;
    char want[32];

    snprintf(want, sizeof want, "blocked_clients:%s\r", n);
    do {
        assert_true(clock_mono_ms() < give_up);
        assert_int_equal(rds_call(c.rds, WORDS(STR("INFO"), STR("clients")),
                                  clock_mono_ms() + PATIENCE_MS, &c.arena,
                                  &reply),
                         RDS_OK);
    } while (!strstr(reply.text.p, want));
}

static void begin_surely(void)
{
    waiter_begin(&w, &c);
    await_blocked("1");
}

static void what_comes_is_popped(void **state)
{
    (void)state;
    assert_int_equal(waiter_fd(&w), -1);
    for (int i = 0; i < 3; i++) {
        begin_surely();
        waiter_begin(&w, &c); /* one is out already */
        push();
        await_pop();
        assert_int_equal(waiter_fd(&w), -1);
    }
    assert_int_equal(length(), 0);
    assert_int_equal(rds_connected(w.rds), 1);
}

static void ended_one_pops_nothing(void **state)
{
    struct rds_reply reply;

    (void)state;
    assert_false(waiter_end(&w, &c, &reply)); /* none is out */
    begin_surely();
    assert_false(waiter_end(&w, &c, &reply));
    assert_int_equal(waiter_fd(&w), -1);
    push();
    assert_int_equal(length(), 1);
    await_pop();
    assert_int_equal(rds_connected(w.rds), 1);
}

static void what_was_popped_before_its_end_is_told(void **state)
{
    struct rds_reply reply;

    (void)state;
    begin_surely();
    push();
    assert_int_equal(length(), 0);
    assert_true(waiter_end(&w, &c, &reply));
    assert_popped(&reply);
}

static void lost_server_is_found_again(void **state)
{
    struct rds_reply reply;
    struct pollfd p = {.events = POLLIN};

    (void)state;
    begin_surely();
    redis_stop();
    p.fd = waiter_fd(&w);
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_false(waiter_look(&w, &c, &reply));
    assert_int_equal(waiter_fd(&w), -1);
    redis_start("--appendonly", "no");
    redis_await(c.rds);
    push();
    await_pop();
}

/* Where nobody answers, nobody asks without a pause. */
static void after_a_loss_is_a_pause(void **state)
{
    struct rds_reply reply;
    struct pollfd p = {.events = POLLIN};
    ms now = clock_mono_ms();

    (void)state;
    begin_surely();
    clock_set(now, 0);
    redis_stop();
    p.fd = waiter_fd(&w);
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_false(waiter_look(&w, &c, &reply));
    redis_start("--appendonly", "no");
    clock_set(now + WAITER_AGAIN_MS - 1, 0);
    waiter_begin(&w, &c);
    assert_int_equal(waiter_fd(&w), -1);
    clock_unset();
    redis_await(c.rds);
    push();
    await_pop();
}

static void hung_server_is_left_in_time(void **state)
{
    struct rds_reply reply;
    ms start;

    (void)state;
    begin_surely();
    kill(redis.pid, SIGSTOP);
    start = clock_mono_ms();
    assert_true(waiter_end(&w, &c, &reply));
    assert_int_equal(reply.kind, RDS_NIL); /* it may have popped something */
    assert_in_range(clock_mono_ms() - start, WAITER_END_MS - 50, PATIENCE_MS);
    assert_int_equal(waiter_fd(&w), -1);
    kill(redis.pid, SIGCONT);
    redis_await(c.rds);
    await_blocked("0");
    push();
    await_pop();
}

/* A server that vanished without a word sends no reply, ever. */
static void overdue_one_is_begun_again(void **state)
{
    ms now = clock_mono_ms();

    (void)state;
    begin_surely();
    clock_set(now + 61000 + WAITER_BEYOND_MS, 0);
    waiter_begin(&w, &c);
    assert_int_equal(waiter_fd(&w), -1);
    clock_unset();
    w.again_boot = 0;
    await_blocked("0"); /* it would pop for nobody */
    push();
    await_pop();
}

static void strangers_key_gives_way(void **state)
{
    (void)state;
    (void)number(WORDS(STR("SET"), STR("list"), STR("foreign")));
    waiter_begin(&w, &c);
    for (struct rds_reply reply; waiter_fd(&w) >= 0;) {
        struct pollfd p = {.fd = waiter_fd(&w), .events = POLLIN};

        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        assert_false(waiter_look(&w, &c, &reply));
    }
    assert_int_equal(number(WORDS(STR("EXISTS"), STR("list"))), 0);
    push();
    await_pop();
}

#define WAITER_CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WAITER_CASE(what_comes_is_popped),
        WAITER_CASE(ended_one_pops_nothing),
        WAITER_CASE(what_was_popped_before_its_end_is_told),
        WAITER_CASE(lost_server_is_found_again),
        WAITER_CASE(after_a_loss_is_a_pause),
        WAITER_CASE(hung_server_is_left_in_time),
        WAITER_CASE(overdue_one_is_begun_again),
        WAITER_CASE(strangers_key_gives_way),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
