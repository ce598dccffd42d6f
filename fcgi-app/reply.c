/* reply - see reply.h */
#include "fcgi-app/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <fcgiapp.h>

#include "fcgi-app/etag.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"

enum {
    ETAG_BODY_MAX = 1 << 20,
    HEAD_MAX = 12 * 1024,
    PUT_MAX = 1 << 20, /* FCGX_PutStr counts in int */
};

static struct buf fixed_headers;

static const char security_headers[] =
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Cross-Origin-Resource-Policy: same-origin\r\n"
    "Origin-Agent-Cluster: ?1\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "Strict-Transport-Security: max-age=15552000; includeSubDomains\r\n"
    "X-Content-Type-Options: nosniff\r\n"
    "X-DNS-Prefetch-Control: off\r\n"
    "X-Download-Options: noopen\r\n"
    "X-Frame-Options: SAMEORIGIN\r\n"
    "X-Permitted-Cross-Domain-Policies: none\r\n"
    "X-XSS-Protection: 0\r\n"
    "Access-Control-Expose-Headers: X-Request-Id, ETag, Retry-After, "
    "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, "
    "RateLimit-Policy, Preference-Applied, Content-Disposition\r\n";

static bool is_origin_list(const struct conf *conf)
{
    return strchr(conf->cors_origin, ',') != NULL;
}

enum err reply_setup(const struct conf *conf)
{
    struct buf *b = &fixed_headers;

    buf_init(b, HEAD_MAX, ERR_INTERNAL);
    buf_add(b, str_of(security_headers));
    if (conf->security_csp)
        buf_add(b, STR("Content-Security-Policy: default-src 'self'; "
                       "style-src 'self' 'unsafe-inline'; object-src 'none'; "
                       "frame-ancestors 'self'; "
                       "upgrade-insecure-requests\r\n"));
    if (conf->security_coep)
        buf_add(b, STR("Cross-Origin-Embedder-Policy: require-corp\r\n"));
    if (conf->cors_credentials)
        buf_add(b, STR("Access-Control-Allow-Credentials: true\r\n"));
    if (!is_origin_list(conf))
        buf_addf(b, "Access-Control-Allow-Origin: %s\r\n%s", conf->cors_origin,
                 strcmp(conf->cors_origin, "*") ? "Vary: Origin\r\n" : "");
    return b->err;
}

static enum err drain(void *arg, struct buf *b);

void reply_init(struct reply *out, struct ctx *c, struct request *q,
                struct buf *body)
{
    *out = (struct reply){.c = c,
                          .q = q,
                          .body = body,
                          .status = 200,
                          .keep = true,
                          .content_type = "application/json; charset=utf-8"};
    buf_clear(body);
    body->drain = drain;
    body->drain_arg = out;
}

void reply_header(struct reply *out, const char *fmt, ...)
{
    char line[2048];
    va_list list;
    str more;

    va_start(list, fmt);
    vsnprintf(line, sizeof line, fmt, list);
    va_end(list);
    more = arena_strf(&out->c->arena, STR_FMT "%s\r\n", STR_ARG(out->headers),
                      line);
    if (more.p)
        out->headers = more;
}

/* "q=0", "q=0.000": the type is named only to be refused */
static bool is_refused(str params)
{
    str one;

    while (str_cut(&params, ';', &one)) {
        one = str_trim(one);
        if (!str_starts_nocase(one, STR("q=0")))
            continue;
        one = str_from(one, 3);
        while (one.n > 0 && (one.p[0] == '.' || one.p[0] == '0'))
            one = str_from(one, 1);
        return one.n == 0;
    }
    return false;
}

/* True when the Accept header names the type, with a weight above 0. */
bool reply_wants(const struct request *q, str media_type)
{
    str list = q->accept, one, name;

    while (str_cut(&list, ',', &one))
        if (str_cut(&one, ';', &name) &&
            str_eq_nocase(str_trim(name), media_type))
            return !is_refused(one);
    return false;
}

