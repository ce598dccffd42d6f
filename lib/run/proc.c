/*
 * proc - see proc.h
 *
 * move_child() alone changes the state of a child. Its moves:
 *   waiting -> running (forked), gone (stop)
 *   running -> waiting (died), gone (died during a stop)
 */
#include "lib/run/proc.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/backoff.h"
#include "lib/base/clock.h"
#include "lib/base/id.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/run/sig.h"

enum {
    FIRST_WAIT_MS = 100,
    MAX_WAIT_MS = 5000,
    HEALTHY_MS = 1000,
    EARLY_MAX = 10,     /* early deaths of one child in a row */
    CHILDREN_MAX = 4096 /* bounds the shared words */
};

enum state {
    WAITING, /* for `due` */
    RUNNING,
    GONE
};

struct child {
    const struct proc_role *role;
    enum state state;
    pid_t pid; /* RUNNING only */
    ms due;    /* WAITING: when to fork */
    ms born;   /* RUNNING: since when */
    int early; /* early deaths in a row */
};

struct table {
    struct child *children;
    int n;
    int signal_fd;
    const struct proc_options *o;
    bool stopping;
    ms kill_at; /* while stopping */
    int code;   /* what the supervisor will return */
};

/* Of each slot, shared with the children, written by its child. */
struct words {
    atomic_bool ready;
    _Atomic ms deadline; /* of clock_boot_ms; 0: none */
};

static struct words *words;

void proc_ready(int slot)
{
    if (words)
        atomic_store(&words[slot].ready, true);
}

void proc_deadline(int slot, ms boot)
{
    if (words)
        atomic_store(&words[slot].deadline, boot);
}

/* status: how it ended; NULL: it has not. */
static void log_child(const struct table *t, const struct child *ch, pid_t pid,
                      const char *event, const char *status)
{
    bool expected = !status || (t->stopping && strcmp(status, "exit 0") == 0);
    char slot_text[12], pid_text[12];

    snprintf(slot_text, sizeof slot_text, "%d", (int)(ch - t->children));
    snprintf(pid_text, sizeof pid_text, "%d", (int)pid);
    log_event(expected ? LOG_INFO : LOG_WARN, event,
              (struct log_field[]){{"role", str_of(ch->role->title)},
                                   {"slot", str_of(slot_text)},
                                   {"pid", str_of(pid_text)},
                                   {status ? "status" : NULL, str_of(status)},
                                   {NULL, STR_NONE}});
}

static void move_child(struct child *ch, enum state to, pid_t pid, ms when)
{
    ch->state = to;
    ch->pid = to == RUNNING ? pid : 0;
    if (to == RUNNING)
        ch->born = when;
    if (to == WAITING)
        ch->due = when;
}

__attribute__((noreturn)) static void be_child(const struct child *ch, int slot,
                                               pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* it may have died before the line above could take effect */
    if (getppid() != parent)
        _exit(1);
    prctl(PR_SET_NAME, ch->role->title);
    /* no atexit: handlers of libraries belong to the parent */
    _exit(ch->role->entry(ch->role->arg, slot));
}

/* The wait before the next fork after an early death; counts it. */
static ms early_wait(struct child *ch, uint32_t chance)
{
    ch->early++;
    return backoff_wait_ms(ch->early, FIRST_WAIT_MS, MAX_WAIT_MS, chance);
}

static void start_child(struct table *t, struct child *ch, ms now)
{
    int slot = (int)(ch - t->children);
    pid_t parent = getpid(), pid;

    atomic_store(&words[slot].ready, false);
    atomic_store(&words[slot].deadline, 0);
    fflush(NULL); /* or the child would write what the parent still holds */
    pid = fork();
    if (pid == 0) {
        close(t->signal_fd);
        be_child(ch, slot, parent);
    }
    if (pid < 0) {
        log_note(LOG_ERROR, "child.fork_refused", "fork: errno %d", errno);
        move_child(ch, WAITING, 0, now + early_wait(ch, id_chance()));
        return;
    }
    move_child(ch, RUNNING, pid, now);
    log_child(t, ch, pid, "child.started", NULL);
}

static void signal_all(const struct table *t, int sig)
{
    for (int i = 0; i < t->n; i++)
        if (t->children[i].state == RUNNING)
            kill(t->children[i].pid, sig);
}

/* The first call asks the children to end, another one leaves them less time.
 */
static void stop(struct table *t, int code, ms now)
{
    if (t->stopping) {
        if (t->kill_at > now + t->o->second_ms)
            t->kill_at = now + t->o->second_ms;
        signal_all(t, SIGTERM);
        return;
    }
    t->stopping = true;
    t->code = code;
    t->kill_at = now + t->o->grace_ms;
    for (int i = 0; i < t->n; i++)
        if (t->children[i].state == WAITING)
            move_child(&t->children[i], GONE, 0, now);
    signal_all(t, SIGTERM);
    log_note(LOG_INFO, "supervisor.stopping", "children asked to end");
}

