#pragma once
/*
 * event - a change that somebody subscribes to: its row in `_outbox`
 *
 *   { _id, event, collection, docId, ts, doc?, old?, ord?, ver, part, cut? }
 *
 * The row is written with the change (change.h) and lives until it is fanned
 * out. `ord` is there when an ordered webhook subscribed: it grows with each
 * change of the document, in the order of commits. `part` is drawn from the
 * document, so that one fanout has all events of it. doc and old are left out
 * (cut: true) when both together are larger than 8 MiB.
 */
#include "lib/data/mongo.h"

enum event_kind {
    EVENT_CREATE,
    EVENT_UPDATE,
    EVENT_DELETE,
    EVENT_N
};

enum {
    EVENT_PARTS = 1024,
    EVENT_ORDER_MAX = 256 /* of event_document_key, with the NUL */
};

/* "create", "update", "delete"; EVENT_N for any other text. */
const char *event_name(enum event_kind k);
enum event_kind event_find(str name);

struct event {
    bson_oid_t id;
    enum event_kind kind;
    str collection;
    bson_value_t doc_id;     /* borrowed */
    ms ts;                   /* the server's time */
    const bson_t *doc, *old; /* after and before; NULL: there is none */
    int64_t ord;             /* 0: none was needed */
    int64_t ver;             /* of the subscriptions it was written under */
    bool cut;
};

/* The row; part is worked out here, doc and old are left out when too large. */
MUST_CHECK enum err event_row(struct ctx *c, const struct event *e,
                              bson_t **out);

/* False: not as event_row() makes it. Borrows from row. */
bool event_read(struct ctx *c, const bson_t *row, struct event *out);

/* The place of the event among those of its document: ord, else its time in
 * microseconds. */
int64_t event_place(const struct event *e);

/*
 * The document's id as it stands in keys of order (`_order`, groups): 24 hex
 * digits, a text of at most 64 bytes without a NUL as it is, anything else the
 * SHA-256 of its BSON value in hex. So no key holds a NUL.
 */
MUST_CHECK enum err event_document_key(struct ctx *c, const bson_value_t *id,
                                       str *out);