const struct reply_status reply_statuses[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {304, "Not Modified"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {409, "Conflict"},
    {413, "Payload Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {0, "Unknown"},
};
const size_t reply_statuses_n = sizeof reply_statuses / sizeof *reply_statuses;

static const char *status_text(int status)
{
    const struct reply_status *s = reply_statuses;

    while (s->code && s->code != status)
        s++;
    return s->text;
}

/* A comma list of origins: the caller's own is echoed when it is listed. */
static void add_cors_echo(const struct reply *out, struct buf *head)
{
    str list = str_of(out->c->conf->cors_origin), one;

    if (!is_origin_list(out->c->conf))
        return;
    buf_add(head, STR("Vary: Origin\r\n"));
    while (out->q->origin.n && str_cut(&list, ',', &one))
        if (str_eq(str_trim(one), out->q->origin))
            buf_addf(head, "Access-Control-Allow-Origin: " STR_FMT "\r\n",
                     STR_ARG(out->q->origin));
}

static void put(struct reply *out, str s)
{
    FCGX_Stream *to = out->q->fcgi->out;

    for (; s.n > 0; s = str_from(s, PUT_MAX)) {
        str part = str_head(s, PUT_MAX);

        if (FCGX_PutStr(part.p, (int)part.n, to) != (int)part.n)
            return;
    }
}

/* length < 0: not known, the body's end is the reply's end */
static void send_head(struct reply *out, int64_t length)
{
    bool has_body = out->status != 204 && out->status != 304;
    char text[HEAD_MAX];
    struct buf head = buf_over(text, sizeof text);

    buf_add(&head, STR("Status: "));
    buf_add_i64(&head, out->status);
    buf_add_char(&head, ' ');
    buf_add(&head, str_of(status_text(out->status)));
    buf_add(&head, STR("\r\nX-Request-Id: "));
    buf_add(&head, out->c->request_id);
    if (out->content_type && has_body) {
        buf_add(&head, STR("\r\nContent-Type: "));
        buf_add(&head, str_of(out->content_type));
    }
    if (length >= 0 && has_body) {
        buf_add(&head, STR("\r\nContent-Length: "));
        buf_add_i64(&head, length);
    }
    buf_add(&head, STR("\r\n"));
    buf_add(&head, buf_str(&fixed_headers));
    add_cors_echo(out, &head);
    buf_add(&head, out->headers);
    buf_add(&head, STR("\r\n"));
    put(out, buf_str(&head));
    out->started = true;
}

static void send_body(struct reply *out)
{
    if (out->q->method == HTTP_HEAD || out->status == 204 || out->status == 304)
        return;
    put(out, buf_str(out->body));
    out->sent_bytes += (int64_t)out->body->n;
}

/* The client that went away ends the handler's loop here. */
static enum err drain(void *arg, struct buf *b)
{
    struct reply *out = arg;

    if (out->q->method == HTTP_HEAD && out->started)
        return b->n = 0, OK;
    if (!out->started)
        send_head(out, -1);
    send_body(out);
    b->n = 0;
    if (FCGX_GetError(out->q->fcgi->out))
        return ERR_CUT;
    if (ctx_left_ms(out->c) == 0)
        return ERR_TIME_LIMIT;
    return OK;
}

/* {success,error,message,code,requestId,..}: the form of every failure */
static void write_error(struct reply *out, enum err err, str message)
{
    struct buf *b = out->body;

    buf_add(b, STR("{\"success\":false,\"error\":"));
    jwrite_str(b, str_of(err_label(err)));
    buf_add(b, STR(",\"message\":"));
    jwrite_str(b, message);
    buf_addf(b, ",\"code\":\"%s\",\"requestId\":", err_code(err));
    jwrite_str(b, out->c->request_id);
    buf_add(b, out->err_members);
    buf_add(b, STR("}"));
}

/* RFC 9457 */
static void write_problem(struct reply *out, enum err err, str message)
{
    struct buf *b = out->body;

    out->content_type = "application/problem+json";
    buf_addf(b,
             "{\"type\":\"urn:sql-free:error:%s\",\"title\":", err_code(err));
    jwrite_str(b, str_of(err_label(err)));
    buf_addf(b, ",\"status\":%d,\"detail\":", err_status(err));
    jwrite_str(b, message);
    buf_addf(b, ",\"instance\":\"urn:request:" STR_FMT "\",\"code\":\"%s\"",
             STR_ARG(out->c->request_id), err_code(err));
    buf_add(b, STR(",\"requestId\":"));
    jwrite_str(b, out->c->request_id);
    buf_add(b, out->err_members);
    buf_add(b, STR("}"));
}

/* Under /api/cluster every failure says when it was. */
static void add_timestamp(struct reply *out)
{
    const struct url_path *path = &out->q->path;
    char text[128];
    struct buf b = buf_over(text, sizeof text);

    if (path->n < 2 || !str_eq_nocase(path->segment[0], STR("api")) ||
        !str_eq_nocase(path->segment[1], STR("cluster")))
        return;
    jwrite_time(&b, ",\"timestamp\":", clock_wall_ms());
    out->err_members =
        arena_strf(&out->c->arena, STR_FMT STR_FMT, STR_ARG(out->err_members),
                   STR_ARG(buf_str(&b)));
}

static void become_error(struct reply *out, enum err err)
{
    str message = str_of(out->c->err == err ? out->c->reason : "");

    if (message.n == 0)
        message = str_of(err_label(err));
    out->body->n = 0;
    out->body->err = OK;
    out->content_type = "application/json; charset=utf-8";
    out->status = err_status(err);
    add_timestamp(out);
    if (err == ERR_DB_UNAVAILABLE || err == ERR_REDIS_UNAVAILABLE)
        reply_header(out, "Retry-After: 5");
    if (err == ERR_OVERLOADED)
        reply_header(out, "Retry-After: 1");
    if (reply_wants(out->q, STR("application/problem+json")))
        write_problem(out, err, message);
    else
        write_error(out, err, message);
}

static void add_etag(struct reply *out)
{
    bool reads = out->q->method == HTTP_GET || out->q->method == HTTP_HEAD;
    char tag[ETAG_MAX];
    size_t n;

    if (!reads || out->status != 200 || out->body->n > ETAG_BODY_MAX ||
        strncmp(out->content_type, "application/json", 16) != 0)
        return;
    n = etag_make(buf_str(out->body), tag);
    reply_header(out, "ETag: %s", tag);
    if (etag_matches(out->q->if_none_match, (str){tag, n}))
        out->status = 304;
}

/* Without END_REQUEST the web server, and so the client, sees the cut. */
static void cut(struct reply *out)
{
    out->keep = false;
    shutdown(out->q->fcgi->ipcFd, SHUT_RDWR);
}

void reply_end(struct reply *out, enum err err)
{
    if (err == OK)
        err = out->body->err;
    if (err == ERR_CUT || (err && out->started)) {
        if (!out->started)
            out->status = err_status(err);
        cut(out);
        return;
    }
    if (err)
        become_error(out, err);
    if (out->started) {
        send_body(out);
        return;
    }
    add_etag(out);
    send_head(out, (int64_t)out->body->n);
    send_body(out);
}
