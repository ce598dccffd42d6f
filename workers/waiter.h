#pragma once
/*
 * waiter - a blocking pop in Redis that a worker polls together with the rest
 *
 *   waiter_init -> { waiter_begin -> poll waiter_fd -> waiter_look }*
 *               -> waiter_end, whenever what it may pop is not wanted
 *
 * It has a connection of its own, made at first need. A pop that is lost (the
 * connection, the server, a key of another type, which is removed) is begun
 * again after 100 ms; one whose reply is overdue is given up likewise.
 */
#include "lib/coord/rds.h"

struct ctx;

enum {
    WAITER_AGAIN_MS = 100,   /* after a loss */
    WAITER_BEYOND_MS = 2000, /* its time: a reply later than that is none */
    WAITER_BEGIN_MS = 500,
    WAITER_END_MS = 200
};

/* The words of a pop of this many seconds, and where its key stands. NULL
 * without memory. */
typedef const str *(*waiter_words)(struct ctx *c, int seconds, size_t *out_n,
                                   size_t *out_key);

struct waiter {
    waiter_words words;
    int seconds;
    struct rds *rds;
    ms again_boot; /* not before */
    ms late_boot;  /* of the one that is out */
};

void waiter_init(struct waiter *w, waiter_words words, int seconds);

/* One is out afterwards, if Redis can be reached. */
void waiter_begin(struct waiter *w, struct ctx *c);

/* To poll for input; -1: none is out. */
int waiter_fd(const struct waiter *w);

/* False: nothing was popped. It is over then unless it still has time. */
bool waiter_look(struct waiter *w, struct ctx *c, struct rds_reply *out);

/* None is out afterwards. True: it had popped this before; RDS_NIL: it was cut
 * off, and what it may have popped is lost. By c->rds. */
bool waiter_end(struct waiter *w, struct ctx *c, struct rds_reply *out);
