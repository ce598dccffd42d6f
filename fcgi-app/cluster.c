/* cluster - see cluster.h */
#include "fcgi-app/cluster.h"

#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/drift.h"
#include "lib/base/metrics.h"
#include "lib/base/snap.h"
#include "lib/data/collections.h"
#include "lib/data/subs.h"

enum {
    READ_MS = 2000,  /* of the view */
    COUNT_MS = 1000, /* of collections, of locks */
    SIGHT_MS = 500,  /* of a look at Redis */
};

/* One look at MongoDB; it lies in its own arena. */
struct look {
    struct arena arena;
    struct view view;
    bool locks_known;
    struct lock_count locks;
    int64_t collections;
    bool clock_known;
    ms clock_offset_ms;
    bool figures; /* the metrics of this instance's workers are at hand */
};

/* One look at Redis. */
struct sight {
    struct redis_sight redis;
    bool usable;
    ms taken_boot;
};

static struct snap looks = SNAP_INIT, sights = SNAP_INIT;

/* What a look has from the ones before; only its thread touches it. */
static struct {
    struct drift drift;
    ms figures_boot; /* when metrics were imported */
} past;

bool cluster_is_fresh(ms seen_boot)
{
    return seen_boot > 0 && clock_boot_ms() - seen_boot <= CLUSTER_FRESH_MS;
}

ms cluster_age_ms(const struct cluster *k)
{
    return clock_boot_ms() - k->view.taken_boot;
}

/* ---- reading */

static const void *borrow(struct ctx *c, struct snap *s)
{
    struct snap_item *item = snap_get(s);

    if (!item || arena_defer(&c->arena, snap_put, item) != OK)
        return NULL;
    return snap_value(item);
}

static void fill_from_look(struct cluster *k, const struct look *look)
{
    k->view = look->view;
    k->seen = cluster_is_fresh(look->view.taken_boot);
    if (k->seen)
        k->collections = look->collections;
    k->clock_known = look->clock_known;
    k->clock_offset_ms = look->clock_offset_ms;
    k->locks_known = k->seen && look->locks_known;
    k->locks = look->locks;
    k->workers_up = k->seen && look->figures;
}

static void fill_from_sight(struct cluster *k, const struct sight *sight)
{
    k->redis = sight->redis;
    k->redis_seen = cluster_is_fresh(sight->taken_boot);
    k->usable = sight->usable;
    k->locks_known = k->redis_seen && sight->usable && sight->redis.answers;
    k->locks = (struct lock_count){sight->redis.locks, sight->redis.locks_owned,
                                   sight->redis.locks_expired};
}

const struct cluster *cluster_get(struct ctx *c)
{
    static const struct cluster nothing = {.collections = -1};
    struct cluster *k = arena_alloc(&c->arena, sizeof *k);
    const struct look *look;
    const struct sight *sight;

    if (!k)
        return &nothing;
    k->collections = -1;
    k->redis_on = dataset_home_of(c->conf) == DATASET_REDIS;
    look = borrow(c, &looks);
    if (look)
        fill_from_look(k, look);
    sight = k->redis_on ? borrow(c, &sights) : NULL;
    if (sight)
        fill_from_sight(k, sight);
    return k;
}

const struct view_instance *cluster_workers(const struct cluster *k,
                                            const struct conf *conf)
{
    return k->seen ? view_find(&k->view, str_of(conf->cluster_instance_id))
                   : NULL;
}

bool cluster_has_workers(const struct cluster *k, const struct conf *conf)
{
    return cluster_workers(k, conf) != NULL;
}

static enum err no_place(struct ctx *c, bool redis)
{
    return redis ? ctx_fail(c, ERR_REDIS_UNAVAILABLE,
                            "Locks are in Redis, which cannot be used now")
                 : ctx_fail(c, ERR_DB_UNAVAILABLE,
                            "Locks are in MongoDB, which cannot be used now");
}

enum err cluster_place(struct ctx *c, struct lock_place *out)
{
    const struct cluster *k = cluster_get(c);
    const struct dataset *d = &k->view.dataset;

    if (!c->conf->cluster_enable_distributed_locking)
        return ctx_fail(c, ERR_LOCKING_DISABLED,
                        "CLUSTER_ENABLE_DISTRIBUTED_LOCKING is false");
    if (k->redis_on && !k->usable)
        return no_place(c, true);
    if (k->seen && (d->home != dataset_home_of(c->conf) || d->id[0] == '\0'))
        return no_place(c, k->redis_on);
    out->dataset = *d;
    return OK;
}

