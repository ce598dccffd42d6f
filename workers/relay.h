#pragma once
/*
 * relay - the role fanout: events to deliveries (lib/coord/fanout.c does the
 * work), every 100 ms and while there are more; pokes idle workers
 */

/* arg: struct roles_task. Gives the exit code of the child. */
int relay_run(void *arg, int slot);
