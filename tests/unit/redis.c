/* redis - see redis.h */
#include "tests/unit/redis.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"

enum {
    PATIENCE_MS = 10000
};

static char socket_path[PATH_MAX];
static char url[PATH_MAX + 16];
struct redis redis;

struct rds *redis_open(const char *password)
{
    struct rds_target target = {.url = url,
                                .password = password,
                                .client_name = "unit",
                                .connect_ms = PATIENCE_MS,
                                .command_ms = PATIENCE_MS,
                                .retry_ms = 20,
                                .ready_check = true};
    struct rds *r = rds_new(&target);

    assert_non_null(r);
    return r;
}

enum rds_result redis_ping(struct rds *r)
{
    return rds_ping(r, clock_mono_ms() + 5000);
}

void redis_await(struct rds *r)
{
    ms end = clock_mono_ms() + PATIENCE_MS;

    while (redis_ping(r) != RDS_OK) {
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

void redis_start(const char *name, const char *value)
{
    ms end = clock_mono_ms() + PATIENCE_MS;

    fflush(NULL);
    redis.pid = fork();
    assert_true(redis.pid >= 0);
    if (redis.pid == 0)
        exec_server(name, value);
    while (access(socket_path, F_OK) != 0) {
        assert_true(clock_mono_ms() < end);
        poll(NULL, 0, 10);
    }
}

void redis_stop(void)
{
    if (redis.pid > 0) {
        kill(redis.pid, SIGKILL);
        waitpid(redis.pid, NULL, 0);
    }
    redis.pid = 0;
    unlink(socket_path);
}

int redis_begin(void **state)
{
    (void)state;
    redis_stop();
    redis_start("--appendonly", "no");
    return 0;
}

int redis_end(void **state)
{
    (void)state;
    redis_stop();
    arena_reset(&redis.arena);
    return 0;
}

enum rds_result redis_ask(struct rds *r, const str *words, size_t n,
                          struct rds_reply *out)
{
    return rds_call(r, words, n, clock_mono_ms() + PATIENCE_MS, &redis.arena,
                    out);
}

void redis_do(struct rds *r, const str *words, size_t n)
{
    struct rds_reply reply;

    if (rds_call(r, words, n, clock_mono_ms() + PATIENCE_MS, &redis.arena,
                 &reply) != RDS_OK)
        fail_msg("%s", rds_reason(r));
}

str redis_snapshot(struct rds *r)
{
    static const char all[] =
        "local keys, out = redis.call('KEYS', '*'), {} "
        "table.sort(keys) "
        "for i, key in ipairs(keys) do "
        "  out[i] = key .. redis.call('DUMP', key) .. "
        "           string.format('%.0f', redis.call('PEXPIRETIME', key)) "
        "end return table.concat(out, '|')";
    struct rds_reply reply;

    if (rds_call(r, WORDS(STR("EVAL"), str_of(all), STR("0")),
                 clock_mono_ms() + PATIENCE_MS, &redis.arena, &reply) != RDS_OK)
        fail_msg("%s", rds_reason(r));
    return reply.text;
}

void redis_setup(void)
{
    char folder[PATH_MAX - 32];

    signal(SIGPIPE, SIG_IGN);
    arena_init(&redis.arena, 1 << 20);
    if (!getcwd(folder, sizeof folder))
        _exit(1);
    snprintf(socket_path, sizeof socket_path, "%s/redis.sock", folder);
    snprintf(url, sizeof url, "unix:%s?db=2", socket_path);
    redis.url = url;
}
