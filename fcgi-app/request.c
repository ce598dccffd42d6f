/* request - see request.h */
#include "fcgi-app/request.h"

#include <poll.h>
#include <sys/socket.h>

#include <fastcgi.h>
#include <fcgiapp.h>

#include "lib/base/addr.h"
#include "lib/base/buf.h"
#include "lib/base/conf.h"
#include "lib/base/id.h"

enum {
    PARAMS_MAX = 100,
    PARAMS_BYTES_MAX = 64 * 1024,
    LINE_BYTES_MAX = 16 * 1024,
    READ_BYTES = 64 * 1024,
};

struct param_row {
    str name;
    size_t offset; /* of a str in struct request */
};

#define AT(member) offsetof(struct request, member)
static const struct param_row params[] = {
    {STR_INIT("REQUEST_METHOD"), AT(method_name)},
    {STR_INIT("REQUEST_URI"), AT(uri)},
    {STR_INIT("CONTENT_TYPE"), AT(content_type)},
    {STR_INIT("REMOTE_ADDR"), AT(remote_addr)},
    {STR_INIT("SERVER_PROTOCOL"), AT(protocol)},
    {STR_INIT("HTTP_ACCEPT"), AT(accept)},
    {STR_INIT("HTTP_AUTHORIZATION"), AT(authorization)},
    {STR_INIT("HTTP_IF_NONE_MATCH"), AT(if_none_match)},
    {STR_INIT("HTTP_ORIGIN"), AT(origin)},
    {STR_INIT("HTTP_PREFER"), AT(prefer)},
    {STR_INIT("HTTP_CONTENT_ENCODING"), AT(content_encoding)},
    {STR_INIT("HTTP_ACCESS_CONTROL_REQUEST_HEADERS"), AT(cors_headers)},
    {STR_INIT("HTTP_X_FORWARDED_FOR"), AT(forwarded_for)},
    {STR_INIT("HTTP_USER_AGENT"), AT(user_agent)},
    {STR_INIT("HTTP_REFERER"), AT(referer)},
    {STR_INIT("HTTP_X_REQUEST_ID"), AT(request_id)},
};

/* Repeated headers come as repeated parameters from some web servers. */
static enum err join(struct ctx *c, str *member, str value)
{
    if (member->p == NULL) {
        *member = value;
        return OK;
    }
    *member = arena_strf(&c->arena, STR_FMT ", " STR_FMT, STR_ARG(*member),
                         STR_ARG(value));
    if (member->p)
        return OK;
    return ctx_fail(c, ERR_OVERLOADED, "The request needs too much memory");
}

static bool is_id_byte(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
           (ch >= '0' && ch <= '9') || ch == '.' || ch == '_' || ch == '-';
}

/*
 * 16 random bytes; the kernel is asked once for 16 requests. Only serving
 * threads come here, and none of them forks.
 */
static enum err random_id(unsigned char out[16])
{
    static _Thread_local unsigned char pool[16][16];
    static _Thread_local unsigned left;

    if (left == 0) {
        if (id_random(pool, sizeof pool) != OK)
            return ERR_INTERNAL;
        left = sizeof pool / sizeof *pool;
    }
    memcpy(out, pool[--left], sizeof *pool);
    return OK;
}

/* The caller's own id when it is one, else 128 random bits in hex. */
static void set_request_id(struct ctx *c, str given)
{
    bool good = given.n >= 8 && given.n <= 128;
    unsigned char random[16];
    char *p;

    for (size_t i = 0; good && i < given.n; i++)
        good = is_id_byte(given.p[i]);
    if (good) {
        c->request_id = given;
        return;
    }
    p = arena_alloc(&c->arena, 2 * sizeof random + 1);
    if (!p || random_id(random) != OK)
        return;
    id_hex(random, sizeof random, p);
    c->request_id = (str){p, 2 * sizeof random};
}

/* Absent, empty and -1 mean that nobody knows; see request_read_body. */
static void take_length(struct request *q, str value)
{
    if (value.n == 0 || str_eq(value, STR("-1")))
        return;
    if (str_is_digits(value) && !str_to_i64(value, &q->content_length))
        q->content_length = INT64_MAX;
    q->bad_length = !str_is_digits(value);
}

static enum err take_param(struct ctx *c, struct request *q, str name,
                           str value)
{
    if (str_eq(name, STR("CONTENT_LENGTH"))) {
        take_length(q, value);
        return OK;
    }
    for (size_t i = 0; i < sizeof params / sizeof *params; i++)
        if (str_eq(params[i].name, name))
            return join(c, (str *)(void *)((char *)q + params[i].offset),
                        value);
    return OK;
}

/* All are read, also beyond the limits: the refusal obeys Accept as well. */
static enum err take_params(struct ctx *c, char **envp, struct request *q)
{
    size_t n = 0, bytes = 0;
    enum err err = OK;

    for (; *envp; envp++) {
        str pair = str_of(*envp);
        size_t eq = str_find(pair, '=', 0);

        if (str_starts(pair, STR("FCGI_ROLE=")))
            continue; /* libfcgi's own */
        bytes += pair.n;
        n++;
        if (eq != SIZE_MAX && err == OK)
            err = take_param(c, q, str_head(pair, eq), str_from(pair, eq + 1));
    }
    if (err == OK && (n > PARAMS_MAX || bytes > PARAMS_BYTES_MAX))
        return ctx_fail(c, ERR_HEADERS_TOO_LARGE,
                        "More than %d headers or %d bytes of them", PARAMS_MAX,
                        PARAMS_BYTES_MAX);
    return err;
}

