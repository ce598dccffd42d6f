/* test_payload - the bytes of a delivery */
#include <stdio.h>

#include "lib/data/payload.h"
#include "tests/unit/support.h"

enum {
    MANY = 5000
};

#define HEAD(kind)                                                             \
    "{\"event\":\"" kind "\",\"webhook\":{\"id\":"                             \
    "\"665f1d009b1e8a0012ab34d0\",\"name\":\"orders \\\"x\\\"\"},"             \
    "\"collection\":\"orders\",\"timestamp\":\"2025-09-03T10:11:00.000Z\","    \
    "\"data\":"
#define TAIL(cut)                                                              \
    ",\"metadata\":{\"deliveryId\":"                                           \
    "\"665f1d009b1e8a0012ab34d0-1756894260000-k3v9x0q2a\",\"messageId\":"      \
    "\"msg_2Lh9cRCbT4sQx7mUu0fXzK1aWdE\",\"maxRetries\":0,"                    \
    "\"rateLimit\":\"60/min\",\"truncated\":" cut "}}"

struct made {
    struct event event;
    struct webhook webhook;
    struct payload p;
};

static void destroy(void *doc)
{
    bson_destroy(doc);
}

/* Extended JSON; owned by the ctx until its reset. */
static const bson_t *read_json(struct ctx *c, const char *json)
{
    bson_t *doc = ctx_alloc(c, sizeof *doc);
    bson_error_t e;

    assert_non_null(doc);
    if (!bson_init_from_json(doc, json, -1, &e))
        fail_msg("%s: %s", json, e.message);
    assert_int_equal(arena_defer(&c->arena, destroy, doc), OK);
    return doc;
}

/* An event of orders; doc and old may be NULL. */
static void make(struct ctx *c, struct made *m, enum event_kind kind,
                 const char *doc, const char *old)
{
    *m = (struct made){
        .event = {.kind = kind,
                  .collection = STR("orders"),
                  .doc_id = {.value_type = BSON_TYPE_INT32, .value.v_int32 = 7},
                  .ts = 1756894260000,
                  .doc = doc ? read_json(c, doc) : NULL,
                  .old = old ? read_json(c, old) : NULL},
        .webhook = {.id = STR("665f1d009b1e8a0012ab34d0"),
                    .name = STR("orders \"x\""),
                    .collection = STR("orders"),
                    .max_per_window = 60},
        .p = {.delivery_id =
                  STR("665f1d009b1e8a0012ab34d0-1756894260000-k3v9x0q2a"),
              .message_id = STR("msg_2Lh9cRCbT4sQx7mUu0fXzK1aWdE"),
              .max_bytes = 1 << 20}};
    m->p.event = &m->event;
    m->p.webhook = &m->webhook;
}

static void expect_body(struct ctx *c, const struct made *m, const char *want)
{
    str got = STR_NONE;

    assert_int_equal(payload_make(c, &m->p, &got), OK);
    assert_str(got, want);
}

static void create_has_the_document(void **state)
{
    struct made m;

    make(*state, &m, EVENT_CREATE,
         "{\"_id\":{\"$oid\":\"665f1d349b1e8a0012ab34d1\"},\"total\":5,"
         "\"at\":{\"$date\":\"2025-09-03T10:11:00Z\"},\"n\":1.5}",
         NULL);
    expect_body(*state, &m,
                HEAD("create") "{\"document\":{\"_id\":"
                               "\"665f1d349b1e8a0012ab34d1\",\"total\":5,"
                               "\"at\":\"2025-09-03T10:11:00.000Z\","
                               "\"n\":1.5}}" TAIL("false"));
    ctx_reset(*state);
}

static void update_has_both_and_what_differs(void **state)
{
    struct made m;

    make(*state, &m, EVENT_UPDATE,
         "{\"_id\":7,\"a\":1,\"b\":{\"c\":2},\"new\":[1],\"same\":[{\"x\":1}]}",
         "{\"_id\":7,\"gone\":null,\"b\":{\"c\":1},\"a\":1,\"same\":"
         "[{\"x\":1}]}");
    expect_body(
        *state, &m,
        HEAD("update") "{\"document\":{\"_id\":7,\"a\":1,\"b\":"
                       "{\"c\":2},\"new\":[1],\"same\":[{\"x\":1}]},"
                       "\"oldDocument\":{\"_id\":7,\"gone\":null,"
                       "\"b\":{\"c\":1},\"a\":1,\"same\":[{\"x\":1}]},"
                       "\"previousDocument\":{\"_id\":7,\"gone\":null,"
                       "\"b\":{\"c\":1},\"a\":1,\"same\":[{\"x\":1}]},"
                       "\"changes\":{\"b\":{\"from\":{\"c\":1},\"to\":"
                       "{\"c\":2}},\"new\":{\"from\":null,\"to\":[1]},"
                       "\"gone\":{\"from\":null,\"to\":null}}}" TAIL("false"));
    ctx_reset(*state);
}

