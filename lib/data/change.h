#pragma once
/*
 * change - a change of a document together with its event
 *
 * Where somebody subscribes and the server has transactions: one transaction
 * with write concern majority holds the change, the row in `_outbox` and, for
 * ordered subscribers, the next `_order` of the document. It is repeated as a
 * whole after a conflict, after random(0..min(32, 2^n)) ms, until the request's
 * deadline: then ERR_OVERLOADED, and nothing was written. A commit whose result
 * is not known is repeated as a commit.
 *
 * Light mode (a standalone mongod, WEBHOOKS_ENHANCED_DELIVERY=false): the row
 * is inserted right after the change, before the answer, best effort; a failure
 * is logged and counted, and the change stands.
 *
 * The id of each event that was committed is added to c->committed.
 *
 * Where nobody subscribes the caller does the plain write: change_wanted() is
 * all it pays.
 */
#include "lib/data/subs.h"

struct change {
    struct subs_interest interest;
    int64_t ver;
    bool light;
};

/* *out.interest.any false: a plain write will do. */
MUST_CHECK enum err change_wanted(struct ctx *c, const char *collection,
                                  enum event_kind k, struct change *out);

/* Inserts doc, whose _id is set. */
MUST_CHECK enum err change_insert(struct ctx *c, const struct change *how,
                                  const char *collection, const bson_t *doc);

/*
 * Changes (update is not NULL) or removes the document that filter names. *out:
 * it after the change, or as it was removed; NULL: there is none, and nothing
 * was written.
 */
MUST_CHECK enum err change_modify(struct ctx *c, const struct change *how,
                                  const char *collection, const bson_t *filter,
                                  const bson_t *update, const bson_t **out);
