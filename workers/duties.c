/* duties - see duties.h */
#include "workers/duties.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/coord/figures.h"
#include "lib/coord/lock.h"
#include "lib/coord/sweep.h"

enum {
    DATASET_EVERY_MS = 1000,
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
    enum duty due = first_due(d);
    bool more;

    if (d->next[due] > now)
        return out;
    more = rows[due].run(&s);
    d->next[due] = more ? now : now + rows[due].every(d);
    if (in->c->err)
        log_note(LOG_DEBUG, "duty.failed", "%s: %s", rows[due].name,
                 in->c->reason);
    return out;
}
