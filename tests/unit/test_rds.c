/* test_rds - the connection to a real redis-server on a unix socket */
#include "lib/coord/rds.c"

#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/redis.h"

static void ping_of_a_server_is_answered(void **state)
{
    struct rds *r = redis_open("s3cret");

    (void)state;
    redis_await(r);
    assert_int_equal(redis_ping(r), RDS_OK);
    assert_false(rds_evicts(r));
    rds_free(r);
}

static void wrong_password_is_down_with_a_reason(void **state)
{
    struct rds *r = redis_open("s3cret");
    struct rds *wrong = redis_open("geheim");

    (void)state;
    redis_await(r);
    assert_int_equal(redis_ping(wrong), RDS_DOWN);
    assert_non_null(strstr(rds_reason(wrong), "WRONGPASS"));
    assert_null(strstr(rds_reason(wrong), "geheim"));
    rds_free(wrong);
    rds_free(r);
}

static void after_a_failed_try_calls_do_not_connect(void **state)
{
    struct rds *r = redis_open("s3cret");
    ms now = clock_mono_ms();

    (void)state;
    redis_stop();
    clock_set(now, 0);
    assert_int_equal(redis_ping(r), RDS_DOWN);
    assert_int_equal(r->failed, 1);
    assert_in_range(r->next_try - now, 15, 20);
    assert_int_equal(redis_ping(r), RDS_DOWN);
    assert_int_equal(r->failed, 1);
    for (int i = 2; i < 12; i++) {
        now = r->next_try;
        clock_set(now, 0);
        assert_int_equal(redis_ping(r), RDS_DOWN);
        assert_int_equal(r->failed, i);
    }
    assert_in_range(r->next_try - now, 750, 1000);
    clock_unset();
    rds_free(r);
}

/* A command that has no answer until the deadline. */
static enum rds_result block(struct rds *r)
{
    struct rds_reply reply;

    return rds_call(r, WORDS(STR("BLPOP"), STR("none"), STR("0")),
                    clock_mono_ms() + 300, &redis.arena, &reply);
}

/* A server slower than its callers' deadlines is not dialled by each. */
static void connection_lost_at_its_first_call_is_a_failed_try(void **state)
{
    struct rds *r = redis_open("s3cret");
    enum rds_result second;
    int tries = 0;

    (void)state;
    do { /* in a pause of the machine there is no time to connect: again */
        assert_true(++tries < 20);
        redis_await(r);
        assert_int_equal(block(r), RDS_UNKNOWN);
        assert_int_equal(r->failed, 0);
        second = block(r);
    } while (second == RDS_DOWN);
    assert_int_equal(second, RDS_UNKNOWN);
    assert_int_equal(r->failed, 1);
    clock_set(r->next_try - 1, 0);
    assert_int_equal(redis_ping(r), RDS_DOWN);
    clock_unset();
    redis_await(r);
    assert_int_equal(r->failed, 0);
    rds_free(r);
}

/* How long a call of a stopped server lasts, at best: the machine may pause. */
static ms time_to_give_up(struct rds *r, ms deadline, ms enough)
{
    struct rds_reply reply;
    ms best = 20000;

    for (int i = 0; i < 20 && best > enough; i++) {
        ms start, took;

        redis_await(r);
        kill(redis.pid, SIGSTOP);
        start = clock_mono_ms();
        assert_int_equal(rds_call(r, WORDS(STR("INCR"), STR("n")),
                                  start + deadline, &redis.arena, &reply),
                         RDS_UNKNOWN);
        took = clock_mono_ms() - start;
        assert_true(took >= deadline);
        assert_null(r->conn);
        best = took < best ? took : best;
        assert_int_equal(rds_ping(r, clock_mono_ms() + 200), RDS_DOWN);
        kill(redis.pid, SIGCONT);
    }
    return best;
}

static void stopped_server_gives_unknown_in_time(void **state)
{
    struct rds *r = redis_open("s3cret");

    (void)state;
    assert_true(time_to_give_up(r, 50, 100) <= 100);
    assert_true(time_to_give_up(r, 200, 300) <= 300);
    redis_await(r);
    rds_free(r);
}

static void restarted_server_is_found_by_the_next_call(void **state)
{
    struct rds *r = redis_open("s3cret");
    struct rds *other = redis_open("s3cret");

    (void)state;
    redis_await(r);
    redis_stop();
    redis_start("--appendonly", "no");
    redis_await(other);
    assert_int_equal(redis_ping(r), RDS_OK);
    rds_free(other);
    rds_free(r);
}

static void evicting_policy_is_seen(void **state)
{
    struct rds *r = redis_open("s3cret");

    (void)state;
    redis_stop();
    redis_start("--maxmemory-policy", "allkeys-lru");
    redis_await(r);
    assert_true(rds_evicts(r));
    rds_free(r);
}

static void passed_deadline_sends_nothing(void **state)
{
    struct rds *r = redis_open("s3cret");

    (void)state;
    assert_int_equal(rds_ping(r, clock_mono_ms() - 1), RDS_DOWN);
    rds_free(r);
}

