#pragma once
/*
 * board - what the processes of a workers program tell each other: words and
 * slots in shared memory, 64-bit atomics, in this file only
 *
 *   board_new (supervisor, before the first fork)
 *
 * A slot belongs to a child that can hold a job, and has two places: the claim
 * just being sent and the job being finished in the same loop.
 *
 *   FREE --child begins--> IDLE <--> CLAIMING -> BUSY -> IDLE
 *     any --death (board_died)--> DEAD --given back (board_freed)--> FREE
 *
 * The child stores its token before it sends a claim, and clears the place only
 * after the finish was accepted or refused; so whatever a dead child may hold
 * is known by its token. Wake-ups are eventfds made before the fork.
 */
#include "lib/base/id.h"
#include "lib/data/job.h"

struct board;

enum board_state {
    BOARD_FREE, /* no child */
    BOARD_IDLE,
    BOARD_CLAIMING,
    BOARD_BUSY,
    BOARD_DEAD /* what it held is to be given back */
};

/* Slots are the supervisor's numbers of children. NULL without memory or
 * descriptors. */
struct board *board_new(int slots);

/* ---- words: written by the coordinator, read before each claim */

struct board_words {
    bool open; /* claims are allowed: MongoDB was read not long ago,
                * Redis is there where it is required */
    bool paused[QUEUE_N];
    bool draining;        /* the program stops: written by anybody who knows */
    int64_t cap[QUEUE_N]; /* in flight per subscriber */
    int share_index, share_n; /* of the fanout */
    ms clock_offset;          /* wall clock - MongoDB's */
};
void board_write(struct board *b, const struct board_words *w);
void board_read(const struct board *b, struct board_words *out);
void board_drain(struct board *b); /* only ever on */

/* ---- slots: by their child */

void board_begin(struct board *b, int slot, enum job_queue q);
void board_claiming(struct board *b, int slot, const char *token);
void board_busy(struct board *b, int slot);
void board_idle(struct board *b, int slot);

/* ---- by the supervisor, after waitpid: never blocks */
void board_died(struct board *b, int slot);

/* ---- by the coordinator */

struct board_dead {
    int slot;
    bool busy; /* it may have run the job: else it was claiming */
    char token[ID_TOKEN_MAX];
};
/* The next DEAD slot from `from` on; false: none. */
bool board_next_dead(const struct board *b, int from, struct board_dead *out);
void board_freed(struct board *b, int slot);

/* Children that live (any state but FREE and DEAD), those BUSY or CLAIMING. */
int board_live(const struct board *b);
int board_busy_n(const struct board *b);

/* ---- wake-ups: descriptors to poll; a read takes one */

int board_dead_fd(const struct board *b); /* coordinator: a child died */
int board_work_fd(
    const struct board *b);              /* idle workers: one is woken a poke */
void board_poke(struct board *b, int n); /* wakes n idle workers */
void board_take(int fd); /* takes one wake-up, if there is one */

/*
 * Only one idle worker of the program looks for work at a time: true for the
 * one whose turn it is, at most each `every` ms, until the next board_poke or
 * claim. Others sleep until *out_wait.
 */
bool board_may_look(struct board *b, ms now_boot, ms every, ms *out_wait);
