/* test_hiredis - its time-outs, reconnects and limits, over a real server */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "lib/base/clock.h"
#include "tests/unit/support.h"

enum {
    PATIENCE_MS = 10000,
    NESTING_MAX = 7 /* of arrays within the outermost */
};

static char folder[] = "/tmp/sfXXXXXX";
static char socket_path[PATH_MAX];
static pid_t server;

static void exec_server(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!freopen("/dev/null", "w", stdout))
        _exit(126);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket",
           socket_path, "--save", "", "--dir", folder, "--loglevel", "warning",
           (char *)NULL);
    _exit(127);
}

static int start_server(void **state)
{
    ms end = clock_mono_ms() + PATIENCE_MS;
    redisContext *c = NULL;

    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(socket_path, sizeof socket_path, "%s/redis.sock", folder);
    fflush(NULL);
    server = fork();
    if (server == 0)
        exec_server();
    do {
        redisFree(c);
        poll(NULL, 0, 10);
        c = redisConnectUnix(socket_path);
    } while (c && c->err && clock_mono_ms() < end);
    redisFree(c);
    return server > 0 ? 0 : -1;
}

static int stop_server(void **state)
{
    (void)state;
    if (server > 0) {
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
    }
    unlink(socket_path);
    return rmdir(folder);
}

static redisContext *connect_with(int timeout_ms)
{
    struct timeval t = {timeout_ms / 1000, timeout_ms % 1000 * 1000};
    redisContext *c = redisConnectUnix(socket_path);

    assert_non_null(c);
    assert_int_equal(c->err, 0);
    assert_int_equal(redisSetTimeout(c, t), REDIS_OK);
    return c;
}

static void clear_error(redisContext *c)
{
    c->err = 0;
    c->errstr[0] = '\0';
}

static long receive_timeout(const redisContext *c)
{
    struct timeval t;
    socklen_t n = sizeof t;

    assert_int_equal(getsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, &n), 0);
    return t.tv_sec;
}

static void p18_reconnect_drops_timeouts(void **state)
{
    int (*again)(redisContext *) = redisReconnect; /* else banned */
    redisContext *c = connect_with(7000);

    (void)state;
    assert_int_equal(receive_timeout(c), 7);
    assert_int_equal(again(c), REDIS_OK);
    assert_int_equal(receive_timeout(c), 0);
    redisFree(c);
}

static void p19_cleared_timeout_reads_the_previous_reply(void **state)
{
    struct timeval longer = {.tv_sec = PATIENCE_MS / 1000};
    redisContext *c = connect_with(50);
    redisContext *other = connect_with(PATIENCE_MS);
    redisReply *r;

    (void)state;
    assert_null(redisCommand(c, "BLPOP p19 0"));
    assert_int_equal(c->err, REDIS_ERR_IO);
    assert_null(redisCommand(c, "PING"));
    freeReplyObject(redisCommand(other, "RPUSH p19 late"));
    clear_error(c);
    redisSetTimeout(c, longer);
    r = redisCommand(c, "PING");
    assert_non_null(r);
    assert_int_equal(r->type, REDIS_REPLY_ARRAY);
    assert_string_equal(r->element[1]->str, "late");
    freeReplyObject(r);
    redisFree(c);
    redisFree(other);
}

static void on_alarm(int sig)
{
    (void)sig;
}

static void p20_signals_restart_the_receive_timeout(void **state)
{
    struct sigaction a = {.sa_handler = on_alarm};
    struct itimerval often = {{0, 50000}, {0, 50000}}, never = {{0}, {0}};
    redisContext *c = connect_with(300);
    ms start = clock_mono_ms();
    redisReply *r;

    (void)state;
    sigaction(SIGALRM, &a, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    r = redisCommand(c, "BLPOP p20 1");
    setitimer(ITIMER_REAL, &never, NULL);
    signal(SIGALRM, SIG_DFL);
    assert_non_null(r);
    assert_int_equal(r->type, REDIS_REPLY_NIL);
    assert_true(clock_mono_ms() - start >= 900);
    freeReplyObject(r);
    redisFree(c);
}

static void p20_socket_is_not_close_on_exec(void **state)
{
    redisContext *c = connect_with(1000);

    (void)state;
    assert_int_equal(fcntl(c->fd, F_GETFD) & FD_CLOEXEC, 0);
    redisFree(c);
}

static int read_nested(int depth)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    int got;

    for (int i = 0; i < depth; i++)
        redisReaderFeed(reader, "*1\r\n", 4);
    redisReaderFeed(reader, ":1\r\n", 4);
    got = redisReaderGetReply(reader, &reply);
    if (reply)
        freeReplyObject(reply);
    redisReaderFree(reader);
    return got;
}

static void p20_deep_nesting_is_an_error(void **state)
{
    (void)state;
    assert_int_equal(read_nested(1 + NESTING_MAX), REDIS_OK);
    assert_int_equal(read_nested(2 + NESTING_MAX), REDIS_ERR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p18_reconnect_drops_timeouts),
        cmocka_unit_test(p19_cleared_timeout_reads_the_previous_reply),
        cmocka_unit_test(p20_signals_restart_the_receive_timeout),
        cmocka_unit_test(p20_socket_is_not_close_on_exec),
        cmocka_unit_test(p20_deep_nesting_is_an_error),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
