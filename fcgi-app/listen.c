/* listen - see listen.h */
#include "fcgi-app/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/conf.h"
#include "lib/base/str.h"

static int say(const char *where, const char *what)
{
    fprintf(stderr, "fcgi-app: FCGI_LISTEN %s: %s\n", where, what);
    return -1;
}

static bool is_listening(int fd)
{
    int on = 0;
    socklen_t n = sizeof on;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &n) == 0 && on;
}

/* 0 is libfcgi's and everybody's stdin: moved away, /dev/null in its place. */
static int take_inherited(void)
{
    int fd, null;

    if (!is_listening(0))
        return say("fd:0", "descriptor 0 is not a listening socket");
    fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
    null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || null < 0)
        return say("fd:0", strerrordesc_np(errno));
    dup2(null, 0);
    close(null);
    return fd;
}

/* A name left by a dead server refuses connections: it may go. */
static bool remove_stale(const struct sockaddr_un *a)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool stale = fd >= 0 &&
                 connect(fd, (const struct sockaddr *)a, sizeof *a) != 0 &&
                 errno == ECONNREFUSED;

    if (fd >= 0)
        close(fd);
    return stale && unlink(a->sun_path) == 0;
}

static int open_unix(const struct conf *conf, const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int bound;

    if (fd < 0)
        return say(path, strerrordesc_np(errno));
    memcpy(a.sun_path, path, strnlen(path, sizeof a.sun_path - 1));
    bound = bind(fd, (struct sockaddr *)&a, sizeof a);
    if (bound != 0 && errno == EADDRINUSE && remove_stale(&a))
        bound = bind(fd, (struct sockaddr *)&a, sizeof a);
    if (bound == 0 && chmod(path, (mode_t)conf->fcgi_socket_mode) == 0)
        return fd;
    say(path, errno == EADDRINUSE ? "another server listens there"
              : errno == ENOENT   ? "its folder does not exist"
                                  : strerrordesc_np(errno));
    close(fd);
    return -1;
}

static int bind_first(const struct addrinfo *list)
{
    int on = 1;

    for (; list; list = list->ai_next) {
        int fd = socket(list->ai_family,
                        list->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, list->ai_addr, list->ai_addrlen) == 0)
            return fd;
        close(fd);
    }
    return -1;
}

static int open_tcp(const char *where)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE};
    struct addrinfo *list;
    char host[256];
    const char *colon = strrchr(where, ':');
    size_t n = colon ? (size_t)(colon - where) : 0;
    int fd, e;

    if (!colon || n >= sizeof host)
        return say(where, "expected HOST:PORT");
    memcpy(host, where, n);
    host[n] = '\0';
    if (n > 1 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        memmove(host, host + 1, n - 1);
    }
    e = getaddrinfo(host, colon + 1, &hints, &list);
    if (e != 0)
        return say(where, gai_strerror(e));
    fd = bind_first(list);
    if (fd < 0)
        say(where, strerrordesc_np(errno));
    freeaddrinfo(list);
    return fd;
}

int listen_open(const struct conf *conf)
{
    const char *where = conf->fcgi_listen;
    int fd;

    if ((!conf->fcgi_listen_set && is_listening(0)) ||
        strcmp(where, "fd:0") == 0)
        fd = take_inherited();
    else if (strncmp(where, "unix:", 5) == 0)
        fd = open_unix(conf, where + 5);
    else
        fd = open_tcp(strncmp(where, "tcp:", 4) == 0 ? where + 4 : where);
    if (fd < 0)
        return -1;
    if (listen(fd, (int)conf->fcgi_backlog) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        close(fd);
        return say(where, strerrordesc_np(errno));
    }
    return fd;
}

void listen_close(const struct conf *conf, int fd)
{
    struct sockaddr_un a;
    socklen_t n = sizeof a;

    if (strncmp(conf->fcgi_listen, "unix:", 5) == 0 &&
        getsockname(fd, (struct sockaddr *)&a, &n) == 0 &&
        a.sun_family == AF_UNIX &&
        strcmp(a.sun_path, conf->fcgi_listen + 5) == 0)
        unlink(a.sun_path);
    close(fd);
}
