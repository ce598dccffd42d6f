/*
 * queue_bench MODE PROCESSES SECONDS - deliveries without requests, and what
 * MongoDB can do at best, each process on a connection of its own
 *
 *   seed   puts waiting deliveries of 200 webhooks there, as many as last for a
 *          claim of so many seconds, in place of what there is
 *   claim  queue_claim and queue_finish of these; a pair counts once
 *   raw    findAndModify of a row of the process's own by _id
 *   post   the same, then a POST of a delivery's size on a kept connection to
 *          BENCH_URL, then an update of that row
 *
 * Settings come from the environment, as for the programs. Writes are waited
 * for as the queue does: by the primary alone. Each process runs one operation
 * before the clock starts. Prints one JSON line: operations, seconds, errors,
 * empty claims, CPU time, and the 99th percentile of one operation. Exit code 1
 * when there was an error, as when the deliveries did not last.
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <curl/curl.h>
#include <mongoc/mongoc.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/coord/queue_inside.h"
#include "lib/data/schema.h"

enum {
    PROCESSES_MAX = 64,
    WEBHOOKS = 200,
    ROWS_A_SECOND = 4000, /* more than are done */
    BATCH = 1000,
    CALL_MS = 5000,
    SEED_MS = 120000,
    CAP = 1000,
    SLOTS = 20000, /* of 10 us; the last holds all that took longer */
    SLOT_US = 10
};

/* Between parent and children. */
static struct shared {
    pthread_barrier_t start;
    uint64_t ops, errors, empty;
    uint32_t took[SLOTS];
    pthread_mutex_t lock;
} * shared;

static struct {
    const struct conf *conf;
    struct ctx ctx;
    struct claimant k;
    CURL *curl;
    char name[32];
    uint64_t ops, errors, empty;
    uint32_t took[SLOTS];
} job;

static bool open_client(ms most)
{
    struct mongo_limits limits = mongo_limits_brief(1, most);
    struct mongo_pool *pool = mongo_pool_new(job.conf, &limits);
    struct ctx *c = &job.ctx;

    ctx_init(c, job.conf, 64 << 20);
    c->mongo = pool ? mongo_client_new(pool) : NULL;
    c->deadline = clock_mono_ms() + most;
    return c->mongo != NULL;
}

/* ---- what is worked with */

static bool run(bson_t *cmd)
{
    struct ctx *c = &job.ctx;
    bson_t *reply;
    enum err err = cmd ? mongo_write(c, cmd, &reply, NULL) : ERR_OVERLOADED;

    if (err)
        fprintf(stderr, "queue_bench: %s %s\n", err_code(err), c->reason);
    return err == OK;
}

static bool seed_webhook(int n)
{
    struct ctx *c = &job.ctx;
    bson_t *cmd = mongo_bson(c);
    bson_oid_t oid;

    bson_oid_init_from_string(&oid, arena_strf(&c->arena, "%024x", n).p);
    BCON_APPEND(cmd, "insert", "_webhooks", "documents", "[", "{", "_id",
                BCON_OID(&oid), "name", "bench", "url", "http://127.0.0.1:9/",
                "collection", "bench", "events", "[", "create", "]",
                "rateLimit", "{", "maxRequestsPerMinute", BCON_INT32(300), "}",
                "}", "]");
    return run(cmd);
}

static bool append_row(bson_t *rows, int64_t n, const char *index)
{
    struct ctx *c = &job.ctx;
    str hook = arena_strf(&c->arena, "%024x", (unsigned)(n % WEBHOOKS) + 1);
    struct job_new j = {.message_id = STR("msg_0"),
                        .subscriber = hook,
                        .lim = hook,
                        .group = hook,
                        .cls = job_class(0),
                        .ts = clock_wall_ms() - SEED_MS + n,
                        .tries_max = 4,
                        .event = STR("create"),
                        .collection = STR("bench"),
                        .body = STR("{\"event\":\"create\",\"data\":{}}")};
    bson_t *row;

    j.id =
        arena_strf(&c->arena, "%s-1700000000000-%09lld", hook.p, (long long)n);
    if (job_row(c, &j, &row) != OK)
        return false;
    BSON_APPEND_DOCUMENT(rows, index, row);
    return true;
}

static bool seed_rows(int64_t from, int64_t to)
{
    struct ctx *c = &job.ctx;
    bson_t *cmd = mongo_bson(c), *rows = mongo_bson(c);
    const char *index;
    char text[16];

    for (uint32_t i = 0; from < to; i++) {
        bson_uint32_to_string(i, &index, text, sizeof text);
        if (!append_row(rows, from++, index))
            return false;
    }
    BCON_APPEND(cmd, "insert", "_jobs", "documents", BCON_ARRAY(rows));
    return run(cmd);
}

static bool drop(const char *collection)
{
    bson_t *cmd = mongo_bson(&job.ctx);

    BCON_APPEND(cmd, "delete", BCON_UTF8(collection), "deletes", "[", "{", "q",
                "{", "}", "limit", BCON_INT32(0), "}", "]");
    return run(cmd);
}

static bool seed(int64_t rows)
{
    struct ctx *c = &job.ctx;
    bool good = open_client(SEED_MS) && schema_apply(c) == OK &&
                drop("_jobs") && drop("_limits") && drop("_webhooks");

    for (int n = 1; good && n <= WEBHOOKS; n++)
        good = seed_webhook(n);
    for (int64_t n = 0; good && n < rows; n += BATCH) {
        ctx_reset(c);
        c->deadline = clock_mono_ms() + SEED_MS;
        good = seed_rows(n, n + BATCH);
    }
    return good;
}

/* ---- modes */

