/* own - see own.h */
#include "lib/coord/own.h"

#include <stdlib.h>

#include "lib/coord/rds_target.h"
#include "lib/data/mongo_hosts.h"

enum {
    PLACE_MAX = 4096 /* of a setting's text; longer ones name no host */
};

static bool copy(const char *from, char to[PLACE_MAX])
{
    size_t n = strlen(from);

    if (n >= PLACE_MAX)
        return false;
    memcpy(to, from, n + 1);
    return true;
}

static void redis_place(const struct conf *conf, own_each each, void *arg)
{
    struct rds_target t;
    char text[PLACE_MAX];

    if (!rds_target_of(conf, &t))
        return;
    if (t.url && t.url[0] != '\0' &&
        (!copy(t.url, text) || !rds_target_read(&t, text)))
        return;
    if (!t.path && t.host && t.port > 0 && t.port <= 65535)
        each(arg, t.host, (uint16_t)t.port);
}

/* [tcp:]HOST:PORT; other forms are no places of the network. */
static void fcgi_place(const struct conf *conf, own_each each, void *arg)
{
    const char *listen = conf->fcgi_listen;
    char text[PLACE_MAX], *host = text, *colon;
    int64_t port;

    if (!listen || strncmp(listen, "unix:", 5) == 0 ||
        strncmp(listen, "fd:", 3) == 0)
        return;
    if (!copy(strncmp(listen, "tcp:", 4) == 0 ? listen + 4 : listen, text))
        return;
    colon = strrchr(text, ':');
    if (!colon || !str_to_i64(str_of(colon + 1), &port) || port < 1 ||
        port > 65535)
        return;
    *colon = '\0';
    if (host[0] == '[' && colon > host && colon[-1] == ']') {
        colon[-1] = '\0';
        host++;
    }
    each(arg, *host ? host : "0.0.0.0", (uint16_t)port);
}

void own_places(const struct conf *conf, own_each each, void *arg)
{
    mongo_hosts(conf, each, arg);
    redis_place(conf, each, arg);
    fcgi_place(conf, each, arg);
}
