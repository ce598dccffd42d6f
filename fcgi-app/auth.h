#pragma once
/*
 * auth - who calls: a bearer token becomes a role and a name
 *
 * What a token was found to mean is kept by each thread for 4 s, so that a
 * request usually costs one SHA-256 and a revoked key is dead everywhere
 * within 5 s. Only tokens that were accepted are kept: others cannot push them
 * out. When the key store is away nobody gets in by an unknown key.
 */
#include "fcgi-app/reply.h"
#include "lib/base/role.h"

struct auth_cache;
struct mongo_pool;

void auth_cache_free(struct auth_cache *cache);

/*
 * OK when the caller's role is `least` or greater. q->caller is "key:<id>" or
 * "sub:<subject>" once it is known, also with ERR_FORBIDDEN; after
 * ERR_UNAUTHORIZED it is as before. Needs c->mongo.
 */
MUST_CHECK enum err auth_check(struct ctx *c, struct request *q,
                               enum role least, struct reply *out);

/*
 * For the poll thread, while AUTH_ENABLED: makes the index of keys; its
 * failure is what is returned. *out_open: there is a key or a JWT setting, so
 * somebody can get in.
 */
enum err auth_prepare(const struct conf *conf, struct mongo_pool *pool,
                      bool *out_open);
