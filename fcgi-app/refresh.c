/* refresh - see refresh.h */
#include "fcgi-app/refresh.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "fcgi-app/auth.h"
#include "fcgi-app/cluster.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/data/mongo.h"
#include "lib/data/mongo_sessions.h"
#include "lib/data/schema.h"

enum {
    EVERY_MS = 500,
    AWAY_AFTER_MS = 3000, /* shorter gaps are bridged by tries in requests */
    LOST_AFTER_MS = 10000,
    BRIEF_MS = 2000,        /* patience of a look */
    FIRST_REDIS_MS = 1000,  /* wait for the first look at Redis */
    SCHEMA_EVERY_MS = 1000, /* between tries */
    SCHEMA_MS = 10000,      /* of one: an index may have to be built */
    STACK_BYTES = 1 << 20,
    ARENA_BYTES = 16 << 20,
};

enum flag {
    STARTED = 1,
    GAVE_UP = 2,
    STOPPING = 4,
    DB_UP = 8,
    DB_LOST = 16,
    STANDALONE = 32,
    REDIS_ON = 64,
    REDIS_UP = 128,
    REDIS_FIT = 256,
    LOCKED_OUT = 512,
    REDIS_USABLE = 1024,
    REDIS_SEEN = 2048, /* there was a first look */
};

static atomic_uint flags;
static int stop_fd = -1; /* an eventfd, readable once stopping */

struct refresh_view refresh_view(void)
{
    unsigned f = atomic_load_explicit(&flags, memory_order_relaxed);

    return (struct refresh_view){
        .started = f & STARTED,
        .gave_up = f & GAVE_UP,
        .stopping = f & STOPPING,
        .db_up = f & DB_UP,
        .db_lost = f & DB_LOST,
        .locked_out = f & LOCKED_OUT,
        .standalone = f & STANDALONE,
        .redis = !(f & REDIS_ON) ? REFRESH_REDIS_OFF
                 : f & REDIS_UP  ? REFRESH_REDIS_UP
                                 : REFRESH_REDIS_DOWN,
        .redis_fit = f & REDIS_FIT,
        .redis_usable = f & REDIS_USABLE,
    };
}

enum refresh_mode refresh_mode(const struct refresh_view *v)
{
    if (v->redis == REFRESH_REDIS_OFF)
        return REFRESH_SINGLE;
    return v->redis_usable ? REFRESH_CLUSTER : REFRESH_DEGRADED;
}

const char *refresh_mode_text(const struct refresh_view *v)
{
    static const char *const texts[] = {"single", "degraded", "cluster"};

    return texts[refresh_mode(v)];
}

static bool has_flag(enum flag f)
{
    return atomic_load(&flags) & f;
}

static void set_flag(enum flag f, bool on)
{
    if (on)
        atomic_fetch_or(&flags, f);
    else
        atomic_fetch_and(&flags, ~(unsigned)f);
}

void refresh_stop(void)
{
    set_flag(STOPPING, true);
    (void)eventfd_write(stop_fd, 1);
}

/* False when stopping. */
static bool wait_for(ms wait)
{
    struct pollfd p = {.fd = stop_fd, .events = POLLIN};

    (void)poll(&p, 1, (int)wait);
    return !has_flag(STOPPING);
}

/* ---- Redis: a thread of its own */

static void *watch_redis(void *arg)
{
    const struct refresh_task *t = arg;
    struct redis_watch w;
    struct ctx c;

    ctx_init(&c, t->conf, ARENA_BYTES);
    if (redis_watch_init(&w, t->conf)) {
        do {
            cluster_watch(&c, &w);
            set_flag(REDIS_UP, w.sight.answers);
            set_flag(REDIS_FIT, w.sight.answers && w.sight.fit);
            set_flag(REDIS_USABLE, w.state.usable);
            set_flag(REDIS_SEEN, true);
        } while (wait_for(EVERY_MS));
        redis_watch_done(&w);
    }
    ctx_done(&c);
    return NULL;
}

/* So that the first answers do not call a Redis away that was not asked. */
static void await_redis(void)
{
    for (ms end = clock_mono_ms() + FIRST_REDIS_MS;
         has_flag(REDIS_ON) && !has_flag(REDIS_SEEN) && clock_mono_ms() < end;)
        if (!wait_for(10))
            return;
}

/* ---- MongoDB */

/* What the thread that looks at MongoDB goes on with. */
struct looker {
    const struct refresh_task *task;
    struct mongo_pool *brief;
    struct ctx ctx;
    ms last_up;     /* monotonic */
    enum err told;  /* of the last look at the others */
    ms next_schema; /* monotonic; 0: it is applied */
};

static void note_db(struct looker *l, bool up, const char *reason)
{
    bool was = has_flag(DB_UP);
    ms now = clock_mono_ms();

    if (up)
        l->last_up = now;
    if (up != was)
        log_note(up ? LOG_INFO : LOG_WARN, up ? "mongo.up" : "mongo.down",
                 "MongoDB %s%s",
                 up ? "answers" : "does not answer: ", up ? "" : reason);
    set_flag(DB_UP, up);
    set_flag(DB_LOST, now - l->last_up >= LOST_AFTER_MS);
    mongo_set_away(l->task->pool, now - l->last_up >= AWAY_AFTER_MS);
}

/* Before all else: what is left open may stand in its way. */
static void end_sessions(struct looker *l)
{
    struct ctx *c = &l->ctx;

    if (!c->mongo || !mongo_sessions_due())
        return;
    c->deadline = clock_mono_ms() + BRIEF_MS;
    mongo_sessions_end(c);
    ctx_reset(c);
}

