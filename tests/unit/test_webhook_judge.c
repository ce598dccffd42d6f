/* test_webhook_judge - bodies of create and change: what is wrong, what is set
 */
#include <stdio.h>

#include "tests/unit/webhooks.h"

static void judge_is(struct ctx *c, const char *body, bool form, bool creates,
                     const char *wrong)
{
    struct webhook_faults faults;
    bson_t *set = NULL;
    char got[512] = "";
    enum err err =
        webhook_judge(c, json(c, body), form, creates, &set, &faults);

    for (size_t i = 0; i < faults.n; i++) {
        size_t n = strlen(got);

        snprintf(got + n, sizeof got - n, "%s%s", n ? " " : "",
                 faults.v[i].member);
    }
    if (strcmp(got, wrong) != 0)
        fail_msg("%s: wrong is '%s', not '%s'", body, got, wrong);
    if (err != (*wrong ? ERR_VALIDATION_ERROR : OK))
        fail_msg("%s: %s %s", body, err_code(err), c->reason);
    ctx_forgive(c);
}

static const struct {
    const char *member, *value;
} wrong[] = {
    {"name", "\"\""},
    {"name", "7"},
    {"name", "[\"n\"]"},
    {"name", "\"a\\nb\""},
    {"name", "\"a\\u0000b\""},
    {"url", "\"\""},
    {"url", "{}"},
    {"url", "\"http://a/\\r\\nX: y\""},
    {"url", "\"http://a/\\u0000\""},
    {"collection", "\"\""},
    {"collection", "5"},
    {"events", "[]"},
    {"events", "\"create\""},
    {"events", "{\"0\":\"create\"}"},
    {"events", "[\"create\",\"insert\"]"},
    {"events", "[\"Create\"]"},
    {"events", "[\"create\",null]"},
    {"events", "[[\"create\"]]"},
    {"filters", "[]"},
    {"filters", "\"a\""},
    {"filters", "0"},
    {"excludeFields", "\"a\""},
    {"excludeFields", "[1]"},
    {"excludeFields", "[\"\"]"},
    {"excludeFields", "[\"a\\u0000b\"]"},
    {"excludeFields", "{}"},
    {"ordered", "\"true\""},
    {"ordered", "1"},
    {"enabled", "\"false\""},
    {"enabled", "0"},
    {"enabled", "[]"},
    {"priority", "-1"},
    {"priority", "1024"},
    {"priority", "1.5"},
    {"priority", "\"1\""},
    {"priority", "true"},
    {"headers", "[]"},
    {"headers", "\"X: y\""},
    {"rateLimit", "[]"},
    {"rateLimit", "60"},
};

static void what_is_wrong_is_named(void **state)
{
    struct ctx *c = *state;
    char body[512];

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(body, sizeof body, "{\"%s\":%s}", wrong[i].member,
                 wrong[i].value);
        judge_is(c, body, false, false, wrong[i].member);
    }
    judge_is(c, "{}", false, true, "name url collection events");
    judge_is(c,
             "{\"rateLimit\":{\"maxRetries\":\"3\",\"baseDelayMs\":true,"
             "\"maxDelayMs\":null,\"odd\":\"x\"}}",
             false, false, "rateLimit.maxRetries rateLimit.baseDelayMs");
    judge_is(c, "{}", false, false, "");
    judge_is(c, "{\"name\":null,\"url\":null,\"priority\":null,\"odd\":1}",
             false, false, "");
}

static void texts_have_a_length(void **state)
{
    struct ctx *c = *state;
    char text[WEBHOOK_URL_MAX + 2], body[WEBHOOK_URL_MAX + 64];

    memset(text, 'x', sizeof text);
    snprintf(body, sizeof body, "{\"name\":\"%.*s\"}", WEBHOOK_NAME_MAX, text);
    judge_is(c, body, false, false, "");
    snprintf(body, sizeof body, "{\"name\":\"%.*s\"}", WEBHOOK_NAME_MAX + 1,
             text);
    judge_is(c, body, false, false, "name");
    snprintf(body, sizeof body, "{\"url\":\"%.*s\"}", WEBHOOK_URL_MAX, text);
    judge_is(c, body, false, false, "");
    snprintf(body, sizeof body, "{\"url\":\"%.*s\"}", WEBHOOK_URL_MAX + 1,
             text);
    judge_is(c, body, false, false, "url");
}

static void header_is(struct ctx *c, const char *name, const char *value,
                      bool good)
{
    char body[512];

    snprintf(body, sizeof body, "{\"headers\":{\"%s\":%s}}", name, value);
    judge_is(c, body, false, false, good ? "" : "headers");
}

static void excluded_names_are(struct ctx *c, int n, int bytes, const char *bad)
{
    struct buf b;

    buf_init(&b, 1 << 20, ERR_BODY_TOO_LARGE);
    buf_add(&b, STR("{\"excludeFields\":["));
    for (int i = 0; i < n; i++)
        buf_addf(&b, "%s\"%0*d\"", i ? "," : "", bytes, i);
    buf_add(&b, STR("]}"));
    buf_add_char(&b, '\0');
    judge_is(c, b.p, false, false, bad);
    buf_done(&b);
}

