#pragma once
/*
 * doc - create, read, change, delete and page documents of any collection
 *
 * One command a call where one can do: whether the collection exists is asked
 * only when nothing was found, and a count only when the page does not tell.
 * All results are owned by the ctx's arena.
 */
#include "lib/data/filter.h"
#include "lib/data/rows.h"

/*
 * A usable collection name: letters, digits, '_', not beginning with a digit.
 * System collections ('_' first) only where the settings allow them. *out is
 * the name with a NUL behind, owned by the arena.
 */
MUST_CHECK enum err doc_collection(struct ctx *c, str name, const char **out);

struct doc_key {
    const char *collection; /* checked */
    str id;                 /* as in the path: an ObjectId or the text */
};

MUST_CHECK enum err doc_key(struct ctx *c, str collection, str id,
                            struct doc_key *out);

/* True for 24 hex digits, which are tried as an ObjectId first. */
bool doc_oid(str id, bson_oid_t *out);

/* ERR_DOCUMENT_NOT_FOUND or ERR_COLLECTION_NOT_FOUND when it is not there. */
MUST_CHECK enum err doc_get(struct ctx *c, const struct doc_key *key,
                            const bson_t **out);

/* Sets _id (unless given), createdAt and updatedAt; gives what is stored. */
MUST_CHECK enum err doc_create(struct ctx *c, const char *collection,
                               const bson_t *body, const bson_t **out);

/* Sets the members of body and updatedAt; gives the document after. */
MUST_CHECK enum err doc_update(struct ctx *c, const struct doc_key *key,
                               const bson_t *body, const bson_t **out);

MUST_CHECK enum err doc_delete(struct ctx *c, const struct doc_key *key,
                               const bson_t **out);

struct doc_page {
    struct rows *rows;
    int64_t total; /* -1: not asked for */
    bool more;     /* meaningful without a total: a next page exists */
    int64_t shown; /* rows of this page at most */
};

/* The search of q is joined into its filter here. */
MUST_CHECK enum err doc_list(struct ctx *c, const char *collection,
                             struct list_query *q, bool count,
                             struct doc_page *out);

/* Exact; most > 0 stops counting there. */
MUST_CHECK enum err doc_count(struct ctx *c, const char *collection,
                              const bson_t *filter, int64_t most, int64_t *out);

/* OK, or ERR_COLLECTION_NOT_FOUND. */
MUST_CHECK enum err doc_need_collection(struct ctx *c, const char *collection);
