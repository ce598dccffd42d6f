/* worker - see worker.h */
#include "workers/worker.h"

#include <poll.h>
#include <signal.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/data/mongo_sessions.h"
#include "lib/run/proc.h"
#include "lib/run/sig.h"
#include "workers/roles.h"

enum {
    ARENA_BYTES = 64 << 20, /* a batch of events and the rows made of it */
    SELECT_MS = 2000,
    SOCKET_MS = 5000,
    END_MS = 5000,      /* of the grace, to tell what came of a job */
    LONGEST_MS = 60000, /* of one wait */
    TIDY_MS = 500
};

static void read_signals(struct worker *w)
{
    ms now = clock_boot_ms(), left = w->conf->shutdown_grace_ms - END_MS;

    while (sig_next(w->signal_fd) == SIGTERM) {
        w->abort_boot = w->stopping || left < 0 ? now : now + left;
        w->stopping = true;
    }
}

static void read_words(struct worker *w)
{
    board_read(w->board, &w->words);
    clock_note_offset(w->words.clock_offset);
    mongo_set_transactions(w->pool, w->words.transactions);
}

bool worker_open(struct worker *w, const struct roles_task *task, int slot)
{
    static const int signals[] = {SIGTERM};
    struct mongo_limits limits = mongo_limits_brief(1, SELECT_MS);

    *w = (struct worker){.conf = task->conf, .board = task->board};
    metrics_join(slot);
    mongo_sessions_join(slot);
    w->slot = slot;
    w->signal_fd = sig_open(signals, 1);
    ctx_init(&w->ctx, task->conf, ARENA_BYTES);
    limits.socket_ms = SOCKET_MS;
    w->pool = mongo_pool_new(task->conf, &limits);
    w->ctx.mongo = w->pool ? mongo_client_new(w->pool) : NULL;
    if (w->signal_fd < 0 || !w->ctx.mongo) {
        log_note(LOG_ERROR, "worker.failed", "the stores cannot be opened");
        return false;
    }
    read_words(w);
    proc_ready(slot);
    return true;
}

struct ctx *worker_begin(struct worker *w, ms most)
{
    ctx_reset(&w->ctx);
    w->ctx.deadline = clock_mono_ms() + most;
    w->ctx.op_ms = most;
    w->ctx.index = w->words.dataset; /* as it is in each moment */
    return &w->ctx;
}

void worker_tidy(struct worker *w)
{
    if (mongo_sessions_due())
        mongo_sessions_end(worker_begin(w, TIDY_MS));
}

unsigned worker_wait_for(struct worker *w, const int *fds, int n, ms wait)
{
    struct pollfd p[1 + WORKER_FDS_MAX] = {
        {.fd = w->signal_fd, .events = POLLIN}};
    unsigned ready = 0;

    for (int i = 0; i < n; i++)
        p[1 + i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    if (wait > LONGEST_MS)
        wait = LONGEST_MS;
    if (poll(p, (nfds_t)n + 1, wait > 0 ? (int)wait : 0) > 0) {
        if (p[0].revents)
            read_signals(w);
        for (int i = 0; i < n; i++)
            if (p[1 + i].revents)
                ready |= 1U << i;
    }
    read_words(w);
    return ready;
}

void worker_wait(struct worker *w, int fd, ms wait)
{
    (void)worker_wait_for(w, &fd, 1, wait);
}

bool worker_must_end(const struct worker *w)
{
    return w->stopping || w->words.draining;
}

bool worker_must_abort(void *worker)
{
    struct worker *w = worker;

    read_signals(w);
    return w->stopping && clock_boot_ms() >= w->abort_boot;
}

void worker_deadline(const struct worker *w, ms boot)
{
    proc_deadline(w->slot, boot);
}
