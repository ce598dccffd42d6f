#pragma once
/*
 * harness - what the programs of the benchmark share: processes that repeat one
 * operation as fast as they can, for so many seconds
 *
 *   PROGRAM MODE PROCESSES SECONDS
 *
 * main() is bench_main() with a table of modes. Each process opens what it
 * needs, runs one operation before the clock starts, then all run until the
 * time is over. Settings come from the environment, as for the programs. Prints
 * one JSON line: operations, seconds, errors, empty claims, CPU time, and the
 * median and 99th percentile of one run. Exit code 1 when there was an error,
 * after which its process runs no more.
 */
#include "lib/base/ctx.h"

struct bench_mode {
    const char *name;
    bool (*open)(int i); /* process i, from 0 on; says why not */
    bool (*run)(void);   /* likewise */
    uint64_t worth;      /* operations of one run; 0: one */
    /* Instead of both: what a measurement needs to be there. */
    bool (*prepare)(double seconds);
};

int bench_main(int argc, char **argv, const struct bench_mode *modes, size_t n);

/* Of this process. */
struct bench {
    const struct conf *conf;
    struct ctx ctx;
    uint64_t empty;  /* claims that found nothing */
    int64_t took_us; /* of this run, where run() measures that itself */
};
extern struct bench bench;

enum {
    BENCH_CALL_MS = 5000
};

/* bench.ctx for a unit of work of `most` ms; arena_max only counts at first. */
void bench_open(size_t arena_max, ms most);
bool bench_open_mongo(size_t arena_max, ms most);
void bench_begin(ms most);

/* A connection by hiredis alone; NULL: none. A url with a database is for
 * others. */
struct redisContext *bench_redis(void);

/* What went wrong, on stderr. Returns err == OK. */
bool bench_good(const char *what, enum err err);
