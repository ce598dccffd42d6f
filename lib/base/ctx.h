#pragma once
/*
 * ctx - the unit of work: memory, deadline, first failure, handles
 *
 * One per thread (fcgi-app) or process, made once, reset after each unit,
 * never shared. It is the first parameter of every function that does I/O or
 * allocates for a request. A failure is noted once, where it happens:
 * `return ctx_fail(c, ERR_NOT_FOUND, "no such ...")`; the first reason wins.
 */
#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

struct auth_cache;
struct conf;
struct mongo;
struct rds;

struct ctx {
    struct arena arena;
    ms deadline;             /* monotonic; every wait ends by then */
    ms op_ms;                /* limit of one operation; 0: the setting */
    enum err err;            /* first failure, OK until then */
    char reason[512];        /* its text, for the client: no secrets */
    const struct conf *conf; /* borrowed, until the process ends */
    struct mongo *mongo;     /* this thread's client, or NULL */
    struct rds *rds;         /* this thread's connection, or NULL */
    const char *index; /* id of the data set in Redis whose queue index may be
                        * used now; "": none */
    str committed;     /* ids of events that this unit of work has committed, 24
                        * hex digits each; until ctx_reset */
    struct auth_cache *auth; /* tokens this thread knows, or NULL */
    str request_id;          /* until ctx_reset */
};

void ctx_init(struct ctx *c, const struct conf *conf, size_t arena_max);
void ctx_done(struct ctx *c);
void ctx_reset(struct ctx *c);

/* Notes the first failure and returns `err`, so that it can be returned. */
enum err ctx_fail(struct ctx *c, enum err err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ERR_OVERLOADED, noted: for who gets NULL from the arena or a library. */
enum err ctx_no_memory(struct ctx *c);

/* Forgets a failure that the caller has dealt with. */
void ctx_forgive(struct ctx *c);

/* As arena_alloc; NULL with ERR_OVERLOADED noted. */
void *ctx_alloc(struct ctx *c, size_t bytes);

ms ctx_left_ms(const struct ctx *c); /* until the deadline, never below 0 */
