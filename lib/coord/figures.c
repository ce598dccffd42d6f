/*
 * figures - see figures.h
 *
 * What waits, due or not: keys of due_1, which has the oldest at its head. What
 * is leased: lease_1, as many as there are slots. The rest: rows of `_limits`,
 * keys of ended_1.
 */
#include "lib/coord/figures.h"

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/coord/leader.h"
#include "lib/coord/queue.h"
#include "lib/data/json_out.h"
#include "lib/data/mongo.h"
#include "lib/data/subs.h"

#define WALL_MOST INT64_C(8640000000000000) /* ECMA-262, 21.4.1.1 */

/* What the row calls them, and where they stand. */
static const struct figure {
    const char *name;
    size_t at;
} rows[] = {
    {"waiting", offsetof(struct figures, waiting)},
    {"active", offsetof(struct figures, active)},
    {"delayed", offsetof(struct figures, delayed)},
    {"completed", offsetof(struct figures, completed)},
    {"failed", offsetof(struct figures, failed)},
    {"dead", offsetof(struct figures, dead)},
    {"limited", offsetof(struct figures, limited)},
    {"breakers", offsetof(struct figures, breakers)},
    {"oldest", offsetof(struct figures, oldest_ms)},
    {"rest", offsetof(struct figures, rest_ms)},
};
enum {
    ROWS_N = sizeof rows / sizeof *rows
};
_Static_assert(ROWS_N * sizeof(int64_t) == sizeof(struct figures),
               "a row for each member");

static bool read_count(const bson_t *doc, const char *name, int64_t *out)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, doc, name) || !BSON_ITER_HOLDS_INT(&it))
        return false;
    *out = bson_iter_as_int64(&it);
    return *out >= 0 && *out <= WALL_MOST;
}

bool figures_read(const bson_t *row, struct figures *out, ms *out_at)
{
    struct figures f = {0};
    bson_iter_t it;
    bson_t doc;

    if (!mongo_reply_doc(row, "figures", &doc) ||
        !bson_iter_init_find(&it, &doc, "at") ||
        !BSON_ITER_HOLDS_DATE_TIME(&it))
        return false;
    for (int i = 0; i < ROWS_N; i++)
        if (!read_count(&doc, rows[i].name,
                        (int64_t *)(void *)((char *)&f + rows[i].at)))
            return false;
    *out_at = bson_iter_date_time(&it);
    if (*out_at < 0 || *out_at > WALL_MOST || f.rest_ms > FIGURES_REST_MAX_MS)
        return false;
    *out = f;
    return true;
}

/* ---- counting */

enum {
    BATCH = 100000, /* rows of a reply: more subscribers are not counted */
    ACTIVE_MAX = 10000,
    ASKED_MAX = 100 /* subscribers at their limit of whom it is asked whether
                     * something of them waits; the others count */
};

struct count {
    struct ctx *c;
    enum job_queue queue;
    ms now;        /* the server's */
    bson_t active; /* array of {lim} */
    struct figures f;
};

static int64_t number_of(const bson_t *doc, const char *name)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, doc, name) || !BSON_ITER_HOLDS_NUMBER(&it))
        return 0;
    return bson_iter_as_int64(&it) > 0 ? bson_iter_as_int64(&it) : 0;
}

static enum err read_batch(struct ctx *c, bson_t *cmd, bson_t *out)
{
    bson_t *reply;
    enum err err = mongo_read(c, cmd, &reply);

    if (err == OK && !mongo_reply_rows(reply, out))
        err = ctx_fail(c, ERR_INTERNAL, "The queue could not be counted");
    return err;
}

static enum err read_active(struct count *k)
{
    bson_t *cmd = mongo_bson(k->c);
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "find", "_jobs", "filter", "{", "lease.tok", "{",
                "$exists", BCON_BOOL(true), "}", "q",
                BCON_UTF8(job_queue_name(k->queue)), "st",
                BCON_UTF8(job_state_name(JOB_LEASED)), "}", "projection", "{",
                "_id", BCON_INT32(0), "lim", BCON_INT32(1), "}", "limit",
                BCON_INT32(ACTIVE_MAX), "batchSize", BCON_INT32(ACTIVE_MAX),
                "singleBatch", BCON_BOOL(true));
    err = read_batch(k->c, cmd, &k->active);
    if (err == OK)
        k->f.active = bson_count_keys(&k->active);
    return err;
}

