/* mongo - see mongo.h */
#include "lib/data/mongo.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/data/combine.h"
#include "lib/data/mongo_error.h"
#include "lib/data/mongo_inside.h"

enum {
    TRIES = 3,
    PING_MS = 2000,
    CHANGES_NS = 10000000, /* of who waits to share a transaction */
    OP_LEAST_MS = 100,     /* to find out what came of an operation */
};

/* What the poll thread found. */
struct told {
    atomic_bool away, transactions;
};

struct mongo_pool {
    mongoc_client_pool_t *pool;
    mongoc_client_pool_t *pings; /* own, short time-outs: sees a hang */
    const struct conf *conf;
    int tries;
    struct told own;
    struct told *told;  /* own, or that of another pool */
    atomic_int waiting; /* threads between two tries */
    int waiting_max;
    struct combine shared[MONGO_SHARED_N];
};

static void set_limits(mongoc_uri_t *uri, const struct mongo_limits *l)
{
    mongoc_read_prefs_t *primary;

    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_MAXPOOLSIZE, l->connections);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS,
                                   (int32_t)l->select_ms);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_CONNECTTIMEOUTMS,
                                   (int32_t)l->select_ms);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS,
                                   (int32_t)l->socket_ms);
    if (l->tries == 1)
        mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYWRITES, false);
    if (!l->primary)
        return;
    primary = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
    mongoc_uri_set_read_prefs_t(uri, primary);
    mongoc_read_prefs_destroy(primary);
}

static mongoc_client_pool_t *pool_of(const struct conf *conf,
                                     const struct mongo_limits *l)
{
    bson_error_t e;
    mongoc_uri_t *uri =
        mongoc_uri_new_with_error(conf->mongodb_connection_string, &e);
    mongoc_client_pool_t *pool;

    if (!uri) {
        log_note(LOG_ERROR, "mongo.refused", "connection string: %s",
                 e.message);
        return NULL;
    }
    set_limits(uri, l);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_WAITQUEUETIMEOUTMS, 1000);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_HEARTBEATFREQUENCYMS,
                                   (int32_t)conf->db_heartbeat_frequency_ms);
    /* our own tries are bounded by the deadline, the driver's are not */
    mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYREADS, false);
    mongoc_uri_set_option_as_utf8(uri, MONGOC_URI_APPNAME, "sql-free");
    pool = mongoc_client_pool_new(uri);
    mongoc_uri_destroy(uri);
    if (pool)
        mongoc_client_pool_set_error_api(pool, MONGOC_ERROR_API_VERSION_2);
    return pool;
}

static void drop_driver_log(mongoc_log_level_t level, const char *domain,
                            const char *message, void *arg)
{
    (void)domain, (void)arg;
    if (level <= MONGOC_LOG_LEVEL_ERROR)
        log_note(LOG_WARN, "mongo.driver", "%s", message);
}

struct mongo_limits mongo_limits_of(const struct conf *conf, int clients)
{
    ms socket_ms = conf->db_query_timeout_ms + 1000;

    if (socket_ms > conf->db_socket_timeout_ms)
        socket_ms = conf->db_socket_timeout_ms;
    return (struct mongo_limits){clients,
                                 (int)conf->db_max_pool_size,
                                 conf->db_server_selection_timeout_ms,
                                 socket_ms,
                                 TRIES,
                                 false};
}

struct mongo_limits mongo_limits_brief(int clients, ms most)
{
    return (struct mongo_limits){clients, clients, most, most, 1, true};
}

struct mongo_pool *mongo_pool_new(const struct conf *conf,
                                  const struct mongo_limits *limits)
{
    struct mongo_limits ping = mongo_limits_brief(1, PING_MS);
    struct mongo_pool *p = calloc(1, sizeof *p);
    int clients = limits->clients;

    if (!p)
        return NULL;
    mongoc_init();
    mongoc_log_set_handler(drop_driver_log, NULL);
    p->conf = conf;
    p->tries = limits->tries;
    p->told = &p->own;
    p->waiting_max = clients / 4 > 0 ? clients / 4 : 1;
    for (int i = 0; i < MONGO_SHARED_N; i++)
        combine_init(&p->shared[i], clients / 8 > 2 ? clients / 8 : 2);
    /* a transaction takes three times as long, and gains as much by company */
    combine_init(&p->shared[MONGO_CHANGES],
                 clients / 16 > 1 ? clients / 16 : 1);
    p->shared[MONGO_CHANGES].wait_ns = CHANGES_NS;
    p->pool = pool_of(conf, limits);
    p->pings = pool_of(conf, &ping);
    if (p->pool && p->pings)
        return p;
    mongo_pool_free(p);
    return NULL;
}

void mongo_pool_free(struct mongo_pool *p)
{
    if (!p)
        return;
    if (p->pool)
        mongoc_client_pool_destroy(p->pool);
    if (p->pings)
        mongoc_client_pool_destroy(p->pings);
    free(p);
}

