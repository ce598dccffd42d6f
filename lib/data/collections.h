#pragma once
/*
 * collections - the collections of the database: list, create, drop
 *
 * What is given is owned by the ctx's arena until ctx_reset.
 */
#include "lib/data/mongo.h"

struct collection {
    str name;
    bson_iter_t row; /* of listCollections: name, type, options */
};

/* Sorted by name, system collections included. */
MUST_CHECK enum err collections_list(struct ctx *c, bool name_only,
                                     struct collection **out, size_t *out_n);

struct collection_stats {
    int64_t documents;
    /*
     * updatedAt, else createdAt, of the document with the greatest updatedAt;
     * not known when there is none, it is no date, or the look-up hits its
     * time limit.
     */
    bool known;
    ms last_updated;
};

MUST_CHECK enum err collections_stats(struct ctx *c, const char *name,
                                      struct collection_stats *out);

/* The name is checked. ERR_ALREADY_EXISTS. */
MUST_CHECK enum err collections_create(struct ctx *c, const char *name);

/* The name is checked. ERR_COLLECTION_NOT_FOUND. */
MUST_CHECK enum err collections_drop(struct ctx *c, const char *name);
