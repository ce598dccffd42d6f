/*
 * keeper - see keeper.h; move() alone changes the step
 */
#include "lib/coord/keeper.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/id.h"
#include "lib/base/log.h"
#include "lib/coord/rds_script.h"

enum {
    CALL_MS = 500,
    SURE_MS = 400,      /* between two looks that see another id */
    CONTEST_MS = 60000, /* so soon nobody loses a data set by chance */
    CLEAR_MAX = 500     /* keys of one call */
};

static const int64_t ahead_us = INT64_C(3600) * 1000000;
static const int64_t least_us = INT64_C(1800) * 1000000;

/* What a turn works with. */
struct turn {
    struct keeper *k;
    struct ctx *c;
    struct redis_watch *w;
    const struct view *v;
    bool changed;
};

static void move(struct keeper *k, enum keeper_step to)
{
    k->step = to;
    k->told = false;
    if (to != KEEPER_WATCH)
        return;
    k->cursor[0] = k->id[0] = '\0';
    k->whole = false;
    k->reserved = k->differs_since = 0;
}

static bool can_ask_redis(const struct redis_watch *w)
{
    return w && w->sight.answers && w->sight.fit;
}

static ms deadline_of(const struct ctx *c)
{
    ms own = clock_mono_ms() + CALL_MS;

    return c->deadline < own ? c->deadline : own;
}

static str key(struct turn *t, const char *rest)
{
    return arena_strf(&t->c->arena, "%s:%s", t->w->conf->redis_key_prefix,
                      rest);
}

/* ---- fences */

/* What leaves no room to reserve above it is nonsense that somebody stored. */
static int64_t sane(int64_t us)
{
    return us > 0 && us < DATASET_FENCE_END - 2 * ahead_us ? us : 0;
}

/* The greatest fence that Redis may have given or would give now. */
static int64_t fence_floor(const struct redis_sight *s)
{
    int64_t fence = sane(s->fence), now = sane(s->time_us);

    return fence > now ? fence : now;
}

/*
 * A number that MongoDB holds by majority, for Redis to give fences up to. One
 * that was got and has not reached Redis is used first: repeats do not run
 * away with it.
 */
static enum err reserve(struct turn *t)
{
    int64_t floor = fence_floor(&t->w->sight);
    enum err err;

    if (t->k->reserved - floor >= least_us)
        return OK;
    err = dataset_reserve(t->c, floor, ahead_us, &t->k->reserved);
    if (err)
        t->k->reserved = 0;
    return err;
}

/* A user of Redis who may not do this is named once a step. */
static void note_refusal(struct turn *t, enum rds_result result)
{
    if (result != RDS_ERR || t->k->told)
        return;
    t->k->told = true;
    log_note(LOG_WARN, "dataset.refused",
             "Redis refuses what the data set needs: %s",
             rds_reason(t->w->rds));
}

/* *out: the number that it gave; -1: Redis holds another data set. */
static enum rds_result run(struct turn *t, enum lua lua, const str *keys,
                           size_t keys_n, const str *args, size_t args_n,
                           int64_t *out)
{
    struct rds_script script = {lua, keys, args, keys_n, args_n};
    struct rds_reply reply;
    enum rds_result result =
        rds_run(t->w->rds, &script, deadline_of(t->c), &t->c->arena, &reply);

    note_refusal(t, result);
    *out = result == RDS_OK && reply.kind == RDS_INT ? reply.number : -1;
    return result;
}

static enum keeper_verdict raise_reservation(struct turn *t)
{
    struct keeper *k = t->k;
    str keys[] = {key(t, "dataset"), key(t, "l:max")};
    str args[2] = {str_of(t->v->dataset.id), STR_NONE};
    int64_t done;

    if (reserve(t) != OK)
        return KEEPER_IDLE;
    args[1] = arena_strf(&t->c->arena, "%lld", (long long)k->reserved);
    if (run(t, LUA_DATASET_RESERVE, keys, 2, args, 2, &done) == RDS_OK) {
        k->reserved = 0;
        k->changed_boot = clock_boot_ms();
    }
    return KEEPER_IDLE;
}

/* ---- the steps */

