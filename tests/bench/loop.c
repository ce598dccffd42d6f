/*
 * loop MODE URI DB COLLECTION THREADS SECONDS PREFIX N - what driver and
 * server can do without HTTP: threads that repeat one operation as fast as
 * they can. `make bench` holds the API's routes against it.
 *
 *   get     find by a random _id: PREFIX (16 hex digits) and 8 more, below N
 *   list    find of 10 with group = random below N, and the count of the same
 *   insert  a new document like those of the other collections
 *   scan    one thread reads all documents by a cursor, until the end; with
 *           a PREFIX other than "-" only that field of each
 *
 * get, list and insert are commands in the cheapest form the driver has: a
 * client and an explicit session a thread, no cursor object, the documents
 * read out of the reply. Each thread runs one operation before the clock
 * starts; SECONDS 0 ends there. Prints one JSON line: operations (or
 * documents), seconds, errors (also replies that hold not what they should)
 * and the process's CPU time. Exit code 1 when there was an error.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include <mongoc/mongoc.h>

#include "lib/base/str.h"

enum {
    PAGE = 10,
    MATCHES = 100, /* documents of each group */
    THREADS_MAX = 256,
};

struct task {
    mongoc_client_t *client;
    mongoc_client_session_t *session;
    bson_t opts; /* {sessionId} */
    uint64_t seed;
    uint64_t ops, errors;
};

typedef bool (*operation)(struct task *t);

