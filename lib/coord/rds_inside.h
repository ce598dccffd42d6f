#pragma once
/*
 * rds_inside - what the files of the connection share: rds.c (connecting, one
 * command and its reply), rds_wait.c (a reply that comes some time)
 */
#include <sys/types.h>

#include "lib/coord/rds.h"

struct redisContext;
struct redisReply;

struct rds {
    struct rds_target target;
    struct redisContext *conn; /* NULL: not connected */
    pid_t pid;                 /* that connected */
    int failed;                /* tries to connect in a row */
    ms next_try;
    bool evicts;
    unsigned connected; /* how often */
    bool carried;       /* this connection has carried a call of somebody's */
    int64_t client_id;  /* of this connection; 0 not asked, -1 not told */
    bool waiting;       /* the next reply is that of a wait */
    size_t refusal_at;  /* of what Redis said, in reason */
    char reason[160];
    char text[]; /* the url, cut into parts */
};

/* Gives result, with a reason. */
enum rds_result rds_give(struct rds *r, enum rds_result result, const char *fmt,
                         ...) __attribute__((format(printf, 3, 4)));

/* Nothing of the connection survives: its next reply may be a late one. */
void rds_drop(struct rds *r);

/* There is a connection of this process afterwards, or RDS_DOWN. */
enum rds_result rds_be_connected(struct rds *r, ms deadline);

/* A connection lost before it carried anything is a failed try as well. */
void rds_note_carried(struct rds *r);

/* After a failure of input or output: UNKNOWN if something was sent. */
enum rds_result rds_lose(struct rds *r, bool sent);

enum rds_result rds_send(struct rds *r, const str *words, size_t n,
                         ms deadline);

/* The reply is the caller's, with RDS_OK only; it may be an error. */
enum rds_result rds_receive(struct rds *r, ms deadline,
                            struct redisReply **out);

/* Both; an error is refused. */
enum rds_result rds_ask(struct rds *r, const str *words, size_t n, ms deadline,
                        struct redisReply **out);

/* Redis said this to a command: it was not done. */
enum rds_result rds_refuse(struct rds *r, str command, str said);

/* False without memory, or when it nests too deep. */
bool rds_copy(const struct redisReply *from, int depth, struct arena *a,
              struct rds_reply *out);
