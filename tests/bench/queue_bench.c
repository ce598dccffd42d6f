/*
 * queue_bench MODE PROCESSES SECONDS - deliveries without requests, and what
 * MongoDB can do at best, each process on a connection of its own (harness.h)
 *
 *   seed   puts waiting deliveries of 200 webhooks there, as many as last for a
 *          claim of so many seconds, in place of what there is
 *   claim  queue_claim and queue_finish of these; a pair counts once
 *   raw    findAndModify of a row of the process's own by _id
 *   post   the same, then a POST of a delivery's size on a kept connection to
 *          BENCH_URL, then an update of that row
 *
 * Writes are waited for as the queue does: by the primary alone.
 */
#include <stdio.h>
#include <stdlib.h>

#include <curl/curl.h>
#include <mongoc/mongoc.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/coord/queue_inside.h"
#include "lib/data/schema.h"
#include "tests/bench/harness.h"

enum {
    WEBHOOKS = 200,
    ROWS_A_SECOND = 4000, /* more than are done */
    BATCH = 1000,
    SEED_MS = 120000,
    CAP = 1000,
    ARENA = 64 << 20
};

static struct {
    struct claimant k;
    CURL *curl;
    char name[32];
} job;

/* ---- what is worked with */

static bool run(bson_t *cmd)
{
    struct ctx *c = &bench.ctx;
    bson_t *reply;
    enum err err = cmd ? mongo_write(c, cmd, &reply, NULL) : ERR_OVERLOADED;

    return bench_good("queue_bench", err);
}

static bool seed_webhook(int n)
{
    struct ctx *c = &bench.ctx;
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
    struct ctx *c = &bench.ctx;
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
    struct ctx *c = &bench.ctx;
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
    bson_t *cmd = mongo_bson(&bench.ctx);

    BCON_APPEND(cmd, "delete", BCON_UTF8(collection), "deletes", "[", "{", "q",
                "{", "}", "limit", BCON_INT32(0), "}", "]");
    return run(cmd);
}

static bool seed(double seconds)
{
    int64_t rows = (int64_t)(ROWS_A_SECOND * (seconds + 1));
    struct ctx *c = &bench.ctx;
    bool good = bench_open_mongo(ARENA, SEED_MS) && schema_apply(c) == OK &&
                drop("_jobs") && drop("_limits") && drop("_webhooks");

    for (int n = 1; good && n <= WEBHOOKS; n++)
        good = seed_webhook(n);
    for (int64_t n = 0; good && n < rows; n += BATCH) {
        bench_begin(SEED_MS);
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
        .lease_ms = bench.conf->webhook_timeout + QUEUE_LEASE_BEYOND_MS,
        .cap = CAP,
    };
    return bench_open_mongo(ARENA, BENCH_CALL_MS);
}

static bool run_claim(void)
{
    static const struct job_result done = {.verdict = VERDICT_DONE,
                                           .health = HEALTH_OK,
                                           .took_ms = 1,
                                           .code = 200,
                                           .result = {"", 0}};
    struct ctx *c = &bench.ctx;
    char token[ID_TOKEN_MAX];
    struct claim cl;
    enum claim_result result;
    bool good;

    do {
        bench_begin(BENCH_CALL_MS);
        if (id_token(token) != OK)
            return false;
        result = queue_claim(c, &job.k, token, &cl);
        bench.empty += result == CLAIM_NONE;
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
    return bench_open_mongo(ARENA, BENCH_CALL_MS);
}

static bool find_and_modify(void)
{
    struct ctx *c = &bench.ctx;
    bson_t *cmd = mongo_bson(c), *reply;

    BCON_APPEND(cmd, "findAndModify", "_bench", "query", "{", "_id",
                BCON_UTF8(job.name), "}", "upsert", BCON_BOOL(true), "new",
                BCON_BOOL(true), "update", "{", "$inc", "{", "n", BCON_INT64(1),
                "}", "}");
    return queue_write(c, cmd, &reply) == OK;
}

static bool update(void)
{
    struct ctx *c = &bench.ctx;
    bson_t *cmd = mongo_bson(c), *reply;

    BCON_APPEND(cmd, "update", "_bench", "updates", "[", "{", "q", "{", "_id",
                BCON_UTF8(job.name), "}", "u", "{", "$set", "{", "st", "done",
                "}", "}", "}", "]");
    return queue_write(c, cmd, &reply) == OK;
}

static bool run_raw(void)
{
    bench_begin(BENCH_CALL_MS);
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
           !curl_easy_setopt(job.curl, CURLOPT_TIMEOUT_MS, (long)BENCH_CALL_MS);
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
    bench_begin(BENCH_CALL_MS);
    return find_and_modify() && post() && update();
}

static const struct bench_mode modes[] = {
    {.name = "seed", .prepare = seed},
    {.name = "claim", .open = open_claim, .run = run_claim},
    {.name = "raw", .open = open_raw, .run = run_raw},
    {.name = "post", .open = open_post, .run = run_post},
};

int main(int argc, char **argv)
{
    return bench_main(argc, argv, modes, sizeof modes / sizeof *modes);
}
