#pragma once
/*
 * job - a delivery of an event to one webhook: its row in `_jobs`
 *
 *            +--retry, give back, lease over--+
 *            v                                |
 *   insert -> waiting --start (lease)--> leased --finish--> done | dead
 *            ^   |                          |
 *            |   +--webhook deleted--> cancelled    a `once` row that failed
 *            +------------replay------- dead, done  or whose worker died: lost
 *
 * Only lib/coord/queue.c moves a row. The first two states carry open: true,
 * the others endAt and exp (when the row is removed).
 *
 *   { _id, q, lim, g, ord?, cls, ts, at, st, open?, runAt, enq?, lease?{tok,
 *     by, until}, fin?, tries, max, starts, stalls, replays, once?,
 * attempts[{n, at, ms, code, error, instance}], msgId, body, sub, event, coll,
 * docId, reason?, endAt?, exp? }
 *
 * `lim` is the subscriber (turns, limits, breaker), `g` what order belongs to:
 * g differs from lim exactly when order counts, and then `ord` is there.
 */
#include "lib/data/webhook.h"

enum job_queue {
    QUEUE_WEBHOOK,
    QUEUE_N
};
const char *job_queue_name(enum job_queue q); /* "webhook" */

enum job_state {
    JOB_WAITING,
    JOB_LEASED,
    JOB_DONE,
    JOB_DEAD,
    JOB_CANCELLED,
    JOB_LOST,
    JOB_STATES_N
};
const char *job_state_name(enum job_state s); /* "waiting" */

/* What a try says of the receiver. */
enum job_health {
    HEALTH_SAME, /* says nothing about the receiver */
    HEALTH_OK,
    HEALTH_FAILED
};

enum {
    JOB_ID_MAX = 64,         /* "<24 hex>-<ms>-<9 base36>", with NUL */
    JOB_MESSAGE_ID_MAX = 32, /* "msg_" and 27 base62, with NUL */
    JOB_CLASS_LAST = 1023,   /* of priority 0; else priority - 1 */
    JOB_ATTEMPTS_KEPT = 10,
    JOB_STALLS_MAX = 2,    /* deaths of workers, then it is poison */
    JOB_STARTS_BEYOND = 10 /* starts beyond `max`, then it is poison */
};

/*
 * Derived, not drawn, so that inserting twice is one insert. With H = SHA-256
 * of event id and subscriber id (48 hex digits as text): the 9 base36 = bytes
 * 20-25 of H modulo 36^9, the 27 base62 = bytes 0-19.
 */
MUST_CHECK enum err job_ids(struct ctx *c, str event_id, str subscriber_id,
                            ms ts, char out_id[JOB_ID_MAX],
                            char out_message_id[JOB_MESSAGE_ID_MAX]);

/* Is it of the form that job_ids() gives? */
bool job_is_id(str s);

int job_class(int priority);

/* What a new row is made of. */
struct job_new {
    enum job_queue queue;
    str id, message_id, subscriber;
    str lim, group;
    int64_t ord; /* 0: none */
    int cls;
    ms ts;             /* of the event; also the first runAt */
    int64_t tries_max; /* retries and the first try */
    bool once;
    str enq; /* data set whose index is told of it at once; empty: none is */
    str event, collection;
    const bson_value_t *doc_id; /* NULL: null */
    str body;
};
MUST_CHECK enum err job_row(struct ctx *c, const struct job_new *n,
                            bson_t **out);

/* A row as a worker needs it; borrowed from the row. */
struct job {
    str id, message_id, subscriber, lim, group, body, event, collection;
    enum job_state state;
    int64_t ord;
    bool ordered, once;
    int64_t tries, tries_max, starts, stalls, replays;
};
bool job_read(const bson_t *row, struct job *out);

/* The row as clients see it (contract 7.2, A), as one JSON object. */
void job_write(struct buf *b, const bson_t *row);

/* The same of a dead letter; webhook_name and url from its webhook, or
 * STR_NONE. */
void job_write_dead(struct buf *b, const bson_t *row, str webhook_name,
                    str url);

/* "pending", "retrying", "delivering", "success", "dead", "cancelled". */
const char *job_status(const bson_t *row);
/* The states a status stands for as members of a filter on rows; false for an
 * unknown status. */
bool job_status_filter(str status, bson_t *filter);
