/* permits - see permits.h */
#include "fcgi-app/permits.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/metrics.h"

enum {
    TAKE_MS = 1000
};

static sem_t io; /* one fewer than threads */
static atomic_bool saturated, closed;
static atomic_int waiting;
static int waiting_max;
static bool one_permit;

bool permits_setup(int64_t threads)
{
    waiting_max = threads / 4 > 0 ? (int)(threads / 4) : 1;
    one_permit = threads <= 2;
    return sem_init(&io, 0, (unsigned)threads - 1) == 0;
}

enum err permits_take(struct ctx *c)
{
    struct timespec t;
    ms until;

    if (sem_trywait(&io) == 0)
        return OK;
    until = clock_mono_ms() + TAKE_MS;
    t = (struct timespec){until / 1000, until % 1000 * 1000000};
    if (!atomic_load(&saturated) &&
        sem_clockwait(&io, CLOCK_MONOTONIC, &t) == 0)
        return OK;
    atomic_store(&saturated, true);
    metrics_add(METRIC_SHED, 0, 1);
    return ctx_fail(c, ERR_OVERLOADED,
                    "All threads are busy; try again in a second");
}

bool permits_try(void)
{
    return sem_trywait(&io) == 0;
}

void permits_give(void)
{
    sem_post(&io);
    if (atomic_load_explicit(&saturated, memory_order_relaxed))
        atomic_store(&saturated, false);
}

bool permits_begin_wait(void)
{
    if (permits_are_closed())
        return false;
    if (atomic_fetch_add(&waiting, 1) < waiting_max)
        return true;
    permits_end_wait();
    return false;
}

bool permits_begin_wait_for_clients(void)
{
    return !one_permit && permits_begin_wait();
}

void permits_end_wait(void)
{
    atomic_fetch_sub(&waiting, 1);
}

void permits_close(void)
{
    atomic_store(&closed, true);
}

bool permits_are_closed(void)
{
    return atomic_load_explicit(&closed, memory_order_relaxed);
}