static struct {
    const char *db, *collection, *prefix;
    int64_t n;
    double seconds;
    operation run;
    mongoc_client_pool_t *pool;
    pthread_barrier_t start;
} job;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int64_t cpu_us(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * INT64_C(1000000) +
           u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

/* xorshift64*: a number from 0 to n - 1 */
static int32_t pick(struct task *t, int64_t n)
{
    t->seed ^= t->seed >> 12;
    t->seed ^= t->seed << 25;
    t->seed ^= t->seed >> 27;
    return (int32_t)((t->seed * UINT64_C(2685821657736338717) >> 33) %
                     (uint64_t)n);
}

static bool read_command(struct task *t, const bson_t *cmd, bson_t *reply)
{
    bson_error_t e;

    if (mongoc_client_read_command_with_opts(t->client, job.db, cmd, NULL,
                                             &t->opts, reply, &e))
        return true;
    fprintf(stderr, "loop: %s\n", e.message);
    return false;
}

/* How many documents of the reply could be read. */
static int documents(const bson_t *reply)
{
    bson_iter_t it, row;
    const uint8_t *data;
    bson_t doc;
    uint32_t len;
    int n = 0;

    if (!bson_iter_init(&it, reply) ||
        !bson_iter_find_descendant(&it, "cursor.firstBatch", &row) ||
        !bson_iter_recurse(&row, &it))
        return -1;
    while (bson_iter_next(&it)) {
        bson_iter_document(&it, &len, &data);
        n += bson_init_static(&doc, data, len);
    }
    return n;
}

static bool find(struct task *t, const bson_t *filter, int limit)
{
    bson_t cmd = BSON_INITIALIZER, reply;
    bool good;

    BSON_APPEND_UTF8(&cmd, "find", job.collection);
    BSON_APPEND_DOCUMENT(&cmd, "filter", filter);
    BSON_APPEND_INT64(&cmd, "limit", limit);
    BSON_APPEND_BOOL(&cmd, "singleBatch", true);
    good = read_command(t, &cmd, &reply) && documents(&reply) == limit;
    bson_destroy(&reply);
    bson_destroy(&cmd);
    return good;
}

static bool count(struct task *t, const bson_t *filter, int64_t expected)
{
    bson_t cmd = BSON_INITIALIZER, reply;
    bson_iter_t it;
    bool good;

    BSON_APPEND_UTF8(&cmd, "count", job.collection);
    BSON_APPEND_DOCUMENT(&cmd, "query", filter);
    good = read_command(t, &cmd, &reply) &&
           bson_iter_init_find(&it, &reply, "n") &&
           bson_iter_as_int64(&it) == expected;
    bson_destroy(&reply);
    bson_destroy(&cmd);
    return good;
}

static bool run_get(struct task *t)
{
    bson_t filter = BSON_INITIALIZER;
    bson_oid_t oid;
    char hex[25];
    bool good;

    snprintf(hex, sizeof hex, "%.16s%08x", job.prefix,
             (unsigned)pick(t, job.n));
    bson_oid_init_from_string(&oid, hex);
    BSON_APPEND_OID(&filter, "_id", &oid);
    good = find(t, &filter, 1);
    bson_destroy(&filter);
    return good;
}

static bool run_list(struct task *t)
{
    bson_t filter = BSON_INITIALIZER;
    bool good;

    BSON_APPEND_INT32(&filter, "group", pick(t, job.n));
    good = find(t, &filter, PAGE) && count(t, &filter, MATCHES);
    bson_destroy(&filter);
    return good;
}

static void append_user(struct task *t, bson_t *list)
{
    int32_t i = pick(t, INT32_MAX);
    struct timespec wall;
    bson_t doc, part;
    bson_oid_t oid;
    char text[64];
    ms now_ms;

    clock_gettime(CLOCK_REALTIME, &wall);
    now_ms = wall.tv_sec * INT64_C(1000) + wall.tv_nsec / 1000000;
    BSON_APPEND_DOCUMENT_BEGIN(list, "0", &doc);
    bson_oid_init(&oid, NULL);
    BSON_APPEND_OID(&doc, "_id", &oid);
    snprintf(text, sizeof text, "Ann Lee %d", i);
    BSON_APPEND_UTF8(&doc, "name", text);
    snprintf(text, sizeof text, "user%d@example.com", i);
    BSON_APPEND_UTF8(&doc, "email", text);
    BSON_APPEND_INT32(&doc, "age", i % 80);
    BSON_APPEND_INT32(&doc, "group", i % 1000);
    BSON_APPEND_DOUBLE(&doc, "score", 41.5);
    BSON_APPEND_BOOL(&doc, "active", true);
    BSON_APPEND_DOCUMENT_BEGIN(&doc, "address", &part);
    BSON_APPEND_UTF8(&part, "city", "Seattle");
    BSON_APPEND_UTF8(&part, "zip", "98101");
    bson_append_document_end(&doc, &part);
    BSON_APPEND_ARRAY_BEGIN(&doc, "tags", &part);
    BSON_APPEND_UTF8(&part, "0", "office");
    BSON_APPEND_UTF8(&part, "1", "north");
    bson_append_array_end(&doc, &part);
    BSON_APPEND_DATE_TIME(&doc, "createdAt", now_ms);
    BSON_APPEND_DATE_TIME(&doc, "updatedAt", now_ms);
    bson_append_document_end(list, &doc);
}

static bool run_insert(struct task *t)
{
    bson_t cmd = BSON_INITIALIZER, list, reply;
    bson_error_t e = {0};
    bson_iter_t it;
    bool good;

    BSON_APPEND_UTF8(&cmd, "insert", job.collection);
    BSON_APPEND_ARRAY_BEGIN(&cmd, "documents", &list);
    append_user(t, &list);
    bson_append_array_end(&cmd, &list);
    good = mongoc_client_write_command_with_opts(t->client, job.db, &cmd,
                                                 &t->opts, &reply, &e) &&
           bson_iter_init_find(&it, &reply, "n") &&
           bson_iter_as_int64(&it) == 1;
    if (!good)
        fprintf(stderr, "loop: insert: %s\n", e.message);
    bson_destroy(&reply);
    bson_destroy(&cmd);
    return good;
}

/* {projection: {<prefix>: 1, _id: 0}} or nothing */
static bson_t *scan_options(void)
{
    if (strcmp(job.prefix, "-") == 0)
        return bson_new();
    return BCON_NEW("projection", "{", job.prefix, BCON_INT32(1), "_id",
                    BCON_INT32(0), "}");
}

static bool run_scan(struct task *t)
{
    mongoc_collection_t *c =
        mongoc_client_get_collection(t->client, job.db, job.collection);
    bson_t filter = BSON_INITIALIZER, *opts = scan_options();
    mongoc_cursor_t *cursor =
        mongoc_collection_find_with_opts(c, &filter, opts, NULL);
    const bson_t *doc;
    bson_error_t e;
    int64_t n = 0;

    while (mongoc_cursor_next(cursor, &doc))
        n++;
    if (mongoc_cursor_error(cursor, &e))
        fprintf(stderr, "loop: scan: %s\n", e.message);
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(c);
    bson_destroy(opts);
    bson_destroy(&filter);
    t->ops = (uint64_t)n;
    return n == job.n;
}

static bool open_task(struct task *t, uint64_t seed)
{
    mongoc_session_opt_t *opts = mongoc_session_opts_new();
    bson_error_t e;

    mongoc_session_opts_set_causal_consistency(opts, false);
    t->seed = seed;
    t->client = mongoc_client_pool_pop(job.pool);
    t->session = mongoc_client_start_session(t->client, opts, &e);
    mongoc_session_opts_destroy(opts);
    bson_init(&t->opts);
    return t->session && mongoc_client_session_append(t->session, &t->opts, &e);
}

static void close_task(struct task *t)
{
    if (t->session)
        mongoc_client_session_destroy(t->session);
    bson_destroy(&t->opts);
    mongoc_client_pool_push(job.pool, t->client);
}

static void *repeat(void *arg)
{
    struct task *t = arg;
    double end;

    t->errors += !job.run(t);
    pthread_barrier_wait(&job.start);
    for (end = now() + job.seconds; job.seconds > 0 && now() < end; t->ops++)
        t->errors += !job.run(t);
    return NULL;
}

static void print_result(uint64_t ops, double seconds, uint64_t errors,
                         int64_t cpu)
{
    printf("{\"ops\":%llu,\"seconds\":%.6f,\"errors\":%llu,"
           "\"cpu_us\":%lld}\n",
           (unsigned long long)ops, seconds, (unsigned long long)errors,
           (long long)cpu);
}

static int run_once(void)
{
    double start = now();
    int64_t cpu = cpu_us();
    struct task t = {0};
    bool good = open_task(&t, 1) && job.run(&t);

    print_result(t.ops, now() - start, !good, cpu_us() - cpu);
    close_task(&t);
    return !good;
}

static int run_threads(int64_t threads)
{
    static struct task tasks[THREADS_MAX];
    static pthread_t ids[THREADS_MAX];
    uint64_t ops = 0, errors = 0;
    double start;
    int64_t cpu;

    pthread_barrier_init(&job.start, NULL, (unsigned)threads + 1);
    for (int64_t i = 0; i < threads; i++)
        if (!open_task(&tasks[i], (uint64_t)time(NULL) * 1000 + i + 1) ||
            pthread_create(&ids[i], NULL, repeat, &tasks[i]) != 0)
            return 1;
    pthread_barrier_wait(&job.start);
    start = now();
    cpu = cpu_us();
    for (int64_t i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        ops += tasks[i].ops;
        errors += tasks[i].errors;
    }
    print_result(ops, now() - start, errors, cpu_us() - cpu);
    for (int64_t i = 0; i < threads; i++)
        close_task(&tasks[i]);
    return errors > 0;
}

static operation mode_of(const char *name)
{
    static const struct {
        const char *name;
        operation run;
    } modes[] = {{"get", run_get},
                 {"list", run_list},
                 {"insert", run_insert},
                 {"scan", run_scan}};

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, name) == 0)
            return modes[i].run;
    return NULL;
}

int main(int argc, char **argv)
{
    int64_t threads;
    mongoc_uri_t *uri;
    int code;

    if (argc != 9 || !(job.run = mode_of(argv[1])) ||
        !str_to_i64(str_of(argv[5]), &threads) || threads < 1 ||
        threads > THREADS_MAX || !str_to_i64(str_of(argv[8]), &job.n) ||
        job.n < 1 || !(uri = mongoc_uri_new(argv[2]))) {
        fputs("usage: loop get|list|insert|scan URI DB COLLECTION THREADS "
              "SECONDS PREFIX N\n",
              stderr);
        return 2;
    }
    job.db = argv[3];
    job.collection = argv[4];
    job.seconds = strtod(argv[6], NULL);
    job.prefix = argv[7];
    mongoc_init();
    mongoc_uri_set_option_as_int32(uri, MONGOC_URI_MAXPOOLSIZE, THREADS_MAX);
    job.pool = mongoc_client_pool_new(uri);
    mongoc_uri_destroy(uri);
    code = job.run == run_scan ? run_once() : run_threads(threads);
    mongoc_client_pool_destroy(job.pool);
    mongoc_cleanup();
    return code;
}
