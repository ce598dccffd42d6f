/* snap - see snap.h */
#include "lib/base/snap.h"

#include <stdatomic.h>
#include <stdlib.h>

struct snap_item {
    atomic_uint readers; /* the snap itself counts as one */
    void *value;
    void (*free_fn)(void *);
};

/* Gives what was there. */
static struct snap_item *swap(struct snap *s, struct snap_item *item)
{
    struct snap_item *old;

    pthread_mutex_lock(&s->lock);
    old = s->item;
    s->item = item;
    pthread_mutex_unlock(&s->lock);
    return old;
}

enum err snap_publish(struct snap *s, void *value, void (*free_fn)(void *))
{
    struct snap_item *item = malloc(sizeof *item);

    if (!item) {
        free_fn(value);
        return ERR_OVERLOADED;
    }
    atomic_init(&item->readers, 1);
    item->value = value;
    item->free_fn = free_fn;
    snap_put(swap(s, item));
    return OK;
}

struct snap_item *snap_get(struct snap *s)
{
    struct snap_item *item;

    /* under the lock: else it could be freed before it is counted */
    pthread_mutex_lock(&s->lock);
    item = s->item;
    if (item)
        atomic_fetch_add_explicit(&item->readers, 1, memory_order_relaxed);
    pthread_mutex_unlock(&s->lock);
    return item;
}

const void *snap_value(const struct snap_item *item)
{
    return item->value;
}

void snap_put(void *arg)
{
    struct snap_item *item = arg;

    if (!item ||
        atomic_fetch_sub_explicit(&item->readers, 1, memory_order_acq_rel) != 1)
        return;
    item->free_fn(item->value);
    free(item);
}

void snap_clear(struct snap *s)
{
    snap_put(swap(s, NULL));
}
