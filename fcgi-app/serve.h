#pragma once
/*
 * serve - one serving process: an epoll set shared by its threads
 *
 *   accept -> armed -> (readable) handed to libfcgi -> reply -> armed | closed
 *
 * The listen socket is in the set with EPOLLEXCLUSIVE, connections with
 * EPOLLONESHOT: whoever takes an event arms or closes the connection on every
 * path. Idle kept connections cost no thread. All signals are blocked in all
 * threads; the main one waits for SIGTERM and drains.
 */
struct conf;

struct serve_task {
    const struct conf *conf;
    int listen_fd; /* non-blocking, stays open in the supervisor */
};

/* Clients of MongoDB that a child has at most. */
int serve_clients(const struct conf *conf);

/* The entry of a child; gives its exit code. */
int serve_run(void *task, int slot);
