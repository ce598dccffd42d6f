/* router - see router.h */
#include "fcgi-app/router.h"

#include "lib/base/conf.h"
#include "lib/base/jwrite.h"

/* First words that the alias /api/:c must leave alone. */
static const char *const router_names[] = {"auth", "bulk",       "cluster",
                                           "db",   "management", "scripts",
                                           "sdk",  "webhooks"};

static bool is_router_name(str word)
{
    for (size_t i = 0; i < sizeof router_names / sizeof *router_names; i++)
        if (str_eq_nocase(word, str_of(router_names[i])))
            return true;
    return false;
}

/* Does the template from its '/' on match the segments; sets parameters. */
static bool match(const char *path, const str *segment, size_t n,
                  struct request *q)
{
    str rest = str_of(path + 1), word;
    str param[REQUEST_PARAMS_MAX] = {0};
    size_t i = 0, params = 0;

    while (str_cut(&rest, '/', &word)) {
        if (i == n)
            return false;
        if (word.n && word.p[0] == ':')
            param[params++] = segment[i];
        else if (!str_eq_nocase(word, segment[i]))
            return false;
        i++;
    }
    if (i != n)
        return false;
    memcpy(q->param, param, sizeof param);
    return true;
}

/* How many segments HEALTH_ENDPOINT takes at the front, 0 for none. */
static size_t health_prefix(const struct ctx *c, const struct request *q)
{
    str rest = str_of(c->conf->health_endpoint + 1), word;
    size_t i = 0;

    while (str_cut(&rest, '/', &word)) {
        if (i == q->path.n || !str_eq_nocase(word, q->path.segment[i]))
            return 0;
        i++;
    }
    return i;
}

static bool route_matches(const struct ctx *c, const struct route *r,
                          struct request *q, size_t health)
{
    const str *segment = q->path.segment;
    size_t n = q->path.n;

    if (r->flags & ROUTE_HEALTH) {
        str word = STR("health");

        if (!health)
            return false;
        /* the template says /health for whatever the prefix is */
        if (n == health)
            return match(r->path, &word, 1, q);
        return strlen(r->path) > 7 &&
               match(r->path + 7, segment + health, n - health, q);
    }
    if ((r->flags & ROUTE_ALIAS) &&
        (!c->conf->api_legacy_alias || n < 2 || is_router_name(segment[1])))
        return false;
    return match(r->path, segment, n, q);
}

const char *router_method(enum http_method m)
{
    static const char *const names[] = {"GET",    "HEAD",    "POST", "PUT",
                                        "DELETE", "OPTIONS", "OTHER"};

    return names[m];
}

static enum err no_route(struct ctx *c, const struct request *q,
                         struct reply *out)
{
    struct buf list;

    buf_init(&list, 64 * 1024, ERR_OVERLOADED);
    buf_add(&list, STR(",\"availableEndpoints\":["));
    for (size_t i = 0; i < routes_n; i++) {
        if (routes[i].flags & ROUTE_ALIAS)
            continue;
        buf_add(&list, i ? STR(",\"") : STR("\""));
        buf_addf(&list, "%s %s\"", router_method(routes[i].method),
                 routes[i].path);
    }
    buf_add(&list, STR("]"));
    out->err_members = arena_str(&c->arena, buf_str(&list));
    buf_done(&list);
    return ctx_fail(c, ERR_ROUTE_NOT_FOUND, "No route for " STR_FMT,
                    STR_ARG(str_head(q->uri, 200)));
}

static bool is_header_list(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return s.n > 0 && s.n < 1024;
}

static void answer_options(const struct request *q, struct reply *out)
{
    out->status = 204;
    reply_header(out, "Access-Control-Allow-Methods: "
                      "GET,HEAD,PUT,PATCH,POST,DELETE");
    if (!is_header_list(q->cors_headers))
        return;
    reply_header(out, "Access-Control-Allow-Headers: " STR_FMT,
                 STR_ARG(q->cors_headers));
    reply_header(out, "Vary: Access-Control-Request-Headers");
}

/* Methods that no path of ours ever has (RFC 9110, 9.3.6 and 9.3.8). */
static bool is_foreign(const struct request *q)
{
    return str_eq(q->method_name, STR("TRACE")) ||
           str_eq(q->method_name, STR("CONNECT"));
}

enum err router_refuse(struct ctx *c, const struct request *q,
                       struct reply *out, enum err err)
{
    if (err != ERR_BAD_PATH && err != ERR_ROUTE_NOT_FOUND)
        return err;
    if (q->method == HTTP_OPTIONS) {
        ctx_forgive(c);
        answer_options(q, out);
        return OK;
    }
    if (is_foreign(q)) {
        ctx_forgive(c);
        reply_header(out, "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS");
        return ctx_fail(c, ERR_METHOD_NOT_ALLOWED,
                        "TRACE and CONNECT are not served");
    }
    return err == ERR_ROUTE_NOT_FOUND ? no_route(c, q, out) : err;
}

enum err router_find(struct ctx *c, struct request *q, struct reply *out,
                     const struct route **out_route)
{
    enum http_method method = q->method == HTTP_HEAD ? HTTP_GET : q->method;
    size_t health = health_prefix(c, q);
    const char *allow = "";
    unsigned named = 0; /* several rows may fit: ":id" as well as "stats" */
    str allowed;

    *out_route = NULL;
    for (size_t i = 0; i < routes_n; i++) {
        const struct route *r = &routes[i];

        if (!route_matches(c, r, q, health))
            continue;
        q->route = r->path;
        if (r->method == method) {
            *out_route = r;
            return OK;
        }
        if (named & 1u << r->method)
            continue;
        named |= 1u << r->method;
        allowed = arena_strf(&c->arena, "%s%s, ", allow,
                             r->method == HTTP_GET ? "GET, HEAD"
                                                   : router_method(r->method));
        allow = allowed.p ? allowed.p : "";
    }
    if (*allow)
        reply_header(out, "Allow: %sOPTIONS", allow);
    if (q->method == HTTP_OPTIONS) {
        answer_options(q, out);
        return OK;
    }
    if (!*allow)
        return router_refuse(c, q, out, ERR_ROUTE_NOT_FOUND);
    return ctx_fail(c, ERR_METHOD_NOT_ALLOWED,
                    STR_FMT " is not a method of this path; allowed: %sOPTIONS",
                    STR_ARG(str_head(q->method_name, 20)), allow);
}