static void look_at_others(struct looker *l)
{
    struct ctx *c = &l->ctx;
    enum err err = c->mongo ? cluster_look(c) : ERR_OVERLOADED;
    if (err && err != l->told)
        log_note(LOG_WARN, "cluster.unread",
                 "the state of the other instances could not be read: %s",
                 err_code(err));
    l->told = err;
    if (err)
        cluster_look_failed();
}

static bool look_at_db(struct looker *l)
{
    struct mongo_info info;
    bool up = mongo_ping(l->task->pool, &info) == OK;

    if (up) {
        set_flag(STANDALONE, !info.replica_set);
        mongo_set_transactions(l->task->pool, info.replica_set);
    }
    note_db(l, up, info.reason);
    if (!up) {
        cluster_look_failed();
        return false;
    }
    if (!l->ctx.mongo)
        l->ctx.mongo = mongo_client_new(l->brief);
    end_sessions(l);
    look_at_others(l);
    return true;
}

/* True once nothing is left to do: keys have their index and one is there. */
static bool prepare_access(const struct refresh_task *t)
{
    bool was = has_flag(LOCKED_OUT);
    static enum err told; /* the poll thread's */
    enum err err;
    bool open;

    if (!t->conf->auth_enabled)
        return true;
    err = auth_prepare(t->conf, t->pool, &open);
    if (err && err != told)
        log_note(LOG_WARN, "auth.not_prepared",
                 "the unique index of _api_keys on hash could not be made: %s",
                 err_code(err));
    told = err;
    if (err == ERR_DB_UNAVAILABLE)
        return false;
    if (!open && !was)
        log_note(LOG_WARN, "auth.no_credentials",
                 "AUTH_ENABLED is true, but there is no API key and no JWT "
                 "setting: make a key with `sqlfree keys create`");
    set_flag(LOCKED_OUT, !open);
    return open && !err;
}

/* Once; until it works again and again, which never holds up the start. */
static void apply_schema(struct looker *l)
{
    static enum err told; /* the poll thread's */
    struct ctx *c = &l->ctx;
    enum err err;

    if (l->next_schema == 0 || clock_mono_ms() < l->next_schema || !c->mongo)
        return;
    c->deadline = clock_mono_ms() + SCHEMA_MS;
    err = schema_apply(c);
    if (err && err != told)
        log_note(LOG_WARN, "schema.not_applied",
                 "the system collections could not be made ready: %s (%s)",
                 err_code(err), c->reason);
    told = err;
    ctx_reset(c);
    l->next_schema = err ? clock_mono_ms() + SCHEMA_EVERY_MS : 0;
}

/* ---- start */

/* NULL when all stores are there that must be. */
static const char *missing_store(struct looker *l)
{
    if (!look_at_db(l))
        return "MongoDB";
    if (has_flag(REDIS_ON) && !has_flag(REDIS_FIT) &&
        l->task->conf->cluster_require_redis)
        return "Redis (CLUSTER_REQUIRE_REDIS is true)";
    return NULL;
}

/* Tries at start, the waits doubling; false when all of them failed. */
static bool reach_stores(struct looker *l)
{
    const struct conf *conf = l->task->conf;
    ms wait = conf->db_reconnect_initial_delay;

    for (int64_t tried = 0;; tried++) {
        const char *missing = missing_store(l);

        if (!missing)
            return true;
        if (!has_flag(DB_UP))
            mongo_set_away(l->task->pool, true);
        if (tried >= conf->db_max_reconnect_attempts) {
            log_note(LOG_ERROR, "start.gave_up",
                     "%s was not reached in any try at start", missing);
            return false;
        }
        if (!wait_for(wait))
            return false;
        wait *= 2;
        if (wait > conf->db_reconnect_max_delay)
            wait = conf->db_reconnect_max_delay;
    }
}

static void start(struct looker *l, bool *out_reached, bool *out_prepared)
{
    await_redis();
    *out_reached = reach_stores(l);
    *out_prepared = *out_reached && prepare_access(l->task);
    set_flag(*out_reached ? STARTED : GAVE_UP, true);
    l->task->on_state();
    if (*out_reached && has_flag(STANDALONE))
        log_note(LOG_WARN, "mongo.standalone",
                 "MongoDB is not a replica set: events are best effort");
}

static void *look_at_mongodb(void *arg)
{
    struct looker *l = arg;
    bool reached, prepared;

    start(l, &reached, &prepared);
    if (reached)
        apply_schema(l);
    while (reached && wait_for(EVERY_MS)) {
        if (!look_at_db(l))
            continue;
        if (!prepared)
            prepared = prepare_access(l->task);
        apply_schema(l);
    }
    mongo_client_free(l->ctx.mongo);
    ctx_done(&l->ctx);
    return NULL;
}

static bool start_thread(void *(*run)(void *), void *arg)
{
    pthread_attr_t attr;
    pthread_t thread;
    bool started;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    started = pthread_create(&thread, &attr, run, arg) == 0;
    pthread_attr_destroy(&attr);
    return started;
}

bool refresh_start(const struct refresh_task *t)
{
    static struct looker looker; /* its thread's, as long as the process */
    static struct refresh_task task;
    struct mongo_limits limits = mongo_limits_brief(1, BRIEF_MS);

    task = *t;
    looker = (struct looker){.task = &task,
                             .brief = mongo_pool_new(t->conf, &limits),
                             .last_up = clock_mono_ms(),
                             .next_schema = clock_mono_ms()};
    ctx_init(&looker.ctx, t->conf, ARENA_BYTES);
    stop_fd = eventfd(0, EFD_CLOEXEC);
    set_flag(REDIS_ON, dataset_home_of(t->conf) == DATASET_REDIS);
    return looker.brief && stop_fd >= 0 && start_thread(watch_redis, &task) &&
           start_thread(look_at_mongodb, &looker);
}
