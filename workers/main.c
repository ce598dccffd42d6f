/*
 * main - the workers program: settings, what its processes share, and a
 * supervisor over the table of roles. No client ever waits for it. The
 * supervisor has one thread and opens nothing but what its children share.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/base/program.h"
#include "lib/data/mongo_sessions.h"
#include "lib/data/subs.h"
#include "lib/run/proc.h"
#include "workers/roles.h"
#include "workers/worker.h"

static const struct program program = {
    "workers",
    "usage: workers [--env-file FILE] [--check-config | --print-config]\n"
    "\n"
    "Does what no client waits for: keeps this instance in the roster, leads,\n"
    "opens Redis, turns events into deliveries and sends them.\n",
    false,
};

/* NULL without memory. It lives as long as the program. */
static struct table *table_open(void)
{
    struct table *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (t == MAP_FAILED)
        return NULL;
    t->life.started_wall = clock_wall_ms();
    t->life.pid = (int)getpid();
    return id_token(t->life.boot) == OK ? t : NULL;
}

static void child_died(void *arg, int slot)
{
    board_died(arg, slot);
}

static int run(const struct conf *conf)
{
    static const struct metric_labels none = {NULL, 0};
    struct roles_task task = {conf, table_open(), NULL};
    struct proc_role roles[ROLES_MAX];
    struct proc_options options = {.roles = roles,
                                   .roles_n = roles_fill(&task, roles),
                                   .grace_ms = conf->shutdown_grace_ms,
                                   .second_ms = ROLES_SECOND_MS,
                                   .on_death = child_died};

    task.board = board_new(roles_count(&options));
    options.arg = task.board;
    if (!task.table || !task.board || !subs_setup() ||
        !mongo_sessions_setup(roles_count(&options), WORKER_CLIENTS) ||
        metrics_setup(roles_count(&options), none, none) != OK) {
        log_note(LOG_ERROR, "workers.failed", "no memory");
        return PROGRAM_FAILED;
    }
    log_note(LOG_INFO, "workers.started", "life %s", task.table->life.boot);
    return proc_supervise(&options);
}

int main(int argc, char **argv)
{
    struct conf *conf;
    int code;

    /* a name server that is away must not hold a loop for long */
    setenv("RES_OPTIONS", "timeout:1 attempts:1", 0);
    code = program_start(&program, &argc, argv, &conf);
    if (code != PROGRAM_GO)
        return code;
    code = run(conf);
    conf_free(conf);
    return code;
}
