/* test_webhook - rows of all kinds read and shown */
#include "tests/unit/webhooks.h"

/* ---- read */

static void row_of_ours_is_read(void **state)
{
    struct ctx *c = *state;
    bson_t *row = row_of(
        c, "{" BASE "\"events\":[\"delete\",\"create\"],\"filters\":{\"a\":1},"
           "\"excludeFields\":[\"p\",\"q.r\"],\"ordered\":true,\"priority\":7,"
           "\"headers\":{\"X-A\":\"1\",\"X-B\":\"two\"},\"enabled\":false,"
           "\"disabledReason\":\"gone\",\"rateLimit\":{"
           "\"maxRequestsPerMinute\":300,\"maxRetries\":0,\"baseDelayMs\":100,"
           "\"maxDelayMs\":1000},\"secret\":\"" SECRET "\","
           "\"previousSecret\":\"whsec_b2xk\"}");
    struct webhook w;

    BSON_APPEND_DATE_TIME(row, "previousExpiresAt", 1756894260042);
    w = read_of(c, row);
    assert_str(w.id, ID);
    assert_int_equal(w.id.p[w.id.n], 0);
    assert_str(w.name, "n");
    assert_str(w.url, "https://a.example/");
    assert_str(w.collection, "o");
    assert_int_equal(w.events, 1 << EVENT_DELETE | 1 << EVENT_CREATE);
    assert_int_equal(bson_count_keys(w.filters), 1);
    assert_int_equal(w.exclude_n, 2);
    assert_str(w.exclude[1], "q.r");
    assert_int_equal(w.headers_n, 2);
    assert_str(w.headers[1].name, "X-B");
    assert_str(w.headers[1].value, "two");
    assert_true(w.ordered && !w.enabled && w.gone);
    assert_int_equal(w.priority, 7);
    assert_int_equal(w.max_per_window, 300);
    assert_int_equal(w.max_retries, 0);
    assert_int_equal(w.backoff.base_ms, 100);
    assert_int_equal(w.backoff.max_ms, 1000);
    assert_str(w.secret, SECRET);
    assert_str(w.previous_secret, "whsec_b2xk");
    assert_int_equal(w.previous_expires, 1756894260042);
}

static void row_with_nothing_else_has_the_defaults(void **state)
{
    struct ctx *c = *state;
    struct webhook w =
        read_of(c, row_of(c, "{\"url\":\"http://a/\",\"collection\":\"o\"}"));

    assert_str(w.name, "");
    assert_int_equal(w.events, 0);
    assert_true(bson_empty(w.filters));
    assert_int_equal(w.exclude_n, 0);
    assert_int_equal(w.headers_n, 0);
    assert_true(w.enabled && !w.ordered && !w.gone);
    assert_int_equal(w.priority, 0);
    assert_int_equal(w.max_per_window, 60);
    assert_int_equal(w.max_retries, 3);
    assert_int_equal(w.backoff.base_ms, 1000);
    assert_int_equal(w.backoff.max_ms, 30000);
    assert_true(w.backoff.jitter);
    assert_str(w.secret, "");
    assert_str(w.previous_secret, "");
}

static void row_without_id_url_or_collection_is_of_no_use(void **state)
{
    struct ctx *c = *state;
    struct webhook w;
    static const char *const rows[] = {
        "{\"url\":\"http://a/\",\"collection\":\"o\"}",
        "{\"_id\":\"" ID "\",\"url\":\"http://a/\",\"collection\":\"o\"}",
    };

    for (size_t i = 0; i < 2; i++)
        assert_false(webhook_read(&c->arena, c->conf, json(c, rows[i]), &w));
    assert_false(webhook_read(&c->arena, c->conf,
                              row_of(c, "{\"url\":\"http://a/\"}"), &w));
    assert_false(webhook_read(&c->arena, c->conf,
                              row_of(c, "{\"collection\":\"o\"}"), &w));
    assert_false(webhook_read(&c->arena, c->conf,
                              row_of(c, "{\"url\":1,\"collection\":[]}"), &w));
}

static void numbers_of_a_row_are_clamped(void **state)
{
    struct ctx *c = *state;
    struct webhook w = read_of(
        c, row_of(c, "{\"url\":\"u\",\"collection\":\"o\",\"priority\":1e99,"
                     "\"rateLimit\":{\"maxRequestsPerMinute\":0,"
                     "\"maxRetries\":-5,\"baseDelayMs\":250.9,"
                     "\"maxDelayMs\":9007199254740993}}"));

    assert_int_equal(w.priority, 1023);
    assert_int_equal(w.max_per_window, 1);
    assert_int_equal(w.max_retries, 0);
    assert_int_equal(w.backoff.base_ms, 250);
    assert_int_equal(w.backoff.max_ms, 300000);
}

static void one_event_as_a_text_is_a_list_of_it(void **state)
{
    struct ctx *c = *state;
    struct webhook w = read_of(c, row_of(c, "{" BASE "\"events\":\"update\"}"));

    assert_int_equal(w.events, 1 << EVENT_UPDATE);
    w = read_of(c,
                row_of(c, "{" BASE "\"events\":[\"delete\",7,\"no\",null]}"));
    assert_int_equal(w.events, 1 << EVENT_DELETE);
}

