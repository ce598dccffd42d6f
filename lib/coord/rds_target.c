/* rds_target - see rds_target.h */
#include "lib/coord/rds_target.h"

#include "lib/base/conf.h"

enum {
    DEFAULT_PORT = 6379
};

bool rds_target_of(const struct conf *conf, struct rds_target *out)
{
    if (!conf->cluster_enabled || strcmp(conf->redis_url, "none") == 0)
        return false;
    *out = (struct rds_target){
        .url = conf->redis_url,
        .username = conf->redis_username,
        .password = conf->redis_password,
        .client_name = conf->cluster_instance_id,
        .connect_ms = conf->redis_connection_timeout,
        .command_ms = conf->redis_command_timeout,
        .retry_ms = conf->redis_retry_delay,
        .ready_check = conf->redis_ready_check,
    };
    return true;
}

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

static bool set_db(struct rds_target *t, const char *db)
{
    if (*db == '\0')
        return true;
    t->db = db;
    return strlen(db) <= 9 && str_is_digits(str_of(db));
}

static bool set_user(struct rds_target *t, char *user)
{
    char *password = cut(user, ':');

    if (!decode(user) || (password && !decode(password)))
        return false;
    if (*user)
        t->username = user;
    if (password) {
        t->password = password;
        t->username = *user ? user : NULL;
    }
    return true;
}

/* host, host:port, [v6] or [v6]:port */
static bool set_host(struct rds_target *t, char *host)
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
    t->host = host;
    t->port = (int)n;
    return *host != '\0' && n >= 1 && n <= 65535 && decode(host);
}

static bool set_path(struct rds_target *t, char *path)
{
    char *query = cut(path, '?');

    if (strncmp(path, "//", 2) == 0)
        path += 2;
    t->path = path;
    if (*path != '/' || !decode(path))
        return false;
    if (!query)
        return true;
    return strncmp(query, "db=", 3) == 0 && set_db(t, query + 3);
}

bool rds_target_read(struct rds_target *t, char *text)
{
    char *rest = cut(text, ':');
    char *db, *at;

    if (rest && strcmp(text, "unix") == 0)
        return set_path(t, rest);
    if (!rest || strcmp(text, "redis") != 0 || strncmp(rest, "//", 2) != 0)
        return false;
    rest += 2;
    at = strrchr(rest, '@');
    if (at) {
        *at = '\0';
        if (!set_user(t, rest))
            return false;
        rest = at + 1;
    }
    db = cut(rest, '/');
    return set_host(t, rest) && (!db || set_db(t, db));
}
