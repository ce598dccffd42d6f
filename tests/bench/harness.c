/* harness - see harness.h */
#include "tests/bench/harness.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hiredis/hiredis.h>
#include <mongoc/mongoc.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/coord/rds_target.h"
#include "lib/data/mongo.h"

enum {
    PROCESSES_MAX = 64,
    SLOTS = 20000, /* of 10 us; the last holds all that took longer */
    SLOT_US = 10
};

/* Between parent and children. */
static struct shared {
    pthread_barrier_t start;
    uint64_t ops, runs, errors, empty;
    uint32_t took[SLOTS];
    pthread_mutex_t lock;
} * shared;

static uint64_t runs, errors;
static uint32_t took[SLOTS];

struct bench bench;

void bench_open(size_t arena_max, ms most)
{
    ctx_init(&bench.ctx, bench.conf, arena_max);
    bench.ctx.deadline = clock_mono_ms() + most;
}

bool bench_open_mongo(size_t arena_max, ms most)
{
    struct mongo_limits limits = mongo_limits_brief(1, most);
    struct mongo_pool *pool = mongo_pool_new(bench.conf, &limits);

    bench_open(arena_max, most);
    bench.ctx.mongo = pool ? mongo_client_new(pool) : NULL;
    return bench.ctx.mongo != NULL;
}

void bench_begin(ms most)
{
    ctx_reset(&bench.ctx);
    bench.ctx.deadline = clock_mono_ms() + most;
}

struct redisContext *bench_redis(void)
{
    struct rds_target target;
    redisContext *r;
    char text[256];

    snprintf(text, sizeof text, "%s", bench.conf->redis_url);
    if (!rds_target_of(bench.conf, &target) || !rds_target_read(&target, text))
        return NULL;
    r = target.path ? redisConnectUnix(target.path)
                    : redisConnect(target.host, target.port);
    return r && !r->err ? r : NULL;
}

bool bench_good(const char *what, enum err err)
{
    if (err)
        fprintf(stderr, "%s: %s %s\n", what, err_code(err), bench.ctx.reason);
    return err == OK;
}

static void note(int64_t us)
{
    int64_t slot = us / SLOT_US;

    took[slot < SLOTS ? slot : SLOTS - 1]++;
    runs++;
}

static void add(const struct bench_mode *mode)
{
    pthread_mutex_lock(&shared->lock);
    shared->runs += runs;
    shared->ops += runs * (mode->worth ? mode->worth : 1);
    shared->errors += errors;
    shared->empty += bench.empty;
    for (int s = 0; s < SLOTS; s++)
        shared->took[s] += took[s];
    pthread_mutex_unlock(&shared->lock);
}

static void child(const struct bench_mode *mode, int i, double seconds)
{
    bool open = mode->open(i);
    int64_t now, then, end;

    errors += !open || !mode->run();
    pthread_barrier_wait(&shared->start);
    now = clock_mono_us();
    end = now + (int64_t)(seconds * 1e6);
    while (errors == 0 && now < end) {
        bench.took_us = -1;
        errors += !mode->run();
        then = now;
        now = clock_mono_us();
        note(bench.took_us < 0 ? now - then : bench.took_us);
    }
    add(mode);
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

/* So many of a hundred took longer. */
static double longer_ms(uint64_t percent)
{
    uint64_t left = shared->runs * percent / 100;
    int s = SLOTS - 1;

    while (s > 0 && shared->took[s] <= left)
        left -= shared->took[s--];
    return (double)(s + 1) * SLOT_US / 1000;
}

static void print(double seconds)
{
    struct rusage u;

    getrusage(RUSAGE_CHILDREN, &u);
    printf("{\"ops\":%llu,\"seconds\":%.6f,\"errors\":%llu,\"empty\":%llu,"
           "\"cpu_us\":%lld,\"p50_ms\":%.2f,\"p99_ms\":%.2f}\n",
           (unsigned long long)shared->ops, seconds,
           (unsigned long long)shared->errors,
           (unsigned long long)shared->empty,
           (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000LL +
               u.ru_utime.tv_usec + u.ru_stime.tv_usec,
           longer_ms(50), longer_ms(1));
}

static int measure(const struct bench_mode *mode, int processes, double seconds)
{
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
    print((double)(clock_mono_us() - start) / 1e6);
    return shared->errors > 0;
}

static int usage(const char *program, const struct bench_mode *modes, size_t n)
{
    fprintf(stderr, "usage: %s ", program);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "%s%s", i ? "|" : "", modes[i].name);
    fputs(" PROCESSES SECONDS\n", stderr);
    return 2;
}

int bench_main(int argc, char **argv, const struct bench_mode *modes, size_t n)
{
    const struct bench_mode *mode = NULL;
    int64_t processes = 0;
    struct conf *conf;
    int problems, code;
    double seconds;

    for (size_t i = 0; argc == 4 && i < n; i++)
        if (strcmp(modes[i].name, argv[1]) == 0)
            mode = &modes[i];
    if (!mode || !str_to_i64(str_of(argv[2]), &processes) || processes < 1 ||
        processes > PROCESSES_MAX)
        return usage(argv[0], modes, n);
    conf = conf_new(environ, "", stderr, &problems);
    if (!conf || problems || !share((unsigned)processes))
        return 2;
    bench.conf = conf;
    mongoc_init();
    mongoc_log_set_handler(NULL, NULL);
    seconds = strtod(argv[3], NULL);
    code = mode->prepare ? !mode->prepare(seconds)
                         : measure(mode, (int)processes, seconds);
    conf_free(conf);
    return code;
}
