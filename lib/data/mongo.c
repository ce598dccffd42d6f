/* mongo - see mongo.h */
#include "lib/data/mongo.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include <mongoc/mongoc.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"

enum {
    TRIES = 3,
    PING_MS = 2000,
};

struct mongo_pool {
    mongoc_client_pool_t *pool;
    mongoc_client_pool_t *pings; /* own, short time-outs: sees a hang */
    const struct conf *conf;
    atomic_bool away;
    atomic_int waiting; /* threads between two tries */
    int waiting_max;
};

struct mongo {
    struct mongo_pool *home;
    mongoc_client_t *client;
    mongoc_client_session_t *session; /* spares a pool look-up a command */
    bson_t opts;                      /* {sessionId} */
};

static mongoc_client_pool_t *new_pool(const struct conf *conf, int clients,
                                      int64_t socket_ms, int64_t select_ms)
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
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_MAXPOOLSIZE, clients);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_WAITQUEUETIMEOUTMS, 1000);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS,
                                   (int32_t)select_ms);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_CONNECTTIMEOUTMS,
                                   (int32_t)select_ms);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_HEARTBEATFREQUENCYMS,
                                   (int32_t)conf->db_heartbeat_frequency_ms);
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SOCKETTIMEOUTMS,
                                   (int32_t)socket_ms);
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

struct mongo_pool *mongo_pool_new(const struct conf *conf, int clients)
{
    struct mongo_pool *p = calloc(1, sizeof *p);
    int64_t socket_ms = conf->db_query_timeout_ms + 1000;

    if (!p)
        return NULL;
    if (socket_ms > conf->db_socket_timeout_ms)
        socket_ms = conf->db_socket_timeout_ms;
    mongoc_init();
    mongoc_log_set_handler(drop_driver_log, NULL);
    p->conf = conf;
    p->waiting_max = clients / 4 > 0 ? clients / 4 : 1;
    p->pool = new_pool(conf, (int)conf->db_max_pool_size, socket_ms,
                       conf->db_server_selection_timeout_ms);
    p->pings = new_pool(conf, 1, PING_MS, PING_MS);
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

static void drop_session(struct mongo *m)
{
    if (!m->session)
        return;
    mongoc_client_session_destroy(m->session);
    bson_destroy(&m->opts);
    m->session = NULL;
}

void mongo_client_free(struct mongo *m)
{
    if (!m)
        return;
    drop_session(m);
    mongoc_client_pool_push(m->home->pool, m->client);
    free(m);
}

void mongo_set_away(struct mongo_pool *pool, bool away)
{
    atomic_store_explicit(&pool->away, away, memory_order_relaxed);
}

enum err mongo_ping(struct mongo_pool *pool, struct mongo_info *out)
{
    mongoc_client_t *client = mongoc_client_pool_pop(pool->pings);
    bson_t *cmd, reply;
    bson_iter_t it;
    bool up;

    if (!client)
        return ERR_DB_UNAVAILABLE;
    cmd = BCON_NEW("hello", BCON_INT32(1), "maxTimeMS", BCON_INT32(PING_MS));
    up = mongoc_client_command_simple(client, "admin", cmd, NULL, &reply, NULL);
    if (up && bson_iter_init_find(&it, &reply, "isWritablePrimary"))
        up = bson_iter_as_bool(&it);
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
    bson_t *b = bson_new();