static void an_update_without_a_difference_has_no_changes(void **state)
{
    struct made m;

    make(*state, &m, EVENT_UPDATE, "{\"_id\":7}", "{\"_id\":7}");
    expect_body(*state, &m,
                HEAD("update") "{\"document\":{\"_id\":7},\"oldDocument\":"
                               "{\"_id\":7},\"previousDocument\":{\"_id\":7},"
                               "\"changes\":{}}" TAIL("false"));
    ctx_reset(*state);
}

static void delete_has_the_old_document(void **state)
{
    struct made m;

    make(*state, &m, EVENT_DELETE, NULL, "{\"_id\":7,\"a\":1}");
    expect_body(*state, &m,
                HEAD("delete") "{\"document\":null,\"oldDocument\":{\"_id\":7,"
                               "\"a\":1},\"previousDocument\":{\"_id\":7,"
                               "\"a\":1}}" TAIL("false"));
    ctx_reset(*state);
}

static void excluded_fields_are_nowhere(void **state)
{
    static const str names[] = {STR_INIT("secret"),      STR_INIT("b.c"),
                                STR_INIT("list.0"),      STR_INIT("list.2.x"),
                                STR_INIT("none.at.all"), STR_INIT("deep.x"),
                                STR_INIT("a.b"),         STR_INIT("s.t")};
    struct made m;

    make(*state, &m, EVENT_UPDATE,
         "{\"_id\":7,\"secret\":1,\"b\":{\"c\":1,\"d\":1},\"list\":[1,2,{\"x\":"
         "1,\"y\":2},4],\"deep\":[{\"x\":1}],\"a.b\":1,\"s\":\"t\"}",
         "{\"_id\":7,\"secret\":2,\"b\":{\"c\":2,\"d\":1},\"list\":[9,2,{\"x\":"
         "9,\"y\":2},4],\"deep\":[{\"x\":1}],\"a.b\":2,\"s\":\"t\"}");
    m.webhook.exclude = names;
    m.webhook.exclude_n = sizeof names / sizeof *names;
#define LEFT                                                                   \
    "{\"_id\":7,\"b\":{\"d\":1},\"list\":[2,{\"y\":2},4],\"deep\":[{\"x\":1}]" \
    ",\"s\":\"t\"}"
    expect_body(*state, &m,
                HEAD("update") "{\"document\":" LEFT ",\"oldDocument\":" LEFT
                               ",\"previousDocument\":" LEFT
                               ",\"changes\":{}}" TAIL("false"));
    ctx_reset(*state);
}

/* What of an update of 100 bytes and more stands in max_bytes. */
static void expect_cut(struct ctx *c, struct made *m, size_t max,
                       const char *data, const char *cut)
{
    char want[2000];

    m->p.max_bytes = (int64_t)max;
    snprintf(want, sizeof want, HEAD("update") "%s" TAIL("%s"), data, cut);
    expect_body(c, m, want);
}

static void a_large_body_is_cut_in_steps(void **state)
{
    struct ctx *c = *state;
    static const char all[] =
        "{\"document\":{\"_id\":7,\"a\":\"0123456789\"},\"oldDocument\":"
        "{\"_id\":7,\"a\":\"\"},\"previousDocument\":{\"_id\":7,\"a\":\"\"},"
        "\"changes\":{\"a\":{\"from\":\"\",\"to\":\"0123456789\"}}}";
    static const char some[] =
        "{\"document\":{\"_id\":7,\"a\":\"0123456789\"}}";
    static const char id[] = "{\"document\":{\"_id\":7}}";
    size_t frame = sizeof HEAD("update") + sizeof TAIL("false") - 2;
    static const str names[] = {STR_INIT("_id")};
    struct made m;

    make(c, &m, EVENT_UPDATE, "{\"_id\":7,\"a\":\"0123456789\"}",
         "{\"_id\":7,\"a\":\"\"}");
    expect_cut(c, &m, frame + sizeof all - 1, all, "false");
    expect_cut(c, &m, frame + sizeof all - 2, some, "true");
    frame -= 1; /* true is shorter */
    expect_cut(c, &m, frame + sizeof some - 1, some, "true");
    expect_cut(c, &m, frame + sizeof some - 2, id, "true");
    expect_cut(c, &m, 1, id, "true");
    m.webhook.exclude = names;
    m.webhook.exclude_n = 1;
    expect_cut(c, &m, 1, "{\"document\":{}}", "true");
    ctx_reset(c);
}

