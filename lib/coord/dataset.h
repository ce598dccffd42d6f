#pragma once
/*
 * dataset - where locks live, and which life of the Redis data is in use
 *
 * `_cluster.redis` in MongoDB names the home of all locks and the id of the
 * data set: of one life of the Redis data, or of one stay of the locks in
 * MongoDB. Whoever calls Redis sends the id along, and a Redis that holds
 * another one does nothing (DATASET). Only the maintenance leader changes it
 * (keeper.h), guarded by its term.
 *
 * `_cluster.fence` holds a number that no fence in use is above. Home MongoDB:
 * the last one given. Home Redis: a reservation; Redis gives none above
 * P:l:max, which is raised only after MongoDB has the number by majority. So
 * fences grow over any loss of Redis data, steps of its clock, and a change of
 * home.
 */
#include "lib/base/ctx.h"

/* All fences are below it (year 2112 as us); a stored number that is not counts
 * as 0. */
#define DATASET_FENCE_END (INT64_C(1) << 52)

enum {
    DATASET_ID_MAX = 17 /* 16 hex digits and NUL */
};

enum dataset_home {
    DATASET_NOWHERE, /* nobody has led yet, or the document says nonsense */
    DATASET_REDIS,
    DATASET_MONGO
};

struct dataset {
    enum dataset_home home;
    char id[DATASET_ID_MAX]; /* "" until one is open */
    int64_t fence;           /* `_cluster.fence`.v */
    ms read_boot;            /* clock_boot_ms before the read was sent */
};

/* The home that the settings ask for. */
enum dataset_home dataset_home_of(const struct conf *conf);

/* Takes what a document of `_cluster` says, of whatever types, into *out. */
typedef struct _bson_t bson_t;
void dataset_note(const bson_t *doc, struct dataset *out);

/* One round trip to the primary. */
MUST_CHECK enum err dataset_read(struct ctx *c, struct dataset *out);

/*
 * A new id and home, by the leader of `term`: only while the stored id is
 * `seen` and no greater term has written. *out_done false: it is not so.
 * ERR_DB_UNAVAILABLE and the like: it may have been done.
 */
MUST_CHECK enum err dataset_write(struct ctx *c, const char *seen, int64_t term,
                                  enum dataset_home home, const char *id,
                                  bool *out_done);

/*
 * Raises the number to max(itself, us of $$NOW, at_least) + ahead_us, by
 * majority; *out_v is what it is then.
 */
MUST_CHECK enum err dataset_reserve(struct ctx *c, int64_t at_least,
                                    int64_t ahead_us, int64_t *out_v);

/*
 * Home MongoDB: takes the next number, max(v + 1, us of $$NOW, at_least). It
 * may be used if a dataset_read() after it still shows this home: a home that
 * came later has begun above it.
 */
MUST_CHECK enum err dataset_fence(struct ctx *c, int64_t at_least,
                                  int64_t *out);