struct mongo *mongo_client_new(struct mongo_pool *pool)
{
    struct mongo *m = calloc(1, sizeof *m);

    if (!m)
        return NULL;
    m->home = pool;
    m->client = mongoc_client_pool_pop(pool->pool);
    if (m->client)
        return m;
    free(m);
    return NULL;
}

void mongo_client_free(struct mongo *m)
{
    if (!m)
        return;
    mongo_drop_session(m);
    mongoc_client_pool_push(m->home->pool, m->client);
    free(m);
}

void mongo_set_away(struct mongo_pool *pool, bool away)
{
    atomic_store_explicit(&pool->told->away, away, memory_order_relaxed);
}

void mongo_set_transactions(struct mongo_pool *pool, bool on)
{
    atomic_store_explicit(&pool->told->transactions, on, memory_order_relaxed);
}

bool mongo_has_transactions(const struct ctx *c)
{
    return atomic_load_explicit(&c->mongo->home->told->transactions,
                                memory_order_relaxed);
}

void mongo_share_away(struct mongo_pool *to, struct mongo_pool *from)
{
    to->told = from->told;
}

enum err mongo_ping(struct mongo_pool *pool, struct mongo_info *out)
{
    mongoc_client_t *client = mongoc_client_pool_pop(pool->pings);
    bson_t *cmd, reply;
    bson_error_t e = {0};
    bson_iter_t it;
    bool up;

    if (!client)
        return ERR_DB_UNAVAILABLE;
    cmd = BCON_NEW("hello", BCON_INT32(1), "maxTimeMS", BCON_INT32(PING_MS));
    up = mongoc_client_command_simple(client, "admin", cmd, NULL, &reply, &e);
    if (up && bson_iter_init_find(&it, &reply, "isWritablePrimary"))
        up = bson_iter_as_bool(&it);
    snprintf(out->reason, sizeof out->reason, "%s",
             e.code ? e.message : "there is no primary");
    if (up)
        out->replica_set =
            bson_has_field(&reply, "setName") || bson_has_field(&reply, "msg");
    bson_destroy(&reply);
    bson_destroy(cmd);
    mongoc_client_pool_push(pool->pings, client);
    return up ? OK : ERR_DB_UNAVAILABLE;
}

static void destroy_bson(void *arg)
{
    bson_destroy(arg);
}

bson_t *mongo_bson(struct ctx *c)
{
    bson_t *b = ctx_alloc(c, sizeof *b);

    if (!b)
        return NULL;
    bson_init(b);
    if (arena_defer(&c->arena, destroy_bson, b) == OK)
        return b;
    (void)ctx_fail(c, ERR_OVERLOADED, "The request needs too much memory");
    return NULL;
}

static ms op_limit(const struct ctx *c)
{
    return c->op_ms ? c->op_ms : c->conf->db_query_timeout_ms;
}

ms mongo_op_ms(const struct ctx *c)
{
    ms left = ctx_left_ms(c), most = op_limit(c);

    return left < most ? left : most;
}

void mongo_op_used(struct ctx *c, ms used)
{
    ms most = op_limit(c) - used;

    c->op_ms = most > OP_LEAST_MS ? most : OP_LEAST_MS;
}

/* False when there is no free place among the waiters. */
static bool wait_in_place(struct mongo_pool *p, ms wait)
{
    struct timespec t = {.tv_sec = wait / 1000};
    bool may = atomic_fetch_add(&p->waiting, 1) < p->waiting_max;

    if (may)
        nanosleep(&t, NULL);
    atomic_fetch_sub(&p->waiting, 1);
    return may;
}

bool mongo_wait_for_next_try(struct ctx *c, int tried)
{
    ms wait = tried == 1 ? 1000 : 2000;

    return tried < c->mongo->home->tries && ctx_left_ms(c) > wait &&
           wait_in_place(c->mongo->home, wait);
}

bool mongo_wait_to_know(struct ctx *c)
{
    ms wait = 1000;

    return ctx_left_ms(c) > wait && wait_in_place(c->mongo->home, wait);
}

enum err mongo_may_start(struct ctx *c)
{
    if (atomic_load_explicit(&c->mongo->home->told->away, memory_order_relaxed))
        return ctx_fail(c, ERR_DB_UNAVAILABLE, "The database is not reachable");
    if (ctx_left_ms(c) == 0)
        return ctx_fail(c, ERR_TIME_LIMIT, "The request took too long");
    return OK;
}

void mongo_measure(int64_t us, bool done, const bson_error_t *e)
{
    enum metric_outcome outcome = done                    ? METRIC_OK
                                  : mongo_is_transient(e) ? METRIC_UNAVAILABLE
                                  : e->code == 50         ? METRIC_TIMEOUT
                                                          : METRIC_REFUSED;

    metrics_add(METRIC_DB_OPERATIONS, outcome, 1);
    metrics_observe(METRIC_DB_SECONDS, 0, us);
}

