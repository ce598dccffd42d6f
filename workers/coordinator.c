/*
 * coordinator - see coordinator.h
 *
 * Times are of the boot clock: they count suspend. Each chore of the table says
 * when it wants to be called again.
 */
#include "workers/coordinator.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/drift.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/data/schema.h"
#include "lib/data/subs.h"
#include "lib/run/sig.h"
#include "lib/run/usage.h"
#include "workers/duties.h"
#include "workers/leftovers.h"
#include "workers/roles.h"
#include "workers/stores.h"

enum {
    VIEW_EVERY_MS = 200,
    REDIS_EVERY_MS = 250,
    REDIS_REST_MS = 1000, /* between looks at one that is away */
    BEAT_EVERY_MS = 1000,
    BEAT_AGAIN_MS = 250,
    MEND_EVERY_MS = 10000,
    REDIS_LOST_MS = 5000, /* then others keep the data set */
    COOL_MS = 10000,
    TURN_MS = 10000,    /* of the loop, before the supervisor kills */
    LONGEST_MS = 60000, /* of one wait */
    METRICS_BYTES = 4096,
    LEAVE_MS = 500, /* each call of the end */
    LAST_MS = 1000  /* of the grace, for the end itself */
};

enum chore {
    CHORE_CRON,
    CHORE_MAINTENANCE,
    CHORE_LEFTOVERS,
    CHORE_BEAT,
    CHORE_VIEW,
    CHORE_REDIS,
    CHORE_DUTIES,
    CHORE_MEND,
    CHORE_N
};

struct coordinator {
    const struct conf *conf;
    struct table *table;
    struct board *board;
    int slot, signal_fd;
    struct stores stores;
    struct view views[2]; /* each in its ctx; the other one is read next */
    int seen;             /* the last view; -1: none yet */
    struct campaign campaigns[LEADER_N];
    struct duties duties;
    struct leftovers *leftovers;
    struct drift drift;
    ms next[CHORE_N];
    ms redis_reached;
    bool stopping; /* SIGTERM came */
    ms end_boot;   /* while stopping: when it must be over */
    bool replaced; /* a newer program has our name */
};

static const struct view *last_view(const struct coordinator *co)
{
    return co->seen < 0 ? NULL : &co->views[co->seen];
}

static struct redis_watch *watch_of(struct coordinator *co)
{
    return co->stores.has_redis ? &co->stores.watch : NULL;
}

/* ---- chores: each gives when it is to be called again */

/* May jobs be started here, as far as Redis goes? */
static bool is_open(struct coordinator *co)
{
    struct redis_watch *w = watch_of(co);

    return !w || !co->conf->cluster_require_redis || w->state.usable;
}

/* What this look means for all processes of the program. */
static void tell_board(struct coordinator *co)
{
    const struct view *v = last_view(co);
    struct board_words old,
        w = {.open = is_open(co), .transactions = co->stores.transactions};
    bool goes_on = false;

    if (!v)
        return;
    board_read(co->board, &old);
    for (int q = 0; q < QUEUE_N; q++) {
        w.paused[q] = v->queues[q].paused;
        w.cap[q] = view_cap(v, (enum job_queue)q);
        goes_on = goes_on || (old.paused[q] && !w.paused[q]);
    }
    view_share(v, str_of(co->conf->cluster_instance_id), &w.share_index,
               &w.share_n);
    if (!drift_read(&co->drift, &w.clock_offset))
        w.clock_offset =
            old.seen_boot ? old.clock_offset : co->stores.clock_offset;
    clock_note_offset(w.clock_offset);
    w.seen_boot = v->taken_boot;
    snprintf(w.dataset, sizeof w.dataset, "%s",
             redis_watch_index(watch_of(co), &v->dataset));
    board_write(co->board, &w);
    if (w.open && (goes_on || !old.open || strcmp(w.dataset, old.dataset) != 0))
        board_poke(co->board, INT_MAX);
    subs_raise(v->subs_version);
}

