#pragma once
/* api - the handlers of all endpoints, one family a file */
#include "fcgi-app/reply.h"

enum err api_db_list(struct ctx *, const struct request *, struct reply *);
enum err api_db_get(struct ctx *, const struct request *, struct reply *);
enum err api_db_create(struct ctx *, const struct request *, struct reply *);
enum err api_db_update(struct ctx *, const struct request *, struct reply *);
enum err api_db_delete(struct ctx *, const struct request *, struct reply *);

enum err api_management_list(struct ctx *, const struct request *,
                             struct reply *);
enum err api_management_create(struct ctx *, const struct request *,
                               struct reply *);
enum err api_management_drop(struct ctx *, const struct request *,
                             struct reply *);
enum err api_management_health(struct ctx *, const struct request *,
                               struct reply *);

enum err api_auth_list(struct ctx *, const struct request *, struct reply *);
enum err api_auth_create(struct ctx *, const struct request *, struct reply *);
enum err api_auth_revoke(struct ctx *, const struct request *, struct reply *);

enum err api_webhooks_list(struct ctx *, const struct request *,
                           struct reply *);
enum err api_webhooks_create(struct ctx *, const struct request *,
                             struct reply *);
enum err api_webhooks_get(struct ctx *, const struct request *, struct reply *);
enum err api_webhooks_change(struct ctx *, const struct request *,
                             struct reply *);
enum err api_webhooks_delete(struct ctx *, const struct request *,
                             struct reply *);
enum err api_webhooks_rotate(struct ctx *, const struct request *,
                             struct reply *);

enum err api_locks_list(struct ctx *, const struct request *, struct reply *);
enum err api_locks_acquire(struct ctx *, const struct request *,
                           struct reply *);
enum err api_locks_cleanup(struct ctx *, const struct request *,
                           struct reply *);
enum err api_locks_renew(struct ctx *, const struct request *, struct reply *);
enum err api_locks_release(struct ctx *, const struct request *,
                           struct reply *);

enum err api_health(struct ctx *, const struct request *, struct reply *);
enum err api_health_live(struct ctx *, const struct request *, struct reply *);
enum err api_health_ready(struct ctx *, const struct request *, struct reply *);

enum err api_metrics(struct ctx *, const struct request *, struct reply *);

enum err api_cluster_status(struct ctx *, const struct request *,
                            struct reply *);
enum err api_cluster_instances(struct ctx *, const struct request *,
                               struct reply *);
enum err api_cluster_health(struct ctx *, const struct request *,
                            struct reply *);
enum err api_cluster_scripts(struct ctx *, const struct request *,
                             struct reply *);
enum err api_cluster_leadership(struct ctx *, const struct request *,
                                struct reply *);
enum err api_leader_resign(struct ctx *, const struct request *,
                           struct reply *);
enum err api_leader_force(struct ctx *, const struct request *, struct reply *);

enum err api_webhooks_stats(struct ctx *, const struct request *,
                            struct reply *);
enum err api_deliveries_list(struct ctx *, const struct request *,
                             struct reply *);
enum err api_deliveries_replay(struct ctx *, const struct request *,
                               struct reply *);
enum err api_deliveries_test(struct ctx *, const struct request *,
                             struct reply *);

enum err api_queue_state(struct ctx *, const struct request *, struct reply *);
enum err api_queue_pause(struct ctx *, const struct request *, struct reply *);
enum err api_queue_resume(struct ctx *, const struct request *, struct reply *);
enum err api_dead_list(struct ctx *, const struct request *, struct reply *);
enum err api_dead_replay(struct ctx *, const struct request *, struct reply *);

struct list_query;

/* The matching documents as a CSV attachment; q's page and limit are void. */
enum err api_export_csv(struct ctx *c, const char *collection,
                        struct list_query *q, struct reply *out);
