/* rds - see rds.h; the only door to hiredis (0.14) */
#include "lib/coord/rds.h"

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
#include "lib/base/id.h"

enum {
    DEFAULT_PORT = 6379,
    MAX_RETRY_MS = 1000,
    OLDEST_MAJOR = 7,
    USER_TIMEOUT_MS = 10000,
    WORDS_MAX = 8
};

struct rds {
    struct rds_target target; /* host, port, user and password of the url */
    const char *path;         /* of a unix socket, or NULL */
    const char *db;           /* NULL: 0 */
    redisContext *conn;       /* NULL: not connected */
    pid_t pid;                /* that connected */
    int failed;               /* tries to connect in a row */
    ms next_try;
    bool evicts;
    char reason[160];
    char text[]; /* the url, cut into parts */
};

static enum rds_result give(struct rds *r, enum rds_result result,
                            const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static enum rds_result give(struct rds *r, enum rds_result result,
                            const char *fmt, ...)
{
    va_list list;

    va_start(list, fmt);
    vsnprintf(r->reason, sizeof r->reason, fmt, list);
    va_end(list);
    return result;
}

/* ---- where to */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 32);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place; false for a broken escape and for NUL. */
static bool decode(char *p)
{
    char *to = p;

    for (; *p; p++) {
        char c = *p;

        if (c == '%') {
            int high = hex_digit(p[1]);
            int low = high < 0 ? -1 : hex_digit(p[2]);

            if (low < 0 || (high == 0 && low == 0))
                return false;
            c = (char)(high * 16 + low);
            p += 2;
        }
        *to++ = c;
    }
    *to = '\0';
    return true;
}

/* Ends the text at the first c; gives what follows it, or NULL. */
static char *cut(char *text, char c)
{
    char *at = strchr(text, c);

    if (at)
        *at++ = '\0';
    return at;
}

static bool set_db(struct rds *r, const char *db)
{
    if (*db == '\0')
        return true;
    r->db = db;
    return strlen(db) <= 9 && str_is_digits(str_of(db));
}

static bool set_user(struct rds *r, char *user)
{
    char *password = cut(user, ':');

    if (!decode(user) || (password && !decode(password)))
        return false;
    if (*user)
        r->target.username = user;
    if (password) {
        r->target.password = password;
        r->target.username = *user ? user : NULL;
    }
    return true;
}

/* host, host:port, [v6] or [v6]:port */
static bool set_host(struct rds *r, char *host)
{
    char *port;
    int64_t n = DEFAULT_PORT;

    if (*host == '[') {
        char *rest = cut(++host, ']');

        if (!rest || (*rest != '\0' && *rest != ':'))
            return false;
        port = *rest ? rest + 1 : NULL;
    } else {
        port = cut(host, ':');
    }
    if (port && !str_to_i64(str_of(port), &n))
        return false;
    r->target.host = host;
    r->target.port = (int)n;
    return *host != '\0' && n >= 1 && n <= 65535 && decode(host);
}

static bool set_path(struct rds *r, char *path)
{
    char *query = cut(path, '?');

    if (strncmp(path, "//", 2) == 0)
        path += 2;
    r->path = path;
    if (*path != '/' || !decode(path))
        return false;
    if (!query)
        return true;
    return strncmp(query, "db=", 3) == 0 && set_db(r, query + 3);
}

static bool read_url(struct rds *r)
{
    char *rest = cut(r->text, ':');
    char *db, *at;

    if (rest && strcmp(r->text, "unix") == 0)
        return set_path(r, rest);
    if (!rest || strcmp(r->text, "redis") != 0 || strncmp(rest, "//", 2) != 0)
        return false;
    rest += 2;
    at = strrchr(rest, '@');
    if (at) {
        *at = '\0';
        if (!set_user(r, rest))
            return false;
        rest = at + 1;
    }
    db = cut(rest, '/');
    return set_host(r, rest) && (!db || set_db(r, db));
}

struct rds *rds_new(const struct rds_target *target)
{
    const char *url = target->url ? target->url : "";
    struct rds *r = calloc(1, sizeof *r + strlen(url) + 1);

