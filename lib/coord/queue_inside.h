#pragma once
/*
 * queue_inside - what the files of the queue share: queue.c (claims),
 * queue_rows.c (moves of one row), queue_recover.c, queue_admin.c (many rows,
 * pause), queue_list.c; mongo_queue.c, mongo_charge.c and mongo_hold.c (the
 * claim path)
 *
 * A row moves by one command that decides by $$NOW in an update pipeline.
 */
#include "lib/coord/mongo_queue.h"
#include "lib/data/mongo.h"

#define QUEUE_JOBS   "_jobs"
#define QUEUE_LIMITS "_limits"

/* Expressions for BCON. */
#define QUEUE_NOW_AND(span)                                                    \
    "{", "$add", "[", "$$NOW", BCON_INT64(span), "]", "}"
#define QUEUE_PLUS(path, n) "{", "$add", "[", path, BCON_INT64(n), "]", "}"

/*
 * A write that the primary alone has done. What is lost with it is done again
 * by who comes next: a delivery of the same id. (Since MongoDB 5 the server's
 * default is majority, and a wait for its journal.)
 */
MUST_CHECK enum err queue_write(struct ctx *c, bson_t *cmd, bson_t **out_reply);

/* What has no limits and no turn: the test of a webhook. */
bool queue_is_test(str lim);

/* Appends a text that is not ended by a NUL. */
void queue_append_text(bson_t *to, const char *name, str s);

/* A text as an expression, even when it begins with '$'. NULL: no memory. */
bson_t *queue_literal(struct ctx *c, str s);

/* A whole number, date or text of a row; 0 or "" when it is none. */
int64_t queue_number(const bson_t *row, const char *name);
str queue_text(const bson_t *row, const char *name);

/* Rows of a terminal state are kept so long. */
ms queue_retention_ms(const struct conf *conf, enum job_state st, bool once);

/* Appends the members that a row gets with its end, for a stage $set. */
void queue_append_end(bson_t *set, const struct conf *conf, enum job_state st,
                      bool once, const char *reason);

/* ---- moves of one row (queue_rows.c) */

enum start_result {
    START_OK,
    START_GONE, /* ended, or no more there; or it ended by this call */
    START_WAIT, /* not due, or somebody has it: *out_wait_ms */
    START_UNKNOWN
};

struct start {
    const char *token;
    ms lease_ms;
    const bson_t *row; /* OK: as it is now */
    ms wait_ms;        /* WAIT */
};
enum start_result queue_start(struct ctx *c, const struct candidate *job,
                              struct start *inout);

/* Ends a row that waits, or whose lease is over, as cancelled. */
MUST_CHECK enum err queue_cancel_row(struct ctx *c, str id, bool once);

/* Takes the lease off, no attempt; the row waits at least wait_ms more. */
MUST_CHECK enum err queue_return_row(struct ctx *c, str id, str token,
                                     ms wait_ms);

/* A change of the row while the token has it. */
struct queue_move {
    str id, token;
    const bson_t *pipeline;
    bool kept; /* by a majority: what comes next rests on it */
};
/* *out_n 0: the token has it not. */
MUST_CHECK enum err queue_change_held(struct ctx *c, const struct queue_move *m,
                                      int64_t *out_n);

/* Sets, and unsets lease and `enq` or, as the row ends, `open`. NULL: no
 * memory. */
const bson_t *queue_pipeline(struct ctx *c, const bson_t *set, bool ends);

/* Without the body; *out NULL: there is none. */
MUST_CHECK enum err queue_find_by(struct ctx *c, const bson_t *filter,
                                  const bson_t **out);
MUST_CHECK enum err queue_find_row(struct ctx *c, str id, const bson_t **out);

MUST_CHECK enum err queue_count_rows(struct ctx *c, const bson_t *filter,
                                     int64_t *out);

/* ---- the claim path */

/* The row of a subscriber in `_limits`; NULL: no memory. */
const char *queue_limits_id(struct ctx *c, enum job_queue q, str lim);

/* Who holds the charge of a token: *out_lim (a NUL behind), and the rows of
 * which one was to be started; false in *out_found: nobody. */
MUST_CHECK enum err mongo_queue_find_charge(struct ctx *c, str token,
                                            str *out_lim, bson_t *out_ids,
                                            bool *out_found);
