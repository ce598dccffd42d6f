/* serve - see serve.h */
#include "fcgi-app/serve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <fcgiapp.h>

#include "fcgi-app/access.h"
#include "fcgi-app/auth.h"
#include "fcgi-app/cluster.h"
#include "fcgi-app/guard.h"
#include "fcgi-app/hints.h"
#include "fcgi-app/limit.h"
#include "fcgi-app/measure.h"
#include "fcgi-app/permits.h"
#include "fcgi-app/refresh.h"
#include "fcgi-app/router.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/coord/rds.h"
#include "lib/data/mongo.h"
#include "lib/data/mongo_sessions.h"
#include "lib/run/proc.h"

enum {
    STACK_BYTES = 1 << 20,
    REPLY_BYTES = 1 << 20, /* buffered, beyond it is streamed */
    KEPT_REPLY_BYTES = 64 * 1024,
    SILENCE_S = 30,      /* of a peer that we read from or write to */
    BRIEF_MS = 900,      /* to find MongoDB, and its silence, on ROUTE_BRIEF */
    BRIEF_OP_MS = 800,   /* of one operation there */
    BRIEF_GET_MS = 1800, /* of all that a GET there does */
    DRAIN_BODY_MAX = 64 * 1024,
    THREADS_MAX = 256,  /* of FCGI_THREADS */
    LAST_CALL_MS = 100, /* for the first bytes of an accepted connection */
    LAST_WORD_MS = 200, /* to end before the supervisor kills */
};

/* How long a route lets MongoDB be silent. */
enum patience {
    PATIENT,
    BRIEF,
    PATIENCES
};

/* One per process; the threads share it. */
static struct {
    const struct conf *conf;
    struct mongo_pool *pools[PATIENCES];
    int epoll_fd, listen_fd, wake_fd;
    atomic_bool closing; /* answers end their connections */
} srv;

struct worker {
    struct ctx ctx;
    struct buf body;
    struct access_log log;
    struct mongo *mongo[PATIENCES]; /* of which ctx.mongo is one */
    FCGX_Request fcgi;
};

static void note_closed(void)
{
    metrics_add(METRIC_CONNECTIONS, 0, -1);
}

static void arm(int fd, int op)
{
    struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
                            .data.fd = fd};

    if (epoll_ctl(srv.epoll_fd, op, fd, &e) == 0)
        return;
    close(fd);
    note_closed();
}

/* False when there was none to accept. */
static bool accept_one(void)
{
    static const struct timespec rest = {.tv_nsec = 100000000};
    struct timeval silence = {.tv_sec = SILENCE_S};
    int fd = accept4(srv.listen_fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno == EAGAIN || errno == ECONNABORTED)
            return false;
        /* out of descriptors: the listen socket stays readable */
        log_note(LOG_ERROR, "accept.failed", "%s", strerrordesc_np(errno));
        nanosleep(&rest, NULL);
        return false;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence);
    metrics_add(METRIC_CONNECTIONS, 0, 1);
    arm(fd, EPOLL_CTL_ADD);
    return true;
}

static enum err run_route(struct ctx *c, struct request *q,
                          const struct route *route, struct reply *out)
{
    enum err err = guard_caller(c, q, route, out);

    if (err == OK)
        err = guard_body(c, q, route);
    if (err == OK)
        err = route->handler(c, q, out);
    guard_outcome(c, q, route, out, err);
    return err;
}

/* With the thread's client of this kind, made at first need. */
static enum err run_with(struct worker *w, enum patience patience,
                         struct request *q, const struct route *route,
                         struct reply *out)
{
    struct ctx *c = &w->ctx;

    if (!w->mongo[patience])
        w->mongo[patience] = mongo_client_new(srv.pools[patience]);
    if (!w->mongo[patience])
        return ctx_fail(c, ERR_DB_UNAVAILABLE, "The database is not reachable");
    c->mongo = w->mongo[patience];
    if (patience == BRIEF)
        c->op_ms = BRIEF_OP_MS;
    if (route->flags & ROUTE_QUEUE)
        cluster_use_index(c);
    return run_route(c, q, route, out);
}

static enum err run_io(struct worker *w, struct request *q,
                       const struct route *route, struct reply *out)
{
    enum patience patience = route->flags & ROUTE_BRIEF ? BRIEF : PATIENT;
    enum err err = permits_take(&w->ctx);

    if (err)
        return err;
    err = run_with(w, patience, q, route, out);
    permits_give();
    return err;
}

/* Who asks for the state of things has an answer within 2 s. */
static void limit_time(struct ctx *c, const struct route *route)
{
    ms end = clock_mono_ms() + BRIEF_GET_MS;

    if ((route->flags & ROUTE_BRIEF) && route->method == HTTP_GET &&
        end < c->deadline)
        c->deadline = end;
}

