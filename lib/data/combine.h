#pragma once
/*
 * combine - operations of several threads that share one command
 *
 *   combine_begin -> lead: run op and all that hang on op->next, combine_end
 *                 -> follow: another thread has run it
 *
 * Few operations at a time lead all, each alone. Beyond twice `leaders_max` of
 * them, one that finds `leaders_max` commands under way waits for one of these
 * to end, half a millisecond at most; whoever leads next takes all that wait
 * with the same key along. So few are as fast as ever, and many cost MongoDB
 * and us a fraction each ("group commit", DeWitt et al., SIGMOD 1984). The
 * lock is held for a few lines, never across I/O.
 */
#include <pthread.h>
#include <semaphore.h>

#include "lib/base/str.h"

/* First member of an operation; lives on its thread's stack. */
struct combine_op {
    const char *key;         /* only equal keys share a command */
    struct combine_op *next; /* of a leader's: those that it takes along */
    int state;
    sem_t woken;
};

struct combine {
    pthread_mutex_t lock;
    struct combine_op *waiting, **last; /* in order of arrival */
    int leaders, leaders_max;
    int under_way;   /* operations whose command has not ended */
    int64_t wait_ns; /* half a millisecond; may be changed before use */
};

void combine_init(struct combine *k, int leaders_max);

/* True: the caller leads and calls combine_end(), whatever happens. */
bool combine_begin(struct combine *k, struct combine_op *op);

/* Wakes those taken along, whose results are set, and the next leader. */
void combine_end(struct combine *k, struct combine_op *op);
