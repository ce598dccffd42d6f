/* refresh - see refresh.h */
#include "fcgi-app/refresh.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fcgi-app/auth.h"
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/coord/rds.h"
#include "lib/data/mongo.h"

enum {
    EVERY_MS = 1000,
    AWAY_AFTER_MS = 3000, /* shorter gaps are bridged by tries in requests */
    LOST_AFTER_MS = 10000,
    REDIS_PING_MS = 500,
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
    REDIS_EVICTS = 256,
    LOCKED_OUT = 512,
};

static atomic_uint flags;
static atomic_int stop_fd = -1; /* an eventfd, readable once stopping */

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
        .redis_evicts = f & REDIS_EVICTS,
    };
}

/* Until Redis carries something, losing it is the only difference it makes. */
enum refresh_mode refresh_mode(const struct refresh_view *v)
{
    return v->redis == REFRESH_REDIS_OFF ? REFRESH_SINGLE : REFRESH_DEGRADED;
}

const char *refresh_mode_text(const struct refresh_view *v)
{
    static const char *const texts[] = {"single", "degraded", "cluster"};

    return texts[refresh_mode(v)];
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
    int fd;

    set_flag(STOPPING, true);
    fd = atomic_load(&stop_fd);
    if (fd >= 0)
        (void)eventfd_write(fd, 1);
}

/* False when stopping. */
static bool wait_for(int fd, ms wait)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    (void)poll(&p, 1, (int)wait);
    return !(atomic_load(&flags) & STOPPING);
}

static void note_db(struct mongo_pool *pool, ms *last_up, bool up,
                    const char *reason)
{
    bool was = atomic_load(&flags) & DB_UP;
    ms now = clock_mono_ms();

    if (up)
        *last_up = now;
    if (up != was)
        log_note(up ? LOG_INFO : LOG_WARN, up ? "mongo.up" : "mongo.down",
                 "MongoDB %s%s",
                 up ? "answers" : "does not answer: ", up ? "" : reason);
    set_flag(DB_UP, up);
    set_flag(DB_LOST, now - *last_up >= LOST_AFTER_MS);
    mongo_set_away(pool, now - *last_up >= AWAY_AFTER_MS);
}

static bool look_at_db(struct mongo_pool *pool, ms *last_up)
{
    struct mongo_info info;
    bool up = mongo_ping(pool, &info) == OK;

    if (up)
        set_flag(STANDALONE, !info.replica_set);
    note_db(pool, last_up, up, info.reason);
    return up;
}

/* True once nothing is left to do: keys have their index and one is there. */
static bool prepare_access(const struct refresh_task *t)
{
    bool was = atomic_load(&flags) & LOCKED_OUT;
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

static void look_at_redis(struct rds *redis)
{
    bool was = atomic_load(&flags) & REDIS_UP;
    bool up;

    if (!redis)
        return;
    up = rds_ping(redis, clock_mono_ms() + REDIS_PING_MS) == RDS_OK;
    if (up != was)
        log_note(up ? LOG_INFO : LOG_WARN, up ? "redis.up" : "redis.down",
                 "Redis %s%s", up ? "answers" : "does not answer: ",
                 up ? "" : rds_reason(redis));
    set_flag(REDIS_UP, up);
    set_flag(REDIS_EVICTS, up && rds_evicts(redis));
}

/* Tries at start, the waits doubling; false when all of them failed. */
static bool reach_db(const struct refresh_task *t, int fd, ms *last_up)
{
    ms wait = t->conf->db_reconnect_initial_delay;

    for (int64_t tried = 0;; tried++) {
        if (look_at_db(t->pool, last_up))
            return true;
        mongo_set_away(t->pool, true);
        if (tried >= t->conf->db_max_reconnect_attempts || !wait_for(fd, wait))
            return false;
        wait *= 2;
        if (wait > t->conf->db_reconnect_max_delay)
            wait = t->conf->db_reconnect_max_delay;
    }
}

static struct rds *open_redis(const struct conf *conf)
{
    struct rds_target target;

    if (!rds_target_of(conf, &target))
        return NULL;
    set_flag(REDIS_ON, true);
    return rds_new(&target);
}

void *refresh_run(void *arg)
{
    const struct refresh_task *t = arg;
    int fd = eventfd(0, EFD_CLOEXEC);
    struct rds *redis = open_redis(t->conf);
    ms last_up = clock_mono_ms();
    bool reached, prepared;

    atomic_store(&stop_fd, fd);
    look_at_redis(redis);
    reached = reach_db(t, fd, &last_up);
    prepared = reached && prepare_access(t);
    set_flag(reached ? STARTED : GAVE_UP, true);
    t->on_state();
    if (reached && (atomic_load(&flags) & STANDALONE))
        log_note(LOG_WARN, "mongo.standalone",
                 "MongoDB is not a replica set: events are best effort");
    while (reached && wait_for(fd, EVERY_MS)) {
        look_at_redis(redis);
        if (look_at_db(t->pool, &last_up) && !prepared)
            prepared = prepare_access(t);
    }
    rds_free(redis);
    return NULL;
}
