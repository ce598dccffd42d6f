#pragma once
/*
 * http - one outgoing POST to a URL that a user gave (libcurl)
 *
 *   http_new (after the fork) -> http_post ... -> http_free
 *
 * No redirects, proxies, cookies, netrc, HSTS or Alt-Svc; peer and host are
 * verified; the address policy is asked in the open-socket callback. A
 * connection is used again only for the same key (a webhook). At most 64 KiB of
 * the answer's body are read and 64 KiB of headers; once a 2xx status has come,
 * a long or slow body changes nothing. libcurl starts a thread to resolve
 * names: never fork after the first call.
 */
#include "lib/base/str.h"
#include "lib/run/egress.h"

struct http;

enum {
    HTTP_KEY_MAX = 64 /* bytes */
};

struct http_header {
    str name, value;
};

struct http_request {
    str url, key;                      /* key: whose connection; not empty */
    const struct http_header *headers; /* checked by who stored them */
    size_t headers_n;
    str body; /* borrowed until the return */
    ms connect_ms, total_ms;
    int stop_fd;                  /* readable: asks may_go_on; -1: none */
    bool (*may_go_on)(void *arg); /* false ends it as HTTP_STOPPED */
    void *arg;
};

enum http_outcome {
    HTTP_ANSWERED, /* status says what */
    HTTP_TIMEOUT,
    HTTP_DNS,
    HTTP_CONNECT, /* refused, reset, cut off */
    HTTP_TLS,
    HTTP_DENIED,    /* the address policy, or http where https is asked for */
    HTTP_TOO_LARGE, /* headers */
    HTTP_STOPPED,
    HTTP_FAILED /* our side: memory, a URL that cannot be used */
};

struct http_answer {
    enum http_outcome outcome;
    int status;        /* ANSWERED; else 0 */
    ms retry_after_ms; /* of 429 and 503: seconds or date; -1: none */
    ms took_ms;
};

struct http *http_new(const struct egress *e, bool https_only);
void http_free(struct http *h);
void http_post(struct http *h, const struct http_request *q,
               struct http_answer *out);

/* "timeout", "dns", "connect", "tls", "target-not-allowed", "too-large",
 * "http-status" (any status but 2xx); NULL for a success. */
const char *http_error_class(const struct http_answer *a);