static ms read_view(struct coordinator *co)
{
    ms start = clock_boot_ms();
    int spare = co->seen == 0;
    struct ctx *c = stores_begin(&co->stores.look[spare], STORES_QUICK_MS);

    if (view_read(c, str_of(co->conf->cluster_instance_id),
                  &co->views[spare]) != OK)
        return clock_boot_ms() + VIEW_EVERY_MS;
    if (co->seen < 0)
        proc_ready(co->slot);
    co->seen = spare;
    drift_note(&co->drift, co->views[spare].rtt_ms, clock_wall_ms(),
               co->views[spare].server_wall);
    tell_board(co);
    /* it may hold a wish of somebody's */
    co->next[CHORE_CRON] = co->next[CHORE_MAINTENANCE] = 0;
    return start + VIEW_EVERY_MS;
}

/* One that hangs must not take the time of all else. */
static ms look_at_redis(struct coordinator *co)
{
    static const struct dataset unknown;
    const struct view *v = last_view(co);
    struct redis_watch *w = watch_of(co);
    ms start = clock_boot_ms();
    bool was;

    if (!w)
        return start + MEND_EVERY_MS;
    was = w->state.usable;
    redis_watch_look(w, stores_begin(&co->stores.redis, STORES_QUICK_MS),
                     v ? &v->dataset : &unknown, STORES_QUICK_MS);
    if (w->sight.answers && w->sight.fit)
        co->redis_reached = start;
    if (w->state.usable != was) {
        co->next[CHORE_BEAT] = 0; /* others see it at once */
        tell_board(co);
    }
    if (!w->sight.answers && !w->state.usable)
        return clock_boot_ms() + REDIS_REST_MS;
    return start + REDIS_EVERY_MS;
}

static const char *mode_of(struct coordinator *co)
{
    const struct redis_watch *w = watch_of(co);

    return !w ? "single" : w->state.usable ? "cluster" : "degraded";
}

/* What workers add to the figures of their instance. */
static void export_figures(const struct table *t, struct buf *b,
                           int64_t *out_processes)
{
    double now[METRIC_N] = {0};
    struct usage u;

    usage_read((pid_t)t->life.pid, &u);
    now[METRIC_CPU] = (double)(u.user_us + u.system_us) / 1e6;
    now[METRIC_RSS] = (double)u.rss_bytes;
    now[METRIC_OPEN_FDS] = (double)u.open_fds;
    now[METRIC_MAX_FDS] = (double)u.max_fds;
    metrics_export(b, now);
    *out_processes = u.processes;
}

static ms beat(struct coordinator *co)
{
    struct ctx *c = stores_begin(&co->stores.quick, STORES_QUICK_MS);
    const struct redis_watch *w = watch_of(co);
    struct roster_figures f = {.mode = mode_of(co)};
    ms start = clock_boot_ms();
    char text[METRICS_BYTES];
    struct buf b = buf_over(text, sizeof text);
    bool mine;

    f.draining = co->stopping;
    f.slots[QUEUE_WEBHOOK] = co->conf->webhooks_queue_concurrency;
    f.redis_ok = w && w->sight.answers && w->sight.fit;
    export_figures(co->table, &b, &f.processes);
    f.metrics = (str){b.p, b.err ? 0 : b.n};
    if (roster_beat(c, &co->table->life, &f, &mine) != OK)
        return clock_boot_ms() + BEAT_AGAIN_MS;
    co->replaced = !mine;
    return start + BEAT_EVERY_MS;
}

/* Another live instance reaches Redis, and we have not for a while. */
static bool is_cut_off(struct coordinator *co)
{
    const struct view *v = last_view(co);

    if (!co->stores.has_redis || !v ||
        clock_boot_ms() - co->redis_reached < REDIS_LOST_MS)
        return false;
    for (size_t i = 0; i < v->instances_n; i++)
        if (v->instances[i].redis_ok &&
            !str_eq(v->instances[i].id, str_of(co->conf->cluster_instance_id)))
            return true;
    return false;
}

static ms campaign_for(struct coordinator *co, enum leader_service s)
{
    struct campaign *k = &co->campaigns[s];
    struct ctx *c = stores_begin(&co->stores.quick, STORES_QUICK_MS);
    bool may = s == LEADER_CRON ? co->conf->cluster_cron_leader_election
                                : !is_cut_off(co);

    if (k->leading && !may)
        campaign_resign(k, c, COOL_MS);
    return campaign_turn(k, c, last_view(co), may);
}

static ms campaign_cron(struct coordinator *co)
{
    return campaign_for(co, LEADER_CRON);
}