    if (arena_defer(&c->arena, destroy_bson, b) == OK)
        return b;
    (void)ctx_fail(c, ERR_OVERLOADED, "The request needs too much memory");
    return NULL;
}

ms mongo_op_ms(const struct ctx *c)
{
    ms left = ctx_left_ms(c);

    return left < c->conf->db_query_timeout_ms ? left
                                               : c->conf->db_query_timeout_ms;
}

/* Server codes by number, https://github.com/mongodb/mongo error_codes.yml */
enum {
    MONGO_BAD_VALUE = 2,
    MONGO_FAILED_TO_PARSE = 9,
    MONGO_TYPE_MISMATCH = 14,
    MONGO_NAMESPACE_NOT_FOUND = 26,
    MONGO_PATH_NOT_VIABLE = 28,
    MONGO_CONFLICTING_UPDATE = 40,
    MONGO_NAMESPACE_EXISTS = 48,
    MONGO_TIME_LIMIT = 50,
    MONGO_BAD_FIELD_NAME = 52,
    MONGO_INVALID_NAMESPACE = 73,
    MONGO_VALIDATOR = 121,
    MONGO_BAD_REGEX = 51091,
};

struct mongo_code {
    uint32_t code;
    enum err reading, writing;
};

static const struct mongo_code codes[] = {
    {11000,                     ERR_DUPLICATE_KEY,        ERR_DUPLICATE_KEY      },
    {11001,                     ERR_DUPLICATE_KEY,        ERR_DUPLICATE_KEY      },
    {MONGO_VALIDATOR,           ERR_VALIDATION_ERROR,     ERR_VALIDATION_ERROR   },
    {MONGO_TIME_LIMIT,          ERR_TIME_LIMIT,           ERR_TIME_LIMIT         },
    {MONGO_BAD_VALUE,           ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {MONGO_FAILED_TO_PARSE,     ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {MONGO_TYPE_MISMATCH,       ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {MONGO_PATH_NOT_VIABLE,     ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {MONGO_CONFLICTING_UPDATE,  ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {MONGO_BAD_FIELD_NAME,      ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {MONGO_INVALID_NAMESPACE,   ERR_BAD_QUERY,            ERR_BAD_COLLECTION_NAME},
    {MONGO_BAD_REGEX,           ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {17280,                     ERR_DOCUMENT_TOO_LARGE,   ERR_DOCUMENT_TOO_LARGE },
    {10334,                     ERR_DOCUMENT_TOO_LARGE,   ERR_DOCUMENT_TOO_LARGE },
    {17419,                     ERR_DOCUMENT_TOO_LARGE,   ERR_DOCUMENT_TOO_LARGE },
    {MONGO_NAMESPACE_EXISTS,    ERR_ALREADY_EXISTS,       ERR_ALREADY_EXISTS     },
    {MONGO_NAMESPACE_NOT_FOUND, ERR_COLLECTION_NOT_FOUND,
     ERR_COLLECTION_NOT_FOUND                                                    },
 /* no geo index, no text index, bad projection, bad hint or sort */
    {27,                        ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {291,                       ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {31249,                     ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {31250,                     ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {31253,                     ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {31254,                     ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {51108,                     ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {51075,                     ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {17276,                     ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {16410,                     ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   },
    {15,                        ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   }, /* Overflow: too deep */
    {5,                         ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   }, /* graph contains cycle */
    {56,                        ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   }, /* empty field name */
    {57,                        ERR_BAD_QUERY,            ERR_VALIDATION_ERROR   }, /* dotted field name */
    {66,                        ERR_VALIDATION_ERROR,     ERR_VALIDATION_ERROR   }, /* immutable field */
};

/* Fail-overs and lost connections: another try may find the primary. */
static bool is_transient(const bson_error_t *e)
{
    static const uint32_t retryable[] = {
        6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436, 64};

    if (e->domain == MONGOC_ERROR_STREAM ||
        e->domain == MONGOC_ERROR_SERVER_SELECTION)
        return true;
    if (e->domain != MONGOC_ERROR_SERVER)
        return false;
    for (size_t i = 0; i < sizeof retryable / sizeof *retryable; i++)
        if (e->code == retryable[i])
            return true;
    return false;
}

/* "... index: email_1 dup key: ..." gives email_1, never the value. */
static str index_name(const char *message)
{
    str s = str_of(message), name;
    size_t at = str_find_str(s, STR("index: "));

    if (at == SIZE_MAX)
        return STR("an index");
    s = str_from(s, at + 7);
    return str_cut(&s, ' ', &name) ? name : s;
}

enum err mongo_translate(struct ctx *c, const bson_error_t *e, bool writing)
{
    enum err err = ERR_INTERNAL;
    str index = index_name(e->message);

    if (is_transient(e) || e->domain == MONGOC_ERROR_CLIENT)
        return ctx_fail(c, ERR_DB_UNAVAILABLE, "The database is not reachable");
    if (e->domain == MONGOC_ERROR_BSON)
        err = ERR_DOCUMENT_TOO_LARGE;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].code == e->code && e->domain == MONGOC_ERROR_SERVER)
            err = writing ? codes[i].writing : codes[i].reading;
    log_note(LOG_DEBUG, "mongo.refused", "code %u: %s", e->code, e->message);
    if (err == ERR_DUPLICATE_KEY)
        return ctx_fail(
            c, err, "A document with the same key exists (index " STR_FMT ")",
            STR_ARG(index));
    if (err == ERR_TIME_LIMIT)
        return ctx_fail(c, err, "The database did not finish in time");
    if (err == ERR_INTERNAL)
        log_note(LOG_ERROR, "mongo.error", "domain %u code %u: %s", e->domain,
                 e->code, e->message);
    return ctx_fail(c, err,
                    err == ERR_BAD_QUERY ? "The database refuses the query"
                    : err == ERR_DOCUMENT_TOO_LARGE
                        ? "A stored document is at most 16 MiB"
                    : err == ERR_INTERNAL ? "Something went wrong on our side"
                                          : "The database refuses the data");
}

/* Without a free place among the waiters the failure stands as it is. */
static bool wait_for_next_try(struct ctx *c, int tried)
{
    struct mongo_pool *p = c->mongo->home;
    ms wait = tried == 1 ? 1000 : 2000;
    struct timespec t = {.tv_sec = wait / 1000};
    bool may;

    if (tried >= TRIES || ctx_left_ms(c) <= wait)
        return false;
    may = atomic_fetch_add(&p->waiting, 1) < p->waiting_max;
    if (may)
        nanosleep(&t, NULL);
    atomic_fetch_sub(&p->waiting, 1);
    return may;
}

enum err mongo_may_start(struct ctx *c)
{
    if (atomic_load_explicit(&c->mongo->home->away, memory_order_relaxed))
        return ctx_fail(c, ERR_DB_UNAVAILABLE, "The database is not reachable");
    if (ctx_left_ms(c) == 0)
        return ctx_fail(c, ERR_TIME_LIMIT, "The request took too long");
    return OK;
}

static bool have_session(struct mongo *m, bson_error_t *e)
{
    mongoc_session_opt_t *opts;

    if (m->session)
        return true;
    opts = mongoc_session_opts_new();
    mongoc_session_opts_set_causal_consistency(opts, false);
    m->session = mongoc_client_start_session(m->client, opts, e);
    mongoc_session_opts_destroy(opts);
    if (!m->session)
        return false;
    bson_init(&m->opts);
    if (mongoc_client_session_append(m->session, &m->opts, e))
        return true;
    drop_session(m);
    return false;
}

static bool run_once(struct mongo *m, const bson_t *cmd, bool writing,
                     bson_t *reply, bson_error_t *e)
{
    const char *db = m->home->conf->mongodb_database_name;

    if (!have_session(m, e)) {
        bson_init(reply);
        return false;
    }
    if (writing)
        return mongoc_client_write_command_with_opts(m->client, db, cmd,
                                                     &m->opts, reply, e);
    return mongoc_client_read_command_with_opts(m->client, db, cmd, NULL,
                                                &m->opts, reply, e);
}

/* The reply of the last try, also of a failed one, ends with the arena. */
static enum err run(struct ctx *c, bson_t *cmd, bool writing,
                    bson_t **out_reply, int *tries)
{
    struct mongo *m = c->mongo;
    bson_error_t e = {0};
    enum err err = mongo_may_start(c);
    bson_t *reply;

    if (err)
        return err;
    bson_append_int64(cmd, "maxTimeMS", 9, mongo_op_ms(c));
    reply = ctx_alloc(c, sizeof *reply);
    if (!reply)
        return ERR_OVERLOADED;
    for (int tried = 1;; tried++) {
        if (tries)
            *tries = tried;
        if (run_once(m, cmd, writing, reply, &e)) {
            err = arena_defer(&c->arena, destroy_bson, reply);
            *out_reply = reply;
            return err;
        }
        bson_destroy(reply);
        if (is_transient(&e))
            drop_session(m);
        if (!is_transient(&e) || !wait_for_next_try(c, tried))
            return mongo_translate(c, &e, writing);
    }
}

enum err mongo_read(struct ctx *c, bson_t *cmd, bson_t **out_reply)
{
    return run(c, cmd, false, out_reply, NULL);
}

/* A write command may succeed as a whole and say "writeErrors" inside. */
enum err mongo_write(struct ctx *c, bson_t *cmd, bson_t **out_reply, int *tries)
{
    bson_error_t e = {.domain = MONGOC_ERROR_SERVER};
    bson_iter_t it, code, text;
    enum err err = run(c, cmd, true, out_reply, tries);

    if (err || !bson_iter_init(&it, *out_reply))
        return err;
    code = text = it;
    if (!bson_iter_find_descendant(&code, "writeErrors.0.code", &code))
        return OK;
    e.code = (uint32_t)bson_iter_as_int64(&code);
    if (bson_iter_find_descendant(&text, "writeErrors.0.errmsg", &text) &&
        BSON_ITER_HOLDS_UTF8(&text))
        bson_strncpy(e.message, bson_iter_utf8(&text, NULL), sizeof e.message);
    return mongo_translate(c, &e, true);
}

bool mongo_reply_doc(const bson_t *reply, const char *name, bson_t *out)
{
    const uint8_t *data;
    bson_iter_t it;
    uint32_t n;

    if (!bson_iter_init_find(&it, reply, name))
        return false;
    if (BSON_ITER_HOLDS_DOCUMENT(&it))
        bson_iter_document(&it, &n, &data);
    else if (BSON_ITER_HOLDS_ARRAY(&it))
        bson_iter_array(&it, &n, &data);
    else
        return false;
    return bson_init_static(out, data, n);
}

struct _mongoc_collection_t *mongo_collection(struct ctx *c, const char *name)
{
    return mongoc_client_get_collection(c->mongo->client,
                                        c->conf->mongodb_database_name, name);
}
