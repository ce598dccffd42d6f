#pragma once
/*
 * fanout_world - what tests of the fan-out work with: webhooks, events in the
 * outbox, one turn, the deliveries made of them
 */
#include "lib/coord/fanout.c"

#include <poll.h>
#include <stdio.h>

#include "lib/data/job.h"
#include "lib/data/json_out.h"
#include "lib/data/schema.h"
#include "tests/unit/coord.h"

enum {
    TURNS_MOST = 20
};

static const struct fanout_share whole = {0, 1};
static int64_t version = 1; /* of the subscriptions; it only ever grows */

static inline ms now_ms(void)
{
    return clock_server_ms();
}

/* ---- webhooks */

static inline void set_version(struct ctx *c)
{
    coord_put(c, "_cluster",
              BCON_NEW("_id", "subs", "ver", BCON_INT64(++version)));
}

/* Of collection "users", all events; `more` are further members. */
static inline void webhook_with(struct ctx *c, const char *id, bson_t *more)
{
    bson_t *row = bson_new();
    bson_oid_t oid;

    bson_oid_init_from_string(&oid, id);
    BCON_APPEND(row, "_id", BCON_OID(&oid), "name", "w", "url",
                "http://example.com/", "events", "[", "create", "update",
                "delete", "]");
    if (!bson_has_field(more, "collection"))
        BSON_APPEND_UTF8(row, "collection", "users");
    bson_concat(row, more);
    bson_destroy(more);
    coord_put(c, "_webhooks", row);
    set_version(c);
}

#define HOOK_A "aaaaaaaaaaaaaaaaaaaaaaaa"
#define HOOK_B "bbbbbbbbbbbbbbbbbbbbbbbb"

static inline void webhook(struct ctx *c, const char *id)
{
    webhook_with(c, id, bson_new());
}

static inline void ordered(struct ctx *c, const char *id)
{
    webhook_with(c, id, BCON_NEW("ordered", BCON_BOOL(true)));
}

/* ---- events */

static inline bson_value_t number(int64_t n)
{
    return (bson_value_t){.value_type = BSON_TYPE_INT64, .value.v_int64 = n};
}

static inline struct event event_of(int64_t doc)
{
    struct event e = {.kind = EVENT_CREATE,
                      .collection = STR_INIT("users"),
                      .doc_id = number(doc),
                      .ts = now_ms(),
                      .ver = version};

    bson_oid_init(&e.id, NULL);
    return e;
}

static inline void insert(struct ctx *c, const bson_t *row)
{
    (void)mongod_do(c, BCON_NEW("insert", COLLECTION, "documents", "[",
                                BCON_DOCUMENT(row), "]",
                                "bypassDocumentValidation", BCON_BOOL(true)));
}

static inline void put(struct ctx *c, const struct event *e)
{
    bson_t *row;

    assert_int_equal(event_row(c, e, &row), OK);
    insert(c, row);
}

static inline void put_part(struct ctx *c, const struct event *e, int part)
{
    bson_t *row, other = BSON_INITIALIZER;

    assert_int_equal(event_row(c, e, &row), OK);
    bson_copy_to_excluding_noinit(row, &other, "part", (char *)NULL);
    BSON_APPEND_INT32(&other, "part", part);
    insert(c, &other);
    bson_destroy(&other);
}

/* With a document {n: n}. */
static inline struct event put_new(struct ctx *c, int64_t n)
{
    struct event e = event_of(n);
    bson_t *doc = BCON_NEW("_id", BCON_INT64(n), "n", BCON_INT64(n));

    e.doc = doc;
    put(c, &e);
    e.doc = NULL;
    bson_destroy(doc);
    return e;
}

/* ---- what is there */

static inline struct fanout_batch turn_of(struct ctx *c,
                                          const struct fanout_share *share)
{
    struct fanout_batch out;
    struct fanout_ask ask = {.share = *share};
    enum err err = fanout_turn(c, &ask, &out);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return out;
}

static inline struct fanout_batch turn(struct ctx *c)
{
    return turn_of(c, &whole);
}

static inline int64_t count(struct ctx *c, const char *collection,
                            bson_t *query)
{
    const bson_t *reply = mongod_do(c, BCON_NEW("count", BCON_UTF8(collection),
                                                "query", BCON_DOCUMENT(query)));
    bson_iter_t it;

    bson_destroy(query);
    assert_true(bson_iter_init_find(&it, reply, "n"));
    return bson_iter_as_int64(&it);
}

static inline int64_t jobs(struct ctx *c)
{
    return count(c, "_jobs", bson_new());
}

static inline int64_t waiting_events(struct ctx *c)
{
    return count(c, COLLECTION, bson_new());
}

static inline int64_t jobs_of(struct ctx *c, int64_t doc)
{
    return count(c, "_jobs", BCON_NEW("docId", BCON_INT64(doc)));
}

/* All rows of deliveries, by id. */
static const bson_t *all_jobs(struct ctx *c)
{
    const bson_t *reply = mongod_do(
        c, BCON_NEW("find", "_jobs", "sort", "{", "_id", BCON_INT32(1), "}",
                    "batchSize", BCON_INT32(10000)));
    bson_t *kept = mongo_bson(c), cursor, batch;

    assert_true(mongo_reply_doc(reply, "cursor", &cursor));
    assert_true(mongo_reply_doc(&cursor, "firstBatch", &batch));
    bson_concat(kept, &batch);
    return kept;
}

static inline bson_t *job_at(struct ctx *c, int i)
{
    const bson_t *all = all_jobs(c);
    bson_t one, *kept = mongo_bson(c);
    char key[16];

    (void)snprintf(key, sizeof key, "%d", i);
    if (!mongo_reply_doc(all, key, &one))
        fail_msg("no delivery %d", i);
    bson_concat(kept, &one);
    return kept;
}

static inline str text(const bson_t *row, const char *name)
{
    str v;

    if (!json_out_text_member(row, name, &v))
        fail_msg("no text %s", name);
    return v;
}

static inline int64_t whole_number(const bson_t *row, const char *name)
{
    bson_iter_t it;

    assert_true(bson_iter_init_find(&it, row, name));
    return bson_iter_as_int64(&it);
}

static inline bool holds(str s, const char *part)
{
    return str_find_str(s, str_of(part)) != SIZE_MAX;
}

/* A load in vain, of a test before, keeps off the next one for a while. */
static inline void await_version(struct ctx *c)
{
    const struct subs *s;

    for (;;) {
        assert_int_equal(subs_get_since(c, version, &s), OK);
        if (subs_version(s) >= version)
            return;
        assert_true(ctx_left_ms(c) > 0);
        (void)poll(NULL, 0, 20);
    }
}

/* A database with its collections and indexes, as in life. */
static inline int prepared(void **state)
{
    (void)mongod_fresh(state);
    if (schema_apply(*state) != OK)
        fail_msg("no schema");
    set_version(*state);
    await_version(*state);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup(test, prepared)
