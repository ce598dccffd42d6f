/* deliver_judge - see deliver_judge.h */
#include "workers/deliver_judge.h"

enum {
    GONE = 410,
    TOO_MANY = 429,
    UNAVAILABLE = 503
};

static bool is_success(const struct http_answer *a)
{
    return a->outcome == HTTP_ANSWERED && a->status >= 200 && a->status <= 299;
}

static enum metric_attempt metric_of(const struct http_answer *a)
{
    if (is_success(a))
        return METRIC_ATTEMPT_SUCCESS;
    switch (a->outcome) {
    case HTTP_ANSWERED:
    case HTTP_TOO_LARGE:
        return METRIC_ATTEMPT_STATUS;
    case HTTP_TIMEOUT:
        return METRIC_ATTEMPT_TIMEOUT;
    case HTTP_DENIED:
        return METRIC_ATTEMPT_DENIED;
    case HTTP_DNS:
    case HTTP_CONNECT:
    case HTTP_TLS:
    case HTTP_STOPPED:
    case HTTP_FAILED:
        return METRIC_ATTEMPT_NETWORK;
    }
    return METRIC_ATTEMPT_NETWORK;
}

static enum job_health health_of(const struct job *job,
                                 const struct http_answer *a)
{
    if (job->once || a->outcome == HTTP_FAILED)
        return HEALTH_SAME;
    return is_success(a) ? HEALTH_OK : HEALTH_FAILED;
}

/* How long the receiver wants to be left alone, where that is longer than it
 * would be anyway; else 0. */
static ms asked_wait(const struct http_answer *a, ms delay)
{
    ms wait = a->retry_after_ms;

    if (a->outcome != HTTP_ANSWERED || wait <= delay ||
        (a->status != TOO_MANY && a->status != UNAVAILABLE))
        return 0;
    return wait > JUDGE_HOLD_MAX_MS ? JUDGE_HOLD_MAX_MS : wait;
}

static void kill_job(struct job_result *r, const char *reason)
{
    r->verdict = VERDICT_DEAD;
    r->reason = reason;
    r->delay_ms = 0;
}

void deliver_judge(const struct job *job, const struct webhook *w,
                   const struct http_answer *a, uint32_t chance,
                   struct judgement *out)
{
    struct job_result *r = &out->result;
    int64_t tries = job->tries + 1;
    ms asked;

    *out = (struct judgement){.metric = metric_of(a)};
    r->health = health_of(job, a);
    r->took_ms = a->took_ms;
    r->code = a->outcome == HTTP_ANSWERED ? a->status : 0;
    r->error = http_error_class(a);
    if (is_success(a))
        return; /* VERDICT_DONE */
    r->verdict = VERDICT_RETRY;
    r->delay_ms = backoff_retry_ms(&w->backoff, tries, chance);
    asked = job->once ? 0 : asked_wait(a, r->delay_ms);
    if (asked > 0)
        r->delay_ms = r->hold_ms = asked;
    if (a->outcome == HTTP_DENIED) {
        kill_job(r, "target-not-allowed");
    } else if (a->outcome == HTTP_ANSWERED && a->status == GONE) {
        kill_job(r, "gone");
        out->gone = !job->once;
    } else if (tries >= job->tries_max) {
        kill_job(r, "exhausted");
    }
}
