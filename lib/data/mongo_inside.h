#pragma once
/* mongo_inside - a client as mongo.c, mongo_txn.c and mongo_sessions.c see it;
 * for nobody else */
#include <mongoc/mongoc.h>

#include "lib/data/mongo.h"

struct mongo {
    struct mongo_pool *home;
    mongoc_client_t *client;
    mongoc_client_session_t *session; /* spares a pool look-up a command */
    bson_t *opts;                     /* {sessionId} */
    struct mongo_place *place;        /* of the session; NULL: it has none */
    struct mongo_txn {
        bool on;    /* commands are part of it */
        bool again; /* it failed in a way that another try may mend */
        bool lost;  /* by connection or primary, not by a conflict */
        bool unfit; /* the collection takes part in none */
        bool doubt; /* a commit was sent whose result was never known */
    } txn;
};

bool mongo_have_session(struct mongo *m, bson_error_t *e);
void mongo_drop_session(struct mongo *m);

/* After `tried` tries in vain; without a free place among the waiters the
 * failure stands as it is. */
bool mongo_wait_for_next_try(struct ctx *c, int tried);

/* As the above, for one whose result must be known: tried never ends it. */
bool mongo_wait_to_know(struct ctx *c);

/* Notes what a failed command means for the transaction that it was part of,
 * and gives the failure. */
enum err mongo_txn_failed(struct ctx *c, const bson_error_t *e,
                          const bson_t *reply, bool writing);
