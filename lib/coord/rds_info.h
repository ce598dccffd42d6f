#pragma once
/* rds_info - what INFO says of a Redis, and whether it can be used (pure) */
#include "lib/base/str.h"

enum {
    RDS_OLDEST_MAJOR = 7,
    RDS_REFUSAL_MAX = 128
};

struct rds_info {
    char version[16], role[16], policy[32]; /* cut to that; "" not said */
    int64_t major;
    bool cluster, loading;
};

/* text: the reply to INFO, of any bytes. */
void rds_info_read(str text, struct rds_info *out);

/* Keys may be evicted when memory is short. */
bool rds_info_evicts(const struct rds_info *i);

/*
 * False with the reason when it cannot be used at all: older than version 7, a
 * replica, Redis Cluster, or still loading its data.
 */
bool rds_info_serves(const struct rds_info *i, char reason[RDS_REFUSAL_MAX]);
