#pragma once
/*
 * snap - one value that many threads read and one replaces now and then
 *
 *   snap_publish (writer) ... snap_get -> snap_put (readers)
 *
 * What was published is never changed, only replaced as a whole; whoever got
 * it may read on after that, and the last one to let go frees it. The lock is
 * held for a few instructions. This is the only reference count of the tree.
 */
#include <pthread.h>

#include "lib/base/err.h"

struct snap_item;

struct snap {
    pthread_mutex_t lock;
    struct snap_item *item;
};

#define SNAP_INIT                                                              \
    {                                                                          \
        PTHREAD_MUTEX_INITIALIZER, NULL                                        \
    }

/*
 * Takes value: free_fn(value) is called when nobody reads it any more, by
 * whoever was last. ERR_OVERLOADED: without memory it is freed at once, and
 * what was published before stays.
 */
MUST_CHECK enum err snap_publish(struct snap *s, void *value,
                                 void (*free_fn)(void *));

/* NULL before anything was published; else until snap_put. */
struct snap_item *snap_get(struct snap *s);
const void *snap_value(const struct snap_item *item);

/* NULL is fine. void *, so that an arena can be told to do it. */
void snap_put(void *item);

/* Lets go of what is published; readers keep theirs. */
void snap_clear(struct snap *s);
