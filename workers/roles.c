/* roles - see roles.h */
#include "workers/roles.h"

#include <stddef.h>

#include "lib/base/conf.h"
#include "workers/coordinator.h"
#include "workers/deliver.h"
#include "workers/relay.h"

struct row {
    const char *title;
    size_t count_at; /* of the setting in struct conf; 0: one child */
    int (*entry)(void *arg, int slot);
};

static const struct row rows[] = {
    {"coordinator", 0, coordinator_run},
    {"fanout", 0, relay_run},
    {"deliver", offsetof(struct conf, webhooks_queue_concurrency), deliver_run},
};

static const size_t rows_n = sizeof rows / sizeof *rows;
_Static_assert(sizeof rows / sizeof *rows <= (size_t)ROLES_MAX,
               "more roles than the supervisor has room for");

static int count_of(const struct conf *conf, size_t at)
{
    int64_t n = 1;

    if (at > 0)
        memcpy(&n, (const char *)conf + at, sizeof n);
    return (int)n;
}

size_t roles_fill(struct roles_task *task, struct proc_role out[ROLES_MAX])
{
    for (size_t i = 0; i < rows_n; i++)
        out[i] = (struct proc_role){rows[i].title,
                                    count_of(task->conf, rows[i].count_at),
                                    rows[i].entry, task};
    return rows_n;
}

int roles_count(const struct proc_options *o)
{
    int n = 0;

    for (size_t i = 0; i < o->roles_n; i++)
        n += o->roles[i].count;
    return n;
}
