/* duties - see duties.h */
#include "workers/duties.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/coord/figures.h"
#include "lib/coord/lock.h"
#include "lib/coord/queue.h"

enum {
    DATASET_EVERY_MS = 1000,
    INDEX_EVERY_MS = 1000,
    INDEX_CALLS_MS = 500, /* of waiting for Redis in a slice */
    INDEX_JOBS_MAX = 100000,
    SCALE_EVERY_MS = 60000,
    SCALE_FIRST_MS = 10000, /* others may be starting just now */
    CLEAN_SLICE_MS = 100,
    FIGURES_EVERY_MS = 1000,
    FIGURES_SHARE = 20, /* of all time goes into counting at most */
    SWEEP_EVERY_MS = 60000,
    SWEEP_FIRST_MS = 5000
};

struct slice {
    struct duties *d;
    const struct duty_input *in;
    struct duty_outcome *out;
};

struct duty_row {
    const char *name;
    ms (*every)(const struct duties *d);
    ms first_ms;                  /* after the start of a term */
    bool (*run)(struct slice *s); /* true: there is more to do now */
};

/* ---- the data set */

static ms dataset_every(const struct duties *d)
{
    (void)d;
    return DATASET_EVERY_MS;
}

static bool dataset_slice(struct slice *s)
{
    enum keeper_verdict verdict =
        keeper_turn(&s->d->keeper, s->in->c, s->in->w, s->in->v, s->d->term,
                    &s->out->changed);

    s->out->lost = verdict == KEEPER_LOST;
    return verdict == KEEPER_MORE;
}

/* ---- the index of the queue */

static ms index_every(const struct duties *d)
{
    (void)d;
    return INDEX_EVERY_MS;
}

static bool is_indexed(const struct duty_input *in)
{
    return in->w && in->w->state.usable && in->v->dataset.home == DATASET_REDIS;
}

/* A new data set knows nothing. */
static void note_index(struct duties *d, const struct duty_input *in, ms now)
{
    const char *id = is_indexed(in) ? in->v->dataset.id : "";

    if (strcmp(id, d->index.id) == 0)
        return;
    d->index = (struct duty_index){.swept = false};
    snprintf(d->index.id, sizeof d->index.id, "%s", id);
    d->next[DUTY_INDEX] = d->next[DUTY_REFILL] = now;
}

/* False: no index is used now. */
static bool index_begin(struct slice *s)
{
    struct ctx *c = s->in->c;

    if (!*s->d->index.id)
        return false;
    c->rds = s->in->w->rds;
    c->index = s->d->index.id;
    return true;
}

static void index_end(struct slice *s)
{
    s->in->c->rds = NULL;
    s->in->c->index = "";
}

/* What it does not hear now it is told in a second. */
static bool index_slice(struct slice *s)
{
    const struct conf *conf = s->d->conf;
    struct duty_index *k = &s->d->index;
    struct index_meta meta = {
        .cap = view_cap(s->in->v, QUEUE_WEBHOOK),
        .max = INDEX_JOBS_MAX,
        .limit_all = conf->webhooks_global_rate_limit_per_minute,
        .window_ms = conf->webhook_rate_limit_window_ms + queue_slack_ms(conf),
        .spill_over = k->swept};
    struct index_stats stats;

    if (!index_begin(s))
        return false;
    s->in->c->deadline = clock_mono_ms() + INDEX_CALLS_MS;
    if (index_meta(s->in->c, QUEUE_WEBHOOK, &meta) == INDEX_DONE) {
        k->swept = false;
        if (index_stats(s->in->c, QUEUE_WEBHOOK, &stats) == INDEX_DONE)
            k->stats = stats;
    }
    index_end(s);
    return false;
}

/* While the index spills only the sweep adds to it, young rows too: else there
 * would always be some left. */
static bool refill_slice(struct slice *s)
{
    struct duty_index *k = &s->d->index;
    ms young_ms = k->stats.spill ? 0 : SWEEP_YOUNG_MS;
    struct sweep_told told;

    if (!index_begin(s))
        return false;
    if (sweep_refill(s->in->c, QUEUE_WEBHOOK, young_ms, &told) == OK)
        k->swept = told.over;
    index_end(s);
    if (k->swept && (k->stats.spill || !k->stats.complete))
        s->d->next[DUTY_INDEX] = 0;
    return told.more;
}

static bool overdue_slice(struct slice *s)
{
    int64_t n;

    if (!index_begin(s))
        return false;
    (void)!sweep_overdue(s->in->c, QUEUE_WEBHOOK, &s->d->index.walk, &n);
    index_end(s);
    return false;
}

/* ---- entries of locks that have ended */

static ms locks_every(const struct duties *d)
{
    return d->conf->cluster_lock_cleanup_interval;
}

/* What is left for want of Redis is found by the next clean-up. */
static bool locks_slice(struct slice *s)
{
    struct lock_place place = {s->in->v->dataset};
    struct ctx *c = s->in->c;
    int64_t removed;
    bool more;

    if (place.dataset.home != dataset_home_of(s->d->conf) ||
        (s->in->w && !s->in->w->state.usable))
        return false;
    c->rds = s->in->w ? s->in->w->rds : NULL;
    c->deadline = clock_mono_ms() + CLEAN_SLICE_MS;
    more = lock_clean(c, &place, &removed) == OK && removed > 0 &&
           ctx_left_ms(c) == 0;
    c->rds = NULL;
    return more;
}

