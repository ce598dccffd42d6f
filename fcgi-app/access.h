#pragma once
/* access - one line on stdout a request; never bodies, filters or secrets */
#include "fcgi-app/reply.h"

enum {
    ACCESS_LINE_MAX = 8192
};

/* Once, before any thread: form and threshold. */
void access_setup(const struct conf *conf);

/*
 * Writes the line, while q still lives, and gives its length; 0 when there is
 * none. access_write() sends it, after the client has its answer.
 */
size_t access_line(const struct request *q, const struct reply *out, ms took,
                   char line[ACCESS_LINE_MAX]);
void access_write(const char *line, size_t n);