/* What the router refuses is counted too, without waiting for a permit. */
static enum err refuse(struct ctx *c, const struct request *q,
                       struct reply *out, enum err err)
{
    bool permitted = permits_try();
    enum err limited = limit_caller(c, q, out, permitted);

    if (!limited)
        limit_outcome(c, q, out, err, permitted);
    if (permitted)
        permits_give();
    return limited ? limited : err;
}

/* The path of a request: parse, route, guard, handler. */
static enum err answer(struct worker *w, struct request *q, struct reply *out)
{
    struct ctx *c = &w->ctx;
    const struct route *route = NULL;
    enum err err;

    err = request_read(c, &w->fcgi, q);
    measure_begin(q);
    reply_init(out, c, q, &w->body);
    err = err ? router_refuse(c, q, out, err) : router_find(c, q, out, &route);
    if (err)
        return refuse(c, q, out, err);
    if (!route)
        return OK;
    measure_route(q, route);
    limit_time(c, route);
    if (guard_needs_io(c, route))
        return run_io(w, q, route, out);
    return run_route(c, q, route, out);
}

/*
 * What is left of the body is read before the reply: libfcgi would take it
 * for the next request. A large rest ends the connection instead, and libfcgi
 * drains it, or the web server turns our answer into its own 502.
 */
static bool is_settled(struct request *q)
{
    return request_drain(q, DRAIN_BODY_MAX) &&
           !atomic_load_explicit(&srv.closing, memory_order_relaxed);
}

static void serve_request(struct worker *w)
{
    struct ctx *c = &w->ctx;
    int64_t start_us = clock_mono_us(), took_us;
    struct request q;
    struct reply out;
    bool settled;
    enum err err;

    c->deadline = start_us / 1000 + srv.conf->request_timeout_ms;
    err = answer(w, &q, &out);
    settled = is_settled(&q);
    reply_end(&out, err);
    if (!settled || !out.keep)
        w->fcgi.keepConnection = 0;
    took_us = clock_mono_us() - start_us;
    measure_end(&q, &out, took_us);
    access_add(&w->log, &q, &out, took_us / 1000);
    FCGX_Finish_r(&w->fcgi);
    hints_give(c);
    if (w->body.cap > KEPT_REPLY_BYTES) {
        buf_done(&w->body);
        buf_init(&w->body, REPLY_BYTES, ERR_INTERNAL);
    }
    ctx_reset(c);
    c->index = "";
}

/* Hands a readable connection to libfcgi and arms it again if it is kept. */
static void serve_connection(struct worker *w, int fd)
{
    FCGX_Request *r = &w->fcgi;

    r->ipcFd = fd;
    r->keepConnection = 1;
    r->in = NULL;
    r->listen_sock = -1;
    if (FCGX_Accept_r(r) < 0) {
        r->ipcFd = -1; /* libfcgi has closed it */
        note_closed();
        return;
    }
    serve_request(w);
    fd = r->ipcFd;
    r->ipcFd = -1;
    if (fd >= 0)
        arm(fd, EPOLL_CTL_MOD);
    else
        note_closed();
}

static void *thread_run(void *arg)
{
    struct worker *w = arg;
    struct epoll_event e;
    bool leaving = false;
    eventfd_t token;

    for (;;) {
        int wait = w->log.n ? 0 : leaving ? LAST_CALL_MS : -1;
        int n = epoll_wait(srv.epoll_fd, &e, 1, wait);

        if (n == 0 && wait > 0)
            break; /* leaving, and nobody has more to say */
        if (n == 0)
            access_flush(&w->log);
        if (n <= 0)
            continue;
        if (e.data.fd == srv.wake_fd)
            leaving = leaving || eventfd_read(srv.wake_fd, &token) == 0;
        else if (e.data.fd == srv.listen_fd)
            (void)accept_one();
        else
            serve_connection(w, e.data.fd);
    }
    for (int i = 0; i < PATIENCES; i++)
        mongo_client_free(w->mongo[i]);
    rds_free(w->ctx.rds);
    auth_cache_free(w->ctx.auth);
    ctx_done(&w->ctx);
    buf_done(&w->body);
    free(w);
    return NULL;
}

static bool start_thread(pthread_t *out, size_t stack, void *(*run)(void *),
                         void *arg)
{
    pthread_attr_t attr;
    int e;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, stack);
    e = pthread_create(out, &attr, run, arg);
    pthread_attr_destroy(&attr);
    return e == 0;
}

static struct worker *worker_new(void)
{
    struct worker *w = calloc(1, sizeof *w);

    if (!w)
        return NULL;
    ctx_init(&w->ctx, srv.conf, (size_t)srv.conf->json_limit * 4 + (64u << 20));
    buf_init(&w->body, REPLY_BYTES, ERR_INTERNAL);
    FCGX_InitRequest(&w->fcgi, -1, 0);
    return w;
}