static enum http_method method_of(str name)
{
    static const char *const names[HTTP_OTHER] = {"GET", "HEAD",   "POST",
                                                  "PUT", "DELETE", "OPTIONS"};

    for (int i = 0; i < HTTP_OTHER; i++)
        if (str_eq(name, str_of(names[i])))
            return (enum http_method)i;
    return HTTP_OTHER;
}

static enum err split_uri(struct ctx *c, struct request *q)
{
    str path = q->uri, prefix = str_of(c->conf->mount_prefix);
    size_t mark = str_find(path, '?', 0);
    enum err err;

    if (q->method_name.n + q->uri.n + q->protocol.n + 2 > LINE_BYTES_MAX)
        return ctx_fail(c, ERR_URI_TOO_LONG,
                        "The request line is longer than %d bytes",
                        LINE_BYTES_MAX);
    if (mark != SIZE_MAX) {
        q->query = str_from(path, mark + 1);
        path = str_head(path, mark);
    }
    if (!str_starts(path, prefix) ||
        (prefix.n && path.n > prefix.n && path.p[prefix.n] != '/'))
        return ctx_fail(c, ERR_ROUTE_NOT_FOUND,
                        "This server answers under " STR_FMT, STR_ARG(prefix));
    err = url_split_path(&c->arena, str_from(path, prefix.n), &q->path);
    if (err == ERR_BAD_PATH)
        return ctx_fail(c, err,
                        "The path has a broken escape, NUL, '.', "
                        "'..' or invalid UTF-8");
    if (err)
        return ctx_fail(c, err, "No such route");
    return OK;
}

/*
 * The peer, or, when that is a proxy of ours, the last hop before our proxies
 * that it names. A hop that is no address is believed to nobody.
 */
static str client_of(const struct ctx *c, const struct request *q)
{
    const struct addr_ranges *ours = &c->conf->trusted_proxies;
    str client = q->remote_addr, hops = q->forwarded_for;
    struct addr addr;

    while (addr_parse(client, &addr) && addr_in(ours, &addr) && hops.n > 0) {
        size_t from = hops.n;
        str hop;

        while (from > 0 && hops.p[from - 1] != ',')
            from--;
        hop = str_trim(str_from(hops, from));
        if (!addr_parse(hop, &addr))
            break;
        client = hop;
        hops = str_head(hops, from > 0 ? from - 1 : 0);
    }
    return client;
}

enum err request_read(struct ctx *c, struct FCGX_Request *fcgi,
                      struct request *out)
{
    enum err err;

    *out = (struct request){.fcgi = fcgi, .content_length = -1};
    err = take_params(c, fcgi->envp, out);
    set_request_id(c, out->request_id);
    out->method = method_of(out->method_name);
    out->client = out->caller = client_of(c, out);
    return err ? err : split_uri(c, out);
}

/* Reads up to n bytes; fewer only at the end or at a fault. */
static size_t read_some(struct request *q, char *to, size_t n)
{
    int got = FCGX_GetStr(to, (int)n, q->fcgi->in);
    size_t taken = got > 0 ? (size_t)got : 0;

    if (taken < n)
        q->stdin_ended = true;
    q->stdin_n += taken;
    return taken;
}

static void free_body(void *arg)
{
    buf_done(arg);
}

static enum err too_large(struct ctx *c, int64_t max)
{
    return ctx_fail(c, ERR_BODY_TOO_LARGE, "The body is larger than %lld bytes",
                    (long long)max);
}

enum err request_read_body(struct ctx *c, struct request *q, int64_t max)
{
    struct buf *body = ctx_alloc(c, sizeof *body);
    enum err err;

    if (!body)
        return ERR_OVERLOADED;
    if (q->bad_length)
        return ERR_CUT;
    if (q->content_length > max)
        return too_large(c, max);
    buf_init(body, (size_t)max + READ_BYTES + 1, ERR_BODY_TOO_LARGE);
    err = arena_defer(&c->arena, free_body, body);
    while (err == OK && !q->stdin_ended) {
        size_t want = READ_BYTES;
        char *to;

        /* one more than announced, so that its end is seen in one call */
        if (q->content_length >= 0 &&
            (size_t)q->content_length - body->n < want)
            want = (size_t)q->content_length - body->n + 1;
        to = buf_room(body, want);
        if (!to)
            return body->err;
        body->n += read_some(q, to, want);
        if (q->content_length >= 0 && body->n > (size_t)q->content_length)
            return ERR_CUT;
        if (body->n > (size_t)max)
            return too_large(c, max);
    }
    if (FCGX_GetError(q->fcgi->in) ||
        (q->content_length >= 0 && body->n != (size_t)q->content_length))
        return ERR_CUT;
    q->body = buf_str(body);
    return err;
}

bool request_drain(struct request *q, size_t max)
{
    char scrap[4096];

    while (!q->stdin_ended && q->stdin_n <= max)
        (void)read_some(q, scrap, sizeof scrap);
    return q->stdin_ended && FCGX_GetError(q->fcgi->in) == 0;
}

bool request_is_gone(const struct request *q)
{
    struct pollfd p = {.fd = q->fcgi->ipcFd, .events = POLLIN | POLLRDHUP};
    unsigned char head[2];

    if (poll(&p, 1, 0) <= 0)
        return false;
    if (p.revents & (POLLRDHUP | POLLHUP | POLLERR))
        return true;
    return recv(p.fd, head, sizeof head, MSG_PEEK | MSG_DONTWAIT) ==
               sizeof head &&
           head[0] == FCGI_VERSION_1 && head[1] == FCGI_ABORT_REQUEST;
}
