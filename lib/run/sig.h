#pragma once
/*
 * sig - signals are blocked and read from a descriptor by one loop; nothing
 * ever runs in a handler
 */
#include <stddef.h>

/*
 * Blocks all signals in the calling thread (threads and children inherit
 * that) and sets dispositions: PIPE and HUP ignored, CHLD, TERM and INT as
 * the system has them, whatever the program was started with. Libraries that
 * install handlers are initialised before.
 */
void sig_setup(void);

/*
 * A non-blocking, close-on-exec descriptor that is readable while one of the
 * blocked signals waits; -1 with errno.
 */
int sig_open(const int *signals, size_t n);

/* Takes the next signal from the descriptor; 0 when none waits. */
int sig_next(int fd);
