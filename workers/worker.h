#pragma once
/*
 * worker - the common life of children that do work: handles, signals,
 * deadline, words of the board
 *
 *   worker_open -> { worker_wait -> worker_tidy -> worker_begin -> work }*
 *   until worker_must_end
 *
 * On SIGTERM what runs goes on until SHUTDOWN_GRACE_MS - 5 s, a second SIGTERM
 * ends it at once (worker_must_abort).
 */
#include "lib/coord/board.h"
#include "lib/data/mongo.h"

struct roles_task;

enum {
    WORKER_CLIENTS = 1, /* of MongoDB */
    WORKER_FDS_MAX = 4
};

struct worker {
    const struct conf *conf;
    struct board *board;
    int slot, signal_fd;
    struct mongo_pool *pool;
    struct ctx ctx;           /* of the unit of work */
    struct board_words words; /* as last read */
    bool stopping;
    ms abort_boot; /* when what runs must end; meaningful while stopping */
};

/* False: the child cannot start; the log says why. Else it is ready (proc.h).
 */
bool worker_open(struct worker *w, const struct roles_task *task, int slot);

/* A fresh unit of work with a deadline; its c->index is the word of the board.
 */
struct ctx *worker_begin(struct worker *w, ms most);

/* Between two units of work: ends what a child before has left open. */
void worker_tidy(struct worker *w);

/* Sleeps until fd (or -1) is readable, a signal comes or the time is over; then
 * reads signals and the words of the board. */
void worker_wait(struct worker *w, int fd, ms wait);

/* The same for n of them (-1: none); gives the bits of those that are readable
 * or at their end. */
unsigned worker_wait_for(struct worker *w, const int *fds, int n, ms wait);

bool worker_must_end(const struct worker *w);
bool worker_must_abort(void *worker); /* reads signals, too */

/* The supervisor kills this child then (clock_boot_ms); 0: never. */
void worker_deadline(const struct worker *w, ms boot);