static enum keeper_verdict begin(struct turn *t, enum keeper_step step,
                                 const char *why)
{
    struct keeper *k = t->k;

    snprintf(k->replaced, sizeof k->replaced, "%s", t->v->dataset.id);
    snprintf(k->seen, sizeof k->seen, "%s", t->w ? t->w->sight.held : "");
    k->id[0] = k->cursor[0] = '\0';
    k->reserved = 0;
    move(k, step);
    log_note(LOG_INFO, "dataset.opening", "%s", why);
    return KEEPER_MORE;
}

/* Two that open it in turn never end, and drop each other's locks. */
static void note_contest(const struct turn *t)
{
    if (t->k->changed_boot > 0 &&
        clock_boot_ms() - t->k->changed_boot < CONTEST_MS)
        log_note(LOG_WARN, "dataset.contested",
                 "somebody else opens what lies under %s: in this Redis: give "
                 "each deployment a REDIS_KEY_PREFIX of its own",
                 t->w->conf->redis_key_prefix);
}

static enum keeper_verdict watch_redis(struct turn *t)
{
    const struct redis_sight *s = &t->w->sight;
    const struct dataset *d = &t->v->dataset;
    struct keeper *k = t->k;

    if (d->home != DATASET_REDIS) {
        k->whole = d->home == DATASET_MONGO;
        return begin(t, KEEPER_CLEAR,
                     k->whole ? "locks move from MongoDB to Redis"
                              : "there is no data set yet");
    }
    if (s->held[0] == '\0')
        return begin(t, KEEPER_CLEAR, "Redis holds no data set");
    if (strcmp(s->held, d->id) == 0) {
        k->differs_since = 0;
        if (sane(s->fence) == 0)
            return begin(t, KEEPER_NAME, "Redis holds no last fence");
        if (sane(s->fence_max) - fence_floor(s) < least_us)
            return raise_reservation(t);
        return KEEPER_IDLE;
    }
    if (k->differs_since == 0)
        k->differs_since = s->boot;
    if (s->boot - k->differs_since < SURE_MS)
        return KEEPER_IDLE;
    note_contest(t);
    return begin(t, KEEPER_NAME, "Redis holds another data set");
}

static enum keeper_verdict watch(struct turn *t)
{
    const struct dataset *d = &t->v->dataset;

    if (d->read_boot <= t->k->changed_boot)
        return KEEPER_IDLE; /* it was before our own change */
    if (dataset_home_of(t->c->conf) == DATASET_MONGO) {
        if (d->home == DATASET_MONGO && d->id[0] != '\0')
            return KEEPER_IDLE;
        return begin(t, KEEPER_NAME, "locks live in MongoDB from now on");
    }
    if (!can_ask_redis(t->w) || t->w->sight.boot <= t->k->changed_boot)
        return KEEPER_IDLE;
    return watch_redis(t);
}

/* Batches of what a SCAN gave, which may be more than it was asked for. False
 * when Redis did not do it, or holds something else by now. */
static bool clear_keys(struct turn *t, const struct rds_reply *found)
{
    str keys[CLEAR_MAX + 1], seen = str_of(t->k->seen);
    size_t n = 0;
    int64_t done;

    keys[0] = key(t, "dataset");
    for (size_t i = 0; i < found->items_n; i++) {
        keys[++n] = found->items[i].text;
        if (n < CLEAR_MAX && i + 1 < found->items_n)
            continue;
        if (run(t, LUA_DATASET_CLEAR, keys, n + 1, &seen, 1, &done) != RDS_OK)
            return false;
        if (done < 0) {
            move(t->k, KEEPER_WATCH);
            return false;
        }
        n = 0;
    }
    return true;
}

static enum keeper_verdict clear(struct turn *t)
{
    struct keeper *k = t->k;
    str words[] = {STR("SCAN"),  str_of(k->cursor[0] ? k->cursor : "0"),
                   STR("MATCH"), key(t, k->whole ? "[ql]:*" : "q:*"),
                   STR("COUNT"), STR("500")};
    enum rds_result result;
    struct rds_reply r;

