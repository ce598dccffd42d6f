#pragma once
/* coord - what tests of the cluster layer share: documents of strangers */
#include "tests/unit/mongod.h"

enum {
    COORD_HOSTILE_N = 26
};

/* Appends a value of each BSON type, and the extremes of some, by number. */
void coord_hostile(bson_t *out, const char *key, int i);

/* Replaces the document of doc's _id, or inserts it; takes doc. */
void coord_put(struct ctx *c, const char *collection, bson_t *doc);

/* Runs this update (a document or a pipeline) on the document; takes it. */
void coord_change(struct ctx *c, const char *collection, const char *id,
                  bson_t *update);

void coord_drop(struct ctx *c, const char *collection);
