#pragma once
/*
 * deliver_judge - what came of a try: the answer of the receiver to the result
 * of the job (pure)
 *
 *   answer                    verdict                    health  beside
 *   2xx                       done                       ok
 *   410                       dead: gone                 failed  webhook off
 *   denied address            dead: target-not-allowed   failed
 *   429, 503 + Retry-After    as any other               failed  holds all
 *   any other                 retry, dead: exhausted     failed
 *   a failure of ours         retry, dead: exhausted     same
 *
 * A `once` job says nothing about its receiver and switches nothing off.
 */
#include "lib/base/metrics.h"
#include "lib/coord/queue.h"
#include "lib/run/http.h"

enum {
    JUDGE_HOLD_MAX_MS = 3600000 /* of a Retry-After */
};

struct judgement {
    bool gone; /* the webhook is to be disabled */
    enum metric_attempt metric;
    struct job_result result; /* but started_wall and result */
};

/* Not for HTTP_STOPPED, which is no result. chance: any random number. */
void deliver_judge(const struct job *job, const struct webhook *w,
                   const struct http_answer *a, uint32_t chance,
                   struct judgement *out);
