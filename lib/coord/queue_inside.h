#pragma once
/*
 * queue_inside - what the files of the queue share: queue.c (the calls of
 * workers), queue_rows.c and queue_order.c (moves of one row), queue_turns.c
 * and queue_index.c (the claim paths), queue_recover.c, queue_admin.c (many
 * rows, pause), queue_list.c; mongo_queue.c, mongo_charge.c and mongo_hold.c
 * (what the path through MongoDB asks)
 *
 * A row moves by one command that decides by $$NOW in an update pipeline.
 */
#include "lib/coord/mongo_queue.h"
#include "lib/coord/tally.h"
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
    bool leased;       /* WAIT: because somebody has it */
};
enum start_result queue_start(struct ctx *c, const struct candidate *job,
                              struct start *inout);

/* Ends a row that waits, or whose lease is over, as cancelled. */
MUST_CHECK enum err queue_cancel_row(struct ctx *c, str id, bool once);

/* Takes the lease off, no attempt; the row waits at least wait_ms more.
 * listed: the index in Redis keeps it, or is told. */
MUST_CHECK enum err queue_return_row(struct ctx *c, str id, str token,
                                     ms wait_ms, bool listed);

/* LATE: the token has it no more, and has not finished it before. */
enum finish_result queue_finish_row(struct ctx *c, const struct claim *cl,
                                    const struct job_result *r);

/* The state that a verdict leads to. */
enum job_state queue_state_after(enum job_verdict v, bool once);

/* Not known as listed any more: the sweep lists it again. */
MUST_CHECK enum err queue_unlist_row(struct ctx *c, str id);

/* A change of the row while the token has it, which loses its lease by it. */
struct queue_move {
    str id, token;
    const bson_t *set; /* expressions of new members */
    const char *unset; /* one more that goes: `open` as the row ends, `enq`
                        * unless it stays listed; NULL: none */
    bool kept;         /* by a majority: what comes next rests on it */
};
/* *out_n 0: the token has it not. */
MUST_CHECK enum err queue_change_held(struct ctx *c, const struct queue_move *m,
                                      int64_t *out_n);

/* Without the body; *out NULL: there is none. */
MUST_CHECK enum err queue_find_by(struct ctx *c, const bson_t *filter,
                                  const bson_t **out);
MUST_CHECK enum err queue_find_row(struct ctx *c, str id, const bson_t **out);

MUST_CHECK enum err queue_count_rows(struct ctx *c, const bson_t *filter,
                                     int64_t *out);

/* What a row of a group must wait for (queue_order.c). */
struct blocker {
    bool any;
    const bson_t *older; /* NULL: a younger one that runs already */
};
/*
 * All older ones are there or have ended before a row is: only a replay brings
 * one back beside a newer one that runs. To be asked after the lease was taken,
 * so that of two such one sees the other.
 */
MUST_CHECK enum err queue_find_blocker(struct ctx *c, const struct job *job,
                                       str token, struct blocker *out);

/* ---- the claim paths
 *
 *   find -> start of the row -> started | left       (again, for some turns)
 *   settle, when it is over
 *
 * Rows are moved by queue.c alone, the same way for both. A path says which row
 * may run, has its limits charged, and hears what became of that.
 */

enum {
    QUEUE_ORDER_MS = 200 /* a row that must wait for another one */
};

enum turn {
    TURN_GOT,
    TURN_NEXT,  /* look for another one */
    TURN_AGAIN, /* another row under the same charge: try to start that */
    TURN_NONE,
    TURN_AWAY,
    TURN_UNKNOWN
};

/* One claim. */
struct claim_path;
struct turns {
    const struct claim_path *path;
    struct claimant *k;
    const struct subs *subs;
    struct claim *out;
    size_t tried;  /* rows under one charge that somebody else had */
    int losses;    /* charges for nothing */
    int64_t limit; /* of the subscriber as the index knows it .. */
    ms window_ms;  /* .. in this window */
    ms wait_ms;    /* of the index, until it may know of one */
};

