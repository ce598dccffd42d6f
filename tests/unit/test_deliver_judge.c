/* test_deliver_judge - every outcome of a try, as a table */
#include "workers/deliver_judge.c"

#include "tests/unit/support.h"

enum {
    NONE = -1,
    DELAY = 4000, /* after the third try: 1000 x 2 x 2 */
    HOUR = 3600000
};

struct row {
    const char *title;
    enum http_outcome outcome;
    int status;
    ms retry_after;
    int64_t tries; /* made before this one; 4 are allowed */
    bool once;

    enum job_verdict verdict;
    const char *reason;
    enum job_health health;
    ms delay, hold;
    bool gone;
    enum metric_attempt metric;
};

#define ANSWER(status) HTTP_ANSWERED, status, NONE

/* clang-format off */
static const struct row rows[] = {
    {"200", ANSWER(200), 0, false,
     VERDICT_DONE, NULL, HEALTH_OK, 0, 0, false, METRIC_ATTEMPT_SUCCESS},
    {"299 at the last try", ANSWER(299), 3, false,
     VERDICT_DONE, NULL, HEALTH_OK, 0, 0, false, METRIC_ATTEMPT_SUCCESS},
    {"199", ANSWER(199), 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, DELAY, 0, false, METRIC_ATTEMPT_STATUS},
    {"300", ANSWER(300), 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, DELAY, 0, false, METRIC_ATTEMPT_STATUS},
    {"302", ANSWER(302), 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, DELAY, 0, false, METRIC_ATTEMPT_STATUS},
    {"500", ANSWER(500), 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, DELAY, 0, false, METRIC_ATTEMPT_STATUS},
    {"500, no try left", ANSWER(500), 3, false,
     VERDICT_DEAD, "exhausted", HEALTH_FAILED, 0, 0, false, METRIC_ATTEMPT_STATUS},
    {"500, more tries than allowed", ANSWER(500), 9, false,
     VERDICT_DEAD, "exhausted", HEALTH_FAILED, 0, 0, false, METRIC_ATTEMPT_STATUS},
    {"410 at the first try", ANSWER(410), 0, false,
     VERDICT_DEAD, "gone", HEALTH_FAILED, 0, 0, true, METRIC_ATTEMPT_STATUS},
    {"410 at the last try", ANSWER(410), 3, false,
     VERDICT_DEAD, "gone", HEALTH_FAILED, 0, 0, true, METRIC_ATTEMPT_STATUS},
    {"429", ANSWER(429), 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, DELAY, 0, false, METRIC_ATTEMPT_STATUS},
    {"429 and a wait", HTTP_ANSWERED, 429, 30000, 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, 30000, 30000, false, METRIC_ATTEMPT_STATUS},
    {"503 and a wait shorter than ours", HTTP_ANSWERED, 503, 1000, 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, DELAY, 0, false, METRIC_ATTEMPT_STATUS},
    {"503 and a day", HTTP_ANSWERED, 503, 24 * HOUR, 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, HOUR, HOUR, false, METRIC_ATTEMPT_STATUS},
    {"503 and a wait, no try left", HTTP_ANSWERED, 503, 30000, 3, false,
     VERDICT_DEAD, "exhausted", HEALTH_FAILED, 0, 30000, false, METRIC_ATTEMPT_STATUS},
    {"500 and a wait", HTTP_ANSWERED, 500, 30000, 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, DELAY, 0, false, METRIC_ATTEMPT_STATUS},
    {"timeout", HTTP_TIMEOUT, 0, NONE, 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, DELAY, 0, false, METRIC_ATTEMPT_TIMEOUT},
    {"dns", HTTP_DNS, 0, NONE, 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, DELAY, 0, false, METRIC_ATTEMPT_NETWORK},
    {"connect", HTTP_CONNECT, 0, NONE, 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, DELAY, 0, false, METRIC_ATTEMPT_NETWORK},
    {"connect, no try left", HTTP_CONNECT, 0, NONE, 3, false,
     VERDICT_DEAD, "exhausted", HEALTH_FAILED, 0, 0, false, METRIC_ATTEMPT_NETWORK},
    {"tls", HTTP_TLS, 0, NONE, 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, DELAY, 0, false, METRIC_ATTEMPT_NETWORK},
    {"denied at the first try", HTTP_DENIED, 0, NONE, 0, false,
     VERDICT_DEAD, "target-not-allowed", HEALTH_FAILED, 0, 0, false, METRIC_ATTEMPT_DENIED},
    {"headers without end", HTTP_TOO_LARGE, 0, NONE, 2, false,
     VERDICT_RETRY, NULL, HEALTH_FAILED, DELAY, 0, false, METRIC_ATTEMPT_STATUS},
    {"a failure of ours", HTTP_FAILED, 0, NONE, 2, false,
     VERDICT_RETRY, NULL, HEALTH_SAME, DELAY, 0, false, METRIC_ATTEMPT_NETWORK},
    {"a failure of ours, no try left", HTTP_FAILED, 0, NONE, 3, false,
     VERDICT_DEAD, "exhausted", HEALTH_SAME, 0, 0, false, METRIC_ATTEMPT_NETWORK},
    {"once: 200", ANSWER(200), 3, true,
     VERDICT_DONE, NULL, HEALTH_SAME, 0, 0, false, METRIC_ATTEMPT_SUCCESS},
    {"once: 500", ANSWER(500), 3, true,
     VERDICT_DEAD, "exhausted", HEALTH_SAME, 0, 0, false, METRIC_ATTEMPT_STATUS},
    {"once: 410 switches nothing off", ANSWER(410), 3, true,
     VERDICT_DEAD, "gone", HEALTH_SAME, 0, 0, false, METRIC_ATTEMPT_STATUS},
    {"once: 429 holds nobody", HTTP_ANSWERED, 429, 30000, 3, true,
     VERDICT_DEAD, "exhausted", HEALTH_SAME, 0, 0, false, METRIC_ATTEMPT_STATUS},
};
/* clang-format on */

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void check_row(const struct row *r)
{
    struct webhook w = {.backoff = {1000, 300000, 2, false}};
    struct job job = {.tries = r->tries, .tries_max = 4, .once = r->once};
    struct http_answer a = {r->outcome, r->status, r->retry_after, 123};
    const struct job_result *got;
    struct judgement j;

    deliver_judge(&job, &w, &a, 0, &j);
    got = &j.result;
    if (got->verdict != r->verdict || !same_text(got->reason, r->reason) ||
        got->health != r->health || got->delay_ms != r->delay ||
        got->hold_ms != r->hold || j.gone != r->gone || j.metric != r->metric)
        fail_msg("%s: verdict %d, reason %s, health %d, delay %lld, hold %lld, "
                 "gone %d, metric %d",
                 r->title, got->verdict, got->reason ? got->reason : "-",
                 got->health, (long long)got->delay_ms, (long long)got->hold_ms,
                 j.gone, j.metric);
    assert_int_equal(got->took_ms, 123);
    assert_int_equal(got->code, r->status);
    assert_true(same_text(got->error, http_error_class(&a)));
}

static void every_outcome_has_its_effect(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_row(&rows[i]);
}

static void half_of_the_wait_is_random(void **state)
{
    struct webhook w = {.backoff = {1000, 300000, 2, true}};
    struct job job = {.tries = 0, .tries_max = 4};
    struct http_answer a = {HTTP_ANSWERED, 500, NONE, 1};
    struct judgement j;

    (void)state;
    deliver_judge(&job, &w, &a, 0, &j);
    assert_in_range(j.result.delay_ms, 500, 510);
    deliver_judge(&job, &w, &a, UINT32_MAX, &j);
    assert_in_range(j.result.delay_ms, 990, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_outcome_has_its_effect),
        cmocka_unit_test(half_of_the_wait_is_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