static void append_what_waits(bson_t *query, const struct count *k,
                              const char *compare)
{
    BCON_APPEND(query, "q", BCON_UTF8(job_queue_name(k->queue)), "open",
                BCON_BOOL(true), "st", BCON_UTF8(job_state_name(JOB_WAITING)),
                "runAt", "{", compare, BCON_DATE_TIME(k->now), "}");
}

static enum err count_what_waits(struct count *k, const char *compare,
                                 int64_t *out)
{
    bson_t *cmd = mongo_bson(k->c), *reply, query = BSON_INITIALIZER;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    append_what_waits(&query, k, compare);
    BCON_APPEND(cmd, "count", "_jobs", "query", BCON_DOCUMENT(&query), "hint",
                "due_1");
    bson_destroy(&query);
    err = mongo_read(k->c, cmd, &reply);
    if (err == OK)
        *out = number_of(reply, "n");
    return err;
}

static enum err read_oldest(struct count *k)
{
    bson_t *cmd = mongo_bson(k->c), filter = BSON_INITIALIZER, batch, row;
    bson_iter_t it, at;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    append_what_waits(&filter, k, "$lte");
    BCON_APPEND(cmd, "find", "_jobs", "filter", BCON_DOCUMENT(&filter), "sort",
                "{", "runAt", BCON_INT32(1), "}", "limit", BCON_INT32(1),
                "projection", "{", "_id", BCON_INT32(0), "runAt", BCON_INT32(1),
                "}", "hint", "due_1", "singleBatch", BCON_BOOL(true));
    bson_destroy(&filter);
    err = read_batch(k->c, cmd, &batch);
    if (err == OK && bson_iter_init(&it, &batch) && mongo_next_doc(&it, &row) &&
        bson_iter_init_find(&at, &row, "runAt"))
        k->f.oldest_ms = k->now - bson_iter_date_time(&at);
    return err;
}

static enum err read_dead(struct count *k)
{
    bson_t *cmd = mongo_bson(k->c), *reply;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "count", "_jobs", "query", "{", "q",
                BCON_UTF8(job_queue_name(k->queue)), "st",
                BCON_UTF8(job_state_name(JOB_DEAD)), "endAt", "{", "$gt",
                BCON_DATE_TIME(0), "}", "}");
    err = mongo_read(k->c, cmd, &reply);
    if (err == OK)
        k->f.dead = number_of(reply, "n");
    return err;
}

/* ---- subscribers */

static ms window_of(const struct conf *conf)
{
    return conf->webhook_rate_limit_window_ms + queue_slack_ms(conf);
}

/* Totals, and grants that still count. */
static enum err read_limits(struct count *k, bson_t *out)
{
    str first = arena_strf(&k->c->arena, "%s:", job_queue_name(k->queue));
    str end = arena_strf(&k->c->arena, "%s;", job_queue_name(k->queue));
    bson_t *cmd = mongo_bson(k->c);

    if (!cmd || !first.p || !end.p)
        return ERR_OVERLOADED;
    BCON_APPEND(
        cmd, "aggregate", "_limits", "pipeline", "[", "{", "$match", "{", "_id",
        "{", "$gt", BCON_UTF8(first.p), "$lt", BCON_UTF8(end.p), "}", "}", "}",
        "{", "$project", "{", "delivered", BCON_INT32(1), "failed",
        BCON_INT32(1), "pc", BCON_INT32(1), "recent", "{", "$size", "{",
        "$filter", "{", "input", "{", "$cond", "[", "{", "$isArray", "$grants",
        "}", "$grants", "[", "]", "]", "}", "cond", "{", "$gt", "[", "$$this",
        "{", "$subtract", "[", "$$NOW", BCON_INT64(window_of(k->c->conf)), "]",
        "}", "]", "}", "}", "}", "}", "}", "}", "]", "cursor", "{", "batchSize",
        BCON_INT32(BATCH), "}");
    return read_batch(k->c, cmd, out);
}

static int64_t active_of(const struct count *k, str lim)
{
    bson_iter_t it;
    int64_t n = 0;
    bson_t row;
    str one;

    bson_iter_init(&it, &k->active);
    while (mongo_next_doc(&it, &row))
        n += json_out_text_member(&row, "lim", &one) && str_eq(one, lim);
    return n;
}

