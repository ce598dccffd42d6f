#pragma once
/*
 * own - where our own servers are: what no URL of a user may reach
 */
#include "lib/base/conf.h"
#include "lib/base/str.h"

typedef void (*own_each)(void *arg, const char *host, uint16_t port);

/* Calls each(arg, host, port) for the hosts of MongoDB's connection string,
 * Redis and the FastCGI socket, those that are reached by TCP. */
void own_places(const struct conf *conf, own_each each, void *arg);
