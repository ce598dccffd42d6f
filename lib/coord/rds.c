/* rds - see rds.h; with rds_wait.c the only door to hiredis (0.14) */
#include "lib/coord/rds.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "lib/base/backoff.h"
#include "lib/base/clock.h"
#include "lib/base/ctx.h"
#include "lib/base/id.h"
#include "lib/base/metrics.h"
#include "lib/coord/rds_info.h"
#include "lib/coord/rds_inside.h"

enum {
    MAX_RETRY_MS = 1000,
    USER_TIMEOUT_MS = 10000
};

enum rds_result rds_give(struct rds *r, enum rds_result result, const char *fmt,
                         ...)
{
    va_list list;

    va_start(list, fmt);
    vsnprintf(r->reason, sizeof r->reason, fmt, list);
    va_end(list);
    return result;
}

struct rds *rds_new(const struct rds_target *target)
{
    const char *url = target->url ? target->url : "";
    struct rds *r = calloc(1, sizeof *r + strlen(url) + 1);

    if (!r)
        return NULL;
    r->target = *target;
    memcpy(r->text, url, strlen(url) + 1);
    if (*url ? rds_target_read(&r->target, r->text) : target->host != NULL)
        return r;
    free(r);
    return NULL;
}

struct rds *rds_find(struct ctx *c)
{
    struct rds_target target;

    if (!c->rds && rds_target_of(c->conf, &target))
        c->rds = rds_new(&target);
    return c->rds;
}

void rds_drop(struct rds *r)
{
    if (r->conn)
        redisFree(r->conn);
    r->conn = NULL;
    r->client_id = 0;
}

void rds_free(struct rds *r)
{
    if (!r)
        return;
    rds_drop(r);
    free(r);
}

bool rds_evicts(const struct rds *r)
{
    return r->evicts;
}

unsigned rds_connected(const struct rds *r)
{
    return r->connected;
}

const char *rds_reason(const struct rds *r)
{
    return r->reason;
}

bool rds_refused_with(const struct rds *r, str word)
{
    str said = str_of(r->reason + r->refusal_at);

    return str_eq(str_head(said, str_find(said, ' ', 0)), word);
}

/* ---- one command and its reply */

/* False when the deadline passes or the connection is of no use. */
static bool wait_for(struct rds *r, short events, ms deadline)
{
    struct pollfd p = {.fd = r->conn->fd, .events = events};

    for (;;) {
        ms left = deadline - clock_mono_ms();
        int n = left <= 0 ? 0 : poll(&p, 1, left > 60000 ? 60000 : (int)left);

        if (n > 0)
            return true; /* an error shows in the read or write that follows */
        if (left <= 0 || (n < 0 && errno != EINTR)) {
            rds_give(r, RDS_DOWN, "no answer in time");
            return false;
        }
    }
}

enum rds_result rds_lose(struct rds *r, bool sent)
{
    if (r->conn && r->conn->err)
        rds_give(r, RDS_DOWN, "%s", r->conn->errstr);
    rds_drop(r);
    return sent ? RDS_UNKNOWN : RDS_DOWN;
}

static enum rds_result send_all(struct rds *r, ms deadline)
{
    bool sent = false;
    int done = 0;

    while (!done) {
        if (redisBufferWrite(r->conn, &done) != REDIS_OK)
            return rds_lose(r, sent);
        sent = true;
        if (!done && !wait_for(r, POLLOUT, deadline))
            return rds_lose(r, sent);
    }
    return RDS_OK;
}

enum rds_result rds_receive(struct rds *r, ms deadline, redisReply **out)
{
    void *reply = NULL;

    for (;;) {
        if (redisGetReplyFromReader(r->conn, &reply) != REDIS_OK)
            return rds_lose(r, true);
        if (reply)
            break;
        if (!wait_for(r, POLLIN, deadline))
            return rds_lose(r, true);
        if (redisBufferRead(r->conn) != REDIS_OK)
            return rds_lose(r, true);
    }
    *out = reply;
    return RDS_OK;
}

/* The server is there and did nothing, and will not for a while. */
static bool cannot_serve(str text)
{
    static const char *const words[] = {"LOADING",     "MASTERDOWN", "READONLY",
                                        "UNBLOCKED",   "MOVED",      "ASK",
                                        "CLUSTERDOWN", "NOREPLICAS", "BUSY"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        str word = str_of(words[i]);

        if (str_starts(text, word) && text.n > word.n && text.p[word.n] == ' ')
            return true;
    }
    return false;
}

