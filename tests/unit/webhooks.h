#pragma once
/* webhooks - what the tests of webhook.h share: bodies and rows by their text
 */
#include "lib/data/json_in.h"
#include "lib/data/webhook_inside.h"
#include "tests/unit/coord.h"

#define ID "665f1d009b1e8a0012ab34d0"
#define BASE                                                                   \
    "\"name\":\"n\",\"url\":\"https://a.example/\",\"collection\":\"o\","
#define MINIMAL BASE "\"events\":[\"create\"]"
#define SECRET  "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

/* Borrowed until ctx_reset. */
static inline bson_t *json(struct ctx *c, const char *text)
{
    enum json_root root;
    bson_t *doc = NULL;

    if (json_in(c, str_of(text), &root, &doc) != OK)
        fail_msg("%s: %s", text, c->reason);
    return doc;
}

/* A row of these members, which has the id ID. */
static inline bson_t *row_of(struct ctx *c, const char *members)
{
    bson_t *row = mongo_bson(c);
    bson_oid_t oid;

    assert_non_null(row);
    bson_oid_init_from_string(&oid, ID);
    BSON_APPEND_OID(row, "_id", &oid);
    bson_concat(row, json(c, members));
    return row;
}

static inline struct webhook read_of(struct ctx *c, const bson_t *row)
{
    struct webhook w;

    assert_true(webhook_read(&c->arena, c->conf, row, &w));
    return w;
}
