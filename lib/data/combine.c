/*
 * combine - see combine.h. States of an operation, moved under the lock:
 *   WAITING -> TAKEN (by a leader) -> DONE
 *   WAITING -> LEADING (promoted by one that ends, or after the wait)
 */
#include "lib/data/combine.h"

#include <string.h>
#include <time.h>

enum {
    WAITING,
    TAKEN,
    LEADING,
    DONE
};

enum {
    TOGETHER_MAX = 32, /* operations in a command */
    WAIT_NS = 500000,
    SECOND_NS = 1000000000
};

void combine_init(struct combine *k, int leaders_max)
{
    *k = (struct combine){.leaders_max = leaders_max, .wait_ns = WAIT_NS};
    k->last = &k->waiting;
    pthread_mutex_init(&k->lock, NULL);
}

static void append(struct combine *k, struct combine_op *op)
{
    op->next = NULL;
    *k->last = op;
    k->last = &op->next;
}

static struct combine_op *unlink_at(struct combine *k, struct combine_op **at)
{
    struct combine_op *op = *at;

    *at = op->next;
    if (k->last == &op->next)
        k->last = at;
    return op;
}

/* op, which does not wait any more, takes along what has its key. */
static void lead(struct combine *k, struct combine_op *op)
{
    struct combine_op **at = &k->waiting, **end = &op->next;

    op->state = LEADING;
    *end = NULL;
    k->leaders++;
    for (int n = 1; *at && n < TOGETHER_MAX;) {
        if (strcmp((*at)->key, op->key) != 0) {
            at = &(*at)->next;
            continue;
        }
        *end = unlink_at(k, at);
        (*end)->state = TAKEN;
        end = &(*end)->next;
        *end = NULL;
        n++;
    }
}

/* After a wait in vain: true when nobody has taken op, which then leads. */
static bool lead_after_all(struct combine *k, struct combine_op *op)
{
    struct combine_op **at = &k->waiting;
    bool waits;

    pthread_mutex_lock(&k->lock);
    waits = op->state == WAITING;
    if (waits) {
        while (*at != op)
            at = &(*at)->next;
        lead(k, unlink_at(k, at));
    }
    pthread_mutex_unlock(&k->lock);
    return waits;
}

static bool is_woken_in_time(const struct combine *k, struct combine_op *op)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += k->wait_ns;
    until.tv_sec += until.tv_nsec / SECOND_NS;
    until.tv_nsec %= SECOND_NS;
    return sem_clockwait(&op->woken, CLOCK_MONOTONIC, &until) == 0;
}

bool combine_begin(struct combine *k, struct combine_op *op)
{
    pthread_mutex_lock(&k->lock);
    k->under_way++;
    if (k->leaders < k->leaders_max || k->under_way <= 2 * k->leaders_max) {
        lead(k, op);
        pthread_mutex_unlock(&k->lock);
        return true;
    }
    sem_init(&op->woken, 0, 0);
    op->state = WAITING;
    append(k, op);
    pthread_mutex_unlock(&k->lock);
    if (!is_woken_in_time(k, op)) {
        if (lead_after_all(k, op))
            return true;
        while (sem_wait(&op->woken) != 0) {
            /* taken: its command ends within the limit of an operation */
        }
    }
    return op->state == LEADING;
}

void combine_end(struct combine *k, struct combine_op *op)
{
    struct combine_op *done = op->next, *promoted = NULL;

    pthread_mutex_lock(&k->lock);
    k->leaders--;
    k->under_way--;
    for (struct combine_op *one = done; one; one = one->next) {
        one->state = DONE;
        k->under_way--;
    }
    if (k->waiting && k->leaders < k->leaders_max) {
        promoted = unlink_at(k, &k->waiting);
        lead(k, promoted);
    }
    pthread_mutex_unlock(&k->lock);
    while (done) { /* which may be gone as soon as it is woken */
        struct combine_op *one = done;

        done = one->next;
        sem_post(&one->woken);
    }
    if (promoted)
        sem_post(&promoted->woken);
}
