#pragma once
/*
 * store - one document inserted, changed or removed, plainly: no event
 *
 * A repeat after a lost reply never stores a second document, and never calls
 * the first one a duplicate.
 */
#include "lib/data/mongo.h"

/* doc has its _id. Shares the command with other threads (shared.h). */
MUST_CHECK enum err store_insert(struct ctx *c, const char *collection,
                                 const bson_t *doc);

/* Is exactly this document there: it is our own. */
bool store_has(struct ctx *c, const char *collection, const bson_t *doc);

/* The commands, for who sends them himself. NULL with the failure noted. */
bson_t *store_insert_command(struct ctx *c, const char *collection,
                             const bson_t *doc);

/* update NULL: remove. after: of a change the new document is given. */
bson_t *store_modify_command(struct ctx *c, const char *collection,
                             const bson_t *filter, const bson_t *update,
                             bool after);

/* *out is NULL when filter finds none. */
MUST_CHECK enum err store_modify(struct ctx *c, bson_t *command,
                                 const bson_t **out);
