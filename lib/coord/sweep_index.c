/*
 * sweep_index - rows that the index in Redis has to be told of (see sweep.h)
 *
 * By enq_1 those of another data set or none; by claim_1 the first of each
 * subscriber while the index is full; by due_1 and lease_1 those that should
 * have run long ago. A slice reads at most 500 of them, calls the index
 * for 50 at a time, and marks what it took in one command. A Redis that hangs
 * costs a slice half a second.
 */
#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/coord/index_row.h"
#include "lib/coord/queue_inside.h"
#include "lib/coord/sweep.h"

enum {
    SLICE_ROWS = 500,
    REDIS_MS = 500, /* of waiting for Redis in a slice */
    KINDS_MAX = 30, /* values of `enq` that are told apart in a slice */
    SHARERS = 20,   /* subscribers that a slice looks at */
    OVERDUE_MS = 30000,
    FUTURE_MS = 60000 /* more than clocks differ by */
};

/* Rows on their way to the index. */
struct porter {
    struct ctx *c;
    enum job_queue queue;
    const struct subs *subs;
    ms now; /* the server's */
    ms end; /* of waiting for Redis */
    enum index_source by;
    bson_t taken; /* array of _id */
    uint32_t taken_n;
    uint32_t marked, foreign;
    bool full, away;
    struct index_job jobs[INDEX_ENQUEUE_MAX];
    size_t n;
};

static enum err porter_init(struct porter *p, struct ctx *c, enum job_queue q)
{
    enum err err = subs_get(c, &p->subs);

    p->c = c;
    p->queue = q;
    p->now = clock_server_ms();
    p->end = clock_mono_ms() + REDIS_MS;
    p->by = INDEX_BY_SWEEP;
    p->taken_n = p->marked = p->foreign = 0;
    p->n = 0;
    p->full = p->away = false;
    bson_init(&p->taken);
    return err;
}

/* Once for each: when it is marked. */
static void note_foreign(const struct porter *p)
{
    if (p->foreign > 0)
        log_note(LOG_WARN, "queue.foreign",
                 "%u rows are not of our making: the index has no place for "
                 "them",
                 (unsigned)p->foreign);
}

static void take(struct porter *p, const bson_value_t *id)
{
    char number[16];
    const char *key;

    bson_uint32_to_string(p->taken_n++, &key, number, sizeof number);
    BSON_APPEND_VALUE(&p->taken, key, id);
}

/* Tells the index of those in hand. */
static void deliver(struct porter *p)
{
    ms was = p->c->deadline, now = clock_mono_ms();
    enum index_seat seats[INDEX_ENQUEUE_MAX];
    size_t n = p->n;

    p->n = 0;
    if (n == 0 || p->away)
        return;
    p->c->deadline = p->end < was ? p->end : was;
    p->away =
        p->c->deadline <= now ||
        index_enqueue(p->c, p->queue, p->by, p->jobs, n, seats) != INDEX_DONE;
    p->c->deadline = was;
    for (size_t i = 0; i < n && !p->away; i++) {
        bson_value_t id = {.value_type = BSON_TYPE_UTF8};

        id.value.v_utf8.str = (char *)(uintptr_t)p->jobs[i].id.p;
        id.value.v_utf8.len = (uint32_t)p->jobs[i].id.n;
        if (seats[i] == INDEX_FULL)
            p->full = true;
        else
            take(p, &id);
    }
}

/* One that no index can hold counts as taken: it must not stand in the way of
 * those behind it. */
static void add(struct porter *p, const bson_t *row)
{
    bson_iter_t it;

    if (index_row_read(p->c->conf, p->subs, row, p->now, &p->jobs[p->n])) {
        if (++p->n == INDEX_ENQUEUE_MAX)
            deliver(p);
    } else if (bson_iter_init_find(&it, row, "_id")) {
        p->foreign++;
        take(p, bson_iter_value(&it));
    }
}

/* Of open rows. */
static enum err read_values(struct porter *p, const char *member,
                            bson_t *out_values)
{
    bson_t *cmd = mongo_bson(p->c), *reply;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "distinct", QUEUE_JOBS, "key", BCON_UTF8(member), "query",
                "{", "q", BCON_UTF8(job_queue_name(p->queue)), "open",
                BCON_BOOL(true), "}");
    err = mongo_read(p->c, cmd, &reply);
    if (err == OK && !mongo_reply_doc(reply, "values", out_values))
        err = ctx_fail(p->c, ERR_INTERNAL, "The queue could not be read");
    return err;
}

static bool is_index(const struct porter *p, const bson_iter_t *it)
{
    return BSON_ITER_HOLDS_UTF8(it) &&
           strcmp(bson_iter_utf8(it, NULL), p->c->index) == 0;
}

/* ---- what the index was not told of */

/* What is no date, or says it is of the future, is no young one. */
static void append_young(bson_t *filter, const struct porter *p, ms young_ms)
{
    if (young_ms > 0)
        BCON_APPEND(filter, "ts", "{", "$not", "{", "$gt",
                    BCON_DATE_TIME(p->now - young_ms), "$lt",
                    BCON_DATE_TIME(p->now + FUTURE_MS), "}", "}");
}

