/* lock - see lock.h: the rules; the round trips are in backend.h */
#include "lib/coord/lock.h"

#include <assert.h>
#include <poll.h>

#include "lib/base/clock.h"
#include "lib/base/metrics.h"
#include "lib/coord/backend.h"

enum {
    PLACE_MS = 1000,    /* a place is that fresh */
    GIVE_BACK_MS = 150, /* more, for a grant that nobody wants */
    REPEAT_MS = 20,     /* between a call and its repeat */
    MARGIN_MS = 250,    /* of validity, at least */
    MARGIN_PART = 10,
    HOLD_PART = 4,        /* of the ttl: then a holder renews */
    HOLD_AGAIN_PART = 16, /* and repeats what failed */
    HOLD_AGAIN_MS = 250
};

/* ---- one call of the home */

/* What is called with the home, and repeated. */
typedef enum lock_result lock_step(struct ctx *c, const struct lock_backend *b,
                                   const struct dataset *d, void *arg);

static const struct lock_backend *backend_of(enum dataset_home home)
{
    return home == DATASET_REDIS ? &redis_lock : &mongo_lock;
}

/* Never a second home: only the one of the settings, once it is open. */
static bool is_open(const struct ctx *c, const struct dataset *d)
{
    return d->id[0] && d->home == dataset_home_of(c->conf);
}

static bool is_fresh(const struct dataset *d)
{
    return d->read_boot > 0 && clock_boot_ms() - d->read_boot <= PLACE_MS;
}

static enum lock_result try_once(struct ctx *c, struct lock_place *place,
                                 lock_step *step, void *arg)
{
    struct dataset *d = &place->dataset;

    if (!is_fresh(d) && dataset_read(c, d) != OK) {
        ctx_forgive(c);
        return LOCK_AWAY;
    }
    return is_open(c, d) ? step(c, backend_of(d->home), d, arg) : LOCK_CLOSED;
}

/* By `end`, and by LOCK_CALL_MS. */
static enum lock_result call_home(struct ctx *c, struct lock_place *place,
                                  ms end, lock_step *step, void *arg)
{
    ms deadline = c->deadline, most = clock_mono_ms() + LOCK_CALL_MS;
    enum lock_result result;

    c->deadline = most < end ? most : end;
    result = try_once(c, place, step, arg);
    c->deadline = deadline;
    return result;
}

struct settled {
    enum lock_result result;
    bool unsure; /* an earlier call of these got no answer */
};

/*
 * Repeats what got no answer until it is settled, or too late. A home that
 * cannot be reached is not asked again, unless there is something to settle.
 */
static struct settled settle(struct ctx *c, struct lock_place *place,
                             lock_step *step, void *arg)
{
    ms end = clock_mono_ms() + backend_of(dataset_home_of(c->conf))->settle_ms;
    struct settled s = {.unsure = false};
    bool read_again = false;

    if (end > c->deadline)
        end = c->deadline;
    for (;;) {
        s.result = call_home(c, place, end, step, arg);
        if (s.result == LOCK_STALE && !read_again) {
            place->dataset.read_boot = 0;
            read_again = true;
            continue;
        }
        if (s.result == LOCK_UNKNOWN)
            s.unsure = true;
        else if (s.result != LOCK_AWAY || !s.unsure)
            return s;
        if (clock_mono_ms() + REPEAT_MS >= end)
            return s;
        poll(NULL, 0, REPEAT_MS);
    }
}

static enum err unavailable(struct ctx *c)
{
    if (dataset_home_of(c->conf) == DATASET_REDIS)
        return ctx_fail(c, ERR_REDIS_UNAVAILABLE,
                        "Locks are not available: Redis is not usable now");
    return ctx_fail(c, ERR_DB_UNAVAILABLE,
                    "Locks are not available: the database is not reachable");
}

static enum err not_found(struct ctx *c, const struct lock *l)
{
    return ctx_fail(c, ERR_LOCK_NOT_FOUND, "There is no lock '%s'", l->name);
}

