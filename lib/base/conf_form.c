/* conf_form - what the text settings may look like */
#include <unistd.h>

#include "lib/base/conf_row.h"
#include "lib/base/jread.h"

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
           (c >= 'A' && c <= 'Z');
}

/* Only letters, digits and the bytes of `more`. */
static bool is_of(str v, const char *more)
{
    for (size_t i = 0; i < v.n; i++)
        if (!is_alnum(v.p[i]) && (v.p[i] == '\0' || !strchr(more, v.p[i])))
            return false;
    return v.n > 0;
}

static bool has_none_of(str v, const char *bad)
{
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] == '\0' || strchr(bad, v.p[i]))
            return false;
    return true;
}

static bool is_port(str v, int64_t *out)
{
    int64_t port;

    if (!str_is_digits(v) || v.n > 5 || !str_to_i64(v, &port) || port < 1 ||
        port > 65535)
        return false;
    *out = port;
    return true;
}

static bool is_literal_v6(str v)
{
    struct addr a;

    return str_find(v, ':', 0) != SIZE_MAX && addr_parse(v, &a);
}

bool conf_form_host_port(str v, str *out_host, int64_t *out_port)
{
    size_t colon = SIZE_MAX;
    str host;

    if (str_starts(v, STR("tcp:")))
        v = str_from(v, 4);
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] == ':')
            colon = i;
    if (colon == SIZE_MAX || !is_port(str_from(v, colon + 1), out_port))
        return false;
    host = str_head(v, colon);
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
        host = (str){host.p + 1, host.n - 2};
        if (!is_literal_v6(host))
            return false;
    } else if (host.n > 255 ||
               (host.n > 0 && !str_eq(host, STR("*")) && !is_of(host, "._-"))) {
        return false;
    }
    *out_host = host;
    return true;
}

static bool is_id(str v, struct arena *a)
{
    (void)a;
    return is_of(v, "._:-");
}

static bool is_host(str v, struct arena *a)
{
    (void)a;
    return is_of(v, "._-") || is_literal_v6(v);
}

static bool is_database(str v, struct arena *a)
{
    (void)a;
    return has_none_of(v, "/\\. \"$*<>:|?");
}

static bool is_listen(str v, struct arena *a)
{
    int64_t port;
    str host;

    (void)a;
    if (str_eq(v, STR("fd:0")))
        return true;
    if (str_starts(v, STR("unix:")))
        return v.n > 5 && v.n - 5 <= 107;
    return !str_starts(v, STR("fd:")) && conf_form_host_port(v, &host, &port);
}

/* Splits scheme://rest; false when there is no scheme. */
static bool scheme_cut(str v, str *out_scheme, str *out_rest)
{
    size_t at = str_find_str(v, STR("://"));

    if (at == SIZE_MAX || !is_of(str_head(v, at), "+.-"))
        return false;
    *out_scheme = str_head(v, at);
    *out_rest = str_from(v, at + 3);
    return true;
}

static bool is_authority(str v)
{
    int64_t port;
    str host;
    size_t close = str_find(v, ']', 0);

    if (v.n > 0 && v.p[0] == '[') {
        if (close == SIZE_MAX || !is_literal_v6((str){v.p + 1, close - 1}))
            return false;
        v = str_from(v, close + 1);
        return v.n == 0 || (v.p[0] == ':' && is_port(str_from(v, 1), &port));
    }
    if (str_find(v, ':', 0) == SIZE_MAX)
        return is_of(v, "._-");
    return conf_form_host_port(v, &host, &port) && is_of(host, "._-");
}

static bool is_origins(str v, struct arena *a)
{
    str piece, scheme, rest;

    (void)a;
    if (str_eq(v, STR("*")))
        return true;
    while (str_cut(&v, ',', &piece))
        if (!scheme_cut(str_trim(piece), &scheme, &rest) || !is_authority(rest))
            return false;
    return true;
}

static bool is_zone(str v, struct arena *a)
{
    static const char base[] = "/usr/share/zoneinfo";
    str path;

    if (!is_of(v, "/_+-") || !is_alnum(v.p[0]) || !is_alnum(v.p[v.n - 1]))
        return false;
    if (str_eq(v, STR("UTC")) || access(base, R_OK) != 0)
        return true;
    path = arena_strf(a, "%s/" STR_FMT, base, STR_ARG(v));
    return path.p != NULL && access(path.p, R_OK) == 0;
}

