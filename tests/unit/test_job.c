/* test_job - ids that are derived, rows, and how clients see them */
#include "lib/data/job.h"

#include "lib/base/clock.h"
#include "lib/data/json_out.h"
#include "tests/unit/support.h"

#define EVENT   "665f1c2e9b1e8a0012ab34cd"
#define WEBHOOK "665f1c2e9b1e8a0012ab34ce"

static void ids_are_those_of_the_published_vector(void **state)
{
    char id[JOB_ID_MAX], message[JOB_MESSAGE_ID_MAX];

    assert_int_equal(
        job_ids(*state, STR(EVENT), STR(WEBHOOK), 1767225600000, id, message),
        OK);
    assert_string_equal(id, WEBHOOK "-1767225600000-7a12znb5c");
    assert_string_equal(message, "msg_7yWzpNVqVquNxbs11rA1Jy6Dk3N");
}

static void ids_have_their_form(void **state)
{
    static const char *const bad[] = {"",
                                      "x",
                                      WEBHOOK,
                                      WEBHOOK "-1767225600000",
                                      WEBHOOK "--7a12znb5c",
                                      WEBHOOK "-1767225600000-7a12znb5",
                                      WEBHOOK "-1767225600000-7a12znb5c-",
                                      WEBHOOK "-1767225600000-7A12znb5c",
                                      "g65f1c2e9b1e8a0012ab34ce-1-7a12znb5c",
                                      WEBHOOK "-1234567890123456-7a12znb5c",
                                      "test:" WEBHOOK "-1-7a12znb5c"};

    (void)state;
    assert_true(job_is_id(STR(WEBHOOK "-1767225600000-7a12znb5c")));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(job_is_id(str_of(bad[i])));
}

static void classes_follow_priorities(void **state)
{
    (void)state;
    assert_int_equal(job_class(1), 0);
    assert_int_equal(job_class(1023), 1022);
    assert_int_equal(job_class(0), 1023);
}

static struct job_new some(void)
{
    return (struct job_new){.id = STR(WEBHOOK "-1767225600000-7a12znb5c"),
                            .message_id = STR("msg_1"),
                            .subscriber = STR(WEBHOOK),
                            .lim = STR(WEBHOOK),
                            .group = STR(WEBHOOK ":d"),
                            .ord = 7,
                            .cls = 3,
                            .ts = 1767225600000,
                            .tries_max = 4,
                            .event = STR("update"),
                            .collection = STR("things"),
                            .body = STR("{\"a\":\"\xc3\xa4\"}")};
}

static void row_is_read_as_it_was_made(void **state)
{
    struct job_new n = some();
    struct job job;
    bson_t *row;

    assert_int_equal(job_row(*state, &n, &row), OK);
    assert_true(job_read(row, &job));
    assert_str(job.id, n.id.p);
    assert_str(job.message_id, "msg_1");
    assert_str(job.body, n.body.p);
    assert_str(job.group, WEBHOOK ":d");
    assert_int_equal(job.state, JOB_WAITING);
    assert_int_equal(job.ord, 7);
    assert_int_equal(job.tries_max, 4);
    assert_true(job.ordered);
    assert_false(job.once);
    n.group = n.lim;
    n.ord = 0;
    n.once = true;
    assert_int_equal(job_row(*state, &n, &row), OK);
    assert_true(job_read(row, &job));
    assert_false(job.ordered);
    assert_true(job.once);
    assert_false(bson_has_field(row, "ord"));
}

static void rows_of_strangers_are_none(void **state)
{
    bson_t *row = BCON_NEW("_id", "x", "st", "waiting", "lim", BCON_INT32(1));
    struct job job;

    (void)state;
    assert_false(job_read(row, &job));
    bson_destroy(row);
}

/* ---- JSON */

static void assert_shown(struct ctx *c, const bson_t *row, const char *want)
{
    struct buf b;

    (void)c;
    buf_init(&b, 1 << 16, ERR_OVERLOADED);
    job_write(&b, row);
    assert_int_equal(b.err, OK);
    assert_str(buf_str(&b), want);
    buf_done(&b);
}

static void new_delivery_is_shown(void **state)
{
    struct job_new n = some();
    bson_t *row;

    clock_set(1000, 1767225600500);
    assert_int_equal(job_row(*state, &n, &row), OK);
    clock_unset();
    assert_shown(*state, row,
                 "{\"deliveryId\":\"" WEBHOOK "-1767225600000-7a12znb5c\","
                 "\"messageId\":\"msg_1\",\"webhookId\":\"" WEBHOOK "\","
                 "\"event\":\"update\",\"collection\":\"things\","
                 "\"documentId\":null,\"status\":\"pending\",\"attempts\":0,"
                 "\"replays\":0,\"createdAt\":\"2026-01-01T00:00:00.500Z\","
                 "\"nextAttemptAt\":\"2026-01-01T00:00:00.000Z\","
                 "\"finishedAt\":null,\"lastStatusCode\":null,"
                 "\"lastError\":null,\"log\":[]}");
}

