/*
 * lock_bench MODE PROCESSES SECONDS - locks without HTTP, and what Redis can do
 * at best, each process on a connection of its own (harness.h)
 *
 *   lock  lock_acquire and lock_release of a name of the process's own; a pair
 *         counts once
 *   raw   EVALSHA of "return 1" with one key, by hiredis, unpipelined
 */
#include <stdio.h>

#include <hiredis/hiredis.h>

#include "lib/base/conf.h"
#include "lib/coord/lock.h"
#include "tests/bench/harness.h"

enum {
    TTL_MS = 30000
};

static struct {
    struct lock_place place;
    struct lock_ask ask;
    char name[32];
    redisContext *redis;
} job;

static bool open_locks(int i)
{
    snprintf(job.name, sizeof job.name, "bench/%d", i);
    job.ask = (struct lock_ask){
        .name = str_of(job.name),
        .owner = STR("lock_bench"),
        .instance = str_of(bench.conf->cluster_instance_id),
        .ttl_ms = TTL_MS,
    };
    return bench_open_mongo(16 << 20, BENCH_CALL_MS);
}

static bool run_lock(void)
{
    struct ctx *c = &bench.ctx;
    struct lock_holder holder;
    struct lock lock;
    enum err err;

    bench_begin(BENCH_CALL_MS);
    err = lock_acquire(c, &job.place, &job.ask, &lock, &holder);
    if (err == OK)
        err = lock_release(c, &job.place, &lock);
    return bench_good("lock_bench", err);
}

static redisReply *ask(int n, const char **words)
{
    return redisCommandArgv(job.redis, n, words, NULL);
}

static bool open_raw(int i)
{
    const char *load[] = {"SCRIPT", "LOAD", "return 1"};
    redisReply *r;

    snprintf(job.name, sizeof job.name, "bench:%d", i);
    job.redis = bench_redis();
    r = job.redis ? ask(3, load) : NULL;
    if (r)
        freeReplyObject(r);
    return r != NULL;
}

static bool run_raw(void)
{
    /* SHA-1 of "return 1" */
    const char *words[] = {
        "EVALSHA", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "1", job.name};
    redisReply *r = ask(4, words);
    bool good = r && r->type == REDIS_REPLY_INTEGER && r->integer == 1;

    if (r)
        freeReplyObject(r);
    return good;
}

static const struct bench_mode modes[] = {
    {.name = "lock", .open = open_locks, .run = run_lock},
    {.name = "raw", .open = open_raw, .run = run_raw},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, modes, sizeof modes / sizeof *modes);
}
