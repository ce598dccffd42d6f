/* mongo_hosts - see mongo_hosts.h */
#include "lib/data/mongo_hosts.h"

#include <sys/socket.h>

#include <mongoc/mongoc.h>

#include "lib/base/conf.h"
#include "lib/data/mongo_inside.h"

void mongo_hosts(const struct conf *conf,
                 void (*each)(void *arg, const char *host, uint16_t port),
                 void *arg)
{
    mongoc_uri_t *uri = mongoc_uri_new(conf->mongodb_connection_string);
    const mongoc_host_list_t *h = uri ? mongoc_uri_get_hosts(uri) : NULL;
    const char *srv = uri ? mongoc_uri_get_srv_hostname(uri) : NULL;

    for (; h; h = h->next)
        if (h->family != AF_UNIX)
            each(arg, h->host, h->port);
    if (srv)
        each(arg, srv, MONGOC_DEFAULT_PORT);
    mongoc_uri_destroy(uri);
}

void mongo_members(struct mongo *m,
                   void (*each)(void *arg, const char *host, uint16_t port),
                   void *arg)
{
    size_t n = 0;
    mongoc_server_description_t **all =
        mongoc_client_get_server_descriptions(m->client, &n);

    for (size_t i = 0; i < n; i++) {
        const mongoc_host_list_t *h = mongoc_server_description_host(all[i]);

        if (h->family != AF_UNIX)
            each(arg, h->host, h->port);
    }
    mongoc_server_descriptions_destroy_all(all, n);
}