static void excluded_names_are_bounded(void **state)
{
    excluded_names_are(*state, 100, 256, "");
    excluded_names_are(*state, 101, 4, "excludeFields");
    excluded_names_are(*state, 1, 257, "excludeFields");
}

static void a_definition_is_bounded(void **state)
{
    struct ctx *c = *state;
    int frame = (int)json(c, "{\"filters\":{\"a\":\"\"}}")->len;
    int most = WEBHOOK_DEFINITION_BYTES - frame;
    size_t size = WEBHOOK_DEFINITION_BYTES + 64;
    char *text = ctx_alloc(c, size), *body = ctx_alloc(c, size);

    memset(text, 'x', size);
    snprintf(body, size, "{\"filters\":{\"a\":\"%.*s\"}}", most, text);
    judge_is(c, body, false, false, "");
    snprintf(body, size, "{\"filters\":{\"a\":\"%.*s\"}}", most + 1, text);
    judge_is(c, body, false, false, "filters");
}

static const char *const bad_names[] = {
    "Host",
    "hOST",
    "Content-Length",
    "content-length",
    "Transfer-Encoding",
    "Connection",
    "Expect",
    "Content-Type",
    "User-Agent",
    "X-Webhook-ID",
    "x-webhook-anything",
    "X-Webhook-",
    "X-Delivery-ID",
    "X-DELIVERY-TIMESTAMP",
    "X-Attempt-Number",
    "X-Max-Retries",
    "X-Rate-Limit",
    "X-Instance-ID",
    "webhook-id",
    "Webhook-Signature",
    "webhook-",
    "",
    "X A",
    "X:A",
    "X-A:",
    "X-A\\r\\nB",
    "X-A\\n",
    "X-A\\t",
    " X-A",
    "X-A ",
    "X(A)",
    "X/A",
    "X@A",
    "X[A]",
    "X{A}",
    "X\\\"A",
    "X\\\\A",
    "X,A",
    "X;A",
    "X=A",
    "X?A",
    "X<A>",
    "X\\u007f",
    "X\\u00e9",
    "H\\u00f6st",
    "\\ud83d\\ude00",
};
static const char *const good_names[] = {
    "X-A",           "Authorization",   "x_a",
    "X-Webhook",     "X-Deliver",       "X-Rate-Limits",
    "Hosts",         "Content-Types",   "!#$%&'*+-.^_`|~9",
    "Accept",        "Cookie",          "X-Hub-Signature",
    "Webhooks-Sign", "My-Content-Type", "0",
};

static void headers_that_may_not_be_set_are_refused(void **state)
{
    struct ctx *c = *state;

    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++)
        header_is(c, bad_names[i], "\"v\"", false);
    for (size_t i = 0; i < sizeof good_names / sizeof *good_names; i++)
        header_is(c, good_names[i], "\"v\"", true);
}

