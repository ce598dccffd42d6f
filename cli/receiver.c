/* receiver - see receiver.h */
#include "cli/receiver.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <netinet/in.h>
#include <sys/socket.h>

#include "lib/base/clock.h"

enum {
    READ_BYTES = 16 << 10
};

static int listen_at(int family, const void *addr, socklen_t n)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1, e;

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, addr, n) == 0 && listen(fd, 128) == 0)
        return fd;
    e = errno;
    close(fd);
    errno = e;
    return -1;
}

bool receiver_open(struct receiver *r)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(r->port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                              .sin6_port = htons(r->port)};

    v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    v6.sin6_addr = in6addr_loopback;
    for (size_t i = 0; i < RECEIVER_PEERS; i++)
        r->peers[i].fd = -1;
    r->listeners[0] = listen_at(AF_INET, &v4, sizeof v4);
    if (r->listeners[0] < 0)
        return false;
    r->listeners[1] = listen_at(AF_INET6, &v6, sizeof v6);
    /* a machine may have no IPv6 */
    return r->listeners[1] >= 0 || errno != EADDRINUSE;
}

static void peer_close(struct receiver_peer *p)
{
    close(p->fd);
    buf_done(&p->in);
    p->fd = -1;
}

/* A free place, or that of the most silent one. */
static struct receiver_peer *place(struct receiver *r)
{
    struct receiver_peer *quiet = &r->peers[0];

    for (size_t i = 0; i < RECEIVER_PEERS; i++) {
        if (r->peers[i].fd < 0)
            return &r->peers[i];
        if (r->peers[i].last < quiet->last)
            quiet = &r->peers[i];
    }
    peer_close(quiet);
    return quiet;
}

static void peer_accept(struct receiver *r, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct receiver_peer *p;

    if (fd < 0)
        return;
    p = place(r);
    *p = (struct receiver_peer){.fd = fd, .last = clock_mono_ms()};
    buf_init(&p->in, RECEIVER_HEAD_MAX + r->body_max + 1, ERR_BODY_TOO_LARGE);
}

static const char *phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } rows[] = {
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {410, "Gone"},
        {411, "Length Required"},
        {413, "Payload Too Large"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == status)
            return rows[i].phrase;
    return "Status";
}

/* False: the connection is closed, as asked or because nothing fits. */
static bool answer(const struct receiver_peer *p, int status, bool keep)
{
    char text[256];
    bool bare = status == 204 || status == 304;
    int n = snprintf(text, sizeof text, "HTTP/1.1 %d %s\r\n%s%s\r\n", status,
                     phrase(status), bare ? "" : "Content-Length: 0\r\n",
                     keep ? "" : "Connection: close\r\n");

    return send(p->fd, text, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) == n &&
           keep;
}

str receiver_header(const struct received *r, str name)
{
    str rest = r->head, line, key;

    while (str_cut(&rest, '\n', &line))
        if (str_cut(&line, ':', &key) && line.p && str_eq_nocase(key, name))
            return str_trim(line);
    return STR("");
}

/* Request line and headers of p, as far as they are known. */
static struct received head_of(const struct receiver_peer *p, str *out_method,
                               str *out_version)
{
    str rest = str_head(buf_str(&p->in), p->head_n), line;
    struct received r = {STR(""), STR(""), STR("")};

    *out_method = *out_version = STR("");
    if (!str_cut(&rest, '\n', &line))
        return r;
    r.head = rest.p ? rest : STR("");
    line = str_trim(line);
    if (str_cut(&line, ' ', out_method) && line.p &&
        str_cut(&line, ' ', &r.path) && line.p)
        *out_version = line;
    return r;
}