enum rds_result rds_send(struct rds *r, const str *words, size_t n, ms deadline)
{
    const char *argv[RDS_WORDS_MAX];
    size_t lengths[RDS_WORDS_MAX];

    assert(n > 0 && n <= RDS_WORDS_MAX);
    for (size_t i = 0; i < n; i++) {
        argv[i] = words[i].p;
        lengths[i] = words[i].n;
    }
    if (redisAppendCommandArgv(r->conn, (int)n, argv, lengths) != REDIS_OK)
        return rds_lose(r, false);
    return send_all(r, deadline);
}

enum rds_result rds_refuse(struct rds *r, str command, str said)
{
    enum rds_result result =
        rds_give(r, RDS_ERR, STR_FMT ": " STR_FMT,
                 STR_ARG(str_head(command, 20)), STR_ARG(str_head(said, 100)));

    r->refusal_at = str_head(command, 20).n + 2;
    if (cannot_serve(said)) {
        rds_drop(r);
        result = RDS_DOWN;
    }
    return result;
}

enum rds_result rds_ask(struct rds *r, const str *words, size_t n, ms deadline,
                        redisReply **out)
{
    enum rds_result result = rds_send(r, words, n, deadline);
    redisReply *reply;

    if (result == RDS_OK)
        result = rds_receive(r, deadline, &reply);
    if (result != RDS_OK)
        return result;
    if (reply->type == REDIS_REPLY_ERROR) {
        result = rds_refuse(r, words[0], (str){reply->str, reply->len});
        freeReplyObject(reply);
        return result;
    }
    *out = reply;
    return RDS_OK;
}

static enum rds_result tell(struct rds *r, const str *words, size_t n,
                            ms deadline)
{
    redisReply *reply;
    enum rds_result result = rds_ask(r, words, n, deadline, &reply);

    if (result == RDS_OK)
        freeReplyObject(reply);
    return result;
}

bool rds_copy(const redisReply *from, int depth, struct arena *a,
              struct rds_reply *out)
{
    struct rds_reply *items;

    *out = (struct rds_reply){.kind = RDS_NIL};
    if (from->type == REDIS_REPLY_INTEGER) {
        out->kind = RDS_INT;
        out->number = from->integer;
    } else if (from->type == REDIS_REPLY_STRING ||
               from->type == REDIS_REPLY_STATUS) {
        out->kind = RDS_TEXT;
        out->text = arena_str(a, (str){from->str, from->len});
        return out->text.p != NULL;
    } else if (from->type == REDIS_REPLY_ARRAY) {
        items = arena_alloc(a, from->elements * sizeof *items);
        if (!items || depth == RDS_DEPTH_MAX)
            return false;
        for (size_t i = 0; i < from->elements; i++)
            if (!rds_copy(from->element[i], depth + 1, a, &items[i]))
                return false;
        out->kind = RDS_LIST;
        out->items = items;
        out->items_n = from->elements;
    }
    return true;
}

/* ---- connecting */

static enum rds_result judge_info(struct rds *r, str text)
{
    char reason[RDS_REFUSAL_MAX];
    struct rds_info info;

    rds_info_read(text, &info);
    if (!rds_info_serves(&info, reason))
        return rds_give(r, RDS_DOWN, "%s", reason);
    r->evicts = rds_info_evicts(&info);
    return RDS_OK;
}

static enum rds_result check_info(struct rds *r, ms deadline)
{
    redisReply *reply;
    enum rds_result result = rds_ask(r, &STR("INFO"), 1, deadline, &reply);

    if (result != RDS_OK)
        return result;
    result = reply->type == REDIS_REPLY_STRING
                 ? judge_info(r, (str){reply->str, reply->len})
                 : rds_give(r, RDS_DOWN, "INFO: not a text");
    freeReplyObject(reply);
    return result;
}

static enum rds_result log_in(struct rds *r, ms deadline)
{
    str user = str_of(r->target.username),
        password = str_of(r->target.password);

    if (password.n == 0)
        return RDS_OK;
    if (user.n == 0)
        return tell(r, (str[]){STR("AUTH"), password}, 2, deadline);
    return tell(r, (str[]){STR("AUTH"), user, password}, 3, deadline);
}

static enum rds_result introduce(struct rds *r, ms deadline)
{
    str db = str_of(r->target.db), name = str_of(r->target.client_name);
    enum rds_result result = log_in(r, deadline);

