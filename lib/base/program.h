#pragma once
/*
 * program - what every program does first: switches, settings, the log
 *
 *   --env-file FILE  --check-config  --print-config  --version  --help
 */
#include "lib/base/conf.h"

enum {
    PROGRAM_GO = -1,
    PROGRAM_DONE = 0,
    PROGRAM_FAILED = 1,
    PROGRAM_USAGE = 2
};

struct program {
    const char *name;
    const char *usage; /* before the lines about the switches */
    bool takes_words;  /* else any word that is no switch is misuse */
};

/*
 * PROGRAM_GO with the settings in *out and the words that are no switches in
 * argv[1..*argc], or the exit code; all that there is to say has been said.
 * Before any thread starts. The settings are the caller's, for ever: the log
 * borrows from them.
 */
int program_start(const struct program *p, int *argc, char **argv,
                  struct conf **out);

/* "name: text", then where to read more, on stderr. Gives PROGRAM_USAGE. */
int program_misuse(const struct program *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