static void connection_is_not_used_across_fork(void **state)
{
    struct rds *r = redis_open("s3cret");
    int status;
    pid_t pid;

    (void)state;
    redis_await(r);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        _exit(redis_ping(r) == RDS_DOWN ? 0 : 1);
    waitpid(pid, &status, 0);
#ifdef ARENA_POISON
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 1);
#else
    assert_int_equal(status, 0);
#endif
    assert_int_equal(redis_ping(r), RDS_OK);
    rds_free(r);
}

static void words_and_replies_hold_any_bytes(void **state)
{
    struct rds *r = redis_open("s3cret");
    const str key = STR("k\0\r\n"), value = STR("\0a\xff\r\n$5\r\n");
    struct rds_reply reply;

    (void)state;
    redis_await(r);
    redis_do(r, WORDS(STR("SET"), key, value));
    redis_do(r, WORDS(STR("SET"), STR("k"), STR("other")));
    assert_int_equal(redis_ask(r, WORDS(STR("GET"), key), &reply), RDS_OK);
    assert_int_equal(reply.kind, RDS_TEXT);
    assert_true(str_eq(reply.text, value));
    redis_do(r, WORDS(STR("SET"), key, STR("")));
    assert_int_equal(redis_ask(r, WORDS(STR("GET"), key), &reply), RDS_OK);
    assert_int_equal(reply.kind, RDS_TEXT);
    assert_int_equal(reply.text.n, 0);
    rds_free(r);
}

static void reply_of_each_kind_is_read(void **state)
{
    struct rds *r = redis_open("s3cret");
    struct rds_reply reply;

    (void)state;
    redis_await(r);
    assert_int_equal(
        redis_ask(r,
                  WORDS(STR("EVAL"), STR("return {-7, {'a', {false}}, {}}"),
                        STR("0")),
                  &reply),
        RDS_OK);
    assert_int_equal(reply.kind, RDS_LIST);
    assert_int_equal(reply.items_n, 3);
    assert_int_equal(reply.items[0].kind, RDS_INT);
    assert_int_equal(reply.items[0].number, -7);
    assert_int_equal(reply.items[1].kind, RDS_LIST);
    assert_str(reply.items[1].items[0].text, "a");
    assert_int_equal(reply.items[1].items[1].items[0].kind, RDS_NIL);
    assert_int_equal(reply.items[2].kind, RDS_LIST);
    assert_int_equal(reply.items[2].items_n, 0);
    assert_int_equal(redis_ask(r, WORDS(STR("PING")), &reply), RDS_OK);
    assert_str(reply.text, "PONG");
    rds_free(r);
}

static void reply_that_cannot_be_told_is_unknown(void **state)
{
    static const char deep[] = "return {{{{1}}}}";
    struct rds *r = redis_open("s3cret");
    struct arena small;
    struct rds_reply reply;

    (void)state;
    redis_await(r);
    assert_int_equal(
        redis_ask(r, WORDS(STR("EVAL"), str_of(deep), STR("0")), &reply),
        RDS_UNKNOWN);
    arena_init(&small, 1);
    assert_int_equal(
        rds_call(r, WORDS(STR("PING")), clock_mono_ms() + 5000, &small, &reply),
        RDS_UNKNOWN);
    arena_done(&small);
    assert_int_equal(redis_ask(r, WORDS(STR("PING")), &reply), RDS_OK);
    rds_free(r);
}

static void refusal_is_told_by_its_first_word(void **state)
{
    struct rds *r = redis_open("s3cret");
    struct rds_reply reply;

    (void)state;
    redis_await(r);
    redis_do(r, WORDS(STR("SET"), STR("text"), STR("1")));
    assert_int_equal(
        redis_ask(r, WORDS(STR("HGET"), STR("text"), STR("f")), &reply),
        RDS_ERR);
    assert_true(rds_refused_with(r, STR("WRONGTYPE")));
    assert_false(rds_refused_with(r, STR("WRONG")));
    assert_int_equal(redis_ask(r, WORDS(STR("GET"), STR("text")), &reply),
                     RDS_OK);
    assert_str(reply.text, "1");
    rds_free(r);
}

static void server_without_memory_refuses(void **state)
{
    struct rds *r = redis_open("s3cret");
    struct rds_reply reply;

    (void)state;
    redis_await(r);
    redis_do(r, WORDS(STR("CONFIG"), STR("SET"), STR("maxmemory"), STR("1")));
    assert_int_equal(
        redis_ask(r, WORDS(STR("SET"), STR("a"), STR("1")), &reply), RDS_ERR);
    assert_true(rds_refused_with(r, STR("OOM")));
    rds_free(r);
}

static void late_reply_is_not_met(void **state)
{
    struct rds *r = redis_open("s3cret");
    struct rds_reply reply;

    (void)state;
    (void)time_to_give_up(r, 50, 20000);
    redis_await(r);
    assert_int_equal(redis_ask(r, WORDS(STR("ECHO"), STR("mine")), &reply),
                     RDS_OK);
    assert_str(reply.text, "mine");
    rds_free(r);
}