/* Each try gets the time that is left for it. */
static bool send_command(struct ctx *c, const bson_t *cmd, bool writing,
                         bson_t *reply, bson_error_t *e)
{
    struct mongo *m = c->mongo;
    const char *db = c->conf->mongodb_database_name;
    ms left = mongo_op_ms(c);
    bson_t opts;
    bool done;

    if (!mongo_have_session(m, e)) {
        bson_init(reply);
        return false;
    }
    bson_copy_to(m->opts, &opts);
    BSON_APPEND_INT64(&opts, "maxTimeMS", left > 0 ? left : 1); /* 0: none */
    done = writing ? mongoc_client_write_command_with_opts(m->client, db, cmd,
                                                           &opts, reply, e)
                   : mongoc_client_read_command_with_opts(
                         m->client, db, cmd, NULL, &opts, reply, e);
    bson_destroy(&opts);
    return done;
}

static bool run_once(struct ctx *c, const bson_t *cmd, bool writing,
                     bson_t *reply, bson_error_t *e)
{
    int64_t start_us = clock_mono_us();
    bool done = send_command(c, cmd, writing, reply, e);

    mongo_measure(clock_mono_us() - start_us, done, e);
    if (!done && mongo_is_transient(e) && !c->mongo->txn.on)
        mongo_drop_session(c->mongo);
    return done;
}

bool mongo_try(struct ctx *c, const bson_t *cmd, bool writing, bson_t *reply)
{
    enum err err = mongo_may_start(c);
    bson_error_t e = {0};

    if (err == OK)
        return run_once(c, cmd, writing, reply, &e);
    ctx_forgive(c);
    bson_init(reply);
    return false;
}

struct combine *mongo_combine(struct ctx *c, enum mongo_shared which)
{
    return &c->mongo->home->shared[which];
}

void mongo_kill_cursor(struct ctx *c, const char *collection, int64_t id)
{
    bson_t cmd = BSON_INITIALIZER, list, reply;
    bson_error_t e;

    BSON_APPEND_UTF8(&cmd, "killCursors", collection);
    BSON_APPEND_ARRAY_BEGIN(&cmd, "cursors", &list);
    BSON_APPEND_INT64(&list, "0", id);
    bson_append_array_end(&cmd, &list);
    (void)run_once(c, &cmd, false, &reply, &e);
    bson_destroy(&reply);
    bson_destroy(&cmd);
}

/* The reply of the last try, also of a failed one, ends with the arena. */
static enum err run(struct ctx *c, bson_t *cmd, bool writing,
                    bson_t **out_reply, int *tries)
{
    bson_error_t e = {0};
    enum err err = mongo_may_start(c);
    bson_t *reply;

    if (err)
        return err;
    reply = ctx_alloc(c, sizeof *reply);
    if (!reply)
        return ERR_OVERLOADED;
    for (int tried = 1;; tried++) {
        if (tries)
            *tries = tried;
        if (run_once(c, cmd, writing, reply, &e)) {
            err = arena_defer(&c->arena, destroy_bson, reply);
            *out_reply = reply;
            return err;
        }
        if (c->mongo->txn.on)
            err = mongo_txn_failed(c, &e, reply, writing);
        bson_destroy(reply);
        if (err)
            return err;
        if (!mongo_is_transient(&e) || !mongo_wait_for_next_try(c, tried))
            return mongo_translate(c, &e, writing);
        err = mongo_may_start(c);
        if (err)
            return err;
    }
}

enum err mongo_read(struct ctx *c, bson_t *cmd, bson_t **out_reply)
{
    return run(c, cmd, false, out_reply, NULL);
}

/* A write command may succeed as a whole and say "writeErrors" inside. */
enum err mongo_write(struct ctx *c, bson_t *cmd, bson_t **out_reply, int *tries)
{
    bson_iter_t it, row;
    bson_error_t e;
    enum err err = run(c, cmd, true, out_reply, tries);

    if (err || !bson_iter_init(&it, *out_reply) ||
        !bson_iter_find_descendant(&it, "writeErrors.0", &row))
        return err;
    mongo_write_error(&row, &e);
    return c->mongo->txn.on ? mongo_txn_failed(c, &e, *out_reply, true)
                            : mongo_translate(c, &e, true);
}

enum err mongo_write_majority(struct ctx *c, bson_t *cmd, bson_t **out_reply)
{
    bson_t concern;
    enum err err;

    BSON_APPEND_DOCUMENT_BEGIN(cmd, "writeConcern", &concern);
    BSON_APPEND_UTF8(&concern, "w", "majority");
    bson_append_document_end(cmd, &concern);
    err = mongo_write(c, cmd, out_reply, NULL);
    if (err || !bson_has_field(*out_reply, "writeConcernError"))
        return err;
    return ctx_fail(c, ERR_DB_UNAVAILABLE,
                    "The database could not keep the change");
}

struct _mongoc_collection_t *mongo_collection(struct ctx *c, const char *name)
{
    return mongoc_client_get_collection(c->mongo->client,
                                        c->conf->mongodb_database_name, name);
}
