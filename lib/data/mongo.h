#pragma once
/*
 * mongo - the door to MongoDB: pool, clients, commands, errors made ours
 *
 *   mongo_pool_new (after the fork; one for each kind of patience)
 *      mongo_client_new (once a thread) -> mongo_read | mongo_write | ...
 *   mongo_pool_free
 *
 * Every command carries maxTimeMS within the ctx's deadline. Connection faults
 * and fail-overs are tried three times (waits 1 s and 2 s, within the deadline,
 * by at most a quarter of the clients at a time); while mongo_set_away() says
 * that MongoDB is gone, commands fail at once. Foreign errors become `enum
 * err` by number here and travel no further.
 */
#include <stdbool.h>

#include <bson/bson.h>

#include "lib/base/ctx.h"

struct combine;
struct mongo_pool;
struct mongo; /* one client and its session; one thread */

/* How patient a pool is. */
struct mongo_limits {
    int clients;     /* threads that will open one */
    int connections; /* at most */
    ms select_ms;    /* to find a server, and to connect to it */
    ms socket_ms;    /* silence of a connection */
    int tries;       /* of a command, after connection faults */
    bool primary;    /* is read, whatever the connection string prefers */
};

/* Those of the settings. */
struct mongo_limits mongo_limits_of(const struct conf *conf, int clients);

/* One try, at most so long: for what others wait for or what is repeated. */
struct mongo_limits mongo_limits_brief(int clients, ms most);

/*
 * NULL with a line in the log when the connection string is refused by the
 * driver.
 */
struct mongo_pool *mongo_pool_new(const struct conf *conf,
                                  const struct mongo_limits *limits);
void mongo_pool_free(struct mongo_pool *pool);

/* NULL without memory or when the pool is used up. */
struct mongo *mongo_client_new(struct mongo_pool *pool);
void mongo_client_free(struct mongo *m);

/* What the poll thread knows; read before each command by all threads. */
void mongo_set_away(struct mongo_pool *pool, bool away);

/* Both pools from now on know what is said to the first. */
void mongo_share_away(struct mongo_pool *to, struct mongo_pool *from);

struct mongo_info {
    bool replica_set; /* or sharded: transactions work */
    ms clock_offset;  /* this machine's wall clock - its own, roughly */
    char reason[512]; /* of a failure, for the log */
};

/* One round trip of at most 2 s by a client of its own, whatever
 * mongo_set_away() says. */
MUST_CHECK enum err mongo_ping(struct mongo_pool *pool, struct mongo_info *out);

/*
 * Runs cmd on the configured database. *out_reply is owned by the arena until
 * ctx_reset. tries, when not NULL, gets how often it was sent.
 */
MUST_CHECK enum err mongo_read(struct ctx *c, bson_t *cmd, bson_t **out_reply);
MUST_CHECK enum err mongo_write(struct ctx *c, bson_t *cmd, bson_t **out_reply,
                                int *tries);

/*
 * A write with write concern majority: what it gave stays given. Any failure
 * but a refusal means that it may have been done.
 */
MUST_CHECK enum err mongo_write_majority(struct ctx *c, bson_t *cmd,
                                         bson_t **out_reply);

/* What mongo_ping() found: are there transactions? False until it is told;
 * shared as mongo_share_away() says. */
void mongo_set_transactions(struct mongo_pool *pool, bool on);
bool mongo_has_transactions(const struct ctx *c);

typedef enum err (*mongo_body)(struct ctx *c, void *arg);

/*
 * Runs body in one transaction with write concern majority; commands of c are
 * part of it until body returns. Anything but OK from body ends it without an
 * effect. Conflicts repeat body as a whole, after random(0..min(32, 2^n)) ms,
 * until c's deadline, then ERR_OVERLOADED; fail-overs as often as a command; a
 * commit whose reply was lost is repeated until the deadline. Within body
 * nothing else is repeated.
 */
MUST_CHECK enum err mongo_transaction(struct ctx *c, mongo_body body,
                                      void *arg);

/*
 * Asked by body: a commit of an earlier turn may have been done after all, and
 * what body finds may be its own work.
 */
bool mongo_is_in_doubt(const struct ctx *c);

/*
 * After a transaction that failed: a collection of it (capped, time series)
 * takes part in none, nothing was written.
 */
bool mongo_is_unfit(const struct ctx *c);

/*
 * One turn of a transaction that several threads share: nothing is noted in
 * c, false says no more than that each must go alone. *doubt: it may have been
 * done.
 */
MUST_CHECK bool mongo_try_transaction(struct ctx *c, mongo_body body, void *arg,
                                      bool *doubt);

/*
 * One try of a command that several threads share: nothing is noted in c, a
 * failure says no more than that each must go alone. The caller destroys
 * *reply in any case.
 */
MUST_CHECK bool mongo_try(struct ctx *c, const bson_t *cmd, bool writing,
                          bson_t *reply);

/* Where the threads of this process meet to share a command. */
enum mongo_shared {
    MONGO_GETS,
    MONGO_INSERTS,
    MONGO_CHANGES, /* transactions: an insert and its event */
    MONGO_SHARED_N
};
struct combine *mongo_combine(struct ctx *c, enum mongo_shared which);

/* Ends a cursor that is not read on; its failure is nobody's business. */
void mongo_kill_cursor(struct ctx *c, const char *collection, int64_t id);

/* The row or value `name` of a reply; false when it is not of that type. */
bool mongo_reply_doc(const bson_t *reply, const char *name, bson_t *out);

/* The rows that a find or an aggregate gave, an array; false: not of that
 * form. */
bool mongo_reply_rows(const bson_t *reply, bson_t *out_batch);

/* Steps to the next member that is a document; what is none is passed over. */
bool mongo_next_doc(bson_iter_t *it, bson_t *out);

/* For rows.c: one command more in the metrics; may a command start at all. */
void mongo_measure(int64_t us, bool done, const bson_error_t *e);
MUST_CHECK enum err mongo_may_start(struct ctx *c);
struct _mongoc_collection_t *mongo_collection(struct ctx *c, const char *name);

/* Time limit of the next operation: the setting, or what is left. */
ms mongo_op_ms(const struct ctx *c);

/* What a command has used of the limit, its repeat in another way lacks. */
void mongo_op_used(struct ctx *c, ms used);

/* A new document that ends with the arena; NULL with the failure noted. */
bson_t *mongo_bson(struct ctx *c);
