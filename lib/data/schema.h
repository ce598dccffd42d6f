#pragma once
/*
 * schema - makes the system collections as sql-free-schemas/mongo says
 *
 * For each file there: the collection with its validator (level "moderate"),
 * its indexes, and those of its documents that are missing; numbers in the
 * documents are stored as Int64. To repeat it is no harm, nor are several
 * instances that do it at once; what is as it should be is only looked at. A
 * validator that the server does not let us set is told in the log and is no
 * failure: it guards against strangers, while indexes and documents are
 * needed. Within the ctx's deadline; on a replica set and a single mongod.
 */
#include "lib/data/mongo.h"

struct schema_made {
    int collections, indexes, documents;
};

/* All of them, also when one fails: the first failure is given. */
MUST_CHECK enum err schema_apply(struct ctx *c);

/* The same; what was made is added to *made, also when it fails half way. */
MUST_CHECK enum err schema_apply_counted(struct ctx *c,
                                         struct schema_made *made);

/* Only this collection, which has a file. */
MUST_CHECK enum err schema_apply_one(struct ctx *c, const char *collection);
