#pragma once
/*
 * http_world - a client of http.h, and `peer`: an HTTP server of the test
 * program's own, in a thread, on a free port of 127.0.0.1; included by one
 * program
 *
 *   peer_start -> { peer_script(what to do with a request) }* -> peer_stop
 *
 * A script writes what it likes to the connection and says whether another
 * request may come on it. What stands in `peer` is read after the exchange.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <sys/socket.h>

#include "lib/run/http.h"
#include "tests/unit/support.h"

/* False: the connection is closed. */
typedef bool (*peer_act)(int fd);

static struct peer {
    int listener;
    uint16_t port;
    pthread_t thread;
    _Atomic(peer_act) act;
    atomic_int connections, requests;
    atomic_bool ends; /* what hangs lets go */
    char head[32768]; /* of the last request, with NUL */
    size_t body_n;    /* bytes of its body that came */
    char body[1024];  /* the first of them */
} peer;

/* All, or as much as goes; false when the client has left. */
static bool peer_say(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        struct pollfd p = {fd, POLLOUT, 0};
        ssize_t done = send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (done > 0) {
            bytes += done;
            n -= (size_t)done;
        } else if (atomic_load(&peer.ends) ||
                   (poll(&p, 1, 20) > 0 && p.revents & (POLLERR | POLLHUP))) {
            return false;
        }
    }
    return true;
}

static bool peer_text(int fd, const char *z)
{
    return peer_say(fd, z, strlen(z));
}

/* Until the client leaves or the test lets go. */
__attribute__((unused)) static bool peer_hang(int fd)
{
    struct pollfd p = {fd, POLLRDHUP, 0};

    while (!atomic_load(&peer.ends) && poll(&p, 1, 20) == 0)
        ;
    return false;
}

__attribute__((unused)) static void peer_cut(int fd)
{
    const struct linger now = {1, 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

/* A request with its body; false at the end of the connection. */
static bool peer_read(int fd)
{
    size_t n = 0, length = 0;
    char *end = NULL, *at;

    while (!end) {
        ssize_t got = recv(fd, peer.head + n, sizeof peer.head - 1 - n, 0);

        if (got <= 0)
            return false;
        n += (size_t)got;
        peer.head[n] = '\0';
        if (peer.head[0] == 0x16) /* TLS */
            return peer_text(fd, "HTTP/1.1 400 Plain\r\n\r\n") && false;
        end = strstr(peer.head, "\r\n\r\n");
    }
    at = strstr(peer.head, "Content-Length: ");
    if (at)
        length = strtoul(at + 16, NULL, 10);
    end += 4;
    peer.body_n = n - (size_t)(end - peer.head);
    memcpy(peer.body, end,
           peer.body_n < sizeof peer.body ? peer.body_n : sizeof peer.body);
    *end = '\0';
    while (peer.body_n < length) {
        char more[8192];
        ssize_t got = recv(fd, more, sizeof more, 0);

        if (got <= 0)
            return false;
        if (peer.body_n == 0)
            memcpy(peer.body, more,
                   (size_t)got < sizeof peer.body ? (size_t)got
                                                  : sizeof peer.body);
        peer.body_n += (size_t)got;
    }
    return true;
}

static void *peer_connection(void *arg)
{
    int fd = (int)(intptr_t)arg;

    while (peer_read(fd)) {
        peer_act act = atomic_load(&peer.act);

        atomic_fetch_add(&peer.requests, 1);
        if (!act(fd))
            break;
    }
    close(fd);
    return NULL;
}

static void *peer_serve(void *arg)
{
    (void)arg;
    for (;;) {
        int fd = accept(peer.listener, NULL, NULL);
        pthread_t thread;

        if (fd < 0)
            return NULL;
        atomic_fetch_add(&peer.connections, 1);
        if (pthread_create(&thread, NULL, peer_connection,
                           (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
    }
}

static bool peer_ok(int fd)
{
    return peer_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
}

/* From now on; counts begin anew. */
static void peer_script(peer_act act)
{
    atomic_store(&peer.act, act);
    atomic_store(&peer.connections, 0);
    atomic_store(&peer.requests, 0);
    atomic_store(&peer.ends, false);
    peer.head[0] = '\0';
}

static void peer_start(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof a;

    peer_script(peer_ok);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(peer.listener, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(peer.listener, 64), 0);
    assert_int_equal(getsockname(peer.listener, (struct sockaddr *)&a, &n), 0);
    peer.port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&peer.thread, NULL, peer_serve, NULL), 0);
}

static void peer_stop(void)
{
    atomic_store(&peer.ends, true);
    shutdown(peer.listener, SHUT_RDWR);
    pthread_join(peer.thread, NULL);
    close(peer.listener);
}

static struct conf conf;
static struct egress egress;
static struct http *http;
static char url[256];
static struct http_request request;
static struct http_answer answer;

/* Loopback is allowed; a new client; one request to the peer. */
static int fresh(void **state)
{
    struct ctx *c = *state;

    http_free(http);
    ctx_reset(c);
    assert_true(addr_ranges_parse(STR("127.0.0.0/8, ::1"), &c->arena,
                                  &conf.webhook_allow_cidrs));
    egress_init(&egress, &conf);
    http = http_new(&egress, false);
    assert_non_null(http);
    peer_script(peer_ok);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/hook", peer.port);
    request = (struct http_request){
        .url = str_of(url),
        .key = STR("webhook"),
        .body = STR("{\"event\":\"test\"}"),
        .connect_ms = 8000,
        .total_ms = 10000,
        .stop_fd = -1,
    };
    return 0;
}

/* base and the peer's port */
__attribute__((unused)) static void post_to(const char *base)
{
    snprintf(url, sizeof url, "%s:%d/", base, peer.port);
    request.url = str_of(url);
    http_post(http, &request, &answer);
}

static enum http_outcome post(peer_act act)
{
    peer_script(act);
    http_post(http, &request, &answer);
    return answer.outcome;
}

static void status_is(int want)
{
    assert_int_equal(answer.outcome, HTTP_ANSWERED);
    assert_int_equal(answer.status, want);
}

static void class_is(const char *want)
{
    const char *got = http_error_class(&answer);

    assert_non_null(got);
    assert_string_equal(got, want);
}

static int start(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    peer_start();
    return support_setup(state);
}

static int end(void **state)
{
    http_free(http);
    peer_stop();
    return support_teardown(state);
}

#define CASE(test) cmocka_unit_test_setup(test, fresh)