static bool open_pools(int threads)
{
    struct mongo_limits limits[] = {mongo_limits_of(srv.conf, threads),
                                    mongo_limits_brief(threads, BRIEF_MS)};

    for (int i = 0; i < PATIENCES; i++) {
        srv.pools[i] = mongo_pool_new(srv.conf, &limits[i]);
        if (!srv.pools[i])
            return false;
    }
    mongo_share_away(srv.pools[BRIEF], srv.pools[PATIENT]);
    return true;
}

static bool open_epoll(void)
{
    struct epoll_event listen = {.events = EPOLLIN | EPOLLEXCLUSIVE,
                                 .data.fd = srv.listen_fd};

    srv.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    srv.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    return srv.epoll_fd >= 0 && srv.wake_fd >= 0 &&
           epoll_ctl(srv.epoll_fd, EPOLL_CTL_ADD, srv.listen_fd, &listen) == 0;
}

/* One token for each thread, which then ends when nothing is readable. */
static void wake_all(int64_t threads)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = srv.wake_fd};

    (void)eventfd_write(srv.wake_fd, (eventfd_t)threads);
    (void)epoll_ctl(srv.epoll_fd, EPOLL_CTL_ADD, srv.wake_fd, &e);
}

/* The main thread wakes by this signal when the poll thread has news. */
static void tell_main(void)
{
    (void)kill(getpid(), SIGUSR2);
}

/* True when a second SIGTERM came before the time was over. */
static bool wait_ms(ms until)
{
    sigset_t set;
    struct timespec t;
    ms left = until - clock_mono_ms();

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    t.tv_sec = left > 0 ? left / 1000 : 0;
    t.tv_nsec = left > 0 ? left % 1000 * 1000000 : 0;
    return sigtimedwait(&set, NULL, &t) == SIGTERM;
}

/* Serve on, then stop accepting, finish what runs; in time or not at all. */
static int drain(pthread_t *threads, int64_t n)
{
    ms start = clock_mono_ms();
    ms end = start + srv.conf->shutdown_grace_ms - LAST_WORD_MS;
    struct timespec t = {end / 1000, end % 1000 * 1000000};

    log_note(LOG_INFO, "child.draining", "serving on for %lld ms",
             (long long)srv.conf->drain_delay_ms);
    refresh_stop();
    atomic_store(&srv.closing, true);
    if (wait_ms(start + srv.conf->drain_delay_ms))
        return 0;
    permits_close();
    epoll_ctl(srv.epoll_fd, EPOLL_CTL_DEL, srv.listen_fd, NULL);
    while (accept_one()) {
        /* who is in the backlog now would be reset */
    }
    wake_all(n);
    for (int64_t i = 0; i < n; i++)
        if (pthread_clockjoin_np(threads[i], NULL, CLOCK_MONOTONIC, &t) != 0)
            return 0;
    hints_stop(end);
    return 0;
}

static int wait_for_end(int slot, pthread_t *threads, int64_t n)
{
    sigset_t set;
    int sig;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR2);
    for (;;) {
        if (sigwait(&set, &sig) != 0)
            continue;
        if (sig == SIGTERM)
            return drain(threads, n);
        if (refresh_view().gave_up)
            return 1;
        proc_ready(slot);
    }
}

/* libfcgi waits up to 2 s at each close unless told otherwise. */
static void init_libfcgi(void)
{
    /* putenv keeps the pointers: the texts must outlive this call */
    static char close_wait[] = "LIBFCGI_OS_CLOSE_POLL_TIMEOUT=20";
    static char keeper_wait[] = "LIBFCGI_IS_AF_UNIX_KEEPER_POLL_TIMEOUT=20";

    putenv(close_wait);
    putenv(keeper_wait);
    FCGX_Init();
}

int serve_clients(const struct conf *conf)
{
    return PATIENCES * (int)conf->fcgi_threads + REFRESH_CLIENTS;
}

int serve_run(void *arg, int slot)
{
    const struct serve_task *task = arg;
    int64_t n = task->conf->fcgi_threads;
    static pthread_t threads[THREADS_MAX];
    sigset_t all;

    metrics_join(slot);
    mongo_sessions_join(slot);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    init_libfcgi();
    srv.conf = task->conf;
    srv.listen_fd = task->listen_fd;
    if (!open_pools((int)n) || !open_epoll() || !permits_setup(n) ||
        reply_setup(task->conf) != OK)
        return 1;
    if (!refresh_start(&(struct refresh_task){task->conf, srv.pools[PATIENT],
                                              tell_main}) ||
        !hints_start(task->conf))
        return 1;
    for (int64_t i = 0; i < n; i++) {
        struct worker *w = worker_new();

        if (!w || !start_thread(&threads[i], STACK_BYTES, thread_run, w))
            return 1;
    }
    return wait_for_end(slot, threads, n);
}