static enum err not_held(struct ctx *c, const struct lock *l)
{
    return ctx_fail(c, ERR_LOCK_NOT_HELD, "Lock '%s' has another token",
                    l->name);
}

static ms valid_until(ms stamp, ms ttl)
{
    ms margin = ttl / MARGIN_PART;

    return stamp + ttl - (margin > MARGIN_MS ? margin : MARGIN_MS);
}

/* The stamp that valid_until() was made of */
static ms stamp_of(const struct lock *l)
{
    return l->valid_until - valid_until(0, l->ttl_ms);
}

/* ---- acquire */

struct acquire {
    struct lock *l;
    const struct lock_ask *ask;
    struct lock_holder *holder;
};

static enum lock_result acquire_step(struct ctx *c,
                                     const struct lock_backend *b,
                                     const struct dataset *d, void *arg)
{
    struct acquire *a = arg;
    ms stamp = clock_boot_ms();
    enum lock_result result = b->acquire(c, d, a->l, a->ask, a->holder);

    if (result == LOCK_DONE)
        a->l->valid_until = valid_until(stamp, a->l->ttl_ms);
    return result;
}

static enum lock_result release_step(struct ctx *c,
                                     const struct lock_backend *b,
                                     const struct dataset *d, void *arg)
{
    return b->release(c, d, arg);
}

/* Best effort, in time of its own; else its ttl ends it. */
static void give_back(struct ctx *c, struct lock_place *place, struct lock *l)
{
    ms deadline = c->deadline, end = clock_mono_ms() + GIVE_BACK_MS;
    enum lock_result result;

    c->deadline = end;
    for (;;) {
        result = call_home(c, place, end, release_step, l);
        if ((result != LOCK_AWAY && result != LOCK_UNKNOWN) ||
            clock_mono_ms() + REPEAT_MS >= end)
            break;
        poll(NULL, 0, REPEAT_MS);
    }
    c->deadline = deadline;
}

static bool is_unwanted(const struct lock_ask *ask)
{
    return ask->stop && ask->stop(ask->stop_arg);
}

static enum err nobody_waits(struct ctx *c)
{
    return ctx_fail(c, ERR_CUT, "Nobody waits for the lock any more");
}

/* One try and its repeats. */
static enum err acquire_try(struct ctx *c, struct lock_place *place,
                            struct acquire *a)
{
    struct settled s = settle(c, place, acquire_step, a);
    bool unwanted = s.result == LOCK_DONE && is_unwanted(a->ask);

    if (s.result == LOCK_DONE && !unwanted && ctx_left_ms(c) > 0)
        return OK;
    if (s.result == LOCK_BUSY)
        return ERR_LOCK_HELD;
    if (s.result == LOCK_DONE || s.unsure)
        give_back(c, place, a->l);
    return unwanted ? nobody_waits(c) : unavailable(c);
}

/* At the latest when the holder's time ends; not above 0: there is no time for
 * one more try. */
static ms wait_of(const struct ctx *c, const struct lock_place *place,
                  const struct lock_holder *holder, ms end)
{
    const struct lock_backend *b = backend_of(place->dataset.home);
    ms span = b->wait_most_ms - b->wait_least_ms + 1;
    ms wait = b->wait_least_ms + id_chance() % span;
    ms now = clock_mono_ms();

    if (end > c->deadline - LOCK_CALL_MS)
        end = c->deadline - LOCK_CALL_MS;
    if (wait > holder->left_ms)
        wait = holder->left_ms + 1;
    return wait < end - now ? wait : end - now;
}

static bool may_wait(const struct lock_ask *ask)
{
    return !ask->may_wait || ask->may_wait(ask->stop_arg);
}

static enum err acquire(struct ctx *c, struct lock_place *place,
                        struct acquire *a)
{
    ms end = clock_mono_ms() + a->ask->wait_ms;

    for (bool waited = false;; waited = true) {
        enum err err;
        ms wait;

        if (is_unwanted(a->ask))
            return nobody_waits(c);
        err = acquire_try(c, place, a);
        if (err != ERR_LOCK_HELD)
            return err;
        wait = wait_of(c, place, a->holder, end);
        if (wait <= 0 || !(waited || may_wait(a->ask)))
            return ctx_fail(c, ERR_LOCK_HELD, "Lock '%s' is held", a->l->name);
        poll(NULL, 0, (int)wait);
    }
}

