#pragma once
/*
 * board - what the processes of a workers program tell each other: words and
 * slots in shared memory, 64-bit atomics, in this file only
 *
 *   board_new (supervisor, before the first fork)
 *
 * A slot belongs to a child that can hold a job:
 *
 *   FREE --board_begin--> IDLE <--> CLAIMING -> BUSY -> IDLE
 *     ^                                           |
 *     +------------- death (board_died) ----------+
 *
 * The child stores its token before it sends a claim, and clears it only after
 * the finish was accepted or refused. A finish that the index is told together
 * with the next claim is put aside (board_untold), so a slot has room for two
 * tokens: that one stays until board_told(). So whatever a dead child may hold
 * is known by its tokens, which board_died() takes down before the slot is free
 * for the next child; the coordinator gives it back by that. Wake-ups are
 * eventfds and a timer, made before the fork.
 */
#include "lib/base/id.h"
#include "lib/coord/dataset.h"
#include "lib/data/job.h"

struct board;

/* Slots are the supervisor's numbers of children. NULL without memory or
 * descriptors. */
struct board *board_new(int slots);
void board_free(struct board *b);

/* ---- words: written by the coordinator, read before each claim */

enum {
    BOARD_FRESH_MS = 800 /* words older than that allow no claim: a pause that
                          * was answered is obeyed by all 1 s later */
};

struct board_words {
    bool open; /* claims are allowed: read as false when the words are old */
    bool paused[QUEUE_N];
    /* whose index in Redis may be used from here; "": none */
    char dataset[DATASET_ID_MAX];
    bool draining;        /* the program stops: written by anybody who knows */
    bool transactions;    /* MongoDB has them */
    int64_t cap[QUEUE_N]; /* in flight per subscriber */
    int share_index, share_n; /* of the fanout; {0, 1} before the first view */
    ms clock_offset;          /* wall clock - MongoDB's */
    ms seen_boot; /* when the view was read that they come from; 0: none yet,
                   * MongoDB may not be prepared */
};
/* Leaves draining on where it is. */
void board_write(struct board *b, const struct board_words *w);
void board_read(const struct board *b, struct board_words *out);
void board_drain(struct board *b);

/* By a coordinator that starts: only the one before it was asked to end, or it
 * would not have been started. */
void board_undrain(struct board *b);

/* ---- slots: by their child */

void board_begin(struct board *b, int slot);
void board_claiming(struct board *b, int slot, const char *token);
void board_busy(struct board *b, int slot); /* the job may have begun */
void board_idle(struct board *b, int slot);
/* Idle, but the finish is not known yet wherever it has to be ... */
void board_untold(struct board *b, int slot);
/* ... until now. */
void board_told(struct board *b, int slot);

/* ---- by the supervisor, after waitpid: never blocks */
void board_died(struct board *b, int slot);

/* ---- by the coordinator */

/* What a dead child may have held; two of them for one that left two tokens. */
struct board_dead {
    int at;    /* its place, until board_freed() */
    bool busy; /* it may have run the job: else it was claiming */
    char token[ID_TOKEN_MAX];
};
/* The next one from place `from` on; false: none. */
bool board_next_dead(const struct board *b, int from, struct board_dead *out);
void board_freed(struct board *b, int at);
/* All places are below it. */
int board_places(const struct board *b);
/* The same for slots whose child lives and may hold something. */
bool board_next_live(const struct board *b, int from, struct board_dead *out);

/* Children that began and live; those that are CLAIMING or BUSY. */
int board_live(const struct board *b);
int board_busy_n(const struct board *b);

/* ---- wake-ups: descriptors to poll */

int board_dead_fd(const struct board *b); /* coordinator: a child died */
int board_work_fd(const struct board *b); /* idle workers: there is work */
/* Wakes n workers that are not busy, or all of them; wake-ups that wait to be
 * taken are never more than that. */
void board_poke(struct board *b, int n);
/* Takes one wake-up of work, all of deaths; false: there is none. */
bool board_take(int fd);

/*
 * Only one idle worker of the program looks for work at a time: true for the
 * one whose turn it is, at most each `every` ms. Others sleep until *out_wait,
 * or a wake-up.
 */
bool board_may_look(struct board *b, ms now_boot, ms every, ms *out_wait);

/* Something may become due then: the next turn is no later, and those who sleep
 * already are woken for it. */
void board_look_by(struct board *b, ms boot);

/* Idle workers poll it: whoever finds it readable takes it and asks
 * board_may_look(). */
int board_timer_fd(const struct board *b);
