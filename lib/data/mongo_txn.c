/*
 * mongo_txn - transactions, see mongo.h
 *
 *   begin (nothing is sent) -> body -> commit -> OK
 *                               |       | unknown: commit again
 *                               |       +-> undone for good --+
 *                               +-> abort -> failure          |
 *                                     +---- conflict, lost <--+: begin again
 *
 * The server holds what a transaction has changed till it ends: an abort is
 * sent whenever body fails, also when the server may have done it by itself.
 * What does not reach the server is ended by the next one of this client: the
 * session is the same, and its number is greater.
 */
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/id.h"
#include "lib/base/metrics.h"
#include "lib/data/mongo_error.h"
#include "lib/data/mongo_inside.h"

enum {
    CONFLICT_MS_MAX = 32,
    CODE_UNFIT = 263, /* OperationNotSupportedInTransaction */
};

#define TRANSIENT      "TransientTransactionError"
#define UNKNOWN_RESULT "UnknownTransactionCommitResult"

bool mongo_is_in_doubt(const struct ctx *c)
{
    return c->mongo->txn.doubt;
}

bool mongo_is_unfit(const struct ctx *c)
{
    return c->mongo->txn.unfit;
}

static enum err tell_conflict(struct ctx *c)
{
    return ctx_fail(c, ERR_OVERLOADED,
                    "Too many changes of the same document at a time");
}

enum err mongo_txn_failed(struct ctx *c, const bson_error_t *e,
                          const bson_t *reply, bool writing)
{
    struct mongo_txn *t = &c->mongo->txn;

    t->lost = mongo_is_transient(e);
    t->again = t->lost || mongoc_error_has_label(reply, TRANSIENT);
    t->unfit = e->domain == MONGOC_ERROR_SERVER && e->code == CODE_UNFIT;
    if (t->unfit)
        return ctx_fail(c, ERR_VALIDATION_ERROR,
                        "The collection takes part in no transaction");
    if (t->again && !t->lost)
        return tell_conflict(c);
    return mongo_translate(c, e, writing);
}

/* Reads go to the primary, whatever the connection string prefers. */
static mongoc_transaction_opt_t *opts_of(struct ctx *c)
{
    mongoc_transaction_opt_t *opts = mongoc_transaction_opts_new();
    mongoc_write_concern_t *majority = mongoc_write_concern_new();
    mongoc_read_prefs_t *primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
    ms left = mongo_op_ms(c);

    mongoc_write_concern_set_w(majority, MONGOC_WRITE_CONCERN_W_MAJORITY);
    mongoc_transaction_opts_set_write_concern(opts, majority);
    mongoc_transaction_opts_set_read_prefs(opts, primary);
    mongoc_transaction_opts_set_max_commit_time_ms(opts, left > 0 ? left : 1);
    mongoc_write_concern_destroy(majority);
    mongoc_read_prefs_destroy(primary);
    return opts;
}

static enum err begin(struct ctx *c)
{
    struct mongo *m = c->mongo;
    mongoc_transaction_opt_t *opts;
    bson_t reply = BSON_INITIALIZER;
    bson_error_t e = {0};
    bool begun;

    if (!mongo_have_session(m, &e))
        return mongo_txn_failed(c, &e, &reply, true);
    opts = opts_of(c);
    begun = mongoc_client_session_start_transaction(m->session, opts, &e);
    mongoc_transaction_opts_destroy(opts);
    return begun ? OK : mongo_txn_failed(c, &e, &reply, true);
}

/* One commit; the driver itself repeats it once after a lost connection. */
static enum err commit_once(struct ctx *c, bool *unknown)
{
    struct mongo *m = c->mongo;
    int64_t start_us = clock_mono_us();
    bson_error_t e = {0};
    enum err err = OK;
    bson_t reply;
    bool done =
        mongoc_client_session_commit_transaction(m->session, &reply, &e);

    mongo_measure(clock_mono_us() - start_us, done, &e);
    *unknown = !done && mongoc_error_has_label(&reply, UNKNOWN_RESULT);
    if (!done)
        err = mongo_txn_failed(c, &e, &reply, true);
    bson_destroy(&reply);
    return err;
}

static enum err commit(struct ctx *c, bool patient)
{
    struct mongo_txn *t = &c->mongo->txn;
    bool unknown;
    enum err err;

    for (;;) {
        err = commit_once(c, &unknown);
        if (!unknown)
            break;
        t->doubt = true;
        t->again = false;
        if (!patient || !mongo_wait_to_know(c))
            break;
        ctx_forgive(c);
    }
    return err;
}

/* One turn. */
static enum err run_once(struct ctx *c, mongo_body body, void *arg,
                         bool patient)
{
    struct mongo_txn *t = &c->mongo->txn;
    enum err err = mongo_may_start(c);

    t->again = t->lost = t->unfit = false;
    if (err == OK)
        err = begin(c);
    if (err)
        return err;
    t->on = true;
    err = body(c, arg);
    t->on = false;
    if (err == OK)
        return commit(c, patient);
    (void)mongoc_client_session_abort_transaction(c->mongo->session, NULL);
    return err;
}

/* False at the deadline. */
static bool wait_for_others(const struct ctx *c, int conflicts)
{
    ms most = conflicts < 5 ? 1 << conflicts : CONFLICT_MS_MAX;
    ms wait = id_chance() % (most + 1);
    struct timespec t = {.tv_nsec = wait * 1000000};

    if (ctx_left_ms(c) <= wait)
        return false;
    if (wait > 0)
        nanosleep(&t, NULL);
    return true;
}

enum err mongo_transaction(struct ctx *c, mongo_body body, void *arg)
{
    struct mongo_txn *t = &c->mongo->txn;
    int conflicts = 0, losses = 0;
    enum err err;

    t->doubt = false;
    for (;;) {
        err = run_once(c, body, arg, true);
        if (err == ERR_TIME_LIMIT && conflicts > 0 && !t->doubt) {
            ctx_forgive(c); /* it met others until its time was over */
            return tell_conflict(c);
        }
        if (err == OK || !t->again)
            return err;
        if (t->lost ? !mongo_wait_for_next_try(c, ++losses)
                    : !wait_for_others(c, ++conflicts))
            return err;
        ctx_forgive(c);
    }
}

bool mongo_try_transaction(struct ctx *c, mongo_body body, void *arg,
                           bool *doubt)
{
    bool done;

    c->mongo->txn.doubt = false;
    done = run_once(c, body, arg, false) == OK;
    *doubt = c->mongo->txn.doubt;
    if (!done)
        ctx_forgive(c);
    return done;
}