static ms campaign_maintenance(struct coordinator *co)
{
    return campaign_for(co, LEADER_MAINTENANCE);
}

static struct ctx *lend_index(struct coordinator *co, struct ctx *c)
{
    const struct view *v = last_view(co);

    return v ? stores_lend(c, &co->stores, &v->dataset) : c;
}

static ms give_back(struct coordinator *co)
{
    struct ctx *c = stores_begin(&co->stores.calm, STORES_CALM_MS);

    return leftovers_turn(co->leftovers, lend_index(co, c));
}

/* Collections and documents that somebody dropped are made again. */
static ms mend(struct coordinator *co)
{
    const struct view *v = last_view(co);

    if (v &&
        (!v->terms[LEADER_CRON].known || !v->terms[LEADER_MAINTENANCE].known)) {
        struct ctx *c = stores_begin(&co->stores.calm, STORES_CALM_MS);

        log_note(LOG_WARN, "schema.missing", "system documents are made again");
        if (schema_apply(c) != OK)
            log_note(LOG_WARN, "schema.failed", "%s", c->reason);
    }
    return clock_boot_ms() + MEND_EVERY_MS;
}

static ms do_duties(struct coordinator *co)
{
    struct campaign *k = &co->campaigns[LEADER_MAINTENANCE];
    struct duty_input in = {NULL, watch_of(co), last_view(co)};
    struct duty_outcome out;

    if (!in.v || !campaign_is_valid(k))
        return clock_boot_ms() + VIEW_EVERY_MS;
    in.c = stores_begin(&co->stores.calm, STORES_CALM_MS);
    out = duties_turn(&co->duties, &in, clock_boot_ms());
    if (out.changed)
        co->next[CHORE_VIEW] = co->next[CHORE_REDIS] = 0;
    if (out.lost)
        campaign_step_down(k);
    return duties_next(&co->duties);
}

/* ---- the loop */

static ms (*const chores[CHORE_N])(struct coordinator *co) = {
    [CHORE_CRON] = campaign_cron,  [CHORE_MAINTENANCE] = campaign_maintenance,
    [CHORE_LEFTOVERS] = give_back, [CHORE_BEAT] = beat,
    [CHORE_VIEW] = read_view,      [CHORE_REDIS] = look_at_redis,
    [CHORE_DUTIES] = do_duties,    [CHORE_MEND] = mend,
};

/* What is due. */
static void run_chore(struct coordinator *co, enum chore j)
{
    ms now = clock_boot_ms();

    if (co->next[j] > now)
        return;
    proc_deadline(co->slot, now + TURN_MS);
    co->next[j] = chores[j](co);
}

static ms time_to_next(const struct coordinator *co)
{
    ms first = co->next[0], now = clock_boot_ms();

    for (int j = 1; j < CHORE_N; j++)
        if (co->next[j] < first)
            first = co->next[j];
    return first > now ? first - now : 0;
}

/* A second signal leaves less time. */
static void read_signals(struct coordinator *co)
{
    while (sig_next(co->signal_fd) == SIGTERM) {
        ms left =
            (co->stopping ? ROLES_SECOND_MS : co->conf->shutdown_grace_ms) -
            LAST_MS;
        ms end = clock_boot_ms() + left;

        if (!co->stopping || end < co->end_boot)
            co->end_boot = end;
        co->stopping = true;
    }
}

/* Sleeps until a signal, the death of a child or the time. */
static void rest(struct coordinator *co, ms wait)
{
    int dead = board_dead_fd(co->board);
    struct pollfd p[] = {{.fd = co->signal_fd, .events = POLLIN},
                         {.fd = dead, .events = POLLIN}};

    (void)poll(p, 2, wait > LONGEST_MS ? LONGEST_MS : (int)wait);
    if (board_take(dead))
        co->next[CHORE_LEFTOVERS] = 0;
    read_signals(co);
}

/* False once the program is asked to stop. */
static bool may_go_on(void *arg, ms wait)
{
    struct coordinator *co = arg;

    rest(co, wait);
    return !co->stopping;
}

/* One round; terms and dead children are looked at after each call that may
 * block. */
