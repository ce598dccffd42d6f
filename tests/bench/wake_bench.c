/*
 * wake_bench MODE PROCESSES SECONDS - how soon a sleeping worker claims what
 * comes (harness.h), one process
 *
 *   wake   puts a row of the webhook BENCH_HOOK there and tells the index;
 *          counted is the time until Redis says that somebody took it
 *
 * Redis has to be told to say so: notify-keyspace-events "Kz". Workers run, and
 * nothing else waits; the next row comes when they are at rest again.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include <hiredis/hiredis.h>
#include <mongoc/mongoc.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/coord/queue_inside.h"
#include "lib/coord/rds.h"
#include "tests/bench/harness.h"

enum {
    REST_MS = 25,
    LIMIT = 300,
    ARENA = 16 << 20
};

static struct {
    redisContext *heard;
    char dataset[DATASET_ID_MAX];
    str hook;
    int64_t next;
} job;

static bool know_dataset(void)
{
    struct ctx *c = &bench.ctx;
    struct rds *r = rds_find(c);
    struct rds_reply reply;
    str get[] = {STR("GET"), STR_NONE};

    get[1] = arena_strf(&c->arena, "%s:dataset", bench.conf->redis_key_prefix);
    if (!r || rds_call(r, get, 2, c->deadline, &c->arena, &reply) != RDS_OK ||
        reply.kind != RDS_TEXT || reply.text.n >= sizeof job.dataset)
        return false;
    snprintf(job.dataset, sizeof job.dataset, STR_FMT, STR_ARG(reply.text));
    c->index = job.dataset;
    return true;
}

/* Whoever claims a job adds it to those in flight. */
static bool hear(void)
{
    char key[128];
    redisReply *r;

    snprintf(key, sizeof key, "__keyspace@0__:%s:q:webhook:act",
             bench.conf->redis_key_prefix);
    job.heard = bench_redis();
    r = job.heard ? redisCommand(job.heard, "SUBSCRIBE %s", key) : NULL;
    if (r)
        freeReplyObject(r);
    return r != NULL;
}

static bool open_wake(int i)
{
    const char *hook = getenv("BENCH_HOOK");

    (void)i;
    job.hook = str_of(hook ? hook : "");
    return bench_open_mongo(ARENA, BENCH_CALL_MS) && know_dataset() && hear();
}

static str new_id(void)
{
    return arena_strf(&bench.ctx.arena, STR_FMT "-%lld-%09lld",
                      STR_ARG(job.hook), (long long)clock_wall_ms(),
                      (long long)job.next++);
}

/* The index knows it, as the sweep sees it. */
static bool insert(str id, ms ts)
{
    struct ctx *c = &bench.ctx;
    struct job_new j = {.id = id,
                        .message_id = STR("msg_0"),
                        .subscriber = job.hook,
                        .lim = job.hook,
                        .group = job.hook,
                        .cls = job_class(0),
                        .ts = ts,
                        .tries_max = 4,
                        .event = STR("create"),
                        .collection = STR("watched0"),
                        .body = STR("{\"event\":\"create\",\"data\":{}}")};
    bson_t *cmd = mongo_bson(c), *row, *reply;
    enum err err = cmd ? job_row(c, &j, &row) : ERR_OVERLOADED;

    if (err == OK && !bson_has_field(row, "enq"))
        BSON_APPEND_UTF8(row, "enq", job.dataset);
    if (err == OK) {
        BCON_APPEND(cmd, "insert", "_jobs", "documents", "[",
                    BCON_DOCUMENT(row), "]");
        err = queue_write(c, cmd, &reply);
    }
    return bench_good("wake_bench", err);
}

/* "message", whose key, "zadd" or another command. */
static bool is_taken(const redisReply *r)
{
    return r->type == REDIS_REPLY_ARRAY && r->elements == 3 &&
           strcmp(r->element[2]->str, "zadd") == 0;
}

static bool wait_taken(void)
{
    void *r = NULL;
    bool taken = false;

    while (!taken && redisGetReply(job.heard, &r) == REDIS_OK) {
        taken = is_taken(r);
        freeReplyObject(r);
    }
    if (!taken)
        fputs("wake_bench: nobody takes it\n", stderr);
    return taken;
}

static bool run_wake(void)
{
    struct ctx *c = &bench.ctx;
    struct index_job j = {.lim = job.hook,
                          .group = job.hook,
                          .cls = job_class(0),
                          .limit = LIMIT,
                          .window_ms =
                              bench.conf->webhook_rate_limit_window_ms +
                              queue_slack_ms(bench.conf)};
    enum index_seat seat = INDEX_FULL;
    int64_t start;

    bench_begin(BENCH_CALL_MS);
    j.id = new_id();
    j.ts = clock_wall_ms() - 10; /* of a host whose clock is a little ahead */
    if (!insert(j.id, j.ts))
        return false;
    poll(NULL, 0, REST_MS);
    start = clock_mono_us();
    if (index_enqueue(c, QUEUE_WEBHOOK, INDEX_BY_FANOUT, &j, 1, &seat) !=
            INDEX_DONE ||
        seat != INDEX_NEW) {
        fputs("wake_bench: it was not enqueued\n", stderr);
        return false;
    }
    if (!wait_taken())
        return false;
    bench.took_us = clock_mono_us() - start;
    return true;
}

static const struct bench_mode modes[] = {
    {.name = "wake", .open = open_wake, .run = run_wake},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, modes, sizeof modes / sizeof *modes);
}
