#pragma once
/*
 * relay - a process between a test and its Redis that can lose replies: the
 * script is done, then the connection is cut
 *
 *   int main: redis_setup(); relay_setup();
 *      relay_begin(c) -> { relay.lose->left = n; .. } -> relay_end()
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/mongod.h"
#include "tests/unit/redis.h"

struct losses {
    int left;      /* so many more */
    char word[32]; /* of scripts with this word */
};

static struct {
    pid_t pid;
    struct losses *lose; /* shared */
    char url[sizeof(struct sockaddr_un) + 16];
} relay;

static inline struct sockaddr_un relay_address(const char *path, size_t n)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    assert_true(n < sizeof a.sun_path);
    memcpy(a.sun_path, path, n);
    return a;
}

static inline bool relay_pass(int from, int to, bool *script)
{
    char bytes[8192];
    ssize_t n = read(from, bytes, sizeof bytes);

    if (n <= 0)
        return false;
    if (script && memmem(bytes, (size_t)n, "EVAL", 4) &&
        memmem(bytes, (size_t)n, relay.lose->word, strlen(relay.lose->word)))
        *script = true;
    return write(to, bytes, (size_t)n) == n;
}

static inline bool relay_lost(bool script)
{
    return script && relay.lose->left > 0 && relay.lose->left--;
}

static inline void relay_serve(int client, int server)
{
    struct pollfd p[2] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    bool script = false;

    while (poll(p, 2, -1) > 0) {
        if (p[1].revents &&
            (relay_lost(script) || !relay_pass(server, client, NULL)))
            break;
        if (p[1].revents)
            script = false;
        if (p[0].revents && !relay_pass(client, server, &script))
            break;
    }
    close(client);
    close(server);
}

static inline void relay_run(int listener, const struct sockaddr_un *redis_at)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        int server = socket(AF_UNIX, SOCK_STREAM, 0);

        if (connect(server, (const struct sockaddr *)redis_at,
                    sizeof *redis_at) == 0)
            relay_serve(client, server);
    }
}

/* Whoever connects by the settings from now on; one connection at a time. */
static inline void relay_begin(struct ctx *c)
{
    str url = str_of(redis.url), path = str_from(url, strlen("unix:"));
    struct sockaddr_un redis_at, own;
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    redis_at = relay_address(path.p, str_find(path, '?', 0));
    own = relay_address("relay.sock", strlen("relay.sock"));
    unlink(own.sun_path);
    assert_int_equal(bind(listener, (struct sockaddr *)&own, sizeof own), 0);
    assert_int_equal(listen(listener, 8), 0);
    *relay.lose = (struct losses){0, ""};
    fflush(NULL);
    relay.pid = fork();
    if (relay.pid == 0)
        relay_run(listener, &redis_at);
    close(listener);
    rds_free(c->rds);
    c->rds = NULL;
    assert_non_null(getcwd(own.sun_path, sizeof own.sun_path));
    snprintf(relay.url, sizeof relay.url, "unix:%.80s/relay.sock?db=2",
             own.sun_path);
    mongod.conf->redis_url = relay.url;
}

static inline void relay_end(void)
{
    kill(relay.pid, SIGKILL);
    waitpid(relay.pid, NULL, 0);
}

static inline void relay_setup(void)
{
    relay.lose = mmap(NULL, sizeof *relay.lose, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (relay.lose == MAP_FAILED)
        abort();
}
