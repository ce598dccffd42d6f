#pragma once
/*
 * shared - reads by id and inserts that share a command with those of other
 * threads (combine.h)
 *
 * Only a clear result is shared: this document, this stored, this refused.
 * Whatever else comes of the command, each goes its own way after it, by the
 * function that it also goes when it is alone: with tries, limits and message
 * of its own.
 */
#include "lib/data/doc.h"

typedef enum err (*shared_get_alone)(struct ctx *c, const struct doc_key *key,
                                     const bson_t **out);

MUST_CHECK enum err shared_get(struct ctx *c, const struct doc_key *key,
                               shared_get_alone alone, const bson_t **out);

/* doubtful: a shared command may have stored doc already. */
typedef enum err (*shared_insert_alone)(struct ctx *c, const char *collection,
                                        const bson_t *doc, bool doubtful);

/* doc has its _id. */
MUST_CHECK enum err shared_insert(struct ctx *c, const char *collection,
                                  const bson_t *doc, shared_insert_alone alone);
