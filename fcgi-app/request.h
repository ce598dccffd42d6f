#pragma once
/*
 * request - one HTTP request as the web server hands it over
 *
 * Built from FastCGI parameters, limits first. All slices live until the
 * FCGX_Request is finished or the ctx is reset. Routing looks at REQUEST_URI
 * alone; SCRIPT_NAME and PATH_INFO differ between web servers.
 */
#include "lib/base/ctx.h"
#include "lib/base/url.h"

struct FCGX_Request;

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_OTHER /* PATCH, TRACE and whatever else: never on a route */
};

enum {
    REQUEST_PARAMS_MAX = 2 /* parameters in one route's path */
};

struct request {
    enum http_method method;
    str method_name, uri, query;
    struct url_path path;
    str param[REQUEST_PARAMS_MAX]; /* set by the router */
    str content_type, content_encoding, accept, if_none_match, origin;
    str authorization;
    str prefer, cors_headers, forwarded_for, user_agent, referer, protocol;
    str remote_addr, request_id;
    str client;             /* its address as far as our proxies vouch for it */
    str caller;             /* whom the rate limit counts: client until known */
    int64_t content_length; /* -1: not known */
    bool bad_length;        /* it was announced as something else */
    str body;
    const char *route; /* template for the log, NULL until routed */
    size_t series;     /* what it counts as: see measure.c */
    struct FCGX_Request *fcgi;
    size_t stdin_n; /* bytes taken from the body's stream */
    bool stdin_ended;
};

/* Parameters to *out. Also sets c->request_id. */
MUST_CHECK enum err request_read(struct ctx *c, struct FCGX_Request *fcgi,
                                 struct request *out);

/* The whole body, at most max bytes. ERR_CUT when it did not come whole. */
MUST_CHECK enum err request_read_body(struct ctx *c, struct request *q,
                                      int64_t max);

/* Reads the rest, up to max bytes; true when the stream has ended cleanly. */
bool request_drain(struct request *q, size_t max);

/*
 * The web server has closed the connection, or said that nobody waits for the
 * answer any more. Once the body was read; costs two system calls at most.
 */
bool request_is_gone(const struct request *q);
