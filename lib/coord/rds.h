#pragma once
/*
 * rds - one connection to Redis, for one thread
 *
 *   rds_new -> { rds_call ... } -> rds_free
 *
 * Connects at first need and after a loss, by itself: a failed try is followed
 * by a wait of retry_ms, doubling to a second, in which calls give RDS_DOWN at
 * once. No call takes longer than its deadline, name look-up apart. Nothing is
 * reused after an input or output failure: the next reply would be the
 * previous one. Never across fork: a call in another process than the one that
 * connected gives RDS_DOWN (test builds abort).
 *
 * SIGPIPE has to be blocked or ignored by the program.
 */
#include "lib/base/arena.h"
#include "lib/coord/rds_target.h"

enum rds_result {
    RDS_OK,
    RDS_ERR,     /* Redis refused: the command was not done */
    RDS_UNKNOWN, /* sent, and no answer: done or not */
    RDS_DOWN     /* not sent, or Redis said that it cannot serve */
};

enum rds_kind {
    RDS_NIL,
    RDS_INT,
    RDS_TEXT, /* also a status */
    RDS_LIST
};

enum {
    RDS_WORDS_MAX = 512, /* of one command */
    RDS_DEPTH_MAX = 3    /* of lists in lists */
};

struct rds_reply {
    enum rds_kind kind;
    int64_t number;                /* RDS_INT */
    str text;                      /* RDS_TEXT: any bytes */
    const struct rds_reply *items; /* RDS_LIST */
    size_t items_n;
};

struct ctx;
struct rds;

/*
 * c->rds, made by the settings at first need. NULL in mode single, in which
 * Redis is never contacted, and without memory.
 */
struct rds *rds_find(struct ctx *c);

/*
 * Contacts nobody. NULL without memory and for a url that is none of a
 * target's. Borrows the texts of the target, url apart, until rds_free.
 */
struct rds *rds_new(const struct rds_target *target);
void rds_free(struct rds *r);

/*
 * One command: words of any bytes, at most RDS_WORDS_MAX. The reply lives in
 * the arena. One that does not fit there or nests deeper than RDS_DEPTH_MAX is
 * RDS_UNKNOWN: the command was done, and we cannot say with what outcome.
 * deadline_mono: of clock_mono_ms; command_ms bounds the wait as well.
 */
enum rds_result rds_call(struct rds *r, const str *words, size_t n,
                         ms deadline_mono, struct arena *a,
                         struct rds_reply *out);

/*
 * A command that waits in Redis (BLPOP, BZPOPMIN): sent now, its reply comes
 * some time, so that its caller can poll rds_fd() together with others. While
 * it is out the connection carries nothing else: its user has it for this
 * alone. RDS_OK: it is out.
 */
enum rds_result rds_wait_begin(struct rds *r, const str *words, size_t n,
                               ms deadline_mono);

enum rds_waited {
    RDS_WAIT_NONE, /* none is out */
    RDS_WAIT_OUT,  /* no reply yet */
    RDS_WAIT_OVER, /* *out is the reply: RDS_NIL when its time passed */
    RDS_WAIT_LOST  /* refused or lost: what it would have given may be gone */
};
/* Never blocks. */
enum rds_waited rds_wait_look(struct rds *r, struct arena *a,
                              struct rds_reply *out);

/* To poll for input while a wait is out; -1: none is. */
int rds_fd(const struct rds *r);

/*
 * Ends a wait by CLIENT UNBLOCK over another connection to the same server.
 * Afterwards none is out; RDS_WAIT_OVER: *out is what it had got before.
 * Redis does not let us: the connection is dropped.
 */
enum rds_waited rds_wait_end(struct rds *r, struct rds *by, ms deadline_mono,
                             struct arena *a, struct rds_reply *out);

enum rds_result rds_ping(struct rds *r, ms deadline_mono);

/* As the last connect found: keys may be evicted when memory is short. */
bool rds_evicts(const struct rds *r);

/* How often it has connected: another number, perhaps another server. */
unsigned rds_connected(const struct rds *r);

/* Why the last call was not RDS_OK: for logs, no secrets. Until the next. */
const char *rds_reason(const struct rds *r);

/* After RDS_ERR: is this the first word of what Redis said ("NOSCRIPT"). */
bool rds_refused_with(const struct rds *r, str word);
