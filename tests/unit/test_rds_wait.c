/* test_rds_wait - commands that wait in a real redis-server */
#include "lib/coord/rds_wait.c"

#include <poll.h>
#include <signal.h>

#include "tests/unit/redis.h"

enum {
    PATIENCE_MS = 10000
};

#define MARKER STR("q:mk")

static struct rds *waiting, *other;

/* A connection with time enough for a loaded machine */
static struct rds *open_as(const char *username, const char *password)
{
    struct rds_target target = {.url = redis.url,
                                .username = username,
                                .password = password,
                                .connect_ms = PATIENCE_MS,
                                .command_ms = PATIENCE_MS,
                                .retry_ms = 20};
    struct rds *r = rds_new(&target);

    assert_non_null(r);
    return r;
}

static int begin(void **state)
{
    (void)redis_begin(state);
    waiting = open_as(NULL, "s3cret");
    other = open_as(NULL, "s3cret");
    redis_await(other);
    redis_await(waiting);
    return 0;
}

static int end(void **state)
{
    rds_free(waiting);
    rds_free(other);
    return redis_end(state);
}

static ms soon(void)
{
    return clock_mono_ms() + PATIENCE_MS;
}

/* A pop of the marker is out. */
static void pop(struct rds *r)
{
    assert_int_equal(
        rds_wait_begin(r, WORDS(STR("BZPOPMIN"), MARKER, STR("60")), soon()),
        RDS_OK);
}

static void mark(void)
{
    redis_do(other, WORDS(STR("ZADD"), MARKER, STR("0"), STR("w")));
}

static int64_t number(struct rds *r, const str *words, size_t n)
{
    struct rds_reply reply;

    assert_int_equal(rds_call(r, words, n, soon(), &redis.arena, &reply),
                     RDS_OK);
    assert_int_equal(reply.kind, RDS_INT);
    return reply.number;
}

static bool is_marked(void)
{
    return number(other, WORDS(STR("ZCARD"), MARKER)) == 1;
}

/* How often the server was asked for this. */
static bool was_called(const char *command, const char *times)
{
    struct rds_reply reply;
    const char *at;
    char want[64];

    assert_int_equal(rds_call(other, WORDS(STR("INFO"), STR("commandstats")),
                              soon(), &redis.arena, &reply),
                     RDS_OK);
    snprintf(want, sizeof want, "cmdstat_%s:calls=%s,", command, times);
    at = strstr(reply.text.p, want);
    return at != NULL;
}

/* Until clients that wait are so many. */
static void await_blocked(const char *n)
{
    char want[32];
    ms give_up = soon();

    snprintf(want, sizeof want, "blocked_clients:%s\r", n);
    for (;;) {
        struct rds_reply reply;

        assert_int_equal(rds_call(other, WORDS(STR("INFO"), STR("clients")),
                                  soon(), &redis.arena, &reply),
                         RDS_OK);
        if (strstr(reply.text.p, want))
            return;
        assert_true(clock_mono_ms() < give_up);
        poll(NULL, 0, 5);
    }
}

/* Polls as a worker does, until there is something to be looked at. */
static enum rds_waited look_when_ready(struct rds *r, struct rds_reply *out)
{
    enum rds_waited waited;

    do {
        struct pollfd p = {.fd = rds_fd(r), .events = POLLIN};

        assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
        waited = rds_wait_look(r, &redis.arena, out);
    } while (waited == RDS_WAIT_OUT);
    return waited;
}

static enum rds_waited end_within(struct rds *r, struct rds *by, ms most,
                                  struct rds_reply *out)
{
    enum rds_waited waited =
        rds_wait_end(r, by, clock_mono_ms() + most, &redis.arena, out);
    struct rds_reply none;

    assert_int_equal(rds_fd(r), -1);
    assert_int_equal(rds_wait_look(r, &redis.arena, &none), RDS_WAIT_NONE);
    return waited;
}

static enum rds_waited end_wait(struct rds *r, struct rds *by,
                                struct rds_reply *out)
{
    return end_within(r, by, PATIENCE_MS, out);
}

static void assert_marker(const struct rds_reply *reply)
{
    assert_int_equal(reply->kind, RDS_LIST);
    assert_int_equal(reply->items_n, 3);
    assert_str(reply->items[1].text, "w");
}

