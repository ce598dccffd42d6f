/*
 * index_bench MODE PROCESSES SECONDS - the index of the queue in Redis without
 * rows in MongoDB, each process on a connection of its own (harness.h)
 *
 *   seed     empties the Redis database of REDIS_URL, opens a data set there,
 *            and puts jobs of 200 subscribers in it, as many as last for `step`
 *            of so many seconds
 *   ordered  the same, 40 groups of each subscriber: their order counts
 *   step     index_step: tells one job as done and claims the next
 *   empty    the data set without jobs, and room for more than any will come
 *   many     index_enqueue of 50 new jobs; each job counts
 *   one      index_enqueue of one new job
 *
 * Each subscriber has the limit that the row `deliveries` has, and none reaches
 * it.
 */
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/coord/rds.h"
#include "lib/coord/redis_queue.h"
#include "tests/bench/harness.h"

enum {
    SUBSCRIBERS = 200,
    GROUPS = 40,           /* of each */
    JOBS_A_SECOND = 25000, /* more than are claimed */
    SEED_MS = 120000,
    LEASE_MS = 15000,
    CAP = 1000,
    MAX = 100000000,
    LIMIT = 300,
    WINDOW_MS = 1250,
    ARENA = 16 << 20
};

#define DATASET "00000000000be9c4"

static struct {
    int64_t next; /* number of the next new job */
    bool ordered;
    struct index_told told;
    bool has_told;
} job;

static bool done(const char *what, enum index_result r)
{
    if (r != INDEX_DONE)
        fprintf(stderr, "index_bench: %s: result %d\n", what, (int)r);
    return r == INDEX_DONE;
}

static bool open_index(ms most)
{
    bench_open(ARENA, most);
    bench.ctx.index = DATASET;
    return rds_find(&bench.ctx) != NULL;
}

/* ---- jobs come */

static struct index_job new_job(void)
{
    struct arena *a = &bench.ctx.arena;
    int64_t n = job.next++;
    unsigned at = (unsigned)(n % SUBSCRIBERS);
    str lim = arena_strf(a, "%024x", at + 1);
    struct index_job j = {.lim = lim,
                          .group = lim,
                          .cls = job_class(0),
                          .ts = 1700000000000 + n,
                          .limit = LIMIT,
                          .window_ms = WINDOW_MS};

    j.id = arena_strf(a, "%s-1700000000000-%09lld", lim.p, (long long)n);
    if (job.ordered) {
        j.ord = n + 1;
        j.group = arena_strf(a, "%s:%024x", lim.p,
                             (unsigned)(n / SUBSCRIBERS % GROUPS));
    }
    return j;
}

static bool enqueue(size_t n)
{
    struct index_job jobs[INDEX_ENQUEUE_MAX];
    enum index_seat seats[INDEX_ENQUEUE_MAX];

    for (size_t i = 0; i < n; i++)
        jobs[i] = new_job();
    if (!done("enqueue", index_enqueue(&bench.ctx, QUEUE_WEBHOOK,
                                       INDEX_BY_FANOUT, jobs, n, seats)))
        return false;
    for (size_t i = 0; i < n; i++)
        if (seats[i] != INDEX_NEW) {
            fprintf(stderr, "index_bench: a job's seat is %d\n", (int)seats[i]);
            return false;
        }
    return true;
}

static bool call(const str *words, size_t n)
{
    struct ctx *c = &bench.ctx;
    struct rds *r = rds_find(c);
    struct rds_reply reply;
    enum rds_result result =
        rds_call(r, words, n, c->deadline, &c->arena, &reply);

    if (result != RDS_OK)
        fprintf(stderr, "index_bench: %s\n", rds_reason(r));
    return result == RDS_OK;
}

static bool empty(double seconds)
{
    static const struct index_meta meta = {.cap = CAP, .max = MAX};
    str flush[] = {STR("FLUSHDB")}, id[] = {STR("SET"), STR_NONE, STR(DATASET)};

    (void)seconds;
    if (!open_index(SEED_MS))
        return false;
    id[1] = arena_strf(&bench.ctx.arena, "%s:dataset",
                       bench.conf->redis_key_prefix);
    return call(flush, 1) && call(id, 3) &&
           done("meta", index_meta(&bench.ctx, QUEUE_WEBHOOK, &meta));
}

static bool seed(double seconds)
{
    int64_t n = (int64_t)(JOBS_A_SECOND * (seconds + 1));
    bool good = empty(seconds);

    while (good && job.next < n) {
        bench_begin(SEED_MS);
        good = enqueue(INDEX_ENQUEUE_MAX);
    }
    return good;
}

static bool seed_ordered(double seconds)
{
    job.ordered = true;
    return seed(seconds);
}

static bool open_many(int i)
{
    job.next = i * INT64_C(100000000);
    return open_index(BENCH_CALL_MS);
}

static bool run_many(void)
{
    bench_begin(BENCH_CALL_MS);
    return enqueue(INDEX_ENQUEUE_MAX);
}

static bool run_one(void)
{
    bench_begin(BENCH_CALL_MS);
    return enqueue(1);
}

/* ---- jobs are claimed and finished */

static bool open_step(int i)
{
    (void)i;
    return open_index(BENCH_CALL_MS);
}

static bool run_step(void)
{
    char token[ID_TOKEN_MAX];
    struct index_ask ask = {.token = token, .lease_ms = LEASE_MS, .want = true};
    struct index_step step;

    bench_begin(BENCH_CALL_MS);
    if (id_token(token) != OK ||
        !done("step", index_step(&bench.ctx, QUEUE_WEBHOOK, &ask,
                                 job.has_told ? &job.told : NULL, &step)))
        return false;
    if (!step.claimed || (job.has_told && !step.known)) {
        fputs("index_bench: nothing was claimed, or a claim was lost\n",
              stderr);
        return false;
    }
    job.told = (struct index_told){
        .dataset = DATASET, .verdict = INDEX_ENDED, .health = HEALTH_OK};
    snprintf(job.told.id, sizeof job.told.id, STR_FMT, STR_ARG(step.id));
    snprintf(job.told.token, sizeof job.told.token, "%s", token);
    job.has_told = true;
    return true;
}

static const struct bench_mode modes[] = {
    {.name = "seed", .prepare = seed},
    {.name = "ordered", .prepare = seed_ordered},
    {.name = "step", .open = open_step, .run = run_step},
    {.name = "empty", .prepare = empty},
    {.name = "many",
     .open = open_many,
     .run = run_many,
     .worth = INDEX_ENQUEUE_MAX},
    {.name = "one", .open = open_many, .run = run_one},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, modes, sizeof modes / sizeof *modes);
}
