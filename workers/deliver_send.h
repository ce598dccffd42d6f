#pragma once
/*
 * deliver_send - one try of a delivery: headers and signature of this attempt
 * around the stored bytes of the job, then the POST
 */
#include "lib/coord/queue.h"
#include "lib/run/http.h"

enum {
    SEND_HEADERS_MAX = 16 + WEBHOOK_HEADERS_MAX,
    SEND_SIGNED_MS = 1000 /* an older signature is made again */
};

/* The headers of contract 7.3 and those of the webhook. */
struct send_headers {
    struct http_header v[SEND_HEADERS_MAX];
    size_t n;
};

/* By the clock `wall`; all in the ctx's arena. */
MUST_CHECK enum err send_headers_make(struct ctx *c, const struct claim *cl,
                                      ms wall, struct send_headers *out);

struct sending {
    struct http *http;
    int stop_fd;
    bool (*may_go_on)(void *arg);
    void *arg;
};

enum send_result {
    SEND_ANSWERED, /* *out_answer says what came of it */
    SEND_TOO_LATE, /* the grant is over; nothing was sent */
    SEND_NO_MEMORY /* likewise */
};
enum send_result deliver_send(struct ctx *c, const struct sending *s,
                              const struct claim *cl,
                              struct http_answer *out_answer);