/* None, or another data set: named one by one, so that all of them come sorted
 * from their index. What is no text nobody of ours wrote: the safety net has
 * it. */
static enum err read_kinds(struct porter *p, bson_t *out)
{
    char number[16];
    const char *key;
    bson_t values;
    bson_iter_t it;
    uint32_t n = 1;
    enum err err = read_values(p, "enq", &values);

    BSON_APPEND_NULL(out, "0");
    if (err || !bson_iter_init(&it, &values))
        return err;
    while (n <= KINDS_MAX && bson_iter_next(&it)) {
        if (!BSON_ITER_HOLDS_UTF8(&it) || is_index(p, &it))
            continue;
        bson_uint32_to_string(n++, &key, number, sizeof number);
        bson_append_iter(out, key, -1, &it);
    }
    return OK;
}

static enum err read_unknown(struct porter *p, ms young_ms, bson_t *out_rows)
{
    bson_t *cmd = mongo_bson(p->c), *reply, filter = BSON_INITIALIZER;
    bson_t *kinds = mongo_bson(p->c);
    enum err err = cmd && kinds ? read_kinds(p, kinds) : ERR_OVERLOADED;

    if (err)
        return err;
    BCON_APPEND(&filter, "q", BCON_UTF8(job_queue_name(p->queue)), "open",
                BCON_BOOL(true), "enq", "{", "$in", BCON_ARRAY(kinds), "}");
    append_young(&filter, p, young_ms);
    BCON_APPEND(cmd, "find", QUEUE_JOBS, "filter", BCON_DOCUMENT(&filter),
                "sort", "{", "ts", BCON_INT32(1), "}", "limit",
                BCON_INT32(SLICE_ROWS), "hint", "enq_1", "batchSize",
                BCON_INT32(SLICE_ROWS), "singleBatch", BCON_BOOL(true));
    bson_destroy(&filter);
    index_row_project(cmd);
    err = mongo_read(p->c, cmd, &reply);
    if (err == OK && !mongo_reply_rows(reply, out_rows))
        err = ctx_fail(p->c, ERR_INTERNAL, "The queue could not be read");
    return err;
}

/* Those that ended meanwhile stay as they are. A mark that is lost costs one
 * more call. */
static enum err mark(struct porter *p)
{
    bson_t *cmd = mongo_bson(p->c), *reply;

    if (p->taken_n == 0)
        return OK;
    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "update", QUEUE_JOBS, "updates", "[", "{", "q", "{", "_id",
                "{", "$in", BCON_ARRAY(&p->taken), "}", "open", BCON_BOOL(true),
                "}", "u", "{", "$set", "{", "enq", BCON_UTF8(p->c->index), "}",
                "}", "multi", BCON_BOOL(true), "}", "]");
    p->marked += p->taken_n;
    p->taken_n = 0;
    bson_reinit(&p->taken);
    return queue_write(p->c, cmd, &reply);
}

/* ---- a full index */

static enum err add_first(struct porter *p, const bson_iter_t *lim)
{
    bson_t *cmd = mongo_bson(p->c), *reply, filter = BSON_INITIALIZER;
    bson_t rows, row;
    bson_iter_t it, enq;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(&filter, "q", BCON_UTF8(job_queue_name(p->queue)), "open",
                BCON_BOOL(true));
    bson_append_iter(&filter, "lim", -1, lim);
    BCON_APPEND(cmd, "find", QUEUE_JOBS, "filter", BCON_DOCUMENT(&filter),
                "sort", "{", "cls", BCON_INT32(1), "runAt", BCON_INT32(1), "}",
                "limit", BCON_INT32(SWEEP_SHARE), "hint", "claim_1",
                "batchSize", BCON_INT32(SWEEP_SHARE), "singleBatch",
                BCON_BOOL(true));
    bson_destroy(&filter);
    index_row_project(cmd);
    err = mongo_read(p->c, cmd, &reply);
    if (err || !mongo_reply_rows(reply, &rows) || !bson_iter_init(&it, &rows))
        return err;
    while (mongo_next_doc(&it, &row))
        if (!bson_iter_init_find(&enq, &row, "enq") || !is_index(p, &enq))
            add(p, &row);
    return OK;
}

/* One that is disabled, or at its limit, may have more rows than there is room
 * for. Of all subscribers some are looked at, other ones each second. */
static enum err share(struct porter *p)
{
    bson_t lims;
    bson_iter_t it;
    enum err err = read_values(p, "lim", &lims);
    int n = err ? 0 : (int)bson_count_keys(&lims), first, i = 0;

    if (n == 0 || !bson_iter_init(&it, &lims))
        return err;
    first = (int)(p->now / 1000 * SHARERS % n);
    p->by = INDEX_AT_ONCE;
    while (err == OK && !p->away && bson_iter_next(&it))
        if ((i++ + n - first) % n < SHARERS && BSON_ITER_HOLDS_UTF8(&it))
            err = add_first(p, &it);
    deliver(p);
    return err ? err : mark(p);
}

