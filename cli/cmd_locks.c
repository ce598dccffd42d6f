/* cmd_locks - locks of users: list, release */
#include <stdio.h>

#include "cli/commands.h"
#include "lib/base/clock.h"
#include "lib/base/program.h"
#include "lib/coord/lock.h"

static void print_lock(const struct lock_row *row)
{
    char at[CLOCK_ISO_MAX];

    command_print(row->name, 32);
    printf("  %17lld  %9lld  %-24s  ", (long long)row->fence,
           (long long)row->left_ms, clock_iso(row->at_wall, at) > 0 ? at : "-");
    command_print(row->instance, 24);
    fputs("  ", stdout);
    command_print(row->owner, 0);
    putchar('\n');
}

int cmd_locks_list(struct ctx *c, const struct words *w)
{
    int code = command_options(w, NULL, 0);
    struct lock_place place = {0};
    struct lock_row *rows;
    size_t n;

    if (code != PROGRAM_GO)
        return code;
    if (lock_list(c, &place, &rows, &n) != OK)
        return command_failed(c, w);
    printf("%-32s  %17s  %9s  %-24s  %-24s  OWNER\n", "KEY", "FENCE", "LEFT MS",
           "SINCE", "INSTANCE");
    for (size_t i = 0; i < n; i++)
        print_lock(&rows[i]);
    return fflush(stdout) != 0 ? PROGRAM_FAILED : PROGRAM_DONE;
}

/* PROGRAM_GO, or the exit code. */
static int read_lock(const struct words *w, struct lock *out)
{
    struct words rest = {w->program, w->v + 1, w->n - 1};
    struct option o[] = {{"--token", NULL}};
    str name = str_of(w->n > 0 ? w->v[0] : ""), token;
    int code;

    if (!lock_is_name(name))
        return program_misuse(w->program,
                              "locks release: expected the key of a lock; "
                              "`locks list` shows them");
    code = command_options(&rest, o, 1);
    if (code != PROGRAM_GO)
        return code;
    token = str_of(o[0].value);
    if (token.n != sizeof out->token - 1)
        return program_misuse(w->program,
                              "--token: expected the %zu characters that came "
                              "with the lock",
                              sizeof out->token - 1);
    memcpy(out->name, name.p, name.n);
    memcpy(out->token, token.p, token.n);
    return PROGRAM_GO;
}

int cmd_locks_release(struct ctx *c, const struct words *w)
{
    struct lock lock = {.ttl_ms = 0};
    struct lock_place place = {0};
    int code = read_lock(w, &lock);

    if (code != PROGRAM_GO)
        return code;
    if (lock_release(c, &place, &lock) != OK)
        return command_failed(c, w);
    fputs("Released.\n", stderr);
    return PROGRAM_DONE;
}
