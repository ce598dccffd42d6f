#pragma once
/*
 * reply - an outcome turned into bytes: status, headers, body, envelope
 *
 *   reply_init -> the handler writes out->body, sets status -> reply_end
 *
 * Handlers never meet a status line. A body of up to 1 MiB is buffered and
 * gets ETag and Content-Length; a longer one is sent as it grows, and a
 * failure midway then cuts the connection, so that the client sees it.
 */
#include "fcgi-app/request.h"
#include "lib/base/buf.h"

struct reply {
    struct ctx *c;
    struct request *q;
    struct buf *body;         /* the thread's, with a drain */
    int status;               /* 200 unless the handler says otherwise */
    const char *content_type; /* JSON unless the handler says otherwise */
    str headers;              /* more header lines, each with CR LF */
    str err_members;          /* JSON ",name:value" for the error body */
    bool started;             /* the head is sent: nothing can be changed */
    bool keep;                /* false: cut midway, the connection must go */
    int64_t sent_bytes;
};

/* The statuses that a reply may have; the last stands for all others. */
struct reply_status {
    int code;
    const char *text;
};
extern const struct reply_status reply_statuses[];
extern const size_t reply_statuses_n;

/* Once a process, before any thread: the headers that never change. */
MUST_CHECK enum err reply_setup(const struct conf *conf);

void reply_init(struct reply *out, struct ctx *c, struct request *q,
                struct buf *body);

/* One more header line; values made from data must be clean of CR and LF. */
void reply_header(struct reply *out, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Writes what is not written yet; err is what the handler returned. */
void reply_end(struct reply *out, enum err err);

bool reply_wants(const struct request *q, str media_type);