static void stored_headers_never_break_a_request(void **state)
{
    struct ctx *c = *state;
    struct webhook w = read_of(
        c, row_of(c, "{" MINIMAL ",\"headers\":{\"X-A\":\"a\\r\\nHost: b\","
                     "\"Host\":\"b\",\"X B\":\"c\",\"webhook-id\":\"d\","
                     "\"X-N\":5,\"X-O\":{\"a\":1},\"X-Good\":\"yes\"}}"));

    assert_int_equal(w.headers_n, 2);
    assert_str(w.headers[0].name, "X-N");
    assert_str(w.headers[0].value, "5");
    assert_str(w.headers[1].value, "yes");
}

static void secret_of_another_kind_is_none(void **state)
{
    struct ctx *c = *state;
    struct webhook w =
        read_of(c, row_of(c, "{" MINIMAL ",\"secret\":\"my secret\"}"));

    assert_str(w.secret, "");
    w = read_of(c, row_of(c, "{" MINIMAL ",\"secret\":\"whsec_no key\"}"));
    assert_str(w.secret, "");
    w = read_of(c, row_of(c, "{" MINIMAL ",\"secret\":\"whsec_\"}"));
    assert_str(w.secret, "");
    w = read_of(c, row_of(c, "{" MINIMAL ",\"secret\":42}"));
    assert_str(w.secret, "");
    w = read_of(c,
                row_of(c, "{" MINIMAL ",\"secret\":\"whsec_"
                          "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                          "xxxxxxxxxxxxxxxxx\"}"));
    assert_str(w.secret, "");
}

static const char *const members[] = {
    "name",      "url",     "collection", "events",         "filters",
    "ordered",   "headers", "enabled",    "disabledReason", "excludeFields",
    "priority",  "secret",  "rateLimit",  "previousSecret", "previousExpiresAt",
    "createdAt", "_id",
};

/* Each member of each type: read or refused, and shown as JSON. */
static void row_of_any_types_does_no_harm(void **state)
{
    struct ctx *c = *state;

    for (size_t m = 0; m < sizeof members / sizeof *members; m++)
        for (int i = 0; i < COORD_HOSTILE_N; i++) {
            bson_t all = BSON_INITIALIZER, row = BSON_INITIALIZER;
            struct webhook w;
            enum json_root root;
            struct buf b;
            bson_t *shown;

            bson_concat(&all, row_of(c, "{" MINIMAL "}"));
            bson_copy_to_excluding_noinit(&all, &row, members[m], NULL);
            coord_hostile(&row, members[m], i);
            if (webhook_read(&c->arena, c->conf, &row, &w)) {
                assert_in_range(w.priority, 0, 1023);
                assert_in_range(w.max_per_window, 1, 300);
                assert_in_range(w.max_retries, 0, 10);
                assert_non_null(w.filters);
            }
            buf_init(&b, 1 << 16, ERR_INTERNAL);
            webhook_write(&b, c->conf, &row, true);
            assert_int_equal(b.err, OK);
            assert_int_equal(json_in(c, buf_str(&b), &root, &shown), OK);
            assert_int_equal(bson_count_keys(shown), 17);
            buf_done(&b);
            bson_destroy(&row);
            bson_destroy(&all);
        }
}

/* ---- show */

static void it_is_shown_in_the_order_of_the_contract(void **state)
{
    struct ctx *c = *state;
    bson_t *row = row_of(
        c, "{\"secret\":\"" SECRET "\",\"strange\":1,\"previousSecret\":\"x\","
           "\"name\":\"orders\",\"url\":\"https://hooks.example.com/in\","
           "\"collection\":\"orders\",\"events\":[\"create\"],"
           "\"rateLimit\":{\"maxRetries\":0,\"odd\":1}}");
    struct buf b;

    BSON_APPEND_DATE_TIME(row, "createdAt", 1756894200000);
    BSON_APPEND_DATE_TIME(row, "updatedAt", 1756894200000);
    buf_init(&b, 1 << 16, ERR_INTERNAL);
    webhook_write(&b, c->conf, row, true);
    assert_str(
        buf_str(&b),
        "{\"_id\":\"" ID "\",\"name\":\"orders\","
        "\"url\":\"https://hooks.example.com/in\",\"collection\":\"orders\","
        "\"events\":[\"create\"],\"filters\":{},\"excludeFields\":[],"
        "\"ordered\":false,\"priority\":0,\"headers\":{},\"enabled\":true,"
        "\"disabledReason\":null,\"rateLimit\":{\"maxRequestsPerMinute\":60,"
        "\"maxRetries\":0,\"baseDelayMs\":1000,\"maxDelayMs\":30000},"
        "\"hasSecret\":true,\"createdAt\":\"2025-09-03T10:10:00.000Z\","
        "\"updatedAt\":\"2025-09-03T10:10:00.000Z\",\"secret\":\"" SECRET
        "\"}");
    buf_clear(&b);
    webhook_write(&b, c->conf, row, false);
    assert_int_equal(str_find_str(buf_str(&b), STR("whsec_")), SIZE_MAX);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MONGOD(row_of_ours_is_read),
        WITH_MONGOD(row_with_nothing_else_has_the_defaults),
        WITH_MONGOD(row_without_id_url_or_collection_is_of_no_use),
        WITH_MONGOD(numbers_of_a_row_are_clamped),
        WITH_MONGOD(one_event_as_a_text_is_a_list_of_it),
        WITH_MONGOD(stored_headers_never_break_a_request),
        WITH_MONGOD(secret_of_another_kind_is_none),
        WITH_MONGOD(row_of_any_types_does_no_harm),
        WITH_MONGOD(it_is_shown_in_the_order_of_the_contract),
    };

    return cmocka_run_group_tests(tests, mongod_setup, mongod_teardown);
}