/* A wait that nobody awaited the end of ended while another had the lock. */
static void count_acquisition(enum err err, int64_t start_us)
{
    enum metric_lock_outcome outcome = err == OK ? METRIC_LOCK_GRANTED
                                       : err == ERR_LOCK_HELD || err == ERR_CUT
                                           ? METRIC_LOCK_HELD
                                           : METRIC_LOCK_UNAVAILABLE;

    metrics_add(METRIC_LOCK_ACQUISITIONS, outcome, 1);
    if (err == OK)
        metrics_observe(METRIC_LOCK_WAIT_SECONDS, 0,
                        clock_mono_us() - start_us);
}

enum err lock_acquire(struct ctx *c, struct lock_place *place,
                      const struct lock_ask *ask, struct lock *out,
                      struct lock_holder *out_holder)
{
    int64_t start_us = clock_mono_us();
    struct lock l = {.ttl_ms = ask->ttl_ms, .held_ms = -1};
    struct lock_holder holder;
    struct acquire a = {&l, ask, &holder};
    enum err err;

    assert(lock_is_name(ask->name) && lock_is_owner(ask->owner));
    memcpy(l.name, ask->name.p, ask->name.n);
    if (id_token(l.token) != OK)
        return ctx_fail(c, ERR_INTERNAL, "Something went wrong on our side");
    err = acquire(c, place, &a);
    count_acquisition(err, start_us);
    if (err == OK)
        *out = l;
    if (err == ERR_LOCK_HELD)
        *out_holder = holder;
    return err;
}

/* ---- renew, release, hold */

static enum lock_result renew_step(struct ctx *c, const struct lock_backend *b,
                                   const struct dataset *d, void *arg)
{
    struct lock *l = arg;
    ms stamp = clock_boot_ms();
    enum lock_result result = b->renew(c, d, l);

    if (result == LOCK_DONE)
        l->valid_until = valid_until(stamp, l->ttl_ms);
    return result;
}

enum err lock_renew(struct ctx *c, struct lock_place *place, struct lock *l,
                    ms ttl_ms)
{
    struct lock renewed = *l;
    struct settled s;

    renewed.ttl_ms = ttl_ms;
    s = settle(c, place, renew_step, &renewed);
    if (s.result == LOCK_LOST)
        return not_held(c, l);
    if (s.result == LOCK_GONE)
        return not_found(c, l);
    if (s.result != LOCK_DONE)
        return unavailable(c);
    *l = renewed;
    return OK;
}

/* Gone after a try without an answer: that try has done it. */
enum err lock_release(struct ctx *c, struct lock_place *place, struct lock *l)
{
    struct settled s;

    l->held_ms = -1;
    s = settle(c, place, release_step, l);
    if (s.result == LOCK_LOST)
        return not_held(c, l);
    if (s.result == LOCK_GONE && !s.unsure)
        return not_found(c, l);
    if (s.result != LOCK_DONE && s.result != LOCK_GONE)
        return unavailable(c);
    if (l->held_ms >= 0)
        metrics_observe(METRIC_LOCK_HELD_SECONDS, 0, l->held_ms * 1000);
    return OK;
}

static enum err validity_over(struct ctx *c, const struct lock *l)
{
    return ctx_fail(c, ERR_LOCK_NOT_HELD,
                    "Lock '%s' could not be renewed in time", l->name);
}

static ms hold_again_ms(const struct lock *l)
{
    ms again = l->ttl_ms / HOLD_AGAIN_PART;

    return again < HOLD_AGAIN_MS ? again : HOLD_AGAIN_MS;
}

/* As lock_renew, but not for longer than what is left of the validity. */
static enum err renew_in_time(struct ctx *c, struct lock_place *place,
                              struct lock *l, ms left)
{
    ms deadline = c->deadline, most = clock_mono_ms() + left;
    enum err err;

