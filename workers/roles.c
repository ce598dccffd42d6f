/* roles - see roles.h */
#include "workers/roles.h"

#include "workers/coordinator.h"

struct row {
    const char *title;
    int count;
    int (*entry)(void *arg, int slot);
};

static const struct row rows[] = {
    {"coordinator", 1, coordinator_run},
};

static const size_t rows_n = sizeof rows / sizeof *rows;
_Static_assert(sizeof rows / sizeof *rows <= (size_t)ROLES_MAX,
               "more roles than the supervisor has room for");

size_t roles_fill(struct roles_task *task, struct proc_role out[ROLES_MAX])
{
    for (size_t i = 0; i < rows_n; i++)
        out[i] = (struct proc_role){rows[i].title, rows[i].count, rows[i].entry,
                                    task};
    return rows_n;
}

int roles_count(const struct proc_options *o)
{
    int n = 0;

    for (size_t i = 0; i < o->roles_n; i++)
        n += o->roles[i].count;
    return n;
}