static bool turn(struct coordinator *co)
{
    for (int j = CHORE_BEAT; j < CHORE_N; j++) {
        run_chore(co, CHORE_CRON);
        run_chore(co, CHORE_MAINTENANCE);
        run_chore(co, CHORE_LEFTOVERS);
        run_chore(co, (enum chore)j);
        if (co->replaced || !may_go_on(co, 0))
            return false;
    }
    return true;
}

static void resign_all(struct coordinator *co)
{
    for (int s = 0; s < LEADER_N; s++)
        campaign_resign(&co->campaigns[s],
                        stores_begin(&co->stores.quick, LEAVE_MS), COOL_MS);
}

/* Nobody claims from now on; what runs may end, and is given back if it does
 * not. The row of the roster says so, and stays until then. */
static void drain(struct coordinator *co)
{
    board_drain(co->board);
    resign_all(co);
    co->next[CHORE_BEAT] = 0;
    while (!co->replaced && clock_boot_ms() < co->end_boot) {
        ms wait, left = co->end_boot - clock_boot_ms();

        run_chore(co, CHORE_LEFTOVERS);
        if (board_live(co->board) == 0 &&
            co->next[CHORE_LEFTOVERS] == INT64_MAX)
            return;
        run_chore(co, CHORE_BEAT);
        wait = co->next[CHORE_LEFTOVERS] < co->next[CHORE_BEAT]
                   ? co->next[CHORE_LEFTOVERS]
                   : co->next[CHORE_BEAT];
        wait -= clock_boot_ms();
        rest(co, wait < left ? wait > 0 ? wait : 0 : left);
    }
    leftovers_take_all(
        co->leftovers,
        lend_index(co, stores_begin(&co->stores.quick, LEAVE_MS)));
}

static int leave(struct coordinator *co)
{
    struct ctx *c;

    drain(co);
    c = stores_begin(&co->stores.quick, LEAVE_MS);
    if (roster_leave(c, &co->table->life) != OK)
        log_note(LOG_WARN, "roster.not_left", "%s", c->reason);
    return 0;
}

static int loop(struct coordinator *co)
{
    while (turn(co) && may_go_on(co, time_to_next(co))) {
        /* all is done in turns */
    }
    if (!co->replaced)
        return leave(co);
    resign_all(co);
    log_note(LOG_ERROR, "roster.replaced",
             "a newer program runs under the name %s: this one ends",
             co->conf->cluster_instance_id);
    return PROC_EXIT_FINAL;
}

/* ---- the start */

static void start_service(void *arg, enum leader_service s, int64_t term)
{
    struct coordinator *co = arg;

    if (s == LEADER_MAINTENANCE)
        duties_start(&co->duties, co->conf, term);
    co->next[CHORE_DUTIES] = 0;
}

static void prepare(struct coordinator *co)
{
    struct board_words left;

    /* what another life of this child called usable is so until a look says
     * otherwise: workers stay on their claim path */
    board_read(co->board, &left);
    co->stores.watch.state.usable = left.dataset[0] != '\0';
    for (int s = 0; s < LEADER_N; s++) {
        struct campaign *k = &co->campaigns[s];

        campaign_init(k, (enum leader_service)s, co->conf,
                      &co->table->terms[s]);
        k->on_start = start_service;
        k->arg = co;
    }
    co->redis_reached = clock_boot_ms();
    co->seen = -1;
}

/* Handles are not freed: that would wait for servers that hang, and they end
 * with the process. */
int coordinator_run(void *arg, int slot)
{
    static const int signals[] = {SIGTERM};
    static struct coordinator co;
    const struct roles_task *task = arg;

    metrics_join(slot);
    co.conf = task->conf;
    co.table = task->table;
    co.board = task->board;
    co.slot = slot;
    board_undrain(co.board);
    co.signal_fd = sig_open(signals, 1);
    co.leftovers = leftovers_new(co.board);
    if (co.signal_fd < 0 || !co.leftovers || !stores_open(&co.stores, co.conf))
        return 1;
    if (co.table->started) /* another life of this child has done it */
        stores_set_transactions(&co.stores, co.table->transactions);
    else if (!stores_reach(&co.stores, may_go_on, &co))
        return co.stopping ? 0 : 1;
    co.table->transactions = co.stores.transactions;
    co.table->started = true;
    prepare(&co);
    return loop(&co);
}
