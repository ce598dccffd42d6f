#pragma once
/* rds_target - where a Redis is, and how to talk to it (pure) */
#include "lib/base/str.h"

struct conf;

struct rds_target {
    /*
     * redis://[user[:password]@]host[:port][/db], unix:/path[?db=n] or
     * unix:///path[?db=n]; parts are percent-decoded. Without it (NULL or
     * empty) host and port.
     */
    const char *url;
    const char *host;
    int port;
    const char *path;                /* of a unix socket, or NULL */
    const char *db;                  /* digits; NULL: 0 */
    const char *username, *password; /* when the URL has none; or NULL */
    const char *client_name;         /* or NULL */
    ms connect_ms;                   /* to connect and introduce ourselves */
    ms command_ms;                   /* for a call, unless it ends earlier */
    ms retry_ms;
    bool ready_check; /* INFO: a primary, 7 or later, no Redis Cluster */
};

/*
 * What the settings say; borrows their texts. False in mode single, in which
 * Redis is never contacted.
 */
bool rds_target_of(const struct conf *conf, struct rds_target *out);

/*
 * Cuts text, a copy of the url, into the parts of *t, which borrow it. False
 * for a url that is none of the above.
 */
bool rds_target_read(struct rds_target *t, char *text);
