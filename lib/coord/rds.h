#pragma once
/*
 * rds - one connection to Redis, for one thread
 *
 *   rds_new -> { rds_ping ... } -> rds_free
 *
 * Connects at first need and after a loss, by itself: a failed try is followed
 * by a wait of retry_ms, doubling to a second, in which calls give RDS_DOWN at
 * once. No call takes longer than its deadline, name look-up apart. Nothing is
 * reused after an input or output failure: the next reply would be the
 * previous one. Never across fork: a call in another process than the one that
 * connected gives RDS_DOWN (test builds abort).
 *
 * SIGPIPE has to be blocked or ignored by the program.
 */
#include "lib/base/str.h"

enum rds_result {
    RDS_OK,
    RDS_ERR,     /* Redis refused: the command was not done */
    RDS_UNKNOWN, /* sent, and no answer: done or not */
    RDS_DOWN     /* not sent, or Redis said that it cannot serve */
};

struct rds;

struct rds_target {
    /*
     * redis://[user[:password]@]host[:port][/db], unix:/path[?db=n] or
     * unix:///path[?db=n]; parts are percent-decoded. Without it (NULL or
     * empty) host and port.
     */
    const char *url;
    const char *host;
    int port;
    const char *username, *password; /* when the URL has none; or NULL */
    const char *client_name;         /* or NULL */
    ms connect_ms;                   /* to connect and introduce ourselves */
    ms command_ms;                   /* for a call, unless it ends earlier */
    ms retry_ms;
    bool ready_check; /* INFO: a primary, 7 or later, no Redis Cluster */
};

/*
 * Contacts nobody. NULL without memory and for an url that is none of the
 * above. Borrows the texts of the target, url apart, until rds_free.
 */
struct rds *rds_new(const struct rds_target *target);
void rds_free(struct rds *r);

/* deadline_mono: of clock_mono_ms; command_ms bounds the wait as well. */
enum rds_result rds_ping(struct rds *r, ms deadline_mono);

/* As the last connect found: keys may be evicted when memory is short. */
bool rds_evicts(const struct rds *r);

/* Why the last call was not RDS_OK: for logs, no secrets. Until the next. */
const char *rds_reason(const struct rds *r);
