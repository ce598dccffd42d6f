#pragma once
/*
 * commands - THE table of what sqlfree can do
 *
 * A command gets the words behind its own and a unit of work with a MongoDB
 * client. What it gives goes to stdout, all that is said about it to stderr.
 */
#include <stdbool.h>

#include "lib/base/ctx.h"

struct program;

struct words {
    const struct program *program;
    char **v;
    int n;
};

/* Gives the exit code, having told what went wrong. */
typedef int (*command_run)(struct ctx *c, const struct words *w);

struct command {
    const char *group; /* the first word */
    const char *verb;  /* the second, or NULL: the command is one word */
    command_run run;
    bool hurries; /* a database that is away is told soon: stop hooks, and
                     what others wait for */
};

extern const struct command commands[];
extern const size_t commands_n;

int cmd_apply_schemas(struct ctx *c, const struct words *w);
int cmd_dead_list(struct ctx *c, const struct words *w);
int cmd_dead_replay(struct ctx *c, const struct words *w);
int cmd_keys_create(struct ctx *c, const struct words *w);
int cmd_keys_list(struct ctx *c, const struct words *w);
int cmd_keys_revoke(struct ctx *c, const struct words *w);
int cmd_leader(struct ctx *c, const struct words *w);
int cmd_listen(struct ctx *c, const struct words *w);
int cmd_locks_list(struct ctx *c, const struct words *w);
int cmd_locks_release(struct ctx *c, const struct words *w);
int cmd_queue_pause(struct ctx *c, const struct words *w);
int cmd_queue_resume(struct ctx *c, const struct words *w);
int cmd_queue_stats(struct ctx *c, const struct words *w);
int cmd_resign(struct ctx *c, const struct words *w);

/* One option "--name VALUE" of a command. */
struct option {
    const char *name;
    const char *value; /* NULL: not given */
};

/*
 * Fills the options; any other word is told. PROGRAM_GO, or the exit code.
 */
int command_options(const struct words *w, struct option *options, size_t n);

/* Tells the ctx's failure; gives PROGRAM_FAILED. */
int command_failed(const struct ctx *c, const struct words *w);

/*
 * A text that others stored, which must not steer the terminal; blanks behind
 * it up to width.
 */
void command_print(str s, size_t width);
