/* test_linux - what the kernel does with sockets, epoll and dying parents */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "tests/unit/support.h"

enum {
    PATIENCE_MS = 5000,
    BUFFERED_BYTES = 72 * 1024
};

/* An abstract name: nothing is left in the file system. */
static int listen_unix(int backlog, struct sockaddr_un *out, socklen_t *out_n)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    *out_n = sizeof(sa_family_t);
    assert_int_equal(bind(fd, (struct sockaddr *)out, *out_n), 0);
    assert_int_equal(listen(fd, backlog), 0);
    *out_n = sizeof *out;
    assert_int_equal(getsockname(fd, (struct sockaddr *)out, out_n), 0);
    return fd;
}

static int listen_tcp(struct sockaddr_in *out)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    socklen_t n = sizeof *out;

    *out = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(bind(fd, (struct sockaddr *)out, sizeof *out), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)out, &n), 0);
    return fd;
}

/* The receive timeout of what a listener with one of 7 s accepts. */
static long accepted_timeout(int family, int listener, const void *to,
                             socklen_t to_n)
{
    struct timeval t = {.tv_sec = 7};
    socklen_t n = sizeof t;
    int near = socket(family, SOCK_STREAM, 0);
    int far;

    setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    assert_int_equal(connect(near, to, to_n), 0);
    far = accept(listener, NULL, NULL);
    assert_true(far >= 0);
    assert_int_equal(getsockopt(far, SOL_SOCKET, SO_RCVTIMEO, &t, &n), 0);
    close(near);
    close(far);
    close(listener);
    return t.tv_sec;
}

static void p10_epollexclusive_with_oneshot_is_einval(void **state)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT};
    int ep = epoll_create1(0), p[2];

    (void)state;
    assert_int_equal(pipe(p), 0);
    assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e), -1);
    assert_int_equal(errno, EINVAL);
    close(ep);
    close(p[0]);
    close(p[1]);
}

static void p10_modifying_an_epollexclusive_is_einval(void **state)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLEXCLUSIVE};
    int ep = epoll_create1(0), p[2];

    (void)state;
    assert_int_equal(pipe(p), 0);
    assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e), 0);
    e.events = EPOLLIN;
    assert_int_equal(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e), -1);
    assert_int_equal(errno, EINVAL);
    close(ep);
    close(p[0]);
    close(p[1]);
}

static void p11_unix_listener_keeps_its_rcvtimeo(void **state)
{
    struct sockaddr_un a;
    socklen_t n;
    int fd = listen_unix(8, &a, &n);

    (void)state;
    assert_int_equal(accepted_timeout(AF_UNIX, fd, &a, n), 0);
}

static void p11_tcp_listener_passes_its_rcvtimeo_on(void **state)
{
    struct sockaddr_in a;
    int fd = listen_tcp(&a);

    (void)state;
    assert_int_equal(accepted_timeout(AF_INET, fd, &a, sizeof a), 7);
}

static void p11_full_unix_backlog_is_an_instant_eagain(void **state)
{
    struct sockaddr_un a;
    socklen_t n;
    int listener = listen_unix(1, &a, &n);
    int fds[8], fds_n = 0, e = 0;
    ms start = clock_mono_ms();

    (void)state;
    while (fds_n < 8 && e == 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

        fds[fds_n++] = fd;
        if (connect(fd, (struct sockaddr *)&a, n) != 0)
            e = errno;
    }
    assert_int_equal(e, EAGAIN);
    assert_true(clock_mono_ms() - start < 10000);
    while (fds_n > 0)
        close(fds[--fds_n]);
    close(listener);
}

struct reading {
    int fd;
    int tid_pipe[2];
    ssize_t got;
};

static void *read_blocked(void *arg)
{
    struct reading *r = arg;
    pid_t tid = gettid();
    char byte;

    if (write(r->tid_pipe[1], &tid, sizeof tid) != sizeof tid)
        return NULL;
    r->got = read(r->fd, &byte, 1);
    return NULL;
}