/* Learns the length of the body; 0, or the status of a refusal. */
static int judge_head(const struct receiver *r, struct receiver_peer *p)
{
    str method, version, length;
    struct received got = head_of(p, &method, &version);
    int64_t n = 0;

    if (!str_starts(version, STR("HTTP/1.")) || !str_starts(got.path, STR("/")))
        return 400;
    if (!str_eq(method, STR("POST")))
        return 405;
    length = receiver_header(&got, STR("Content-Length"));
    if (receiver_header(&got, STR("Transfer-Encoding")).n > 0 || length.n == 0)
        return 411;
    if (!str_is_digits(length) || !str_to_i64(length, &n))
        return 400;
    if (n > (int64_t)r->body_max)
        return 413;
    p->body_n = (size_t)n;
    if (p->in.n == p->head_n && n > 0 &&
        str_eq_nocase(receiver_header(&got, STR("Expect")),
                      STR("100-continue")))
        (void)send(p->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25,
                   MSG_NOSIGNAL | MSG_DONTWAIT);
    return 0;
}

/* A whole request is at the front; true: there may be another behind it. */
static bool take_request(struct receiver *r, struct receiver_peer *p)
{
    str method, version;
    struct received got = head_of(p, &method, &version);
    size_t n = p->head_n + p->body_n;
    bool keep =
        str_eq(version, STR("HTTP/1.1")) &&
        !str_eq_nocase(receiver_header(&got, STR("Connection")), STR("close"));

    got.body = str_from(str_head(buf_str(&p->in), n), p->head_n);
    r->take(r->arg, &got);
    keep = answer(p, r->status, keep);
    memmove(p->in.p, p->in.p + n, p->in.n - n);
    p->in.n -= n;
    p->head_n = p->seen = 0;
    return keep;
}

static bool find_head(struct receiver_peer *p)
{
    size_t from = p->seen > 3 ? p->seen - 3 : 0;
    size_t at = str_find_str(str_from(buf_str(&p->in), from), STR("\r\n\r\n"));

    p->seen = p->in.n;
    if (at != SIZE_MAX)
        p->head_n = from + at + 4;
    return at != SIZE_MAX;
}

/* All that has come; false: the connection ends. */
static bool serve_peer(struct receiver *r, struct receiver_peer *p)
{
    while (p->in.n > 0) {
        if (p->head_n == 0) {
            int refusal = find_head(p) ? judge_head(r, p) : 0;

            if (refusal)
                return answer(p, refusal, false);
            if (p->head_n > RECEIVER_HEAD_MAX ||
                (p->head_n == 0 && p->in.n > RECEIVER_HEAD_MAX))
                return answer(p, 431, false);
        }
        if (p->head_n == 0 || p->in.n < p->head_n + p->body_n)
            return true;
        if (!take_request(r, p))
            return false;
    }
    return true;
}

static void peer_read(struct receiver *r, struct receiver_peer *p)
{
    size_t left = p->in.max - p->in.n;
    size_t want = left < READ_BYTES ? left : READ_BYTES;
    char *to = buf_room(&p->in, want);
    ssize_t n = to ? recv(p->fd, to, want, 0) : 0;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0) {
        p->in.n += (size_t)n;
        p->last = clock_mono_ms();
    }
    if (n <= 0 || !serve_peer(r, p))
        peer_close(p);
}

void receiver_run(struct receiver *r)
{
    struct pollfd fds[2 + RECEIVER_PEERS];

    for (;;) {
        ms now;

        for (int i = 0; i < 2; i++)
            fds[i] = (struct pollfd){r->listeners[i], POLLIN, 0};
        for (int i = 0; i < RECEIVER_PEERS; i++)
            fds[2 + i] = (struct pollfd){r->peers[i].fd, POLLIN, 0};
        if (poll(fds, 2 + RECEIVER_PEERS, 1000) < 0 && errno != EINTR)
            return;
        now = clock_mono_ms();
        for (int i = 0; i < RECEIVER_PEERS; i++) {
            struct receiver_peer *p = &r->peers[i];

            if (p->fd >= 0 && fds[2 + i].revents)
                peer_read(r, p);
            else if (p->fd >= 0 && now - p->last > RECEIVER_QUIET_MS)
                peer_close(p);
        }
        for (int i = 0; i < 2; i++)
            if (r->listeners[i] >= 0 && fds[i].revents)
                peer_accept(r, r->listeners[i]);
    }
}
