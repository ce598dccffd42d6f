#pragma once
/*
 * worker - the common life of children that do jobs: handles, signals,
 * deadline, words of the board
 *
 *   worker_open -> { worker_wait -> work }* until worker_must_end
 *
 * On SIGTERM a running job goes on until SHUTDOWN_GRACE_MS - 5 s, a second
 * SIGTERM ends it at once (worker_must_abort).
 */
#include "lib/coord/board.h"
#include "lib/data/mongo.h"

struct roles_task;

struct worker {
    const struct conf *conf;
    struct board *board;
    int slot, signal_fd;
    struct mongo_pool *pool;
    struct ctx ctx;           /* of the unit of work */
    struct board_words words; /* as last read */
    bool stopping;
    ms abort_boot; /* when a running job must end; 0: not stopping */
};

/* False: the child cannot start; the log says why. */
bool worker_open(struct worker *w, const struct roles_task *task, int slot);

/* A fresh unit of work with a deadline. */
struct ctx *worker_begin(struct worker *w, ms most);

/* Sleeps until fd (or -1) is readable, a signal comes or the time is over; then
 * reads the words of the board. */
void worker_wait(struct worker *w, int fd, ms wait);

bool worker_must_end(const struct worker *w);
bool worker_must_abort(void *worker); /* reads signals, too */

/* The supervisor kills this child then (clock_boot_ms). */
void worker_deadline(const struct worker *w, ms boot);
