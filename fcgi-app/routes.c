/* routes - THE table of endpoints */
#include "fcgi-app/api.h"
#include "fcgi-app/router.h"

/* clang-format off */
const struct route routes[] = {
    {HTTP_GET,    "/health",       api_health,       ROLE_NONE,  ROUTE_HEALTH},
    {HTTP_GET,    "/health/live",  api_health_live,  ROLE_NONE,  ROUTE_HEALTH},
    {HTTP_GET,    "/health/ready", api_health_ready, ROLE_NONE,  ROUTE_HEALTH},

    {HTTP_GET,    "/metrics",             api_metrics, ROLE_READ,  ROUTE_METRICS | ROUTE_BRIEF},
    {HTTP_GET,    "/api/cluster/metrics", api_metrics, ROLE_READ,  ROUTE_METRICS | ROUTE_BRIEF},

    {HTTP_GET,    "/api/cluster/status",             api_cluster_status,     ROLE_READ,  ROUTE_BRIEF},
    {HTTP_GET,    "/api/cluster/instances",          api_cluster_instances,  ROLE_READ,  ROUTE_BRIEF},
    {HTTP_GET,    "/api/cluster/health",             api_cluster_health,     ROLE_READ,  ROUTE_BRIEF},
    {HTTP_GET,    "/api/cluster/scripts/executions", api_cluster_scripts,    ROLE_READ,  ROUTE_BRIEF},
    {HTTP_GET,    "/api/cluster/leadership",         api_cluster_leadership, ROLE_READ,  ROUTE_BRIEF},
    {HTTP_POST,   "/api/cluster/leadership/resign",  api_leader_resign,      ROLE_ADMIN, ROUTE_BRIEF | ROUTE_IO | ROUTE_BODY},
    {HTTP_POST,   "/api/cluster/leadership/force",   api_leader_force,       ROLE_ADMIN, ROUTE_BRIEF | ROUTE_IO | ROUTE_BODY},

    {HTTP_GET,    "/api/cluster/locks",         api_locks_list,    ROLE_READ,  ROUTE_BRIEF | ROUTE_IO},
    {HTTP_POST,   "/api/cluster/locks",         api_locks_acquire, ROLE_ADMIN, ROUTE_BRIEF | ROUTE_IO | ROUTE_BODY},
    {HTTP_POST,   "/api/cluster/locks/cleanup", api_locks_cleanup, ROLE_ADMIN, ROUTE_BRIEF | ROUTE_IO},
    {HTTP_PUT,    "/api/cluster/locks/:key",    api_locks_renew,   ROLE_ADMIN, ROUTE_BRIEF | ROUTE_IO | ROUTE_BODY},
    {HTTP_DELETE, "/api/cluster/locks/:key",    api_locks_release, ROLE_ADMIN, ROUTE_BRIEF | ROUTE_IO | ROUTE_BODY},

    {HTTP_GET,    "/api/cluster/webhooks/queue",               api_queue_state,  ROLE_READ,  ROUTE_BRIEF},
    {HTTP_POST,   "/api/cluster/webhooks/queue/pause",         api_queue_pause,  ROLE_ADMIN, ROUTE_BRIEF | ROUTE_IO},
    {HTTP_POST,   "/api/cluster/webhooks/queue/resume",        api_queue_resume, ROLE_ADMIN, ROUTE_BRIEF | ROUTE_IO},
    {HTTP_GET,    "/api/cluster/webhooks/dead-letters",        api_dead_list,    ROLE_ADMIN, ROUTE_BRIEF | ROUTE_IO},
    {HTTP_POST,   "/api/cluster/webhooks/dead-letters/replay", api_dead_replay,  ROLE_ADMIN, ROUTE_QUEUE | ROUTE_IO | ROUTE_BODY},

    {HTTP_GET,    "/api/webhooks/stats",                          api_webhooks_stats,    ROLE_ADMIN, ROUTE_QUEUE | ROUTE_IO},
    {HTTP_POST,   "/api/webhooks/deliveries/:deliveryId/replay",  api_deliveries_replay, ROLE_ADMIN, ROUTE_QUEUE | ROUTE_IO},
    {HTTP_GET,    "/api/webhooks/:id/deliveries",                 api_deliveries_list,   ROLE_ADMIN, ROUTE_IO},
    {HTTP_POST,   "/api/webhooks/:id/test",                       api_deliveries_test,   ROLE_ADMIN, ROUTE_QUEUE | ROUTE_IO},

    {HTTP_GET,    "/api/db/:c",     api_db_list,   ROLE_READ,  ROUTE_IO},
    {HTTP_POST,   "/api/db/:c",     api_db_create, ROLE_WRITE, ROUTE_IO | ROUTE_BODY},
    {HTTP_GET,    "/api/db/:c/:id", api_db_get,    ROLE_READ,  ROUTE_IO},
    {HTTP_PUT,    "/api/db/:c/:id", api_db_update, ROLE_WRITE, ROUTE_IO | ROUTE_BODY},
    {HTTP_DELETE, "/api/db/:c/:id", api_db_delete, ROLE_WRITE, ROUTE_IO},

    {HTTP_GET,    "/api/management/collections",       api_management_list,   ROLE_READ,  ROUTE_IO},
    {HTTP_POST,   "/api/management/collections",       api_management_create, ROLE_ADMIN, ROUTE_IO | ROUTE_BODY},
    {HTTP_DELETE, "/api/management/collections/:name", api_management_drop,   ROLE_ADMIN, ROUTE_IO},
    {HTTP_GET,    "/api/management/health",            api_management_health, ROLE_READ,  ROUTE_IO},

    {HTTP_GET,    "/api/auth/keys",     api_auth_list,   ROLE_ADMIN, ROUTE_ACCESS | ROUTE_IO},
    {HTTP_POST,   "/api/auth/keys",     api_auth_create, ROLE_ADMIN, ROUTE_ACCESS | ROUTE_IO | ROUTE_BODY},
    {HTTP_DELETE, "/api/auth/keys/:id", api_auth_revoke, ROLE_ADMIN, ROUTE_ACCESS | ROUTE_IO},

    {HTTP_GET,    "/api/webhooks",                   api_webhooks_list,   ROLE_ADMIN, ROUTE_IO},
    {HTTP_POST,   "/api/webhooks",                   api_webhooks_create, ROLE_ADMIN, ROUTE_IO | ROUTE_BODY},
    {HTTP_GET,    "/api/webhooks/:id",               api_webhooks_get,    ROLE_ADMIN, ROUTE_IO},
    {HTTP_PUT,    "/api/webhooks/:id",               api_webhooks_change, ROLE_ADMIN, ROUTE_QUEUE | ROUTE_IO | ROUTE_BODY},
    {HTTP_DELETE, "/api/webhooks/:id",               api_webhooks_delete, ROLE_ADMIN, ROUTE_QUEUE | ROUTE_IO},
    {HTTP_POST,   "/api/webhooks/:id/rotate-secret", api_webhooks_rotate, ROLE_ADMIN, ROUTE_IO | ROUTE_BODY},

    {HTTP_GET,    "/api/:c",     api_db_list,   ROLE_READ,  ROUTE_ALIAS | ROUTE_IO},
    {HTTP_POST,   "/api/:c",     api_db_create, ROLE_WRITE, ROUTE_ALIAS | ROUTE_IO | ROUTE_BODY},
    {HTTP_GET,    "/api/:c/:id", api_db_get,    ROLE_READ,  ROUTE_ALIAS | ROUTE_IO},
    {HTTP_PUT,    "/api/:c/:id", api_db_update, ROLE_WRITE, ROUTE_ALIAS | ROUTE_IO | ROUTE_BODY},
    {HTTP_DELETE, "/api/:c/:id", api_db_delete, ROLE_WRITE, ROUTE_ALIAS | ROUTE_IO},
};
/* clang-format on */

const size_t routes_n = sizeof routes / sizeof *routes;