static void what_comes_can_be_polled_for(void **state)
{
    struct rds_reply reply;

    (void)state;
    assert_int_equal(rds_fd(waiting), -1);
    assert_int_equal(rds_wait_look(waiting, &redis.arena, &reply),
                     RDS_WAIT_NONE);
    for (int i = 0; i < 3; i++) {
        pop(waiting);
        assert_int_equal(rds_wait_look(waiting, &redis.arena, &reply),
                         RDS_WAIT_OUT);
        mark();
        assert_int_equal(look_when_ready(waiting, &reply), RDS_WAIT_OVER);
        assert_marker(&reply);
        assert_int_equal(rds_fd(waiting), -1);
    }
    assert_int_equal(rds_connected(waiting), 1);
    assert_true(was_called("client|id", "1"));
}

static void time_that_passed_is_nil(void **state)
{
    struct rds_reply reply;

    (void)state;
    assert_int_equal(rds_wait_begin(waiting,
                                    WORDS(STR("BLPOP"), MARKER, STR("0.01")),
                                    soon()),
                     RDS_OK);
    assert_int_equal(look_when_ready(waiting, &reply), RDS_WAIT_OVER);
    assert_int_equal(reply.kind, RDS_NIL);
}

static void wait_is_ended_and_the_connection_stays(void **state)
{
    struct rds_reply reply;

    (void)state;
    assert_int_equal(end_wait(waiting, other, &reply), RDS_WAIT_NONE);
    for (int i = 0; i < 3; i++) {
        pop(waiting);
        await_blocked("1");
        assert_int_equal(end_wait(waiting, other, &reply), RDS_WAIT_OVER);
        assert_int_equal(reply.kind, RDS_NIL);
    }
    mark();
    assert_true(is_marked());
    assert_int_equal(rds_connected(waiting), 1);
    assert_int_equal(number(waiting, WORDS(STR("ZCARD"), MARKER)), 1);
}

static void what_was_popped_before_the_end_is_told(void **state)
{
    struct rds_reply reply;

    (void)state;
    pop(waiting);
    await_blocked("1");
    mark();
    assert_false(is_marked());
    assert_int_equal(end_wait(waiting, other, &reply), RDS_WAIT_OVER);
    assert_marker(&reply);
}

/* The reply comes after the last look: then nobody is unblocked. */
static void what_was_popped_while_it_is_ended_is_told(void **state)
{
    redisReply *got;
    struct rds_reply reply;

    (void)state;
    pop(waiting);
    await_blocked("1");
    mark();
    assert_true(unblock(waiting, other, soon(), &redis.arena));
    assert_int_equal(rds_receive(waiting, soon(), &got), RDS_OK);
    assert_int_equal(conclude(waiting, got, &redis.arena, &reply),
                     RDS_WAIT_OVER);
    assert_marker(&reply);
}

/* A user that may do all but this; r logs in as that one. */
static struct rds *restricted(const char *but)
{
    struct rds *r = open_as("w", "w");

    redis_do(other, WORDS(STR("ACL"), STR("SETUSER"), STR("w"), STR("on"),
                          STR(">w"), STR("~*"), STR("+@all"), str_of(but)));
    redis_await(r);
    return r;
}

static void wait_that_may_not_be_ended_is_cut_off(void **state)
{
    struct rds *by = restricted("-client|unblock");
    struct rds_reply reply;

    (void)state;
    pop(waiting);
    await_blocked("1");
    assert_int_equal(end_wait(waiting, by, &reply), RDS_WAIT_LOST);
    await_blocked("0");
    mark(); /* it pops no marker any more */
    assert_true(is_marked());
    pop(waiting);
    assert_int_equal(look_when_ready(waiting, &reply), RDS_WAIT_OVER);
    assert_int_equal(rds_connected(waiting), 2);
    rds_free(by);
}

static void wait_without_an_id_is_cut_off(void **state)
{
    struct rds *r = restricted("-client|id");
    struct rds_reply reply;

    (void)state;
    pop(r);
    await_blocked("1");
    assert_int_equal(end_wait(r, other, &reply), RDS_WAIT_LOST);
    await_blocked("0");
    mark();
    pop(r);
    assert_int_equal(look_when_ready(r, &reply), RDS_WAIT_OVER);
    rds_free(r);
}