/* Why a row that was found did not start, or must not go on. */
enum left_why {
    LEFT_GONE,   /* it has ended */
    LEFT_WAIT,   /* not due, or somebody has it */
    LEFT_BEHIND, /* another one of its group comes first */
    LEFT_WRONG,  /* it is not what the path takes it for */
    LEFT_REFUSED /* MongoDB will not start it */
};
struct left {
    enum left_why why;
    ms wait_ms;          /* WAIT */
    bool leased;         /* WAIT: because somebody has it */
    const bson_t *older; /* BEHIND: that one, or NULL */
};

struct claim_path {
    bool lists; /* the rows it gives are listed in the index */
    void (*begin)(struct turns *t);
    /* A row that may run, charged, t->out->target and granted_boot filled. */
    enum turn (*find)(struct ctx *c, struct turns *t, struct candidate *out);
    void (*started)(struct ctx *c, struct turns *t,
                    const struct candidate *job);
    /* Nobody has the row by the token (any more): the charge is undone. */
    enum turn (*left)(struct ctx *c, struct turns *t, struct candidate *job,
                      const struct left *why);
    /* After NEXT and NONE: until it is worth to look again. */
    ms (*wait)(const struct turns *t);
    /* r: NULL it was given back. */
    enum err (*settle)(struct ctx *c, struct claimant *k,
                       const struct claim *cl, const struct job_result *r);
};
extern const struct claim_path queue_by_rows;  /* queue_turns.c */
extern const struct claim_path queue_by_index; /* queue_index.c */

/* The server has answered, but will not do it. */
bool queue_is_refused(const struct ctx *c);

/* The same, logged and forgiven: a row that it cannot work with must not hold
 * up the other subscribers. */
bool queue_note_refused(struct ctx *c, str lim);

/* What was done for the token before the server refused is undone. False: it is
 * not known whether. */
bool queue_undo_refused(struct ctx *c, str token);

/* What an id of ours can be: printable ASCII, below JOB_ID_MAX. */
bool queue_is_id(str s);

/* Whose row it is, whom the snapshot does not know: *out_deleted, then the row
 * is cancelled, and what else waits of that webhook. */
MUST_CHECK enum err queue_judge_stranger(struct ctx *c, enum job_queue q,
                                         const struct candidate *job,
                                         bool *out_deleted);

/* What one finish adds to the totals of its subscriber. */
struct settlement queue_settlement(const struct claim *cl,
                                   const struct job_result *r);

/* The row in MongoDB and its charge there, without the index. */
MUST_CHECK enum err queue_recover_row(struct ctx *c, str token, bool died,
                                      int64_t *out_n);

/* What the index was not told of the last job; what cannot be told is lost:
 * leases end. */
void queue_tell(struct ctx *c, struct claimant *k);

/* ---- rows that others change (queue_listed.c): best effort, and nothing while
 * the index is not in use */

/* What waits by now. */
void queue_list_job(struct ctx *c, enum job_queue q, const struct index_job *j);
void queue_list_row(struct ctx *c, enum job_queue q, const struct subs *subs,
                    const bson_t *row);
/* ids: an array of _id */
void queue_list_ids(struct ctx *c, enum job_queue q, const bson_t *ids);

/* What waits no more: one row; of a webhook that is gone (starts tell what is
 * left of it). */
void queue_unlist(struct ctx *c, enum job_queue q, str id);
void queue_unlist_all(struct ctx *c, enum job_queue q, str lim);

void queue_hold_no_more(struct ctx *c, enum job_queue q, str lim);

/* ---- the path through MongoDB */

/* The row of a subscriber in `_limits`; NULL: no memory. */
const char *queue_limits_id(struct ctx *c, enum job_queue q, str lim);

/* Who holds the charge of a token: *out_lim (a NUL behind), and the rows of
 * which one was to be started; false in *out_found: nobody. */
MUST_CHECK enum err mongo_queue_find_charge(struct ctx *c, str token,
                                            str *out_lim, bson_t *out_ids,
                                            bool *out_found);
