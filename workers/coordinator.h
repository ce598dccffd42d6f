#pragma once
/*
 * coordinator - the role that keeps an instance in touch with the others
 *
 * One loop with timers: reads what the instances share, looks at Redis, writes
 * the heartbeat, campaigns for both services and does the duties of the
 * maintenance leader. Campaigns are looked at between any two calls that may
 * block, and no call takes longer than 2 s: nothing that happens to Redis
 * costs a term. A turn that takes longer than 10 s is ended by the supervisor.
 */

/* arg: struct roles_task. Gives the exit code of the child. */
int coordinator_run(void *arg, int slot);
