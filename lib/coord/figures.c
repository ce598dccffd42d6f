/*
 * figures - see figures.h
 *
 * Four commands: open rows by subscriber, from keys of claim_1 alone; what is
 * leased, from lease_1 (as many as there are slots); the rows of `_limits`;
 * keys of ended_1 for the dead.
 */
#include "lib/coord/figures.h"

#include <stdlib.h>

#include "lib/base/conf.h"
#include "lib/coord/leader.h"
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
    ACTIVE_MAX = 2000,
    SLACK_MOST_MS = 1000, /* what a window is longer than its setting */
    SLACK_PART = 50
};

/* A row of a reply by its subscriber. */
struct row {
    str lim;
    const bson_t *doc;
};

struct rows {
    struct row *v;
    size_t n;
};

struct count {
    struct ctx *c;
    enum job_queue queue;
    struct rows open, active, limits;
    ms now, oldest; /* the server's */
    struct figures f;
};

static int64_t number_of(const bson_t *doc, const char *name)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, doc, name) || !BSON_ITER_HOLDS_NUMBER(&it))
        return 0;
    return bson_iter_as_int64(&it) > 0 ? bson_iter_as_int64(&it) : 0;
}

static ms date_of(const bson_t *doc, const char *name)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, doc, name) && BSON_ITER_HOLDS_DATE_TIME(&it)
               ? bson_iter_date_time(&it)
               : 0;
}

static int compare(str a, str b)
{
    int by = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

    return by ? by : (a.n > b.n) - (a.n < b.n);
}

/* Of one subscriber by the time they are due. */
static int by_lim(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int by = compare(x->lim, y->lim);
    ms i, k;

    if (by)
        return by;
    i = date_of(x->doc, "runAt");
    k = date_of(y->doc, "runAt");
    return (i > k) - (i < k);
}

static enum err take_rows(struct ctx *c, const bson_t *reply, const char *name,
                          struct rows *out)
{
    bson_t cursor, batch;
    const uint8_t *data;
    bson_iter_t it;
    uint32_t n;

    if (!mongo_reply_doc(reply, "cursor", &cursor) ||
        !mongo_reply_doc(&cursor, "firstBatch", &batch) ||
        !bson_iter_init(&it, &batch))
        return ctx_fail(c, ERR_INTERNAL, "The queue could not be counted");
    n = bson_count_keys(&batch);
    out->v = ctx_alloc(c, (n + 1) * sizeof *out->v);
    while (out->v && bson_iter_next(&it)) {
        bson_t *doc = ctx_alloc(c, sizeof *doc);
        str lim;

        if (!doc)
            return ERR_OVERLOADED;
        if (!BSON_ITER_HOLDS_DOCUMENT(&it))
            continue;
        bson_iter_document(&it, &n, &data);
        if (bson_init_static(doc, data, n) &&
            json_out_text_member(doc, name, &lim))
            out->v[out->n++] = (struct row){lim, doc};
    }
    if (!out->v)
        return ERR_OVERLOADED;
    qsort(out->v, out->n, sizeof *out->v, by_lim);
    return OK;
}

/* Leased rows, then the open ones: a lease that begins between the two is one
 * row that waits less. */
static enum err read_active(struct count *k)
{
    bson_t *cmd = mongo_bson(k->c), *reply;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "find", "_jobs", "filter", "{", "lease.tok", "{",
                "$exists", BCON_BOOL(true), "}", "q",
                BCON_UTF8(job_queue_name(k->queue)), "st",
                BCON_UTF8(job_state_name(JOB_LEASED)), "}", "projection", "{",
                "lim", BCON_INT32(1), "runAt", BCON_INT32(1), "}", "limit",
                BCON_INT32(ACTIVE_MAX), "singleBatch", BCON_BOOL(true));
    err = mongo_read(k->c, cmd, &reply);
    return err ? err : take_rows(k->c, reply, "lim", &k->active);
}

/* `first`: so many of those that are due that one of them is not leased. */
static void append_open(bson_t *cmd, const struct count *k)
{
    BCON_APPEND(
        cmd, "aggregate", "_jobs", "pipeline", "[", "{", "$match", "{", "q",
        BCON_UTF8(job_queue_name(k->queue)), "open", BCON_BOOL(true), "}", "}",
        "{", "$project", "{", "_id", BCON_INT32(0), "lim", BCON_INT32(1),
        "runAt", BCON_INT32(1), "due", "{", "$lte", "[", "$runAt", "$$NOW", "]",
        "}", "}", "}", "{", "$group", "{", "_id", "$lim", "n", "{", "$sum",
        BCON_INT32(1), "}", "due", "{", "$sum", "{", "$cond", "[", "$due",
        BCON_INT32(1), BCON_INT32(0), "]", "}", "}", "first", "{", "$minN", "{",
        "n", BCON_INT64((int64_t)k->active.n + 1), "input", "{", "$cond", "[",
        "$due", "$runAt", BCON_NULL, "]", "}", "}", "}", "}", "}", "{", "$set",
        "{", "now", "$$NOW", "}", "}", "]", "hint", "claim_1", "cursor", "{",
        "batchSize", BCON_INT32(BATCH), "}");
}