/* What the death of a running child means; was_ready: it had said so. */
static void judge_death(struct table *t, struct child *ch, int status,
                        bool was_ready, ms now)
{
    bool healthy = was_ready && now - ch->born >= HEALTHY_MS;

    if (t->stopping) {
        move_child(ch, GONE, 0, now);
        return;
    }
    metrics_add(METRIC_WORKER_RESTARTS, 0, 1);
    if (healthy)
        ch->early = 0;
    move_child(ch, WAITING, 0,
               healthy ? now : now + early_wait(ch, id_chance()));
    if (WIFEXITED(status) && WEXITSTATUS(status) == PROC_EXIT_FINAL) {
        stop(t, 1, now); /* the child has said why */
    } else if (!was_ready && WIFEXITED(status) && WEXITSTATUS(status) == 1) {
        log_note(LOG_ERROR, "supervisor.failed", "a child could not start");
        stop(t, 1, now);
    } else if (ch->early >= EARLY_MAX) {
        log_note(LOG_ERROR, "supervisor.failed", "%s died early %d times",
                 ch->role->title, ch->early);
        stop(t, 1, now);
    }
}

static void log_death(const struct table *t, const struct child *ch, int status)
{
    char text[32];

    if (WIFSIGNALED(status))
        snprintf(text, sizeof text, "signal %d", WTERMSIG(status));
    else
        snprintf(text, sizeof text, "exit %d", WEXITSTATUS(status));
    log_child(t, ch, ch->pid, "child.died", text);
}

static void reap(struct table *t, ms now)
{
    int status;
    pid_t pid;

    for (;;) {
        pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            return;
        /* as process 1 of a container it also reaps strangers */
        for (int i = 0; i < t->n; i++) {
            struct child *ch = &t->children[i];

            if (ch->state != RUNNING || ch->pid != pid)
                continue;
            log_death(t, ch, status);
            if (t->o->on_death)
                t->o->on_death(t->o->arg, i);
            judge_death(t, ch, status, atomic_load(&words[i].ready), now);
        }
    }
}

static bool all_gone(const struct table *t)
{
    for (int i = 0; i < t->n; i++)
        if (t->children[i].state != GONE)
            return false;
    return true;
}

/* Kills the child when it is overdue; gives the time that it has, or none. */
static ms check_deadline(const struct table *t, struct child *ch)
{
    struct words *w = &words[ch - t->children];
    ms deadline = atomic_load(&w->deadline), left;

    if (ch->state != RUNNING || deadline == 0)
        return INT64_MAX;
    left = deadline - clock_boot_ms();
    if (left > 0)
        return left;
    log_child(t, ch, ch->pid, "child.overdue", "killed");
    kill(ch->pid, SIGKILL);
    atomic_store(&w->deadline, 0);
    return INT64_MAX;
}

/* Does what is due; gives the time until something else is, -1: never. */
static int do_due(struct table *t, ms now)
{
    ms next = INT64_MAX, left;

    if (t->stopping && now >= t->kill_at) {
        signal_all(t, SIGKILL);
        return -1;
    }
    if (t->stopping)
        next = t->kill_at;
    for (int i = 0; i < t->n; i++) {
        struct child *ch = &t->children[i];

        if (ch->state == WAITING && ch->due <= now)
            start_child(t, ch, now);
        if (ch->state == WAITING && ch->due < next)
            next = ch->due;
        left = check_deadline(t, ch);
        if (left < next - now)
            next = now + left;
    }
    if (next == INT64_MAX)
        return -1;
    return (int)(next - now < 60000 ? next - now : 60000);
}

static void loop(struct table *t)
{
    while (!all_gone(t)) {
        struct pollfd wait = {.fd = t->signal_fd, .events = POLLIN};
        int timeout = do_due(t, clock_mono_ms());
        int sig;

        poll(&wait, 1, timeout);
        for (sig = sig_next(t->signal_fd); sig; sig = sig_next(t->signal_fd))
            if (sig == SIGTERM || sig == SIGINT)
                stop(t, 0, clock_mono_ms());
        reap(t, clock_mono_ms());
    }
}

static struct child *children_new(const struct proc_options *o, int *out_n)
{
    struct child *children;
    int n = 0, at = 0;

    for (size_t i = 0; i < o->roles_n; i++) {
        if (o->roles[i].count < 0 || o->roles[i].count > CHILDREN_MAX - n)
            return NULL;
        n += o->roles[i].count;
    }
    children = calloc((size_t)n + 1, sizeof *children);
    for (size_t i = 0; children && i < o->roles_n; i++)
        for (int k = 0; k < o->roles[i].count; k++)
            children[at++].role = &o->roles[i];
    *out_n = n;
    return children;
}

int proc_supervise(const struct proc_options *o)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGCHLD};
    static const size_t bytes = CHILDREN_MAX * sizeof *words;
    struct table t = {.o = o, .code = 1};
    void *shared = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (shared == MAP_FAILED)
        return 1;
    sig_setup();
    t.signal_fd = sig_open(signals, sizeof signals / sizeof *signals);
    t.children = children_new(o, &t.n);
    if (t.signal_fd >= 0 && t.children) {
        words = shared;
        loop(&t);
        words = NULL;
        log_note(LOG_INFO, "supervisor.stopped", "no child is left");
    } else {
        log_note(LOG_ERROR, "supervisor.failed", "no memory or descriptor");
    }
    free(t.children);
    if (t.signal_fd >= 0)
        close(t.signal_fd);
    munmap(shared, bytes);
    return t.code;
}
