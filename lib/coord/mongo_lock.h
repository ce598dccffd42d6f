#pragma once
/*
 * mongo_lock - what the two files of locks in MongoDB share: mongo_lock.c, one
 * lock, and mongo_lock_all.c, all of them
 *
 * A row of `_locks` is a lock while it lives: of our types, of this data set,
 * before its end by the server's clock. All others are as good as none, whoever
 * wrote them; the fence in them counts all the same: a grant that comes late
 * is not made after one with a greater fence. That is why rows outlive their
 * locks.
 */
#include "lib/coord/backend.h"
#include "lib/data/json_out.h"
#include "lib/data/mongo.h"

#define MONGO_LOCKS "_locks"

/* Expressions for BCON; no stored value makes them throw. */
#define MONGO_TYPE_IS(path, type)                                              \
    "{", "$eq", "[", "{", "$type", path, "}", type, "]", "}"
#define MONGO_NOW_AND(span)                                                    \
    "{", "$add", "[", "$$NOW", BCON_INT64(span), "]", "}"

/* True for a row that is a lock; NULL without memory. */
bson_t *mongo_lock_alive(struct ctx *c, const struct dataset *d);

/* A text of users, which may begin with '$'. */
bson_t *mongo_lock_literal(struct ctx *c, str text);

/* Nothing stays noted in c; unsure: what no answer means. */
enum lock_result mongo_lock_judge(struct ctx *c, enum err err,
                                  enum lock_result unsure);

static inline str mongo_lock_text(const bson_t *row, const char *name)
{
    str v;

    return json_out_text_member(row, name, &v) ? v : STR("");
}

/* 0: it is no whole number */
static inline int64_t mongo_lock_number(const bson_t *row, const char *name)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, row, name) || !BSON_ITER_HOLDS_INT(&it))
        return 0;
    return bson_iter_as_int64(&it);
}

enum lock_result mongo_lock_list(struct ctx *c, const struct dataset *d,
                                 struct lock_page *p);
enum lock_result mongo_lock_clean(struct ctx *c, const struct dataset *d,
                                  int64_t *place, int64_t *out_removed);
enum lock_result mongo_lock_count(struct ctx *c, const struct dataset *d,
                                  str instance, struct lock_count *out);
