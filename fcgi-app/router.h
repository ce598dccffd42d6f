#pragma once
/*
 * router - finds the row of a request in THE table of endpoints (routes.c)
 *
 * Fixed words compare case-insensitively and win over parameters by standing
 * first in the table. HEAD is served by GET's row.
 */
#include "fcgi-app/reply.h"
#include "lib/base/role.h"

enum route_flag {
    ROUTE_IO = 1,       /* asks MongoDB: not for the last free thread */
    ROUTE_BODY = 2,     /* reads a JSON or form body */
    ROUTE_ALIAS = 4,    /* legacy form, off with API_LEGACY_ALIAS=false */
    ROUTE_HEALTH = 8,   /* stands under HEALTH_ENDPOINT */
    ROUTE_METRICS = 16, /* needs no role while METRICS_PUBLIC */
    ROUTE_ACCESS = 32,  /* only while AUTH_ENABLED: ERR_AUTH_DISABLED */
    ROUTE_BRIEF = 64,   /* a MongoDB that hangs holds it for a second */
    ROUTE_QUEUE = 128,  /* asks or tells the queue: its index may be in Redis */
};

typedef enum err (*route_handler)(struct ctx *c, const struct request *q,
                                  struct reply *out);

struct route {
    enum http_method method;
    const char *path; /* ":x" is a parameter */
    route_handler handler;
    enum role least; /* of the caller, while AUTH_ENABLED */
    unsigned flags;
};

/* "GET"; "OTHER" for what no route has. */
const char *router_method(enum http_method m);

extern const struct route routes[];
extern const size_t routes_n;

/*
 * The answer to a path that request_read() refused: 204 to OPTIONS, the list
 * of endpoints to one that no route can have, else err as it is.
 */
MUST_CHECK enum err router_refuse(struct ctx *c, const struct request *q,
                                  struct reply *out, enum err err);

/*
 * Sets q->param and q->route. ERR_ROUTE_NOT_FOUND or ERR_METHOD_NOT_ALLOWED
 * with what the answer needs (endpoints, Allow) in *out. *out_route is NULL
 * with OK when an OPTIONS request is answered by *out as it is.
 */
MUST_CHECK enum err router_find(struct ctx *c, struct request *q,
                                struct reply *out,
                                const struct route **out_route);