static void header_values_are_clean_texts(void **state)
{
    struct ctx *c = *state;
    static const char *const bad[] = {
        "\"a\\r\\nX: y\"", "\"a\\nb\"", "\"a\\rb\"",   "\"\\u0000\"",
        "\"a\\u0000b\"",   "\"\\t\"",   "\"\\u007f\"", "\"\\u0085\"",
        "\"a\\u001b[2J\"", "5",         "null",        "true",
        "[\"a\"]",         "{}",
    };
    static const char *const good[] = {
        "\"\"", "\"a b\"", "\"Bearer x==\"", "\"\\u00e9\"", "\": ;,\"",
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        header_is(c, "X-A", bad[i], false);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        header_is(c, "X-A", good[i], true);
}

static void headers_are_bounded(void **state)
{
    struct ctx *c = *state;
    static char body[WEBHOOK_HEADERS_BYTES + 64], value[5000];
    size_t n;

    n = (size_t)snprintf(body, sizeof body, "{\"headers\":{");
    memset(value, 'v', sizeof value);
    for (int i = 0; i <= WEBHOOK_HEADERS_MAX; i++) {
        char whole[1024];

        n += (size_t)snprintf(body + n, sizeof body - n, "%s\"X-%d\":\"v\"",
                              i ? "," : "", i);
        snprintf(whole, sizeof whole, "%.900s}}", body);
        judge_is(c, whole, false, false,
                 i < WEBHOOK_HEADERS_MAX ? "" : "headers");
    }
    snprintf(body, sizeof body, "{\"headers\":{\"X-A\":\"%.*s\"}}",
             WEBHOOK_HEADERS_BYTES - 3, value);
    judge_is(c, body, false, false, "");
    snprintf(body, sizeof body, "{\"headers\":{\"X-A\":\"%.*s\"}}",
             WEBHOOK_HEADERS_BYTES - 2, value);
    judge_is(c, body, false, false, "headers");
}

static void set_is(struct ctx *c, const char *body, bool form, bool creates,
                   const char *want)
{
    struct webhook_faults faults;
    bson_t *set;
    char *got;

    if (webhook_judge(c, json(c, body), form, creates, &set, &faults) != OK)
        fail_msg("%s: %s", body, c->reason);
    got = bson_as_relaxed_extended_json(set, NULL);
    assert_string_equal(got, want);
    bson_free(got);
}

static void what_is_left_out_takes_its_default(void **state)
{
    set_is(*state,
           "{\"secret\":\"mine\",\"_id\":1,\"createdAt\":2," MINIMAL "}", false,
           true,
           "{ \"name\" : \"n\", \"url\" : \"https://a.example/\", "
           "\"collection\" : \"o\", \"events\" : [ \"create\" ], "
           "\"filters\" : {  }, \"excludeFields\" : [  ], \"ordered\" : false, "
           "\"priority\" : 0, \"headers\" : {  }, \"enabled\" : true, "
           "\"disabledReason\" : null, \"rateLimit\" : { "
           "\"maxRequestsPerMinute\" : 60, \"maxRetries\" : 3, "
           "\"baseDelayMs\" : 1000, \"maxDelayMs\" : 30000 } }");
}

static void change_sets_what_was_sent(void **state)
{
    struct ctx *c = *state;

    set_is(c, "{}", false, false, "{ }");
    set_is(c, "{\"events\":[\"delete\",\"create\",\"delete\"]}", false, false,
           "{ \"events\" : [ \"delete\", \"create\" ] }");
    set_is(c, "{\"enabled\":true}", false, false,
           "{ \"enabled\" : true, \"disabledReason\" : null }");
    set_is(c, "{\"enabled\":false,\"disabledReason\":\"x\"}", false, false,
           "{ \"enabled\" : false }");
    set_is(c,
           "{\"rateLimit\":{\"maxRequestsPerMinute\":1e30,\"maxRetries\":2.9,"
           "\"maxDelayMs\":-7}}",
           false, false,
           "{ \"rateLimit\" : { \"maxRequestsPerMinute\" : 300, "
           "\"maxRetries\" : 2, \"baseDelayMs\" : 1000, "
           "\"maxDelayMs\" : 1000 } }");
}

static void form_is_all_texts(void **state)
{
    struct ctx *c = *state;

    set_is(c,
           "{\"events\":\"create\",\"excludeFields\":\"a\","
           "\"ordered\":\"true\",\"priority\":\"9\",\"enabled\":\"false\","
           "\"headers\":{\"X-A\":\"1\"},\"rateLimit\":{\"maxRetries\":\"0\"}}",
           true, false,
           "{ \"events\" : [ \"create\" ], \"excludeFields\" : [ \"a\" ], "
           "\"ordered\" : true, \"priority\" : 9, "
           "\"headers\" : { \"X-A\" : \"1\" }, \"enabled\" : false, "
           "\"rateLimit\" : { \"maxRequestsPerMinute\" : 60, "
           "\"maxRetries\" : 0, \"baseDelayMs\" : 1000, "
           "\"maxDelayMs\" : 30000 } }");
    judge_is(c,
             "{\"ordered\":\"yes\",\"priority\":\"1e2\",\"enabled\":\"\","
             "\"rateLimit\":{\"maxRetries\":\"2.5\"},\"filters\":\"{}\"}",
             true, false,
             "filters ordered priority enabled rateLimit.maxRetries");
}

static void other_members_have_errors_of_their_own(void **state)
{
    struct ctx *c = *state;
    static const struct {
        const char *body;
        enum err err;
    } rows[] = {
        {"{\"collection\":\"a b\"}", ERR_BAD_COLLECTION_NAME},
        {"{\"collection\":\"_outbox\"}", ERR_SYSTEM_COLLECTION},
        {"{\"filters\":{\"$where\":\"1\"}}", ERR_BAD_OPERATOR},
        {"{\"filters\":{\"a\":{\"$foo\":1}}}", ERR_BAD_OPERATOR},
        {"{\"filters\":{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":{\"g\":{"
         "\"h\":{\"i\":{\"j\":{\"k\":1}}}}}}}}}}}}",
         ERR_FILTER_TOO_COMPLEX},
        /* what is malformed is told first */
        {"{\"collection\":\"a b\",\"priority\":-1}", ERR_VALIDATION_ERROR},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct webhook_faults faults;
        bson_t *set;

        assert_int_equal(webhook_judge(c, json(c, rows[i].body), false, false,
                                       &set, &faults),
                         rows[i].err);
        ctx_forgive(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MONGOD(what_is_wrong_is_named),
        WITH_MONGOD(texts_have_a_length),
        WITH_MONGOD(excluded_names_are_bounded),
        WITH_MONGOD(a_definition_is_bounded),
        WITH_MONGOD(headers_that_may_not_be_set_are_refused),
        WITH_MONGOD(header_values_are_clean_texts),
        WITH_MONGOD(headers_are_bounded),
        WITH_MONGOD(what_is_left_out_takes_its_default),
        WITH_MONGOD(change_sets_what_was_sent),
        WITH_MONGOD(form_is_all_texts),
        WITH_MONGOD(other_members_have_errors_of_their_own),
    };

    return cmocka_run_group_tests(tests, mongod_setup, mongod_teardown);
}
