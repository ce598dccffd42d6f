/*
 * trivial SOCKET THREADS BYTES - the least a FastCGI program can do: threads
 * that block in FCGX_Accept_r() and answer everything with the same body of
 * BYTES letters. `make bench` holds /health against it, behind the same web
 * server with the same configuration. Ended by a signal.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include <fcgiapp.h>

#include "lib/base/str.h"

enum {
    BACKLOG = 1024,
    THREADS_MAX = 256,
    BODY_MAX = 8192,
};

static int listen_fd;
static char reply[BODY_MAX + 256];
static int reply_n;

static void make_reply(int body_n)
{
    reply_n = snprintf(reply, sizeof reply,
                       "Status: 200 OK\r\nContent-Type: application/json\r\n"
                       "Content-Length: %d\r\n\r\n",
                       body_n);
    memset(reply + reply_n, 'x', (size_t)body_n);
    reply_n += body_n;
}

static void *serve(void *arg)
{
    FCGX_Request r;

    FCGX_InitRequest(&r, listen_fd, 0);
    while (FCGX_Accept_r(&r) >= 0)
        FCGX_PutStr(reply, reply_n, r.out);
    return arg;
}

int main(int argc, char **argv)
{
    int64_t threads, bytes;
    pthread_t id;

    if (argc != 4 || !str_to_i64(str_of(argv[2]), &threads) ||
        !str_to_i64(str_of(argv[3]), &bytes) || threads < 1 ||
        threads > THREADS_MAX || bytes < 0 || bytes > BODY_MAX) {
        fputs("usage: trivial SOCKET THREADS BYTES\n", stderr);
        return 2;
    }
    FCGX_Init();
    make_reply((int)bytes);
    listen_fd = FCGX_OpenSocket(argv[1], BACKLOG);
    for (int64_t i = 1; listen_fd >= 0 && i < threads; i++)
        if (pthread_create(&id, NULL, serve, NULL) != 0)
            return 1;
    if (listen_fd >= 0)
        serve(NULL);
    return 1;
}
