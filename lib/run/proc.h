#pragma once
/*
 * proc - a supervisor: a table of roles, each forked `count` times
 *
 *   waiting --fork--> running --death--> waiting    (proc.c: move_child)
 *                        |                  |
 *                        +------ stop ------+--> gone
 *
 * It forks, reaps, backs off and stops, and knows nothing else about its
 * children. A child that dies after a healthy life (ready, and a second old)
 * is replaced at once, one that dies early after 100 ms, doubling to 5 s.
 *
 * A child that does not move its deadline (proc_deadline) is killed, also one
 * that is stopped: whatever it held has an end that others can count on.
 *
 * SIGTERM or SIGINT: children get TERM and have grace_ms to end themselves,
 * then KILL; a second one is passed on and leaves them second_ms. SIGHUP is
 * ignored. When the supervisor dies in any way, the kernel kills its children.
 */
#include <stddef.h>

#include "lib/base/str.h"

enum {
    PROC_EXIT_FINAL = 78 /* of a child: the program ends with 1, at once */
};

struct proc_role {
    const char *title; /* at most 15 bytes are seen by ps */
    int count;
    /*
     * Runs in the child; what it returns is the exit code. All signals are
     * blocked when it starts and it decides which to read or unblock. slot
     * counts from 0 over all rows of the table.
     */
    int (*entry)(void *arg, int slot);
    void *arg;
};

struct proc_options {
    const struct proc_role *roles; /* borrowed until the return */
    size_t roles_n;
    ms grace_ms;
    ms second_ms; /* what children have left after a second signal */
    /* In the supervisor, after a child has ended; must not block. NULL: none */
    void (*on_death)(void *arg, int slot);
    void *arg;
};

/*
 * Gives the exit code of the program: 0 after a stop by signal; 1 when a
 * child ended with 1 before it was ready or with PROC_EXIT_FINAL, when one
 * died early ten times in a row, or when the table cannot be set up. No child
 * lives on. Only from a process with one thread; all signals stay blocked
 * afterwards.
 */
int proc_supervise(const struct proc_options *o);

/* In the child, by any thread, as often as wanted: start-up is done. */
void proc_ready(int slot);

/*
 * In the child: it is to be killed at this time (clock_boot_ms), unless it
 * moves it before; 0, as at its start: never.
 */
void proc_deadline(int slot, ms boot);