static bool is_json_array(str v, struct arena *a)
{
    struct jread_fault fault;

    return v.p[0] == '[' && jread(v, a, NULL, &fault) == OK;
}

static bool is_pem(str v, struct arena *a)
{
    (void)a;
    return str_starts(v, STR("-----BEGIN PUBLIC KEY-----")) &&
           str_find_str(v, STR("PRIVATE KEY")) == SIZE_MAX;
}

static bool is_mongo(str v, struct arena *a)
{
    str scheme, rest;

    (void)a;
    return scheme_cut(v, &scheme, &rest) && rest.n > 0 && rest.p[0] != '/' &&
           has_none_of(v, " ") &&
           (str_eq(scheme, STR("mongodb")) ||
            str_eq(scheme, STR("mongodb+srv")));
}

static bool is_redis_unix(str path)
{
    if (str_starts(path, STR("//")))
        path = str_from(path, 2);
    path = str_head(path, str_find(path, '?', 0));
    return path.n > 1 && path.n <= 107 && path.p[0] == '/';
}

static bool is_redis(str v, struct arena *a)
{
    str scheme, rest, db;
    size_t end;

    (void)a;
    if (str_eq(v, STR("none")))
        return true;
    if (!has_none_of(v, " "))
        return false;
    if (str_starts(v, STR("unix:")))
        return is_redis_unix(str_from(v, 5));
    if (!scheme_cut(v, &scheme, &rest) || !str_eq(scheme, STR("redis")))
        return false;
    rest = str_head(rest, str_find(rest, '?', 0));
    for (size_t at = str_find(rest, '@', 0); at != SIZE_MAX;
         at = str_find(rest, '@', 0))
        rest = str_from(rest, at + 1);
    end = str_find(rest, '/', 0);
    db = end == SIZE_MAX ? STR("") : str_from(rest, end + 1);
    return is_authority(str_head(rest, end)) &&
           (db.n == 0 || (str_is_digits(db) && db.n < 6));
}

static bool is_http(str v, struct arena *a)
{
    str scheme, rest;

    (void)a;
    return scheme_cut(v, &scheme, &rest) && rest.n > 0 && rest.p[0] != '/' &&
           has_none_of(v, " \"<>\\^`{|}") &&
           (str_eq(scheme, STR("http")) || str_eq(scheme, STR("https")));
}

static bool is_slash(str v, struct arena *a)
{
    (void)a;
    return v.p[0] == '/' && has_none_of(v, " ?#\"<>\\");
}

static bool is_mount(str v, struct arena *a)
{
    return is_slash(v, a) && v.p[v.n - 1] != '/';
}

#define FORM(form, ok, expect) [CONF_##form] = {(ok), expect}

static const struct {
    bool (*ok)(str v, struct arena *a); /* NULL: anything; v is not empty */
    const char *expect;
} forms[] = {
    FORM(FREE, NULL, ""),
    FORM(ID, is_id, "of A-Za-z0-9._:-"),
    FORM(HOST, is_host, "naming a host"),
    FORM(DATABASE, is_database, "without any of /\\. \"$*<>:|?"),
    FORM(LISTEN, is_listen,
         "unix:PATH (at most 107 bytes), "
         "[tcp:]HOST:PORT or fd:0"),
    FORM(ORIGINS, is_origins, "* or a comma list of scheme://host[:port]"),
    FORM(ZONE, is_zone, "naming an IANA time zone"),
    FORM(JSON, is_json_array, "holding a JSON array of {url,description}"),
    FORM(PEM, is_pem, "starting with -----BEGIN PUBLIC KEY-----"),
    FORM(MONGO, is_mongo, "mongodb://HOST.. or mongodb+srv://HOST.."),
    FORM(REDIS, is_redis,
         "redis://HOST[:PORT][/DB], unix:/PATH or none; "
         "rediss: is refused, there is no TLS to Redis "
         "in this release"),
    FORM(HTTP, is_http, "http://HOST.. or https://HOST.."),
    FORM(MOUNT, is_mount, "starting with / and not ending with /"),
    FORM(SLASH, is_slash, "starting with /"),
};

_Static_assert(sizeof forms / sizeof forms[0] == CONF_FORM_N, "a row a form");

bool conf_form_ok(enum conf_form form, str v, struct arena *a)
{
    return forms[form].ok == NULL || forms[form].ok(v, a);
}

const char *conf_form_expect(enum conf_form form)
{
    return forms[form].expect;
}
