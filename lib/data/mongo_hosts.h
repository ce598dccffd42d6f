#pragma once
/* mongo_hosts - the servers that the connection string names */
#include <stdint.h>

struct conf;
struct mongo;

/*
 * Those that are reached by TCP. Of mongodb+srv only the name itself is given,
 * not what its records say.
 */
void mongo_hosts(const struct conf *conf,
                 void (*each)(void *arg, const char *host, uint16_t port),
                 void *arg);

/* Those that the driver has found by now, by whatever name: members of a
 * replica set, hosts of mongodb+srv. */
void mongo_members(struct mongo *m,
                   void (*each)(void *arg, const char *host, uint16_t port),
                   void *arg);
