#pragma once
/*
 * receiver - a small HTTP server on loopback for looking at deliveries
 *
 *   receiver_open -> receiver_run (until the process ends)
 *
 * One thread serves up to RECEIVER_PEERS connections, kept open between
 * requests; one that is silent for RECEIVER_QUIET_MS is closed, and so is the
 * most silent one when another comes and there is no room. A POST with its
 * whole body is given to `take`, then answered with the status; anything else
 * is answered by what is wrong with it.
 */
#include "lib/base/buf.h"
#include "lib/base/str.h"

enum {
    RECEIVER_PEERS = 32,
    RECEIVER_QUIET_MS = 10000,
    RECEIVER_HEAD_MAX = 64 << 10 /* request line and headers */
};

struct received {
    str path;
    str head; /* header lines, each with its end */
    str body;
};

struct receiver_peer {
    int fd; /* below 0: free */
    struct buf in;
    size_t seen;   /* bytes without an end of the head */
    size_t head_n; /* of the request under way; 0: not known yet */
    size_t body_n;
    ms last; /* when bytes came */
};

struct receiver {
    uint16_t port;
    int status; /* of the answers */
    size_t body_max;
    void (*take)(void *arg, const struct received *r);
    void *arg;
    int listeners[2]; /* IPv4, IPv6; below 0: none */
    struct receiver_peer peers[RECEIVER_PEERS];
};

/* Of r's first members the rest is made. False with errno. */
bool receiver_open(struct receiver *r);

/* Returns only when it cannot go on, with errno. */
void receiver_run(struct receiver *r);

/* The value of the first header of that name, or "". */
str receiver_header(const struct received *r, str name);
