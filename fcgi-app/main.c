/*
 * main - the fcgi-app program: settings, the listening socket, and a
 * supervisor over FCGI_PROCESSES serving children. The supervisor has one
 * thread and opens nothing but the socket and what its children share.
 */
#include "fcgi-app/access.h"
#include "fcgi-app/limit.h"
#include "fcgi-app/listen.h"
#include "fcgi-app/measure.h"
#include "fcgi-app/serve.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/program.h"
#include "lib/data/mongo_sessions.h"
#include "lib/data/subs.h"
#include "lib/run/proc.h"

static const struct program program = {
    "fcgi-app",
    "usage: fcgi-app [--env-file FILE] [--check-config | --print-config]\n"
    "\n"
    "Answers FastCGI requests with an HTTP API over a MongoDB database.\n",
    false,
};

static int serve(const struct conf *conf)
{
    struct serve_task task = {conf, listen_open(conf)};
    struct proc_role role = {"fcgi-app", (int)conf->fcgi_processes, serve_run,
                             &task};
    struct proc_options options = {
        .roles = &role, .roles_n = 1, .grace_ms = conf->shutdown_grace_ms};
    int code;

    if (task.listen_fd < 0 || measure_setup((int)conf->fcgi_processes) != OK)
        return PROGRAM_FAILED;
    if (!subs_setup() ||
        !mongo_sessions_setup((int)conf->fcgi_processes, serve_clients(conf))) {
        log_note(LOG_ERROR, "server.failed", "no memory that children share");
        return PROGRAM_FAILED;
    }
    if (limit_setup(conf) != OK) {
        log_note(LOG_ERROR, "limit.failed", "no memory for the rate limit");
        return PROGRAM_FAILED;
    }
    log_note(LOG_INFO, "server.started", "listening on %s", conf->fcgi_listen);
    code = proc_supervise(&options);
    listen_close(conf, task.listen_fd);
    return code;
}

int main(int argc, char **argv)
{
    struct conf *conf;
    int code = program_start(&program, &argc, argv, &conf);

    if (code != PROGRAM_GO)
        return code;
    access_setup(conf);
    code = serve(conf);
    conf_free(conf);
    return code;
}
