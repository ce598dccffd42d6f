/* guard - see guard.h */
#include "fcgi-app/guard.h"

#include "fcgi-app/auth.h"
#include "fcgi-app/limit.h"
#include "lib/base/conf.h"
#include "lib/base/jread.h"
#include "lib/data/form_in.h"
#include "lib/data/json_in.h"
#include "lib/data/mongo.h"

/* "application/json; charset=utf-8" gives the part before ';' */
static str media_type(const struct request *q)
{
    str rest = q->content_type, name = STR("");

    if (rest.n == 0 || !str_cut(&rest, ';', &name))
        return STR("");
    return str_trim(name);
}

static bool is_json_type(str type)
{
    str slash;
    size_t plus = SIZE_MAX;

    if (str_eq_nocase(type, STR("application/json")))
        return true;
    for (size_t at = str_find(type, '+', 0); at != SIZE_MAX;
         at = str_find(type, '+', at + 1))
        plus = at;
    slash = plus == SIZE_MAX ? STR("") : str_from(type, plus + 1);
    return str_starts_nocase(type, STR("application/")) &&
           str_eq_nocase(slash, STR("json"));
}

static bool is_form_type(str type)
{
    return str_eq_nocase(type, STR("application/x-www-form-urlencoded"));
}

static bool charset_is_utf8(str content_type)
{
    str rest = content_type, part;

    if (rest.n == 0)
        return true;
    while (str_cut(&rest, ';', &part)) {
        part = str_trim(part);
        if (!str_starts_nocase(part, STR("charset=")))
            continue;
        part = str_from(part, 8);
        if (part.n >= 2 && part.p[0] == '"')
            part = (str){part.p + 1, part.n - 2};
        return str_eq_nocase(part, STR("utf-8")) ||
               str_eq_nocase(part, STR("utf8")) ||
               str_eq_nocase(part, STR("us-ascii"));
    }
    return true;
}

static enum err check_type(struct ctx *c, const struct request *q)
{
    str type = media_type(q), encoding = str_trim(q->content_encoding);

    if (encoding.n && !str_eq_nocase(encoding, STR("identity")))
        return ctx_fail(c, ERR_UNSUPPORTED_MEDIA_TYPE,
                        "Content-Encoding '" STR_FMT
                        "' is not supported, only identity",
                        STR_ARG(str_head(encoding, 50)));
    if (type.n && !is_json_type(type) && !is_form_type(type))
        return ctx_fail(c, ERR_UNSUPPORTED_MEDIA_TYPE,
                        "Content-Type '" STR_FMT "' is not supported, only "
                        "application/json and "
                        "application/x-www-form-urlencoded",
                        STR_ARG(str_head(type, 100)));
    if (!charset_is_utf8(q->content_type))
        return ctx_fail(c, ERR_UNSUPPORTED_MEDIA_TYPE,
                        "The charset must be UTF-8");
    return OK;
}

static bool needs_role(const struct ctx *c, const struct route *route)
{
    if ((route->flags & ROUTE_METRICS) && c->conf->metrics_public)
        return false;
    return c->conf->auth_enabled && route->least != ROLE_NONE;
}

bool guard_needs_io(const struct ctx *c, const struct route *route)
{
    return (route->flags & ROUTE_IO) || needs_role(c, route);
}

static enum err check_access(struct ctx *c, struct request *q,
                             const struct route *route, struct reply *out)
{
    if ((route->flags & ROUTE_ACCESS) && !c->conf->auth_enabled)
        return ctx_fail(c, ERR_AUTH_DISABLED,
                        "Keys are managed while AUTH_ENABLED is true, or by "
                        "the program sqlfree");
    if (!needs_role(c, route))
        return OK;
    return auth_check(c, q, route->least, out);
}

static bool is_limited(const struct route *route)
{
    return !(route->flags & (ROUTE_HEALTH | ROUTE_METRICS));
}

enum err guard_caller(struct ctx *c, struct request *q,
                      const struct route *route, struct reply *out)
{
    enum err denied = check_access(c, q, route, out), limited;

    if (!is_limited(route))
        return denied;
    /* counted whether it may call or not: guessing has a limit as well */
    limited = limit_caller(c, q, out, guard_needs_io(c, route));
    return limited ? limited : denied;
}

void guard_outcome(struct ctx *c, const struct request *q,
                   const struct route *route, struct reply *out, enum err err)
{
    if (is_limited(route))
        limit_outcome(c, q, out, err, guard_needs_io(c, route));
}

enum err guard_body(struct ctx *c, struct request *q, const struct route *route)
{
    enum err err;

    if (!(route->flags & ROUTE_BODY))
        return OK;
    if (q->content_length > 0) {
        err = check_type(c, q);
        if (err)
            return err;
    }
    err = request_read_body(c, q, c->conf->json_limit);
    if (err || q->body.n == 0)
        return err;
    return check_type(c, q);
}

static bool looks_like_json(str body)
{
    if (str_starts(body, STR("\xef\xbb\xbf")))
        body = str_from(body, 3);
    body = str_trim(body);
    return body.n && (body.p[0] == '{' || body.p[0] == '[');
}

bool guard_is_form(const struct request *q)
{
    return is_form_type(media_type(q)) && !looks_like_json(q->body);
}

static enum err parse(struct ctx *c, const struct request *q,
                      enum json_root *root, bson_t **out)
{
    struct jread_fault fault;

    if (!is_form_type(media_type(q)))
        return json_in(c, q->body, root, out);
    /* what `curl -d` sends: JSON under the form's type */
    if (looks_like_json(q->body) &&
        jread(q->body, &c->arena, NULL, &fault) == OK)
        return json_in(c, q->body, root, out);
    *root = JSON_OBJECT;
    return form_to_bson(c, q->body, out);
}

enum err guard_object(struct ctx *c, const struct request *q, bson_t **out)
{
    enum json_root root;
    enum err err;

    if (q->body.n == 0) {
        *out = mongo_bson(c);
        return *out ? OK : ERR_OVERLOADED;
    }
    err = parse(c, q, &root, out);
    if (err)
        return err;
    if (root == JSON_SCALAR)
        return ctx_fail(c, ERR_BAD_JSON,
                        "The body must be an object, not a single value");
    if (root == JSON_ARRAY)
        return ctx_fail(c, ERR_VALIDATION_ERROR,
                        "The body must be an object, not an array");
    return OK;
}