    if (result == RDS_OK && db.n)
        result = tell(r, (str[]){STR("SELECT"), db}, 2, deadline);
    if (result == RDS_OK && name.n)
        result =
            tell(r, (str[]){STR("CLIENT"), STR("SETNAME"), name}, 3, deadline);
    if (result == RDS_OK && r->target.ready_check)
        result = check_info(r, deadline);
    return result;
}

static void set_options(const struct rds *r)
{
    int fd = r->conn->fd, on = 1, user_timeout = USER_TIMEOUT_MS;

    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    r->conn->flags &= ~REDIS_BLOCK; /* a read of nothing is no failure */
    if (r->target.path)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout,
               sizeof user_timeout);
}

static enum rds_result dial(struct rds *r, ms deadline)
{
    ms left = deadline - clock_mono_ms();
    struct timeval tv = {left / 1000, left % 1000 * 1000};

    if (left <= 0)
        return rds_give(r, RDS_DOWN, "no time left to connect");
    r->evicts = false;
    r->pid = getpid();
    r->conn = r->target.path
                  ? redisConnectUnixWithTimeout(r->target.path, tv)
                  : redisConnectWithTimeout(r->target.host, r->target.port, tv);
    if (!r->conn)
        return rds_give(r, RDS_DOWN, "no memory");
    if (r->conn->err)
        return rds_lose(r, false);
    set_options(r);
    return introduce(r, deadline);
}

static void hold_back(struct rds *r)
{
    r->failed++;
    r->next_try =
        clock_mono_ms() + backoff_wait_ms(r->failed, r->target.retry_ms,
                                          MAX_RETRY_MS, id_chance());
}

static enum rds_result dial_again(struct rds *r, ms deadline)
{
    ms now = clock_mono_ms();

    if (now < r->next_try)
        return RDS_DOWN; /* the reason of the last try stands */
    if (deadline > now + r->target.connect_ms)
        deadline = now + r->target.connect_ms;
    if (dial(r, deadline) == RDS_OK) {
        r->carried = false;
        if (r->connected++)
            metrics_add(METRIC_REDIS_RECONNECTS, 0, 1);
        return RDS_OK;
    }
    rds_drop(r);
    hold_back(r);
    return RDS_DOWN; /* nothing of the caller's was sent */
}

/* Between calls nothing is expected: what is there is an end or a stray. */
static bool is_stale(const struct rds *r)
{
    struct pollfd p = {.fd = r->conn->fd, .events = POLLIN | POLLRDHUP};

    return poll(&p, 1, 0) != 0;
}

enum rds_result rds_be_connected(struct rds *r, ms deadline)
{
    if (r->conn && r->pid != getpid()) {
#ifdef ARENA_POISON
        abort();
#endif
        return rds_give(r, RDS_DOWN, "the connection of another process");
    }
    if (r->conn && is_stale(r))
        rds_drop(r);
    return r->conn ? RDS_OK : dial_again(r, deadline);
}

void rds_note_carried(struct rds *r)
{
    if (r->conn) {
        r->carried = true;
        r->failed = 0;
    } else if (!r->carried) {
        hold_back(r);
    }
}

static enum rds_result exchange(struct rds *r, const str *words, size_t n,
                                ms deadline, redisReply **out)
{
    enum rds_result result;
    ms most = clock_mono_ms() + r->target.command_ms;

    assert(!r->waiting);
    result = rds_be_connected(r, deadline);
    if (result == RDS_OK) {
        result = rds_ask(r, words, n, deadline < most ? deadline : most, out);
        rds_note_carried(r);
    }
    /* rds_script.c deals with a script that is not known */
    if (result != RDS_OK &&
        !(result == RDS_ERR && rds_refused_with(r, STR("NOSCRIPT"))))
        metrics_add(METRIC_REDIS_ERRORS, 0, 1);
    return result;
}

enum rds_result rds_call(struct rds *r, const str *words, size_t n,
                         ms deadline_mono, struct arena *a,
                         struct rds_reply *out)
{
    redisReply *reply;
    enum rds_result result = exchange(r, words, n, deadline_mono, &reply);
    struct rds_reply copy;

    if (result != RDS_OK)
        return result;
    if (rds_copy(reply, 0, a, &copy))
        *out = copy;
    else
        result = rds_give(r, RDS_UNKNOWN, "the reply is too large or too deep");
    freeReplyObject(reply);
    return result;
}

enum rds_result rds_ping(struct rds *r, ms deadline_mono)
{
    redisReply *reply;
    enum rds_result result =
        exchange(r, &STR("PING"), 1, deadline_mono, &reply);

    if (result == RDS_OK)
        freeReplyObject(reply);
    return result;
}