static bool sleeps(pid_t tid)
{
    char path[64], line[256] = "";
    const char *paren;
    FILE *f;

    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    f = fopen(path, "r");
    if (!f)
        return false;
    if (!fgets(line, sizeof line, f))
        line[0] = '\0';
    fclose(f);
    paren = strrchr(line, ')');
    return paren && paren[1] == ' ' && paren[2] == 'S';
}

static void p11_shutdown_ends_a_read_in_another_thread(void **state)
{
    struct reading r = {.got = -2};
    struct timespec until;
    ms end = clock_mono_ms() + PATIENCE_MS;
    pthread_t t;
    pid_t tid;
    int s[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
    assert_int_equal(pipe(r.tid_pipe), 0);
    r.fd = s[0];
    assert_int_equal(pthread_create(&t, NULL, read_blocked, &r), 0);
    assert_int_equal(read(r.tid_pipe[0], &tid, sizeof tid), sizeof tid);
    while (!sleeps(tid) && clock_mono_ms() < end)
        poll(NULL, 0, 1);
    assert_int_equal(r.got, -2);
    assert_int_equal(shutdown(s[0], SHUT_RDWR), 0);
    until = (struct timespec){end / 1000 + 1, 0};
    assert_int_equal(pthread_clockjoin_np(t, NULL, CLOCK_MONOTONIC, &until), 0);
    assert_int_equal(r.got, 0);
    close(s[0]);
    close(s[1]);
    close(r.tid_pipe[0]);
    close(r.tid_pipe[1]);
}

static void p11_shutdown_wakes_an_armed_one_shot(void **state)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT};
    int ep = epoll_create1(0), s[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
    assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, s[0], &e), 0);
    assert_int_equal(epoll_wait(ep, &e, 1, 0), 0);
    assert_int_equal(shutdown(s[0], SHUT_RDWR), 0);
    assert_int_equal(epoll_wait(ep, &e, 1, PATIENCE_MS), 1);
    close(ep);
    close(s[0]);
    close(s[1]);
}

static void p11_peek_sees_all_that_a_unix_stream_buffers(void **state)
{
    static char bytes[BUFFERED_BYTES], seen[BUFFERED_BYTES];
    int s[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
    assert_int_equal(send(s[0], bytes, sizeof bytes, MSG_DONTWAIT),
                     sizeof bytes);
    assert_int_equal(recv(s[1], seen, sizeof seen, MSG_PEEK | MSG_DONTWAIT),
                     sizeof seen);
    assert_int_equal(recv(s[1], seen, sizeof seen, MSG_DONTWAIT), sizeof seen);
    close(s[0]);
    close(s[1]);
}

/* Ends when its child is ready; the process lives on. */
static void *fork_and_end(void *arg)
{
    pid_t *out = arg;
    char byte;
    int p[2];

    if (pipe(p) != 0)
        return NULL;
    *out = fork();
    if (*out == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (write(p[1], "", 1) == 1)
            poll(NULL, 0, PATIENCE_MS);
        _exit(0);
    }
    if (read(p[0], &byte, 1) != 1)
        *out = -1;
    close(p[0]);
    close(p[1]);
    return NULL;
}

static void p12_pdeathsig_follows_the_parent_thread(void **state)
{
    pthread_t t;
    pid_t child = -1;
    int status;

    (void)state;
    assert_int_equal(pthread_create(&t, NULL, fork_and_end, &child), 0);
    pthread_join(t, NULL);
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p10_epollexclusive_with_oneshot_is_einval),
        cmocka_unit_test(p10_modifying_an_epollexclusive_is_einval),
        cmocka_unit_test(p11_unix_listener_keeps_its_rcvtimeo),
        cmocka_unit_test(p11_tcp_listener_passes_its_rcvtimeo_on),
        cmocka_unit_test(p11_full_unix_backlog_is_an_instant_eagain),
        cmocka_unit_test(p11_shutdown_ends_a_read_in_another_thread),
        cmocka_unit_test(p11_shutdown_wakes_an_armed_one_shot),
        cmocka_unit_test(p11_peek_sees_all_that_a_unix_stream_buffers),
        cmocka_unit_test(p12_pdeathsig_follows_the_parent_thread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
