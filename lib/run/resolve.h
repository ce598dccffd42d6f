#pragma once
/*
 * resolve - addresses of a host, by the resolver that dials it (libcurl), in
 * limited time: a name server that hangs holds nobody up
 */
#include "lib/base/addr.h"

typedef void (*resolve_each)(void *arg, const struct addr *a, uint16_t port);

/* Calls each(arg, ..) for the addresses of the URL's host; never connects.
 * False: there is none, or not within most_ms. */
bool resolve_url(const char *url, ms most_ms, resolve_each each, void *arg);

/* The same of a name or a numeric address. */
bool resolve_host(const char *host, uint16_t port, ms most_ms,
                  resolve_each each, void *arg);
