#pragma once
/*
 * access - one line on stdout a request; never bodies, filters or secrets
 *
 *   access_add ... -> access_flush
 *
 * A thread keeps its lines while it goes from request to request and writes
 * them at once before it waits for the next: under load that spares a system
 * call a request, otherwise each line is out when its request is.
 */
#include "fcgi-app/reply.h"

enum {
    ACCESS_LINE_MAX = 8192
};

struct access_log {
    size_t n;
    char text[2 * ACCESS_LINE_MAX];
};

/* Once, before any thread: form and threshold. */
void access_setup(const struct conf *conf);

/* Adds the line, while q still lives. */
void access_add(struct access_log *log, const struct request *q,
                const struct reply *out, ms took);

void access_flush(struct access_log *log);