/* ---- the number of instances */

static ms scale_every(const struct duties *d)
{
    (void)d;
    return SCALE_EVERY_MS;
}

static bool scale_slice(struct slice *s)
{
    const struct conf *conf = s->d->conf;
    size_t n = s->in->v->instances_n;
    bool inside = n >= (size_t)conf->cluster_scaling_min_instances &&
                  n <= (size_t)conf->cluster_scaling_max_instances;

    if (!s->in->w || n == s->d->told_n || (inside && s->d->told_n == 0))
        return false; /* mode single is meant for one */
    s->d->told_n = inside ? 0 : n;
    log_note(inside ? LOG_INFO : LOG_WARN,
             inside ? "scaling.inside" : "scaling.outside",
             "%zu live instances, CLUSTER_SCALING_MIN_INSTANCES to "
             "CLUSTER_SCALING_MAX_INSTANCES is %lld to %lld",
             n, (long long)conf->cluster_scaling_min_instances,
             (long long)conf->cluster_scaling_max_instances);
    return false;
}

/* ---- figures of the queue */

static ms figures_every(const struct duties *d)
{
    return d->figures_rest;
}

/* However long the queue is, counting it takes little of the server's time. */
static ms rest_after(ms took)
{
    ms rest = took * FIGURES_SHARE;

    if (rest > FIGURES_REST_MAX_MS)
        return FIGURES_REST_MAX_MS;
    return rest > FIGURES_EVERY_MS ? rest : FIGURES_EVERY_MS;
}

static bool figures_slice(struct slice *s)
{
    struct figures f;
    ms start = clock_boot_ms();
    enum err err = figures_count(s->in->c, QUEUE_WEBHOOK, &f);

    s->d->figures_rest = rest_after(clock_boot_ms() - start);
    if (err)
        return false;
    f.rest_ms = s->d->figures_rest;
    f.limited += s->d->index.stats.limited; /* each path for itself */
    f.breakers += s->d->index.stats.breakers;
    err = figures_store(s->in->c, QUEUE_WEBHOOK, s->d->term, &f, &s->out->lost);
    (void)err; /* noted, and told by the caller */
    return false;
}

/* ---- what webhooks leave behind */

static ms sweep_every(const struct duties *d)
{
    (void)d;
    return SWEEP_EVERY_MS;
}

static bool cancelled_slice(struct slice *s)
{
    int64_t n = 0;

    return sweep_cancelled(s->in->c, QUEUE_WEBHOOK, &n) == OK && n > 0;
}

static bool dead_slice(struct slice *s)
{
    int64_t n = 0;

    return sweep_dead(s->in->c, QUEUE_WEBHOOK, SWEEP_DEAD_MAX, &n) == OK &&
           n > 0;
}

/* ---- all of them */

static const struct duty_row rows[] = {
    [DUTY_DATASET] = {"dataset", dataset_every, 0, dataset_slice},
    [DUTY_INDEX] = {"index", index_every, 0, index_slice},
    [DUTY_REFILL] = {"refill", index_every, 0, refill_slice},
    [DUTY_OVERDUE] = {"overdue", index_every, 0, overdue_slice},
    [DUTY_LOCKS] = {"locks", locks_every, 1000, locks_slice},
    [DUTY_SCALE] = {"scale", scale_every, SCALE_FIRST_MS, scale_slice},
    [DUTY_FIGURES] = {"figures", figures_every, 0, figures_slice},
    [DUTY_CANCELLED] = {"cancelled", sweep_every, SWEEP_FIRST_MS,
                        cancelled_slice},
    [DUTY_DEAD] = {"dead", sweep_every, SWEEP_FIRST_MS, dead_slice},
};
_Static_assert(sizeof rows / sizeof *rows == DUTY_N, "a row for each duty");

void duties_start(struct duties *d, const struct conf *conf, int64_t term)
{
    ms now = clock_boot_ms();

    *d = (struct duties){.conf = conf, .term = term};
    for (int i = 0; i < DUTY_N; i++)
        d->next[i] = now + rows[i].first_ms;
}

static enum duty first_due(const struct duties *d)
{
    enum duty first = DUTY_DATASET;

    for (int i = 1; i < DUTY_N; i++)
        if (d->next[i] < d->next[first])
            first = (enum duty)i;
    return first;
}

ms duties_next(const struct duties *d)
{
    return d->next[first_due(d)];
}

struct duty_outcome duties_turn(struct duties *d, const struct duty_input *in,
                                ms now)
{
    struct duty_outcome out = {false, false};
    struct slice s = {d, in, &out};
    enum duty due;
    bool more;

    note_index(d, in, now);
    due = first_due(d);
    if (d->next[due] > now)
        return out;
    more = rows[due].run(&s);
    d->next[due] = more ? now : now + rows[due].every(d);
    if (in->c->err)
        log_note(LOG_DEBUG, "duty.failed", "%s: %s", rows[due].name,
                 in->c->reason);
    return out;
}