void cluster_use_index(struct ctx *c)
{
    const struct cluster *k = cluster_get(c);
    const struct dataset *d = &k->view.dataset;

    c->index = "";
    if (k->seen && k->redis_seen && k->usable && d->home == DATASET_REDIS &&
        rds_find(c))
        c->index = d->id;
}

/* ---- looking at MongoDB */

/* The names are not kept. */
static int64_t count_collections(struct ctx *c)
{
    struct collection *rows;
    size_t n;
    bool known;

    c->deadline = clock_mono_ms() + COUNT_MS;
    known = collections_list(c, true, &rows, &n) == OK;
    ctx_reset(c);
    return known ? (int64_t)n : -1;
}

static bool count_locks(struct ctx *c, const struct view *v,
                        struct lock_count *out)
{
    struct lock_place place = {v->dataset};
    bool known;

    if (dataset_home_of(c->conf) != DATASET_MONGO ||
        v->dataset.home != DATASET_MONGO)
        return false;
    c->deadline = clock_mono_ms() + COUNT_MS;
    known =
        lock_count(c, &place, str_of(c->conf->cluster_instance_id), out) == OK;
    ctx_forgive(c);
    return known;
}

static void note_clock(struct look *look, ms wall_after)
{
    const struct view *v = &look->view;

    drift_note(&past.drift, v->rtt_ms, wall_after, v->server_wall);
    if (!drift_read(&past.drift, &look->clock_offset_ms))
        return;
    look->clock_known = true;
    clock_note_offset(look->clock_offset_ms);
}

void cluster_meet(ms clock_offset)
{
    ms known;

    if (!drift_read(&past.drift, &known))
        clock_note_offset(clock_offset);
}

/* So that what others changed is loaded before a request needs it, and a load
 * in vain is repeated also where nobody writes. */
static void refresh_subscriptions(struct ctx *c, int64_t version)
{
    const struct subs *unused;

    subs_raise(version);
    c->deadline = clock_mono_ms() + READ_MS;
    (void)!subs_get(c, &unused);
    ctx_reset(c);
}

/* Figures of a program that was not seen for 2 s are not shown. */
static bool import_figures(const struct ctx *c, const struct view *v)
{
    const struct view_instance *row =
        view_find(v, str_of(c->conf->cluster_instance_id));

    if (!row || row->age_ms > CLUSTER_FRESH_MS) {
        metrics_import_end();
        return false;
    }
    past.figures_boot = v->taken_boot;
    (void)metrics_import(row->metrics, row->boot);
    return true;
}

void cluster_look_failed(void)
{
    if (past.figures_boot && !cluster_is_fresh(past.figures_boot)) {
        metrics_import_end();
        past.figures_boot = 0;
    }
}

static void free_look(void *arg)
{
    struct arena arena = ((struct look *)arg)->arena;

    arena_done(&arena);
}

enum err cluster_look(struct ctx *c)
{
    int64_t collections = count_collections(c);
    size_t most_bytes = c->arena.max_bytes;
    struct look *look = ctx_alloc(c, sizeof *look);
    enum err err = ERR_OVERLOADED;
    int64_t version;

    c->deadline = clock_mono_ms() + READ_MS;
    if (look)
        err = view_read(c, str_of(c->conf->cluster_instance_id), &look->view);
    if (err) {
        ctx_reset(c);
        return err;
    }
    note_clock(look, clock_wall_ms());
    look->locks_known = count_locks(c, &look->view, &look->locks);
    look->collections = collections;
    look->figures = import_figures(c, &look->view);
    /* the look takes the arena, and with it all texts that it points to */
    look->arena = c->arena;
    arena_init(&c->arena, most_bytes);
    version = look->view.subs_version;
    err = snap_publish(&looks, look, free_look);
    refresh_subscriptions(c, version);
    return err;
}

/* ---- looking at Redis */

static struct sight *sight_new(void)
{
    return malloc(sizeof(struct sight));
}

void cluster_watch(struct ctx *c, struct redis_watch *w)
{
    struct snap_item *item = snap_get(&looks);
    struct dataset none = {0};
    const struct look *look = item ? snap_value(item) : NULL;
    struct sight *sight;
    ms begun = clock_boot_ms();

    redis_watch_look(w, c, look ? &look->view.dataset : &none, SIGHT_MS);
    snap_put(item);
    ctx_reset(c);
    sight = sight_new();
    if (!sight)
        return;
    *sight = (struct sight){w->sight, w->state.usable, begun};
    if (snap_publish(&sights, sight, free) != OK)
        return; /* the one before stays until it is old */
}
