/* main - the sqlfree program: words to a command row, exit codes */
#include <stdio.h>

#include "cli/commands.h"
#include "lib/base/clock.h"
#include "lib/base/program.h"
#include "lib/coord/rds.h"
#include "lib/data/mongo.h"

enum {
    PATIENCE_MS = 15000, /* with a database that does not answer */
    HASTE_MS = 3000,     /* the same for stop hooks; who leads was asked to end
                            its term by then, or has lost it */
    MEMORY_BYTES = 64 << 20
};

static const struct program program = {
    "sqlfree",
    "usage: sqlfree [SWITCH]... COMMAND\n"
    "\n"
    "  apply-schemas    make the system collections, their indexes and first\n"
    "                   documents; again is no harm\n"
    "  dead-letters list [--webhook ID] [--limit N] [--before TIME]\n"
    "                   deliveries that failed for good, newest first; N 1 to\n"
    "                   100 (20), TIME as 2025-09-01T08:00:00Z\n"
    "  dead-letters replay [--webhook ID] [--since TIME] [--id DELIVERY]\n"
    "                   deliver again those that meet all that is given, all\n"
    "                   without any\n"
    "  keys create --name NAME --role read|write|admin [--expires SPAN]\n"
    "                   make an API key and print it; SPAN as 90s, 15m, 24h, "
    "7d\n"
    "  keys list        show all keys, but not the secret part\n"
    "  keys revoke ID   end a key; it is dead everywhere within 5 s\n"
    "  leader           who leads what, and how long that is sure\n"
    "  listen PORT [--secret SECRET] [--status N]\n"
    "                   show deliveries that come to 127.0.0.1:PORT and "
    "whether\n"
    "                   their signature holds, by SECRET or those of the\n"
    "                   webhook; answers N, else 200\n"
    "  locks list       show all locks, but not their tokens\n"
    "  locks release KEY --token TOKEN\n"
    "                   give a lock back\n"
    "  queue pause      no delivery starts any more, on no instance\n"
    "  queue resume     they go on\n"
    "  queue stats      how the queue of deliveries stands\n"
    "  resign [--linger SPAN]\n"
    "                   give up what this instance leads, then wait; for stop\n"
    "                   hooks\n"
    "\n"
    "Works on the database of the settings. Exit codes: 0 done, 1 failed,\n"
    "2 bad settings or usage.\n",
    true,
};

/* argc and argv as of main; *out gets the words behind the command's own. */
static const struct command *command_find(int argc, char **argv,
                                          struct words *out)
{
    for (size_t i = 0; i < commands_n; i++) {
        const struct command *row = &commands[i];
        int own = row->verb ? 2 : 1;

        if (argc <= own || strcmp(row->group, argv[1]) != 0 ||
            (row->verb && strcmp(row->verb, argv[2]) != 0))
            continue;
        *out = (struct words){&program, argv + 1 + own, argc - 1 - own};
        return row;
    }
    return NULL;
}

static int run(const struct conf *conf, const struct command *command,
               const struct words *w)
{
    struct mongo_limits limits = command->hurries
                                     ? mongo_limits_brief(1, HASTE_MS)
                                     : mongo_limits_of(conf, 1);
    struct mongo_pool *pool = mongo_pool_new(conf, &limits);
    struct ctx c;
    int code;

    if (!pool)
        return PROGRAM_FAILED; /* the log has said why */
    ctx_init(&c, conf, MEMORY_BYTES);
    c.deadline = clock_mono_ms() + PATIENCE_MS;
    c.mongo = mongo_client_new(pool);
    if (!c.mongo)
        (void)ctx_no_memory(&c);
    code = c.mongo ? command->run(&c, w) : command_failed(&c, w);
    ctx_done(&c);
    rds_free(c.rds);
    mongo_client_free(c.mongo);
    mongo_pool_free(pool);
    return code;
}

int main(int argc, char **argv)
{
    struct conf *conf;
    int code = program_start(&program, &argc, argv, &conf);
    struct words words;
    const struct command *command;

    if (code != PROGRAM_GO)
        return code;
    command = command_find(argc, argv, &words);
    if (command)
        code = run(conf, command, &words);
    else if (argc > 1)
        code = program_misuse(&program, "unknown command %s%s%s", argv[1],
                              argc > 2 ? " " : "", argc > 2 ? argv[2] : "");
    else
        code = program_misuse(&program, "expected a command");
    conf_free(conf);
    return code;
}