static void data_set_that_is_told_of_it_is_in_the_row(void **state)
{
    struct job_new n = some();
    bson_t *row;
    str v;

    assert_int_equal(job_row(*state, &n, &row), OK);
    assert_false(bson_has_field(row, "enq"));
    n.enq = STR("00000000000000aa");
    assert_int_equal(job_row(*state, &n, &row), OK);
    assert_true(json_out_text_member(row, "enq", &v));
    assert_str(v, "00000000000000aa");
}

static bson_t *dead_row(void)
{
    return BCON_NEW(
        "_id", "j", "msgId", "m", "sub", "w", "event", "delete", "coll", "c",
        "docId", BCON_INT32(5), "st", "dead", "tries", BCON_INT64(2), "replays",
        BCON_INT64(1), "at", BCON_DATE_TIME(1767225600000), "endAt",
        BCON_DATE_TIME(1767225601000), "reason", "exhausted", "attempts", "[",
        "{", "n", BCON_INT64(1), "at", BCON_DATE_TIME(1767225600000), "ms",
        BCON_INT64(12), "code", BCON_INT32(500), "error", "http-status",
        "instance", "i-1", "}", "{", "n", BCON_INT64(2), "at",
        BCON_DATE_TIME(1767225600000), "ms", BCON_INT64(13), "code",
        BCON_INT32(0), "error", "timeout", "instance", "i-2", "}", "]");
}

static void ended_delivery_is_shown_with_its_log(void **state)
{
    bson_t *row = dead_row();

    assert_shown(
        *state, row,
        "{\"deliveryId\":\"j\",\"messageId\":\"m\",\"webhookId\":\"w\","
        "\"event\":\"delete\",\"collection\":\"c\",\"documentId\":5,"
        "\"status\":\"dead\",\"attempts\":2,\"replays\":1,"
        "\"createdAt\":\"2026-01-01T00:00:00.000Z\",\"nextAttemptAt\":null,"
        "\"finishedAt\":\"2026-01-01T00:00:01.000Z\",\"lastStatusCode\":null,"
        "\"lastError\":\"timeout\",\"log\":[{\"attempt\":1,"
        "\"startedAt\":\"2026-01-01T00:00:00.000Z\",\"durationMs\":12,"
        "\"statusCode\":500,\"error\":\"http-status\",\"instance\":\"i-1\"},"
        "{\"attempt\":2,\"startedAt\":\"2026-01-01T00:00:00.000Z\","
        "\"durationMs\":13,\"statusCode\":null,\"error\":\"timeout\","
        "\"instance\":\"i-2\"}]}");
    bson_destroy(row);
}

static void dead_letter_is_shown(void **state)
{
    bson_t *row = dead_row();
    struct buf b;

    (void)state;
    buf_init(&b, 1 << 16, ERR_OVERLOADED);
    job_write_dead(&b, row, STR("name"), STR_NONE);
    assert_str(buf_str(&b),
               "{\"deliveryId\":\"j\",\"messageId\":\"m\",\"webhookId\":\"w\","
               "\"webhookName\":\"name\",\"url\":null,\"event\":\"delete\","
               "\"collection\":\"c\",\"documentId\":5,\"attempts\":2,"
               "\"replays\":1,\"reason\":\"exhausted\",\"lastStatusCode\":null,"
               "\"lastError\":\"timeout\","
               "\"createdAt\":\"2026-01-01T00:00:00.000Z\","
               "\"failedAt\":\"2026-01-01T00:00:01.000Z\"}");
    buf_done(&b);
    bson_destroy(row);
}

static void every_status_has_its_filter(void **state)
{
    static const struct {
        const char *st;
        int64_t tries;
        const char *status;
    } rows[] = {{"waiting", 0, "pending"},     {"waiting", 1, "retrying"},
                {"leased", 0, "delivering"},   {"done", 1, "success"},
                {"dead", 4, "dead"},           {"lost", 0, "dead"},
                {"cancelled", 0, "cancelled"}, {"nonsense", 0, "dead"}};
    bson_t none = BSON_INITIALIZER;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bson_t *row =
            BCON_NEW("st", rows[i].st, "tries", BCON_INT64(rows[i].tries));
        bson_t filter = BSON_INITIALIZER;

        assert_string_equal(job_status(row), rows[i].status);
        assert_true(job_status_filter(str_of(rows[i].status), &filter));
        bson_destroy(&filter);
        bson_destroy(row);
    }
    assert_false(job_status_filter(STR("failed"), &none));
    assert_true(bson_empty(&none));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_of_the_published_vector),
        cmocka_unit_test(ids_have_their_form),
        cmocka_unit_test(classes_follow_priorities),
        cmocka_unit_test(row_is_read_as_it_was_made),
        cmocka_unit_test(rows_of_strangers_are_none),
        cmocka_unit_test(new_delivery_is_shown),
        cmocka_unit_test(data_set_that_is_told_of_it_is_in_the_row),
        cmocka_unit_test(ended_delivery_is_shown_with_its_log),
        cmocka_unit_test(dead_letter_is_shown),
        cmocka_unit_test(every_status_has_its_filter),
    };

    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
