#pragma once
/*
 * deliver - the role that sends one delivery at a time:
 * claim -> start row -> sign -> POST -> finish row -> next claim
 */

/* arg: struct roles_task. Gives the exit code of the child. */
int deliver_run(void *arg, int slot);
