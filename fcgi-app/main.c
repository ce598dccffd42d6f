/*
 * main - the fcgi-app program: settings, the listening socket, and a
 * supervisor over FCGI_PROCESSES serving children. The supervisor has one
 * thread and opens nothing but the socket and what its children share.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-app/access.h"
#include "fcgi-app/limit.h"
#include "fcgi-app/listen.h"
#include "fcgi-app/measure.h"
#include "fcgi-app/serve.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/version.h"
#include "lib/run/proc.h"

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2
};

static const char usage[] =
    "usage: fcgi-app [--env-file FILE] [--check-config | --print-config]\n"
    "\n"
    "Answers FastCGI requests with an HTTP API over a MongoDB database.\n"
    "Settings come from the environment, then from FILE (else .env in the\n"
    "working directory, if there is one).\n"
    "\n"
    "  --env-file FILE  read settings from FILE\n"
    "  --check-config   check all settings and exit: 0 good, 2 bad\n"
    "  --print-config   print every setting, secrets masked, and exit\n"
    "  --version        print the version and exit\n"
    "  --help           print this and exit\n";

struct options {
    const char *env_file;
    bool check, print;
};

/* -1: go on; else the exit code. */
static int parse_options(int argc, char **argv, struct options *out)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return fputs(usage, stdout), EXIT_DONE;
        if (strcmp(argv[i], "--version") == 0)
            return puts(VERSION_TEXT), EXIT_DONE;
        if (strcmp(argv[i], "--check-config") == 0) {
            out->check = true;
        } else if (strcmp(argv[i], "--print-config") == 0) {
            out->print = true;
        } else if (strcmp(argv[i], "--env-file") == 0 && i + 1 < argc) {
            out->env_file = argv[++i];
        } else {
            fprintf(stderr, "fcgi-app: unknown or incomplete option %s\n%s",
                    argv[i], usage);
            return EXIT_USAGE;
        }
    }
    return -1;
}

static int serve(const struct conf *conf)
{
    struct serve_task task = {conf, listen_open(conf)};
    struct proc_role role = {"fcgi-app", (int)conf->fcgi_processes, serve_run,
                             &task};
    struct proc_options options = {&role, 1, conf->shutdown_grace_ms};
    int code;

    if (task.listen_fd < 0 || measure_setup((int)conf->fcgi_processes) != OK)
        return EXIT_FAILED;
    if (limit_setup(conf) != OK) {
        log_note(LOG_ERROR, "limit.failed", "no memory for the rate limit");
        return EXIT_FAILED;
    }
    log_note(LOG_INFO, "server.started", "listening on %s", conf->fcgi_listen);
    code = proc_supervise(&options);
    listen_close(conf, task.listen_fd);
    return code;
}

int main(int argc, char **argv)
{
    struct options options = {.env_file = ""};
    struct conf *conf;
    int problems, code = parse_options(argc, argv, &options);

    if (code >= 0)
        return code;
    conf = conf_new(environ, options.env_file, stderr, &problems);
    if (!conf || problems) {
        conf_free(conf);
        return EXIT_USAGE;
    }
    log_setup((enum log_level)conf->log_level, "fcgi-app",
              conf->cluster_instance_id);
    access_setup(conf);
    if (options.print)
        conf_print(conf, stdout);
    code = options.check || options.print ? EXIT_DONE : serve(conf);
    conf_free(conf);
    return code;
}