/* Open rows of a subscriber that are due, leased ones too; at most `limit`. */
static enum err count_due(struct count *k, str lim, int64_t limit, int64_t *out)
{
    bson_t *cmd = mongo_bson(k->c), *reply, query = BSON_INITIALIZER;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(&query, "q", BCON_UTF8(job_queue_name(k->queue)), "open",
                BCON_BOOL(true), "runAt", "{", "$lte", BCON_DATE_TIME(k->now),
                "}");
    bson_append_utf8(&query, "lim", -1, lim.p, (int)lim.n);
    BCON_APPEND(cmd, "count", "_jobs", "query", BCON_DOCUMENT(&query), "limit",
                BCON_INT64(limit), "hint", "claim_1");
    bson_destroy(&query);
    err = mongo_read(k->c, cmd, &reply);
    if (err == OK)
        *out = number_of(reply, "n");
    return err;
}

/* One at its limit: is more due than what is leased? */
static enum err add_limited(struct count *k, str lim, int *asked)
{
    int64_t active = active_of(k, lim), due = active + 1;
    enum err err = OK;

    if ((*asked)++ < ASKED_MAX)
        err = count_due(k, lim, active + 1, &due);
    k->f.limited += due > active;
    return err;
}

static enum err add_subscribers(struct count *k, const struct subs *s)
{
    size_t prefix = strlen(job_queue_name(k->queue)) + 1;
    bson_t batch, row;
    bson_iter_t it;
    int asked = 0;
    enum err err = read_limits(k, &batch);

    if (err == OK)
        bson_iter_init(&it, &batch);
    while (err == OK && mongo_next_doc(&it, &row)) {
        const struct subscription *one;
        str id;

        k->f.completed += number_of(&row, "delivered");
        k->f.failed += number_of(&row, "failed");
        k->f.breakers += number_of(&row, "pc") == 1;
        one = json_out_text_member(&row, "_id", &id)
                  ? subs_by_id(s, str_from(id, prefix))
                  : NULL;
        if (one && number_of(&row, "recent") >= one->webhook.max_per_window)
            err = add_limited(k, str_from(id, prefix), &asked);
    }
    return err;
}

enum err figures_count(struct ctx *c, enum job_queue q, struct figures *out)
{
    struct count k = {.c = c, .queue = q, .now = clock_server_ms()};
    const struct subs *s;
    enum err err = subs_get(c, &s);

    if (err == OK)
        err = read_active(&k);
    if (err == OK)
        err = count_what_waits(&k, "$lte", &k.f.waiting);
    if (err == OK)
        err = count_what_waits(&k, "$gt", &k.f.delayed);
    if (err == OK && k.f.waiting > 0)
        err = read_oldest(&k);
    if (err == OK)
        err = read_dead(&k);
    if (err == OK)
        err = add_subscribers(&k, s);
    if (err == OK)
        *out = k.f;
    return err;
}

/* ---- storing */

enum err figures_store(struct ctx *c, enum job_queue q, int64_t term,
                       const struct figures *f, bool *out_lost)
{
    str id = arena_strf(&c->arena, "queue:%s", job_queue_name(q));
    bson_t *cmd = mongo_bson(c), *doc = mongo_bson(c), *reply;
    enum err err;

    if (!cmd || !doc || !id.p)
        return ERR_OVERLOADED;
    for (int i = 0; i < ROWS_N; i++)
        BSON_APPEND_INT64(
            doc, rows[i].name,
            *(const int64_t *)(const void *)((const char *)f + rows[i].at));
    /* nonsense for a term is no greater one; a document that another term has
     * written is there and not found: its _id is in the way of the upsert */
    BCON_APPEND(cmd, "update", "_cluster", "updates", "[", "{", "q", "{", "_id",
                BCON_UTF8(id.p), "$or", "[", "{", "term", "{", "$not", "{",
                "$gt", BCON_INT64(term), "}", "}", "}", "{", "term", "{",
                "$gte", BCON_INT64(LEADER_TERM_MAX), "}", "}", "]", "}", "u",
                "[", "{", "$set", "{", "term", BCON_INT64(term), "figures", "{",
                "$mergeObjects", "[", "{", "$literal", BCON_DOCUMENT(doc), "}",
                "{", "at", "$$NOW", "}", "]", "}", "}", "}", "]", "upsert",
                BCON_BOOL(true), "}", "]");
    err = mongo_write(c, cmd, &reply, NULL);
    *out_lost = err == ERR_DUPLICATE_KEY;
    if (*out_lost)
        ctx_forgive(c);
    return *out_lost ? OK : err;
}
