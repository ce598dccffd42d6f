/* hints - see hints.h */
#include "fcgi-app/hints.h"

#include <pthread.h>
#include <string.h>

#include "fcgi-app/cluster.h"
#include "fcgi-app/refresh.h"
#include "lib/base/metrics.h"
#include "lib/coord/hint.h"

enum {
    WAITING_MAX = 2048, /* ids: of a second at full speed */
    TOGETHER_MAX = 100, /* in one push */
    ID_BYTES = 24,
    STACK_BYTES = 1 << 20,
    ARENA_BYTES = 1 << 20
};

struct hint_ids {
    size_t n;
    char id[WAITING_MAX][ID_BYTES];
};

static struct {
    const struct conf *conf;
    pthread_t thread;
    bool runs; /* set before there is a second thread */
    pthread_mutex_t lock;
    pthread_cond_t given;
    bool stopping;           /* under the lock */
    struct hint_ids waiting; /* likewise */
} hints = {.lock = PTHREAD_MUTEX_INITIALIZER,
           .given = PTHREAD_COND_INITIALIZER};

/* False when there is none any more, and none will come. */
static bool take_all(struct hint_ids *out)
{
    pthread_mutex_lock(&hints.lock);
    while (hints.waiting.n == 0 && !hints.stopping)
        pthread_cond_wait(&hints.given, &hints.lock);
    out->n = hints.waiting.n;
    memcpy(out->id, hints.waiting.id, out->n * ID_BYTES);
    hints.waiting.n = 0;
    pthread_mutex_unlock(&hints.lock);
    return out->n > 0;
}

static void push(struct ctx *c, const struct hint_ids *given)
{
    str ids[TOGETHER_MAX];
    size_t n = 0;

    for (size_t i = 0; i < given->n; i++) {
        ids[n++] = (str){given->id[i], ID_BYTES};
        if (n < TOGETHER_MAX && i + 1 < given->n)
            continue;
        cluster_use_index(c); /* it may be away by now */
        if (c->index[0])
            hint_push(c, ids, n);
        n = 0;
        c->index = "";
        ctx_reset(c);
    }
}

static void *push_all(void *unused)
{
    static struct hint_ids mine;
    struct ctx c;

    (void)unused;
    ctx_init(&c, hints.conf, ARENA_BYTES);
    while (take_all(&mine))
        push(&c, &mine);
    rds_free(c.rds);
    ctx_done(&c);
    return NULL;
}

bool hints_start(const struct conf *conf)
{
    pthread_attr_t attr;

    if (dataset_home_of(conf) != DATASET_REDIS)
        return true;
    hints.conf = conf;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    hints.runs = pthread_create(&hints.thread, &attr, push_all, NULL) == 0;
    pthread_attr_destroy(&attr);
    return hints.runs;
}

void hints_give(const struct ctx *c)
{
    size_t given = c->committed.n / ID_BYTES, n = given, room;

    if (n == 0 || !refresh_view().redis_usable)
        return;
    pthread_mutex_lock(&hints.lock);
    room = WAITING_MAX - hints.waiting.n;
    if (n > room)
        n = room;
    if (n > 0)
        memcpy(hints.waiting.id[hints.waiting.n], c->committed.p, n * ID_BYTES);
    hints.waiting.n += n;
    pthread_cond_signal(&hints.given);
    pthread_mutex_unlock(&hints.lock);
    if (n < given)
        metrics_add(METRIC_HINTS_LOST, 0, (int64_t)(given - n));
}

void hints_stop(ms by)
{
    struct timespec t = {by / 1000, by % 1000 * 1000000};

    if (!hints.runs)
        return;
    pthread_mutex_lock(&hints.lock);
    hints.stopping = true;
    pthread_cond_signal(&hints.given);
    pthread_mutex_unlock(&hints.lock);
    (void)pthread_clockjoin_np(hints.thread, NULL, CLOCK_MONOTONIC, &t);
}