static void errors_and_reconnects_are_counted(void **state)
{
    struct rds *r = redis_open("s3cret");
    struct rds_reply reply;
    int64_t before;

    (void)state;
    assert_int_equal(
        metrics_setup(1, (struct metric_labels){0}, (struct metric_labels){0}),
        OK);
    metrics_join(0);
    redis_await(r);
    before = metrics_sum(METRIC_REDIS_ERRORS, 0);
    assert_int_equal(metrics_sum(METRIC_REDIS_RECONNECTS, 0), 0);
    assert_int_equal(redis_ask(r, WORDS(STR("NONSENSE")), &reply), RDS_ERR);
    assert_int_equal(metrics_sum(METRIC_REDIS_ERRORS, 0), before + 1);
    redis_stop();
    redis_start("--appendonly", "no");
    redis_await(r);
    assert_int_equal(metrics_sum(METRIC_REDIS_RECONNECTS, 0), 1);
    rds_free(r);
}

static void info_is_judged(void **state)
{
    static const struct {
        const char *info;
        enum rds_result want;
    } rows[] = {
        {"redis_version:7.0.15\r\nrole:master\r\n", RDS_OK},
        {"# S\r\nredis_version:10.1\r\nrole:master\r\nloading:0", RDS_OK},
        {"redis_version:6.2.1\r\nrole:master\r\n", RDS_DOWN},
        {"redis_version:7.0.15\r\nrole:slave\r\n", RDS_DOWN},
        {"redis_version:7.2\r\nrole:master\r\ncluster_enabled:1\r\n", RDS_DOWN},
        {"redis_version:7.2\r\nrole:master\r\nloading:1\r\n", RDS_DOWN},
        {"", RDS_DOWN},
    };
    struct rds *r = redis_open(NULL);

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(judge_info(r, str_of(rows[i].info)), rows[i].want);
    rds_free(r);
}

static void good_urls_are_cut_into_parts(void **state)
{
    static const struct {
        const char *url, *host, *path, *user, *password, *db;
        int port;
    } rows[] = {
        {"redis://h", "h", NULL, NULL, NULL, NULL, 6379},
        {"redis://h:1/", "h", NULL, NULL, NULL, NULL, 1},
        {"redis://u:p%40q@h:9/3", "h", NULL, "u", "p@q", "3", 9},
        {"redis://:p:@@[::1]:9/0", "::1", NULL, NULL, "p:@", "0", 9},
        {"redis://[::1]", "::1", NULL, NULL, NULL, NULL, 6379},
        {"unix:/a/b?db=2", NULL, "/a/b", NULL, NULL, "2", 0},
        {"unix:///a%20b", NULL, "/a b", NULL, NULL, NULL, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rds_target t = {.url = rows[i].url};
        struct rds *r = rds_new(&t);

        assert_non_null(r);
        assert_true(str_eq(str_of(r->target.host), str_of(rows[i].host)));
        assert_true(str_eq(str_of(r->target.path), str_of(rows[i].path)));
        assert_true(str_eq(str_of(r->target.username), str_of(rows[i].user)));
        assert_true(
            str_eq(str_of(r->target.password), str_of(rows[i].password)));
        assert_true(str_eq(str_of(r->target.db), str_of(rows[i].db)));
        assert_int_equal(r->target.port, rows[i].port);
        rds_free(r);
    }
}

static void bad_urls_are_refused(void **state)
{
    static const char *const urls[] = {
        "rediss://h",      "redis:h",      "redis://",       "redis://h:0",
        "redis://h:65536", "redis://h:x",  "redis://h/x",    "redis://[::1",
        "redis://[::1]x",  "unix:a",       "unix://a/b",     "unix:/a?x=1",
        "redis://%zz@h",   "redis://%00h", "unix:/a?db=abc", "h"};

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct rds_target t = {.url = urls[i]};

        assert_null(rds_new(&t));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(ping_of_a_server_is_answered),
        WITH_SERVER(wrong_password_is_down_with_a_reason),
        WITH_SERVER(after_a_failed_try_calls_do_not_connect),
        WITH_SERVER(connection_lost_at_its_first_call_is_a_failed_try),
        WITH_SERVER(stopped_server_gives_unknown_in_time),
        WITH_SERVER(restarted_server_is_found_by_the_next_call),
        WITH_SERVER(evicting_policy_is_seen),
        WITH_SERVER(passed_deadline_sends_nothing),
        WITH_SERVER(connection_is_not_used_across_fork),
        WITH_SERVER(words_and_replies_hold_any_bytes),
        WITH_SERVER(reply_of_each_kind_is_read),
        WITH_SERVER(reply_that_cannot_be_told_is_unknown),
        WITH_SERVER(refusal_is_told_by_its_first_word),
        WITH_SERVER(server_without_memory_refuses),
        WITH_SERVER(late_reply_is_not_met),
        WITH_SERVER(errors_and_reconnects_are_counted),
        cmocka_unit_test(info_is_judged),
        cmocka_unit_test(good_urls_are_cut_into_parts),
        cmocka_unit_test(bad_urls_are_refused),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