    if (most < c->deadline)
        c->deadline = most;
    err = lock_renew(c, place, l, l->ttl_ms);
    c->deadline = deadline;
    return err;
}

enum err lock_hold(struct ctx *c, struct lock_place *place, struct lock *l,
                   ms *out_next_boot)
{
    ms now = clock_boot_ms(), due = stamp_of(l) + l->ttl_ms / HOLD_PART;
    enum err err = OK;

    if (now >= l->valid_until)
        return validity_over(c, l);
    if (now >= due) {
        err = renew_in_time(c, place, l, l->valid_until - now);
        now = clock_boot_ms();
        due =
            err ? now + hold_again_ms(l) : stamp_of(l) + l->ttl_ms / HOLD_PART;
    }
    if (err == ERR_LOCK_NOT_FOUND || err == ERR_LOCK_NOT_HELD) {
        ctx_forgive(c);
        return not_held(c, l);
    }
    if (err)
        ctx_forgive(c); /* to be repeated: no loss as long as it is valid */
    if (now >= l->valid_until)
        return validity_over(c, l);
    *out_next_boot = due < l->valid_until ? due : l->valid_until;
    return OK;
}

/* ---- all of them */

static enum lock_result list_step(struct ctx *c, const struct lock_backend *b,
                                  const struct dataset *d, void *arg)
{
    return b->list(c, d, arg);
}

/* Room for a page more behind the n rows */
static struct lock_row *grow(struct ctx *c, struct lock_row *rows, size_t n,
                             size_t *cap)
{
    struct lock_row *more;

    if (n + LOCK_LIST_BATCH <= *cap)
        return rows;
    *cap = 2 * *cap + LOCK_LIST_BATCH;
    more = ctx_alloc(c, *cap * sizeof *more);
    if (more && n > 0)
        memcpy(more, rows, n * sizeof *more);
    return more;
}

enum err lock_list(struct ctx *c, struct lock_place *place,
                   struct lock_row **out, size_t *out_n)
{
    struct lock_page page = {.name = STR("")};
    struct lock_row *rows = NULL;
    size_t n = 0, cap = 0;

    do {
        rows = grow(c, rows, n, &cap);
        if (!rows)
            return ERR_OVERLOADED;
        page.rows = rows + n;
        page.max = LOCK_LIST_BATCH;
        /* a call that is cut costs the connection: rather none */
        if (n > 0 && ctx_left_ms(c) < LOCK_CALL_MS)
            return unavailable(c);
        if (settle(c, place, list_step, &page).result != LOCK_DONE)
            return unavailable(c);
        n += page.rows_n;
    } while (page.entries == page.max && n < LOCK_LIST_MAX);
    *out = rows;
    *out_n = n < LOCK_LIST_MAX ? n : LOCK_LIST_MAX;
    return OK;
}

struct clean {
    int64_t place, removed; /* removed: by the last batch */
};

static enum lock_result clean_step(struct ctx *c, const struct lock_backend *b,
                                   const struct dataset *d, void *arg)
{
    struct clean *clean = arg;

    return b->clean(c, d, &clean->place, &clean->removed);
}

enum err lock_clean(struct ctx *c, struct lock_place *place,
                    int64_t *out_removed)
{
    struct clean clean = {0};
    int64_t removed = 0;

    do {
        if (settle(c, place, clean_step, &clean).result != LOCK_DONE)
            return unavailable(c);
        removed += clean.removed;
    } while (clean.place >= 0 && ctx_left_ms(c) > 0);
    *out_removed = removed;
    return OK;
}

struct count {
    str instance;
    struct lock_count *out;
};

static enum lock_result count_step(struct ctx *c, const struct lock_backend *b,
                                   const struct dataset *d, void *arg)
{
    struct count *count = arg;

    return b->count(c, d, count->instance, count->out);
}

enum err lock_count(struct ctx *c, struct lock_place *place, str instance,
                    struct lock_count *out)
{
    struct count count = {instance, out};

    if (settle(c, place, count_step, &count).result != LOCK_DONE)
        return unavailable(c);
    return OK;
}
