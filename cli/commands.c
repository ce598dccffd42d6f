/* commands - see commands.h */
#include "cli/commands.h"

#include <stdio.h>

#include "lib/base/program.h"
#include "lib/base/utf8.h"

const struct command commands[] = {
    {"apply-schemas", NULL, cmd_apply_schemas, false},
    {"dead-letters", "list", cmd_dead_list, false},
    {"dead-letters", "replay", cmd_dead_replay, false},
    {"keys", "create", cmd_keys_create, false},
    {"keys", "list", cmd_keys_list, false},
    {"keys", "revoke", cmd_keys_revoke, false},
    {"leader", NULL, cmd_leader, false},
    {"listen", NULL, cmd_listen, true},
    {"locks", "list", cmd_locks_list, false},
    {"locks", "release", cmd_locks_release, false},
    {"queue", "pause", cmd_queue_pause, false},
    {"queue", "resume", cmd_queue_resume, false},
    {"queue", "stats", cmd_queue_stats, false},
    {"resign", NULL, cmd_resign, true},
};

const size_t commands_n = sizeof commands / sizeof *commands;

static struct option *option_find(struct option *options, size_t n,
                                  const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

int command_options(const struct words *w, struct option *options, size_t n)
{
    for (int i = 0; i < w->n; i++) {
        struct option *o = option_find(options, n, w->v[i]);

        if (!o)
            return program_misuse(w->program, "unknown word or option %s",
                                  w->v[i]);
        if (o->value)
            return program_misuse(w->program, "%s: given twice", o->name);
        if (++i == w->n)
            return program_misuse(w->program, "%s: expected a value behind it",
                                  o->name);
        o->value = w->v[i];
    }
    return PROGRAM_GO;
}

int command_failed(const struct ctx *c, const struct words *w)
{
    fprintf(stderr, "%s: %s (%s)\n", w->program->name,
            c->reason[0] ? c->reason : err_label(c->err), err_code(c->err));
    if (c->err == ERR_DB_UNAVAILABLE)
        fputs("MONGODB_CONNECTION_STRING says where it is looked for; "
              "--print-config shows it\n",
              stderr);
    return PROGRAM_FAILED;
}

void command_print(str s, size_t width)
{
    bool plain = utf8_is_line(s);

    for (size_t i = 0; i < s.n; i++)
        putchar(plain || (s.p[i] >= ' ' && s.p[i] < 0x7f) ? s.p[i] : '?');
    for (size_t i = s.n; i < width; i++)
        putchar(' ');
}