static enum err refill(struct porter *p, ms young_ms, struct sweep_told *out)
{
    bson_t rows, row;
    bson_iter_t it;
    int read = 0;
    enum err err = read_unknown(p, young_ms, &rows);

    if (err)
        return err;
    bson_iter_init(&it, &rows);
    while (mongo_next_doc(&it, &row)) {
        read++;
        if (!p->full && !p->away)
            add(p, &row);
    }
    if (!p->full)
        deliver(p);
    err = mark(p);
    if (err == OK && p->full && !p->away)
        err = share(p);
    if (err)
        return err;
    out->n = p->marked - p->foreign;
    out->more = read == SLICE_ROWS && !p->full && !p->away;
    out->over = read < SLICE_ROWS && !p->full && !p->away;
    return OK;
}

enum err sweep_refill(struct ctx *c, enum job_queue q, ms young_ms,
                      struct sweep_told *out)
{
    struct porter p;
    enum err err;

    *out = (struct sweep_told){0};
    if (!*c->index)
        return OK;
    err = porter_init(&p, c, q);
    if (err == OK)
        err = refill(&p, young_ms, out);
    note_foreign(&p);
    bson_destroy(&p.taken);
    return err;
}

/* ---- what should have run long ago */

/* Takes the filter. */
static enum err read_late(struct porter *p, bson_t *filter, int64_t skip,
                          const char *hint, bson_t *out_rows)
{
    bson_t *cmd = mongo_bson(p->c), *reply;
    enum err err = cmd ? OK : ERR_OVERLOADED;

    if (cmd) {
        BCON_APPEND(cmd, "find", QUEUE_JOBS, "filter", BCON_DOCUMENT(filter),
                    "sort", "{", "runAt", BCON_INT32(1), "}", "skip",
                    BCON_INT64(skip), "limit", BCON_INT32(SLICE_ROWS), "hint",
                    BCON_UTF8(hint), "batchSize", BCON_INT32(SLICE_ROWS),
                    "singleBatch", BCON_BOOL(true));
        index_row_project(cmd);
        err = mongo_read(p->c, cmd, &reply);
    }
    bson_destroy(filter);
    if (err == OK && !mongo_reply_rows(reply, out_rows))
        err = ctx_fail(p->c, ERR_INTERNAL, "The queue could not be read");
    return err;
}

static bson_t *late_filter(const struct porter *p, enum job_state st, ms from)
{
    return BCON_NEW("q", BCON_UTF8(job_queue_name(p->queue)), "open",
                    BCON_BOOL(true), "st", BCON_UTF8(job_state_name(st)),
                    "runAt", "{", "$gte", BCON_DATE_TIME(from), "$lt",
                    BCON_DATE_TIME(p->now - OVERDUE_MS), "}");
}

static void add_all(struct porter *p, const bson_t *rows)
{
    bson_iter_t it;
    bson_t row;

    bson_iter_init(&it, rows);
    while (!p->away && mongo_next_doc(&it, &row))
        add(p, &row);
    deliver(p);
}

/* Whose lease is over: their workers are gone. As many as there are slots. */
static enum err tell_orphans(struct porter *p)
{
    bson_t *filter = late_filter(p, JOB_LEASED, 0), rows;
    enum err err;

    BCON_APPEND(filter, "lease.tok", "{", "$exists", BCON_BOOL(true), "}",
                "lease.until", "{", "$lt", BCON_DATE_TIME(p->now), "}");
    err = read_late(p, filter, 0, "lease_1", &rows);
    if (err == OK)
        add_all(p, &rows);
    return err;
}

/* Behind the last of these rows; rows of one time keep their order in the
 * index of MongoDB, so that a number tells where to go on. */
static void step(struct sweep_walk *walk, const bson_t *rows)
{
    struct sweep_walk next = {.run_at = walk->run_at, .skip = walk->skip};
    bson_iter_t it;
    int read = 0;
    bson_t row;

    bson_iter_init(&it, rows);
    while (mongo_next_doc(&it, &row)) {
        ms run_at = queue_number(&row, "runAt");

        read++;
        next.skip = run_at == next.run_at ? next.skip + 1 : 1;
        next.run_at = run_at;
    }
    *walk = read == SLICE_ROWS ? next : (struct sweep_walk){0};
}

static enum err tell_late(struct porter *p, struct sweep_walk *walk)
{
    enum err err = OK;
    bson_t rows;

    if (walk->run_at == 0 && walk->skip == 0)
        err = tell_orphans(p);
    if (err == OK && !p->away)
        err = read_late(p, late_filter(p, JOB_WAITING, walk->run_at),
                        walk->skip, "due_1", &rows);
    if (err || p->away)
        return err;
    add_all(p, &rows);
    if (!p->away)
        step(walk, &rows);
    return OK;
}

enum err sweep_overdue(struct ctx *c, enum job_queue q, struct sweep_walk *walk,
                       int64_t *out_n)
{
    struct porter p;
    enum err err;

    *out_n = 0;
    if (!*c->index)
        return OK;
    err = porter_init(&p, c, q);
    if (err == OK)
        err = tell_late(&p, walk);
    *out_n = p.taken_n - p.foreign;
    bson_destroy(&p.taken);
    return err;
}
