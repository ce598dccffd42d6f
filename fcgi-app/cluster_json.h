#pragma once
/*
 * cluster_json - members that several answers under /api/cluster share
 *
 * Each writes a value, from what was seen in the last 2 s; what is older is
 * null. Times of leadership are MongoDB's.
 */
#include "fcgi-app/wellness.h"

/* The number, or null. */
void cluster_json_number(struct buf *b, bool known, int64_t v);

/* This instance leads the service, as far as is known. */
bool cluster_json_is_leader(const struct scene *s, enum leader_service which);

/* What this instance is in a service: {serviceName,instanceId,isLeader,..} */
void cluster_json_current(struct buf *b, const struct scene *s,
                          enum leader_service which);

/* {current,leader,leaderInfo} */
void cluster_json_service(struct buf *b, const struct scene *s,
                          enum leader_service which);

/* One row of the instances. */
void cluster_json_instance(struct buf *b, const struct scene *s,
                           const struct view_instance *row);

/* {isLeader,instanceId,cronJobs,..}; no script runs yet, so all are 0. */
void cluster_json_scripts(struct buf *b, const struct scene *s);

/*
 * The state of the queue of deliveries, as the maintenance leader counted it;
 * what is too old for that is null, and then it is not healthy.
 */
void cluster_json_queue(struct buf *b, const struct scene *s);

/* Its counts alone: {waiting,active,delayed,completed,failed} */
void cluster_json_counts(struct buf *b, const struct scene *s);

/* The counts that hold now; NULL: there are none. */
const struct figures *cluster_json_figures(const struct scene *s);

/* Somebody does the work of queues: an instance with workers lives. */
bool cluster_json_is_served(const struct scene *s);

/* An instance lives that can deliver. */
bool cluster_json_has_slots(const struct scene *s);

/* Likewise, and nobody has paused the queue. */
bool cluster_json_delivers(const struct scene *s);

/* Somebody delivers, and the counts hold. */
bool cluster_json_queue_is_healthy(const struct scene *s);