static void a_large_deletion_still_names_the_document(void **state)
{
    struct made m;

    make(*state, &m, EVENT_DELETE, NULL, "{\"_id\":7,\"a\":\"0123456789\"}");
    m.p.max_bytes = 100;
    expect_body(
        *state, &m,
        HEAD("delete") "{\"document\":null,\"oldDocument\":{\"_id\":7},"
                       "\"previousDocument\":{\"_id\":7}}" TAIL("true"));
    ctx_reset(*state);
}

/* With it a delivery would fit in no row, and hold up all that come after. */
static void an_id_of_many_bytes_is_left_out(void **state)
{
    struct ctx *c = *state;
    uint32_t n = 3 << 20; /* each is written as six */
    char *text = ctx_alloc(c, n + 1);
    struct made m;

    memset(text, 1, n);
    make(c, &m, EVENT_CREATE, NULL, NULL);
    m.event.doc_id.value_type = BSON_TYPE_UTF8;
    m.event.doc_id.value.v_utf8.str = text;
    m.event.doc_id.value.v_utf8.len = n;
    expect_body(c, &m, HEAD("create") "{\"document\":{}}" TAIL("true"));
    ctx_reset(c);
}

static void an_event_without_documents_has_the_id(void **state)
{
    struct made m;

    make(*state, &m, EVENT_UPDATE, NULL, NULL);
    m.event.cut = true;
    expect_body(*state, &m,
                HEAD("update") "{\"document\":{\"_id\":7}}" TAIL("true"));
    make(*state, &m, EVENT_DELETE, NULL, NULL);
    m.event.cut = true;
    expect_body(
        *state, &m,
        HEAD("delete") "{\"document\":null,\"oldDocument\":{\"_id\":7},"
                       "\"previousDocument\":{\"_id\":7}}" TAIL("true"));
    ctx_reset(*state);
}

/* Fields in an order of their own: no quadratic search. */
static void many_fields_are_compared_soon(void **state)
{
    struct ctx *c = *state;
    bson_t doc = BSON_INITIALIZER, old = BSON_INITIALIZER;
    struct made m;
    str body;
    char key[16];

    make(c, &m, EVENT_UPDATE, NULL, NULL);
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "k%d", i);
        bson_append_int32(&doc, key, -1, i == 3 ? -1 : i);
        snprintf(key, sizeof key, "k%d", MANY - 1 - i);
        bson_append_int32(&old, key, -1, MANY - 1 - i);
    }
    m.event.doc = &doc;
    m.event.old = &old;
    assert_int_equal(payload_make(c, &m.p, &body), OK);
    assert_true(str_find_str(body, STR("\"changes\":{\"k3\":{\"from\":3,\"to\":"
                                       "-1}}}")) != SIZE_MAX);
    bson_destroy(&doc);
    bson_destroy(&old);
    ctx_reset(c);
}

static void a_test_has_a_body_of_its_own(void **state)
{
    struct made m;
    str body = STR_NONE;

    make(*state, &m, EVENT_CREATE, NULL, NULL);
    assert_int_equal(
        payload_make_test(*state, &m.webhook, STR("test-1"), m.event.ts, &body),
        OK);
    assert_str(body, HEAD("test") "{\"message\":\"This is a test of the "
                                  "webhook\",\"testId\":\"test-1\"}}");
    ctx_reset(*state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(create_has_the_document),
        cmocka_unit_test(update_has_both_and_what_differs),
        cmocka_unit_test(an_update_without_a_difference_has_no_changes),
        cmocka_unit_test(delete_has_the_old_document),
        cmocka_unit_test(excluded_fields_are_nowhere),
        cmocka_unit_test(a_large_body_is_cut_in_steps),
        cmocka_unit_test(a_large_deletion_still_names_the_document),
        cmocka_unit_test(an_id_of_many_bytes_is_left_out),
        cmocka_unit_test(an_event_without_documents_has_the_id),
        cmocka_unit_test(many_fields_are_compared_soon),
        cmocka_unit_test(a_test_has_a_body_of_its_own),
    };

    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