    if (!r)
        return NULL;
    r->target = *target;
    memcpy(r->text, url, strlen(url) + 1);
    if (*url ? read_url(r) : target->host != NULL)
        return r;
    free(r);
    return NULL;
}

/* Nothing of the connection survives: its next reply may be a late one. */
static void drop(struct rds *r)
{
    if (r->conn)
        redisFree(r->conn);
    r->conn = NULL;
}

void rds_free(struct rds *r)
{
    if (!r)
        return;
    drop(r);
    free(r);
}

bool rds_evicts(const struct rds *r)
{
    return r->evicts;
}

const char *rds_reason(const struct rds *r)
{
    return r->reason;
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
            give(r, RDS_DOWN, "no answer in time");
            return false;
        }
    }
}

static enum rds_result lose(struct rds *r, bool sent)
{
    if (r->conn && r->conn->err)
        give(r, RDS_DOWN, "%s", r->conn->errstr);
    drop(r);
    return sent ? RDS_UNKNOWN : RDS_DOWN;
}

static enum rds_result send_all(struct rds *r, ms deadline)
{
    bool sent = false;
    int done = 0;

    while (!done) {
        if (redisBufferWrite(r->conn, &done) != REDIS_OK)
            return lose(r, sent);
        sent = true;
        if (!done && !wait_for(r, POLLOUT, deadline))
            return lose(r, sent);
    }
    return RDS_OK;
}

static enum rds_result receive(struct rds *r, ms deadline, redisReply **out)
{
    void *reply = NULL;

