/*
 * lock_bench MODE PROCESSES SECONDS - locks without HTTP, and what Redis can do
 * at best, each process on a connection of its own
 *
 *   lock  lock_acquire and lock_release of a name of the process's own; a pair
 *         counts once
 *   raw   EVALSHA of "return 1" with one key, by hiredis, unpipelined
 *
 * Settings come from the environment, as for the programs. Each process runs
 * one operation before the clock starts. Prints one JSON line: operations,
 * seconds, errors, CPU time, and the 99th percentile of one operation. Exit
 * code 1 when there was an error.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/coord/lock.h"
#include "lib/coord/rds_target.h"
#include "lib/data/mongo.h"

enum {
    PROCESSES_MAX = 64,
    CALL_MS = 5000,
    TTL_MS = 30000,
    SLOTS = 20000, /* of 10 us; the last holds all that took longer */
    SLOT_US = 10
};

/* Between parent and children. */
static struct shared {
    pthread_barrier_t start;
    uint64_t ops, errors;
    uint32_t took[SLOTS];
    pthread_mutex_t lock;
} * shared;

static struct {
    const struct conf *conf;
    struct ctx ctx;
    struct lock_place place;
    struct lock_ask ask;
    char name[32];
    redisContext *redis;
    uint64_t ops, errors;
    uint32_t took[SLOTS];
} job;

static bool open_locks(int i)
{
    struct mongo_limits limits = mongo_limits_brief(1, CALL_MS);
    struct mongo_pool *pool = mongo_pool_new(job.conf, &limits);
    struct ctx *c = &job.ctx;

    ctx_init(c, job.conf, 16 << 20);
    c->mongo = pool ? mongo_client_new(pool) : NULL;
    snprintf(job.name, sizeof job.name, "bench/%d", i);
    job.ask = (struct lock_ask){
        .name = str_of(job.name),
        .owner = STR("lock_bench"),
        .instance = str_of(job.conf->cluster_instance_id),
        .ttl_ms = TTL_MS,
    };
    return c->mongo != NULL;
}

static bool run_lock(void)
{
    struct ctx *c = &job.ctx;
    struct lock_holder holder;
    struct lock lock;
    enum err err;

    ctx_reset(c);
    c->deadline = clock_mono_ms() + CALL_MS;
    err = lock_acquire(c, &job.place, &job.ask, &lock, &holder);
    if (err == OK)
        err = lock_release(c, &job.place, &lock);
    if (err)
        fprintf(stderr, "lock_bench: %s %s\n", err_code(err), c->reason);
    return err == OK;
}

static redisReply *ask(int n, const char **words)
{
    return redisCommandArgv(job.redis, n, words, NULL);
}

static bool open_raw(int i)
{
    const char *load[] = {"SCRIPT", "LOAD", "return 1"};
    struct rds_target target;
    char text[256];
    redisReply *r;

    snprintf(job.name, sizeof job.name, "bench:%d", i);
    snprintf(text, sizeof text, "%s", job.conf->redis_url);
    if (!rds_target_of(job.conf, &target) || !rds_target_read(&target, text))
        return false;
    job.redis = target.path ? redisConnectUnix(target.path)
                            : redisConnect(target.host, target.port);
    if (!job.redis || job.redis->err)
        return false;
    r = ask(3, load);
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

static const struct mode {
    const char *name;
    bool (*open)(int i);
    bool (*run)(void);
} modes[] = {{"lock", open_locks, run_lock}, {"raw", open_raw, run_raw}};

static void note(int64_t us)
{
    int64_t slot = us / SLOT_US;

    job.took[slot < SLOTS ? slot : SLOTS - 1]++;
}

static void child(const struct mode *mode, int i, double seconds)
{
    bool open = mode->open(i);
    int64_t now, then, end;

    job.errors += !open || !mode->run();
    pthread_barrier_wait(&shared->start);
    now = clock_mono_us();
    end = now + (int64_t)(seconds * 1e6);
    while (open && job.errors == 0 && now < end) {
        job.errors += !mode->run();
        then = now;
        now = clock_mono_us();
        note(now - then);
        job.ops++;
    }
    pthread_mutex_lock(&shared->lock);
    shared->ops += job.ops;
    shared->errors += job.errors;
    for (int s = 0; s < SLOTS; s++)
        shared->took[s] += job.took[s];
    pthread_mutex_unlock(&shared->lock);
    _exit(0);
}

static bool share(unsigned processes)
{
    pthread_barrierattr_t barrier;
    pthread_mutexattr_t mutex;

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return false;
    pthread_barrierattr_init(&barrier);
    pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_init(&mutex);
    pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
    return pthread_mutex_init(&shared->lock, &mutex) == 0 &&
           pthread_barrier_init(&shared->start, &barrier, processes + 1) == 0;
}

static double p99_ms(void)
{
    uint64_t left = shared->ops / 100;
    int s = SLOTS - 1;

    while (s > 0 && shared->took[s] <= left)
        left -= shared->took[s--];
    return (double)(s + 1) * SLOT_US / 1000;
}

static int run(const struct mode *mode, int processes, double seconds)
{
    struct rusage u;
    int64_t start;
    int status;

    for (int i = 0; i < processes; i++) {
        pid_t pid = fork();

        if (pid < 0)
            return 1;
        if (pid == 0)
            child(mode, i, seconds);
    }
    pthread_barrier_wait(&shared->start);
    start = clock_mono_us();
    for (int i = 0; i < processes; i++)
        shared->errors += wait(&status) < 0 || status != 0;
    seconds = (double)(clock_mono_us() - start) / 1e6;
    getrusage(RUSAGE_CHILDREN, &u);
    printf("{\"ops\":%llu,\"seconds\":%.6f,\"errors\":%llu,\"cpu_us\":%lld,"
           "\"p99_ms\":%.2f}\n",
           (unsigned long long)shared->ops, seconds,
           (unsigned long long)shared->errors,
           (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000LL +
               u.ru_utime.tv_usec + u.ru_stime.tv_usec,
           p99_ms());
    return shared->errors > 0;
}

int main(int argc, char **argv)
{
    const struct mode *mode = NULL;
    int64_t processes = 0;
    struct conf *conf;
    int problems, code;

    for (size_t i = 0; argc == 4 && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, argv[1]) == 0)
            mode = &modes[i];
    if (!mode || !str_to_i64(str_of(argv[2]), &processes) || processes < 1 ||
        processes > PROCESSES_MAX) {
        fputs("usage: lock_bench lock|raw PROCESSES SECONDS\n", stderr);
        return 2;
    }
    conf = conf_new(environ, "", stderr, &problems);
    if (!conf || problems || !share((unsigned)processes))
        return 2;
    job.conf = conf;
    code = run(mode, (int)processes, strtod(argv[3], NULL));
    conf_free(conf);
    return code;
}
