#pragma once
/*
 * shared - reads by id, inserts, and inserts with their events that share
 * their commands with those of other threads (combine.h)
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

/* As it goes alone; doubtful: see above. */
typedef enum err (*shared_change_alone)(struct ctx *c, void *arg,
                                        bool doubtful);

/*
 * Inserts doc and the row of its event in one transaction, which it shares
 * with others of this collection where many come at a time: one command
 * inserts all documents, one all rows, one commits. doc has its _id.
 */
MUST_CHECK enum err shared_change(struct ctx *c, const char *collection,
                                  const bson_t *doc, const bson_t *row,
                                  shared_change_alone alone, void *arg);
