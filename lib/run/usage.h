#pragma once
/*
 * usage - what a supervisor and its children take of the machine, by /proc
 * (proc(5)): sums over all of them, so that a restart of one hides nothing.
 */
#include <sys/types.h>

#include "lib/base/str.h"

struct usage {
    int64_t user_us, system_us; /* with those of children that have died */
    int64_t rss_bytes;          /* shared pages count in each process */
    int64_t open_fds, max_fds;
    int64_t processes;
};

/* What cannot be read counts as nothing. No wait, no network. */
void usage_read(pid_t supervisor, struct usage *out);