    if (!can_ask_redis(t->w))
        return KEEPER_IDLE;
    result = rds_call(t->w->rds, words, sizeof words / sizeof *words,
                      deadline_of(t->c), &t->c->arena, &r);
    note_refusal(t, result);
    if (result != RDS_OK)
        return KEEPER_IDLE;
    if (r.kind != RDS_LIST || r.items_n != 2 || r.items[0].kind != RDS_TEXT ||
        r.items[1].kind != RDS_LIST)
        return KEEPER_IDLE;
    if (!clear_keys(t, &r.items[1]))
        return KEEPER_IDLE;
    snprintf(k->cursor, sizeof k->cursor, STR_FMT, STR_ARG(r.items[0].text));
    if (strcmp(k->cursor, "0") == 0)
        move(k, KEEPER_NAME);
    return KEEPER_MORE;
}

static bool draw(char out[DATASET_ID_MAX])
{
    uint8_t bytes[8];

    if (id_random(bytes, sizeof bytes) != OK)
        return false;
    id_hex(bytes, sizeof bytes, out);
    return true;
}

static enum keeper_verdict named(struct turn *t)
{
    bool redis = dataset_home_of(t->c->conf) == DATASET_REDIS;

    log_note(LOG_INFO, "dataset.named", "%s in %s", t->k->id,
             redis ? "Redis" : "MongoDB");
    t->changed = true;
    t->k->changed_boot = clock_boot_ms();
    move(t->k, redis ? KEEPER_OPEN : KEEPER_WATCH);
    return redis ? KEEPER_MORE : KEEPER_IDLE;
}

/* The write was refused: ours is there already, a greater term has written, or
 * what we saw is no more. */
static enum keeper_verdict why_not_named(struct turn *t)
{
    struct keeper *k = t->k;
    struct dataset d;

    if (dataset_read(t->c, &d) != OK)
        return KEEPER_IDLE;
    if (strcmp(d.id, k->id) == 0)
        return named(t);
    if (strcmp(d.id, k->replaced) == 0)
        return KEEPER_LOST;
    t->changed = true;
    k->changed_boot = clock_boot_ms();
    move(k, KEEPER_WATCH);
    return KEEPER_IDLE;
}

static enum keeper_verdict name(struct turn *t)
{
    struct keeper *k = t->k;
    bool done;

    if (k->id[0] == '\0' && !draw(k->id))
        return KEEPER_IDLE;
    if (dataset_write(t->c, k->replaced, k->term, dataset_home_of(t->c->conf),
                      k->id, &done) != OK)
        return KEEPER_IDLE; /* done or not: the same is written again */
    return done ? named(t) : why_not_named(t);
}

/*
 * Fences of this data set begin above what MongoDB held before: no other one,
 * also in a Redis that is cut off from us, may give any above that.
 */
static enum keeper_verdict open_it(struct turn *t)
{
    struct keeper *k = t->k;
    struct arena *a = &t->c->arena;
    str keys[] = {key(t, "dataset"), key(t, "l:fence"), key(t, "l:max"),
                  key(t, "l:ahead")};
    str args[4] = {str_of(k->seen), str_of(k->id)};
    enum rds_result result;
    int64_t done;

    if (!can_ask_redis(t->w) || reserve(t) != OK)
        return KEEPER_IDLE;
    args[2] = arena_strf(a, "%lld", (long long)(k->reserved - ahead_us));
    args[3] = arena_strf(a, "%lld", (long long)k->reserved);
    result = run(t, LUA_DATASET_OPEN, keys, 4, args, 4, &done);
    if (result != RDS_OK)
        return KEEPER_IDLE;
    log_note(LOG_INFO, "dataset.opened", "%s: %s", k->id,
             done > 0 ? "done" : "Redis holds something else by now");
    t->changed = true;
    k->changed_boot = clock_boot_ms();
    move(k, KEEPER_WATCH);
    return KEEPER_IDLE;
}

enum keeper_verdict keeper_turn(struct keeper *k, struct ctx *c,
                                struct redis_watch *w, const struct view *v,
                                int64_t term, bool *out_changed)
{
    static enum keeper_verdict (*const steps[])(struct turn * t) = {
        [KEEPER_WATCH] = watch,
        [KEEPER_CLEAR] = clear,
        [KEEPER_NAME] = name,
        [KEEPER_OPEN] = open_it,
    };
    struct turn t = {k, c, w, v, false};
    enum keeper_verdict verdict;

    *out_changed = false;
    if (v->dataset_term > term)
        return KEEPER_LOST;
    if (k->term != term)
        *k = (struct keeper){.term = term};
    verdict = steps[k->step](&t);
    *out_changed = t.changed;
    return verdict;
}