static bool open_claim(int i)
{
    (void)i;
    job.k = (struct claimant){
        .queue = QUEUE_WEBHOOK,
        .lease_ms = job.conf->webhook_timeout + QUEUE_LEASE_BEYOND_MS,
        .cap = CAP,
    };
    return open_client(CALL_MS);
}

static bool run_claim(void)
{
    static const struct job_result done = {.verdict = VERDICT_DONE,
                                           .health = HEALTH_OK,
                                           .took_ms = 1,
                                           .code = 200,
                                           .result = {"", 0}};
    struct ctx *c = &job.ctx;
    char token[ID_TOKEN_MAX];
    struct claim cl;
    enum claim_result result;
    bool good;

    do {
        ctx_reset(c);
        c->deadline = clock_mono_ms() + CALL_MS;
        if (id_token(token) != OK)
            return false;
        result = queue_claim(c, &job.k, token, &cl);
        job.empty += result == CLAIM_NONE;
        if (result == CLAIM_NONE && cl.wait_ms > 100)
            break; /* there are no more */
    } while (result == CLAIM_NONE);
    good = result == CLAIM_GOT &&
           queue_finish(c, &job.k, &cl, &done) == FINISH_DONE;
    if (!good)
        fprintf(stderr, "queue_bench: no claim, or no finish (%d)\n", result);
    return good;
}

static bool open_raw(int i)
{
    snprintf(job.name, sizeof job.name, "bench%d", i);
    return open_client(CALL_MS);
}

static void begin(void)
{
    ctx_reset(&job.ctx);
    job.ctx.deadline = clock_mono_ms() + CALL_MS;
}

static bool find_and_modify(void)
{
    struct ctx *c = &job.ctx;
    bson_t *cmd = mongo_bson(c), *reply;

    BCON_APPEND(cmd, "findAndModify", "_bench", "query", "{", "_id",
                BCON_UTF8(job.name), "}", "upsert", BCON_BOOL(true), "new",
                BCON_BOOL(true), "update", "{", "$inc", "{", "n", BCON_INT64(1),
                "}", "}");
    return queue_write(c, cmd, &reply) == OK;
}

static bool update(void)
{
    struct ctx *c = &job.ctx;
    bson_t *cmd = mongo_bson(c), *reply;

    BCON_APPEND(cmd, "update", "_bench", "updates", "[", "{", "q", "{", "_id",
                BCON_UTF8(job.name), "}", "u", "{", "$set", "{", "st", "done",
                "}", "}", "}", "]");
    return queue_write(c, cmd, &reply) == OK;
}

static bool run_raw(void)
{
    begin();
    return find_and_modify();
}

/* ---- a POST */

static size_t drop_body(char *data, size_t size, size_t n, void *arg)
{
    (void)data;
    (void)arg;
    return size * n;
}

/* Headers and body are as long as those of a delivery. */
static bool open_post(int i)
{
    static char body[400];
    const char *url = getenv("BENCH_URL");
    struct curl_slist *headers = NULL;
    char text[80];

    memset(body, 'x', sizeof body - 1);
    job.curl = curl_easy_init();
    for (int n = 0; n < 12; n++) {
        snprintf(text, sizeof text, "X-Header-%02d: %036d", n, n);
        headers = curl_slist_append(headers, text);
    }
    return url && job.curl && headers && open_raw(i) &&
           !curl_easy_setopt(job.curl, CURLOPT_URL, url) &&
           !curl_easy_setopt(job.curl, CURLOPT_HTTPHEADER, headers) &&
           !curl_easy_setopt(job.curl, CURLOPT_POSTFIELDS, body) &&
           !curl_easy_setopt(job.curl, CURLOPT_WRITEFUNCTION, drop_body) &&
           !curl_easy_setopt(job.curl, CURLOPT_TIMEOUT_MS, (long)CALL_MS);
}

static bool post(void)
{
    CURLcode code = curl_easy_perform(job.curl);
    long status = 0;

    curl_easy_getinfo(job.curl, CURLINFO_RESPONSE_CODE, &status);
    if (code || status != 200)
        fprintf(stderr, "queue_bench: POST: %s, status %ld\n",
                curl_easy_strerror(code), status);
    return !code && status == 200;
}

static bool run_post(void)
{
    begin();
    return find_and_modify() && post() && update();
}

static const struct mode {
    const char *name;
    bool (*open)(int i);
    bool (*run)(void);
} modes[] = {{"seed", NULL, NULL},
             {"claim", open_claim, run_claim},
             {"raw", open_raw, run_raw},
             {"post", open_post, run_post}};

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
    shared->empty += job.empty;
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

static int measure(const struct mode *mode, int processes, double seconds)
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
    printf("{\"ops\":%llu,\"seconds\":%.6f,\"errors\":%llu,\"empty\":%llu,"
           "\"cpu_us\":%lld,\"p99_ms\":%.2f}\n",
           (unsigned long long)shared->ops, seconds,
           (unsigned long long)shared->errors,
           (unsigned long long)shared->empty,
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
    double seconds;

    for (size_t i = 0; argc == 4 && i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, argv[1]) == 0)
            mode = &modes[i];
    if (!mode || !str_to_i64(str_of(argv[2]), &processes) || processes < 1 ||
        processes > PROCESSES_MAX) {
        fputs("usage: queue_bench seed|claim|raw|post PROCESSES SECONDS\n",
              stderr);
        return 2;
    }
    conf = conf_new(environ, "", stderr, &problems);
    if (!conf || problems || !share((unsigned)processes))
        return 2;
    job.conf = conf;
    mongoc_init();
    mongoc_log_set_handler(NULL, NULL);
    seconds = strtod(argv[3], NULL);
    code = mode->run ? measure(mode, (int)processes, seconds)
                     : !seed((int64_t)(ROWS_A_SECOND * (seconds + 1)));
    conf_free(conf);
    return code;
}
