#pragma once
/*
 * fanout_rows - rows of `_jobs` for events, inserted in few commands
 *
 *   fanout_rows_init -> { fanout_rows_add (an event) }* -> fanout_rows_end
 *      -> fanout_rows_done
 *
 * Rows are sent in the order of the events, FANOUT_ROWS_MAX or
 * FANOUT_BYTES_MAX at a time, with write concern majority; one that is there
 * already is as good as inserted. Then the index (c->index) is told of them;
 * what it did not take, and what is there with nobody to tell, loses `enq`.
 * What became of an event says its fate, after fanout_rows_end().
 *
 * Redis takes a second of all of this at most: after a call in vain it is not
 * asked again, and rows are made without `enq`.
 */
#include "lib/coord/fanout.h"

enum fanout_fate {
    FANOUT_KEPT,   /* nothing is known of its rows: come again */
    FANOUT_DONE,   /* all its rows are kept by a majority */
    FANOUT_REFUSED /* a row of it cannot be made, or MongoDB takes it never */
};

/* One event of a batch. */
struct fanout_item {
    struct event event;
    enum fanout_fate fate;
};

enum {
    FANOUT_ROWS_MAX = 1000,
    FANOUT_INDEX_MS = 1000 /* of waiting for Redis */
};

/* What became of a row of a command. */
enum fanout_row {
    FANOUT_ROW_MADE,
    FANOUT_ROW_THERE, /* somebody has made it before */
    FANOUT_ROW_NONE
};

struct fanout_rows {
    struct ctx *c;
    const struct subs *subs;
    struct fanout_item *items;
    struct ctx one; /* of the row that is being made */
    bson_t cmd, list;
    size_t owner[FANOUT_ROWS_MAX];        /* the item of each row in cmd */
    unsigned char state[FANOUT_ROWS_MAX]; /* enum fanout_row */
    const char *index; /* that is told; "": none, or not any more */
    ms index_ms;       /* left to wait for it */
    size_t n, bytes;   /* in cmd */
    enum err err;      /* of a command in vain: it was the last */
    int64_t made;      /* rows that are new */
};

void fanout_rows_init(struct fanout_rows *r, struct ctx *c,
                      const struct subs *subs, struct fanout_item *items);
void fanout_rows_done(struct fanout_rows *r);

/* The rows of items[i]. After a failure no more may be added. */
MUST_CHECK enum err fanout_rows_add(struct fanout_rows *r, size_t i);

/* Sends what is left. */
MUST_CHECK enum err fanout_rows_end(struct fanout_rows *r);