static void wait_is_lost_with_its_server(void **state)
{
    struct rds_reply reply;

    (void)state;
    pop(waiting);
    redis_stop();
    assert_int_equal(look_when_ready(waiting, &reply), RDS_WAIT_LOST);
    assert_int_equal(rds_fd(waiting), -1);
    assert_int_equal(rds_wait_begin(waiting,
                                    WORDS(STR("BZPOPMIN"), MARKER, STR("60")),
                                    clock_mono_ms() + 300),
                     RDS_DOWN);
    assert_int_equal(rds_fd(waiting), -1);
    redis_start("--appendonly", "no");
    redis_await(other);
    redis_await(waiting);
    pop(waiting);
    await_blocked("1");
    /* by the id of the new connection */
    assert_int_equal(end_wait(waiting, other, &reply), RDS_WAIT_OVER);
}

static void wait_of_a_lost_server_is_ended_in_time(void **state)
{
    struct rds_reply reply;

    (void)state;
    pop(waiting);
    await_blocked("1");
    redis_stop();
    assert_int_equal(end_wait(waiting, other, &reply), RDS_WAIT_LOST);
}

static void wait_of_a_hung_server_is_ended_in_time(void **state)
{
    struct rds_reply reply;
    ms start;

    (void)state;
    pop(waiting);
    await_blocked("1");
    kill(redis.pid, SIGSTOP);
    assert_int_equal(rds_wait_look(waiting, &redis.arena, &reply),
                     RDS_WAIT_OUT);
    start = clock_mono_ms();
    assert_int_equal(end_within(waiting, other, 300, &reply), RDS_WAIT_LOST);
    assert_in_range(clock_mono_ms() - start, 250, PATIENCE_MS);
    kill(redis.pid, SIGCONT);
    redis_await(other);
    await_blocked("0");
    redis_await(waiting);
    /* the late reply of the wait that was given up is not met */
    mark();
    assert_int_equal(number(waiting, WORDS(STR("ZCARD"), MARKER)), 1);
}

static void wait_whose_client_is_killed_is_lost(void **state)
{
    struct rds_reply reply;
    char id[24];

    (void)state;
    pop(waiting);
    await_blocked("1");
    snprintf(id, sizeof id, "%lld", (long long)waiting->client_id);
    redis_do(other, WORDS(STR("CLIENT"), STR("KILL"), STR("ID"), str_of(id)));
    assert_int_equal(look_when_ready(waiting, &reply), RDS_WAIT_LOST);
    pop(waiting);
    mark();
    assert_int_equal(look_when_ready(waiting, &reply), RDS_WAIT_OVER);
}

static void refused_wait_is_lost_with_its_reason(void **state)
{
    struct rds_reply reply;

    (void)state;
    redis_do(other, WORDS(STR("SET"), MARKER, STR("foreign")));
    pop(waiting);
    assert_int_equal(look_when_ready(waiting, &reply), RDS_WAIT_LOST);
    assert_true(rds_refused_with(waiting, STR("WRONGTYPE")));
    assert_int_equal(number(waiting, WORDS(STR("DEL"), MARKER)), 1);
    assert_int_equal(rds_connected(waiting), 1);
}

static void reply_without_memory_for_it_is_lost(void **state)
{
    struct arena small;
    struct rds_reply reply;
    struct pollfd p;

    (void)state;
    arena_init(&small, 1);
    pop(waiting);
    mark();
    p = (struct pollfd){.fd = rds_fd(waiting), .events = POLLIN};
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    assert_int_equal(rds_wait_look(waiting, &small, &reply), RDS_WAIT_LOST);
    assert_int_equal(number(waiting, WORDS(STR("ZCARD"), MARKER)), 0);
    arena_done(&small);
}

#define WAIT_CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WAIT_CASE(what_comes_can_be_polled_for),
        WAIT_CASE(time_that_passed_is_nil),
        WAIT_CASE(wait_is_ended_and_the_connection_stays),
        WAIT_CASE(what_was_popped_before_the_end_is_told),
        WAIT_CASE(what_was_popped_while_it_is_ended_is_told),
        WAIT_CASE(wait_that_may_not_be_ended_is_cut_off),
        WAIT_CASE(wait_without_an_id_is_cut_off),
        WAIT_CASE(wait_is_lost_with_its_server),
        WAIT_CASE(wait_of_a_lost_server_is_ended_in_time),
        WAIT_CASE(wait_of_a_hung_server_is_ended_in_time),
        WAIT_CASE(wait_whose_client_is_killed_is_lost),
        WAIT_CASE(refused_wait_is_lost_with_its_reason),
        WAIT_CASE(reply_without_memory_for_it_is_lost),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
