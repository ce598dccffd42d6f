#pragma once
/* roles - THE table of what the children of workers are, and what they share */
#include "lib/coord/board.h"
#include "lib/coord/campaign.h"
#include "lib/coord/roster.h"
#include "lib/run/proc.h"

/* In memory that all processes share, made before the first fork. */
struct table {
    struct roster_life life;
    struct campaign_saved terms[LEADER_N];
    bool started;      /* MongoDB was reached and prepared once */
    bool transactions; /* it has them */
};

struct roles_task {
    const struct conf *conf;
    struct table *table;
    struct board *board;
};

enum {
    ROLES_MAX = 8,         /* rows */
    ROLES_SECOND_MS = 3000 /* what children have after a second signal */
};

/* Rows for the supervisor; borrows the task. Gives their number. */
size_t roles_fill(struct roles_task *task, struct proc_role out[ROLES_MAX]);

/* Children of all rows together. */
int roles_count(const struct proc_options *o);
