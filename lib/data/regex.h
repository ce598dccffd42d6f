#pragma once
/*
 * regex - patterns of MongoDB's $regex, with an end in sight
 *
 *   regex_new (in an arena) -> regex_match by any number of threads
 *
 * The only door to PCRE2 (8 bit, UTF). A subject costs at most REGEX_STEPS
 * backtracking steps from each of its places, and all subjects of one
 * regex_run about REGEX_CPU_MS of this thread's CPU time; beyond either the
 * answer is no. So it is for a subject that is no UTF-8.
 */
#include "lib/base/arena.h"

struct regex;

enum {
    REGEX_STEPS = 1000000, /* from one place of a subject: some 10 ms */
    REGEX_DEPTH = 100000,
    REGEX_HEAP_KIB = 16 * 1024,
    REGEX_CPU_MS = 30 /* of one run */
};

/* What the matches of one thread share, zeroed at first. */
struct regex_run {
    void *data, *limits; /* NULL until a regex is met */
    int64_t looked_ns;   /* coarse time of the last look at the CPU's */
    int64_t start_ns;    /* CPU time at the first look */
    int64_t most_ns;     /* of it, where it is less than REGEX_CPU_MS; or 0 */
    unsigned overruns;   /* matches that a limit has ended */
    bool is_over;
};

void regex_done(struct regex_run *run);

enum regex_state {
    REGEX_GOOD,
    REGEX_BAD_OPTION,  /* another letter than i, m, s, x */
    REGEX_BAD_PATTERN, /* also one with a NUL inside */
    REGEX_NO_MEMORY
};

/* *out lives as long as a. Neither text is borrowed. */
enum regex_state regex_new(struct arena *a, str pattern, str options,
                           const struct regex **out);

bool regex_match(const struct regex *re, struct regex_run *run, str subject);
