/* test_rds - the connection to a real redis-server on a unix socket */
#include "lib/coord/rds.c"

#include <limits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/unit/support.h"

enum {
    PATIENCE_MS = 10000
};

static char socket_path[PATH_MAX];
static char url[PATH_MAX + 16];
static pid_t server;

static struct rds *open_rds(const char *password)
{
    struct rds_target target = {.url = url,
                                .password = password,
                                .client_name = "unit",
                                .connect_ms = 300,
                                .command_ms = 300,
                                .retry_ms = 20,
                                .ready_check = true};
    struct rds *r = rds_new(&target);

    assert_non_null(r);
    return r;
}

static enum rds_result ping(struct rds *r)
{
    return rds_ping(r, clock_mono_ms() + 5000);
}

static void await_up(struct rds *r)
{
    ms end = clock_mono_ms() + PATIENCE_MS;

    while (ping(r) != RDS_OK) {
        if (clock_mono_ms() > end)
            fail_msg("%s", rds_reason(r));
        poll(NULL, 0, 10);
    }
}

static void exec_server(const char *name, const char *value)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket",
           socket_path, "--save", "", "--requirepass", "s3cret", "--loglevel",
           "warning", name, value, (char *)NULL);
    _exit(127);
}

static void start_server(const char *name, const char *value)
{
    ms end = clock_mono_ms() + PATIENCE_MS;

    fflush(NULL);
    server = fork();
    assert_true(server >= 0);
    if (server == 0)
        exec_server(name, value);
    while (access(socket_path, F_OK) != 0) {
        assert_true(clock_mono_ms() < end);
        poll(NULL, 0, 10);
    }
}

static void stop_server(void)
{
    if (server > 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    server = 0;
    unlink(socket_path);
}

static int setup(void **state)
{
    (void)state;
    stop_server();
    start_server("--appendonly", "no");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    stop_server();
    return 0;
}

static void ping_of_a_server_is_answered(void **state)
{
    struct rds *r = open_rds("s3cret");

    (void)state;
    await_up(r);
    assert_int_equal(ping(r), RDS_OK);
    assert_false(rds_evicts(r));
    rds_free(r);
}

static void wrong_password_is_down_with_a_reason(void **state)
{
    struct rds *r = open_rds("s3cret");
    struct rds *wrong = open_rds("geheim");

    (void)state;
    await_up(r);
    assert_int_equal(ping(wrong), RDS_DOWN);
    assert_non_null(strstr(rds_reason(wrong), "WRONGPASS"));
    assert_null(strstr(rds_reason(wrong), "geheim"));
    rds_free(wrong);
    rds_free(r);
}

static void after_a_failed_try_calls_do_not_connect(void **state)
{
    struct rds *r = open_rds("s3cret");
    ms now = clock_mono_ms();

    (void)state;
    stop_server();
    clock_set(now, 0);
    assert_int_equal(ping(r), RDS_DOWN);
    assert_int_equal(r->failed, 1);
    assert_in_range(r->next_try - now, 15, 20);
    assert_int_equal(ping(r), RDS_DOWN);
    assert_int_equal(r->failed, 1);
    for (int i = 2; i < 12; i++) {
        now = r->next_try;
        clock_set(now, 0);
        assert_int_equal(ping(r), RDS_DOWN);
        assert_int_equal(r->failed, i);
    }
    assert_in_range(r->next_try - now, 750, 1000);
    clock_unset();
    rds_free(r);
}

static void stopped_server_gives_unknown_in_time(void **state)
{
    struct rds *r = open_rds("s3cret");
    ms start;

    (void)state;
    await_up(r);
    kill(server, SIGSTOP);
    start = clock_mono_ms();
    assert_int_equal(rds_ping(r, start + 200), RDS_UNKNOWN);
    assert_in_range(clock_mono_ms() - start, 200, 1000);
    assert_null(r->conn);
    assert_int_equal(rds_ping(r, clock_mono_ms() + 200), RDS_DOWN);
    kill(server, SIGCONT);
    await_up(r);
    rds_free(r);
}

static void restarted_server_is_found_by_the_next_call(void **state)
{
    struct rds *r = open_rds("s3cret");
    struct rds *other = open_rds("s3cret");

    (void)state;
    await_up(r);
    stop_server();
    start_server("--appendonly", "no");
    await_up(other);
    assert_int_equal(ping(r), RDS_OK);
    rds_free(other);
    rds_free(r);
}

static void evicting_policy_is_seen(void **state)
{
    struct rds *r = open_rds("s3cret");

    (void)state;
    stop_server();
    start_server("--maxmemory-policy", "allkeys-lru");
    await_up(r);
    assert_true(rds_evicts(r));
    rds_free(r);
}

static void passed_deadline_sends_nothing(void **state)
{
    struct rds *r = open_rds("s3cret");

    (void)state;
    assert_int_equal(rds_ping(r, clock_mono_ms() - 1), RDS_DOWN);
    rds_free(r);
}

static void connection_is_not_used_across_fork(void **state)
{
    struct rds *r = open_rds("s3cret");
    int status;
    pid_t pid;

    (void)state;
    await_up(r);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        _exit(ping(r) == RDS_DOWN ? 0 : 1);
    waitpid(pid, &status, 0);
#ifdef ARENA_POISON
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 1);
#else
    assert_int_equal(status, 0);
#endif
    assert_int_equal(ping(r), RDS_OK);
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
    struct rds *r = open_rds(NULL);

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
        assert_true(str_eq(str_of(r->path), str_of(rows[i].path)));
        assert_true(str_eq(str_of(r->target.username), str_of(rows[i].user)));
        assert_true(
            str_eq(str_of(r->target.password), str_of(rows[i].password)));
        assert_true(str_eq(str_of(r->db), str_of(rows[i].db)));
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

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(ping_of_a_server_is_answered),
        WITH_SERVER(wrong_password_is_down_with_a_reason),
        WITH_SERVER(after_a_failed_try_calls_do_not_connect),
        WITH_SERVER(stopped_server_gives_unknown_in_time),
        WITH_SERVER(restarted_server_is_found_by_the_next_call),
        WITH_SERVER(evicting_policy_is_seen),
        WITH_SERVER(passed_deadline_sends_nothing),
        WITH_SERVER(connection_is_not_used_across_fork),
        cmocka_unit_test(info_is_judged),
        cmocka_unit_test(good_urls_are_cut_into_parts),
        cmocka_unit_test(bad_urls_are_refused),
    };
    char folder[PATH_MAX - 32];

    signal(SIGPIPE, SIG_IGN);
    if (!getcwd(folder, sizeof folder))
        return 1;
    snprintf(socket_path, sizeof socket_path, "%s/redis.sock", folder);
    snprintf(url, sizeof url, "unix:%s?db=2", socket_path);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