static enum err read_open(struct count *k)
{
    bson_t *cmd = mongo_bson(k->c), *reply;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    append_open(cmd, k);
    err = mongo_read(k->c, cmd, &reply);
    return err ? err : take_rows(k->c, reply, "_id", &k->open);
}

static ms window_of(const struct conf *conf)
{
    ms window = conf->webhook_rate_limit_window_ms, slack = window / SLACK_PART;

    return window + (slack < SLACK_MOST_MS ? slack : SLACK_MOST_MS);
}

/* Grants that still count, and the totals. */
static enum err read_limits(struct count *k)
{
    str first = arena_strf(&k->c->arena, "%s:", job_queue_name(k->queue));
    str end = arena_strf(&k->c->arena, "%s;", job_queue_name(k->queue));
    bson_t *cmd = mongo_bson(k->c), *reply;
    enum err err;

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
    err = mongo_read(k->c, cmd, &reply);
    return err ? err : take_rows(k->c, reply, "_id", &k->limits);
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

/* The first of those that are due that no lease is about: both lists are by
 * time, and leased ones are due. */
static ms oldest_of(const struct row *open, const struct row *leased, size_t n)
{
    bson_iter_t it;
    bson_t first;
    size_t i = 0;

    if (!mongo_reply_doc(open->doc, "first", &first) ||
        !bson_iter_init(&it, &first))
        return 0;
    while (bson_iter_next(&it)) {
        ms at = BSON_ITER_HOLDS_DATE_TIME(&it) ? bson_iter_date_time(&it) : 0;

        while (i < n && date_of(leased[i].doc, "runAt") < at)
            i++;
        if (i == n || date_of(leased[i].doc, "runAt") != at)
            return at;
        i++;
    }
    return 0;
}

/* Takes the rows of one subscriber, and those of all before it, off *rest. */
static struct rows take_lim(struct rows *rest, str lim)
{
    struct rows found = {NULL, 0};

    while (rest->n && compare(rest->v->lim, lim) < 0)
        rest->v++, rest->n--;
    for (found.v = rest->v; rest->n && str_eq(rest->v->lim, lim); found.n++)
        rest->v++, rest->n--;
    return found;
}

/* *out_waiting: those that are due and not leased. */
static void add_open(struct count *k, const struct row *open,
                     const struct rows *leased, int64_t *out_waiting)
{
    int64_t n = number_of(open->doc, "n"), due = number_of(open->doc, "due");
    int64_t taken = (int64_t)leased->n;
    ms oldest;

    k->now = date_of(open->doc, "now");
    *out_waiting = due > taken ? due - taken : 0;
    k->f.waiting += *out_waiting;
    k->f.delayed += n - due;
    if (*out_waiting == 0)
        return;
    oldest = oldest_of(open, leased->v, leased->n);
    if (oldest > 0 && (k->oldest == 0 || oldest < k->oldest))
        k->oldest = oldest;
}

static bool is_limited(const struct subs *s, str lim, const bson_t *limits)
{
    const struct subscription *one = subs_by_id(s, lim);

    return one && number_of(limits, "recent") >= one->webhook.max_per_window;
}

static void add_totals(struct count *k)
{
    for (size_t i = 0; i < k->limits.n; i++) {
        const bson_t *doc = k->limits.v[i].doc;

        k->f.completed += number_of(doc, "delivered");
        k->f.failed += number_of(doc, "failed");
        k->f.breakers += number_of(doc, "pc") == 1;
    }
}

/* All three lists are by subscriber. */
static void add_all(struct count *k, const struct subs *s)
{
    size_t prefix = strlen(job_queue_name(k->queue)) + 1;
    struct rows active = k->active, limits = k->limits;
    int64_t waiting;

    for (size_t i = 0; i < limits.n; i++)
        limits.v[i].lim = str_from(limits.v[i].lim, prefix);
    for (size_t i = 0; i < k->open.n; i++) {
        const struct row *open = &k->open.v[i];
        struct rows leased = take_lim(&active, open->lim);
        struct rows limit = take_lim(&limits, open->lim);

        add_open(k, open, &leased, &waiting);
        if (waiting > 0 && limit.n > 0)
            k->f.limited += is_limited(s, open->lim, limit.v->doc);
    }
    add_totals(k);
    k->f.active = (int64_t)k->active.n;
    if (k->oldest > 0 && k->now > k->oldest)
        k->f.oldest_ms = k->now - k->oldest;
}

enum err figures_count(struct ctx *c, enum job_queue q, struct figures *out)
{
    struct count k = {.c = c, .queue = q};
    const struct subs *s;
    enum err err = subs_get(c, &s);

    if (err == OK)
        err = read_active(&k);
    if (err == OK)
        err = read_open(&k);
    if (err == OK)
        err = read_limits(&k);
    if (err == OK)
        err = read_dead(&k);
    if (err)
        return err;
    add_all(&k, s);
    *out = k.f;
    return OK;
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