    for (;;) {
        if (redisGetReplyFromReader(r->conn, &reply) != REDIS_OK)
            return lose(r, true);
        if (reply)
            break;
        if (!wait_for(r, POLLIN, deadline))
            return lose(r, true);
        if (redisBufferRead(r->conn) != REDIS_OK)
            return lose(r, true);
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

/* words end with NULL. The reply is the caller's, with RDS_OK only. */
static enum rds_result call(struct rds *r, const char *const *words,
                            ms deadline, redisReply **out)
{
    const char *argv[WORDS_MAX];
    enum rds_result result;
    redisReply *reply;
    int n = 0;

    for (; words[n] && n < WORDS_MAX; n++)
        argv[n] = words[n];
    if (redisAppendCommandArgv(r->conn, n, argv, NULL) != REDIS_OK)
        return lose(r, false);
    result = send_all(r, deadline);
    if (result != RDS_OK)
        return result;
    result = receive(r, deadline, &reply);
    if (result != RDS_OK)
        return result;
    if (reply->type != REDIS_REPLY_ERROR) {
        *out = reply;
        return RDS_OK;
    }
    result = give(r, RDS_ERR, "%s: %.100s", words[0], reply->str);
    if (cannot_serve((str){reply->str, reply->len})) {
        drop(r);
        result = RDS_DOWN;
    }
    freeReplyObject(reply);
    return result;
}

static enum rds_result tell(struct rds *r, const char *const *words,
                            ms deadline)
{
    redisReply *reply;
    enum rds_result result = call(r, words, deadline, &reply);

    if (result == RDS_OK)
        freeReplyObject(reply);
    return result;
}

/* ---- connecting */

/* The value of "name:value\r\n" in the text of INFO. */
static str info_value(str info, str name)
{
    str line;

    while (str_cut(&info, '\n', &line))
        if (str_starts(line, name) && line.n > name.n && line.p[name.n] == ':')
            return str_trim(str_from(line, name.n + 1));
    return STR_NONE;
}

static enum rds_result judge_info(struct rds *r, str info)
{
    str version = info_value(info, STR("redis_version"));
    str policy = info_value(info, STR("maxmemory_policy"));
    int64_t major = 0;
    str rest = version, head;

    if (!str_cut(&rest, '.', &head) || !str_to_i64(head, &major) ||
        major < OLDEST_MAJOR)
        return give(r, RDS_DOWN, "version \"%.20s\" is older than %d",
                    version.n ? version.p : "", OLDEST_MAJOR);
    if (!str_eq(info_value(info, STR("role")), STR("master")))
        return give(r, RDS_DOWN, "the server is a replica");
    if (str_eq(info_value(info, STR("cluster_enabled")), STR("1")))
        return give(r, RDS_DOWN, "Redis Cluster is not supported");
    if (str_eq(info_value(info, STR("loading")), STR("1")))
        return give(r, RDS_DOWN, "the server is loading its data");
    r->evicts = policy.n > 0 && !str_eq(policy, STR("noeviction"));
    return RDS_OK;
}

static enum rds_result check_info(struct rds *r, ms deadline)
{
    static const char *const words[] = {"INFO", NULL};
    redisReply *reply;
    enum rds_result result = call(r, words, deadline, &reply);

    if (result != RDS_OK)
        return result;
    result = reply->type == REDIS_REPLY_STRING
                 ? judge_info(r, (str){reply->str, reply->len})
                 : give(r, RDS_DOWN, "INFO: not a text");
    freeReplyObject(reply);
    return result;
}

static enum rds_result introduce(struct rds *r, ms deadline)
{
    const struct rds_target *t = &r->target;
    enum rds_result result = RDS_OK;
    bool named = t->username && *t->username;

    if (t->password && *t->password)
        result = tell(
            r,
            named ? (const char *[]){"AUTH", t->username, t->password, NULL}
                  : (const char *[]){"AUTH", t->password, NULL},
            deadline);
    if (result == RDS_OK && r->db)
        result = tell(r, (const char *[]){"SELECT", r->db, NULL}, deadline);
    if (result == RDS_OK && t->client_name && *t->client_name)
        result =
            tell(r, (const char *[]){"CLIENT", "SETNAME", t->client_name, NULL},
                 deadline);
    if (result == RDS_OK && t->ready_check)
        result = check_info(r, deadline);
    return result;
}

static void set_options(const struct rds *r)
{
    int fd = r->conn->fd, on = 1, user_timeout = USER_TIMEOUT_MS;

    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    r->conn->flags &= ~REDIS_BLOCK; /* a read of nothing is no failure */
    if (r->path)
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
        return give(r, RDS_DOWN, "no time left to connect");
    r->evicts = false;
    r->pid = getpid();
    r->conn = r->path
                  ? redisConnectUnixWithTimeout(r->path, tv)
                  : redisConnectWithTimeout(r->target.host, r->target.port, tv);
    if (!r->conn)
        return give(r, RDS_DOWN, "no memory");
    if (r->conn->err)
        return lose(r, false);
    set_options(r);
    return introduce(r, deadline);
}

static enum rds_result dial_again(struct rds *r, ms deadline)
{
    ms now = clock_mono_ms();

    if (now < r->next_try)
        return RDS_DOWN; /* the reason of the last try stands */
    if (deadline > now + r->target.connect_ms)
        deadline = now + r->target.connect_ms;
    if (dial(r, deadline) == RDS_OK) {
        r->failed = 0;
        return RDS_OK;
    }
    drop(r);
    r->failed++;
    r->next_try =
        clock_mono_ms() + backoff_wait_ms(r->failed, r->target.retry_ms,
                                          MAX_RETRY_MS, id_chance());
    return RDS_DOWN; /* nothing of the caller's was sent */
}

/* Between calls nothing is expected: what is there is an end or a stray. */
static bool is_stale(const struct rds *r)
{
    struct pollfd p = {.fd = r->conn->fd, .events = POLLIN | POLLRDHUP};

    return poll(&p, 1, 0) != 0;
}

static enum rds_result be_connected(struct rds *r, ms deadline)
{
    if (r->conn && r->pid != getpid()) {
#ifdef ARENA_POISON
        abort();
#endif
        return give(r, RDS_DOWN, "the connection of another process");
    }
    if (r->conn && is_stale(r))
        drop(r);
    return r->conn ? RDS_OK : dial_again(r, deadline);
}

enum rds_result rds_ping(struct rds *r, ms deadline_mono)
{
    static const char *const words[] = {"PING", NULL};
    enum rds_result result = be_connected(r, deadline_mono);
    ms most = clock_mono_ms() + r->target.command_ms;

    if (result != RDS_OK)
        return result;
    return tell(r, words, deadline_mono < most ? deadline_mono : most);
}
