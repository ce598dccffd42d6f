/* sweep - see sweep.h */
#include "lib/coord/sweep.h"

#include <stdlib.h>

#include "lib/base/id.h"
#include "lib/base/log.h"
#include "lib/coord/queue.h"
#include "lib/data/mongo.h"

enum {
    SLICE_ROWS = 500,
    SLICE_SUBSCRIBERS = 20,
    SUBSCRIBERS_MAX = 100000
};

/* ---- what belonged to deleted webhooks */

/* Ids of webhooks, sorted, each once. */
struct ids {
    const char **v;
    size_t n;
};

static void add_id(struct ids *ids, const bson_iter_t *it, size_t prefix)
{
    const char *text;
    uint32_t n;

    if (ids->n == SUBSCRIBERS_MAX || !BSON_ITER_HOLDS_UTF8(it))
        return;
    text = bson_iter_utf8(it, &n);
    /* tests and what somebody else put there are left alone */
    if (n > prefix && id_is_object((str){text + prefix, n - prefix}))
        ids->v[ids->n++] = text + prefix;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Those that have open rows. */
static enum err read_jobs(struct ctx *c, enum job_queue q, struct ids *ids)
{
    bson_t *cmd = mongo_bson(c), *reply, values;
    bson_iter_t it;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "distinct", "_jobs", "key", "lim", "query", "{", "q",
                BCON_UTF8(job_queue_name(q)), "open", BCON_BOOL(true), "}");
    err = mongo_read(c, cmd, &reply);
    if (err || !mongo_reply_doc(reply, "values", &values) ||
        !bson_iter_init(&it, &values))
        return err;
    while (bson_iter_next(&it))
        add_id(ids, &it, 0);
    return OK;
}

/* Those that are counted: a delivery may have ended after the deletion. */
static enum err read_limits(struct ctx *c, enum job_queue q, struct ids *ids)
{
    const char *name = job_queue_name(q);
    str first = arena_strf(&c->arena, "%s:", name);
    str end = arena_strf(&c->arena, "%s;", name);
    bson_t *cmd = mongo_bson(c), *reply, batch;
    bson_iter_t it, id;
    enum err err;

    if (!cmd || !first.p || !end.p)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "find", "_limits", "filter", "{", "_id", "{", "$gt",
                BCON_UTF8(first.p), "$lt", BCON_UTF8(end.p), "}", "}",
                "projection", "{", "_id", BCON_INT32(1), "}", "batchSize",
                BCON_INT32(SUBSCRIBERS_MAX), "singleBatch", BCON_BOOL(true));
    err = mongo_read(c, cmd, &reply);
    if (err || !mongo_reply_rows(reply, &batch) || !bson_iter_init(&it, &batch))
        return err;
    while (bson_iter_next(&it))
        if (BSON_ITER_HOLDS_DOCUMENT(&it) && bson_iter_recurse(&it, &id) &&
            bson_iter_find(&id, "_id"))
            add_id(ids, &id, first.n);
    return OK;
}

static void sort_once(struct ids *ids)
{
    size_t n = 0;

    qsort(ids->v, ids->n, sizeof *ids->v, by_text);
    for (size_t i = 0; i < ids->n; i++)
        if (n == 0 || strcmp(ids->v[n - 1], ids->v[i]) != 0)
            ids->v[n++] = ids->v[i];
    ids->n = n;
}

static enum err find_webhooks(struct ctx *c, const struct ids *ids,
                              bson_t *out_batch)
{
    bson_t *cmd = mongo_bson(c), *reply, list = BSON_INITIALIZER;
    char number[16];
    const char *key;
    bson_oid_t oid;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    for (size_t i = 0; i < ids->n; i++) {
        bson_oid_init_from_string(&oid, ids->v[i]);
        bson_uint32_to_string((uint32_t)i, &key, number, sizeof number);
        BSON_APPEND_OID(&list, key, &oid);
    }
    BCON_APPEND(cmd, "find", "_webhooks", "filter", "{", "_id", "{", "$in",
                BCON_ARRAY(&list), "}", "}", "projection", "{", "_id",
                BCON_INT32(1), "}", "sort", "{", "_id", BCON_INT32(1), "}",
                "batchSize", BCON_INT32(SUBSCRIBERS_MAX), "singleBatch",
                BCON_BOOL(true));
    bson_destroy(&list);
    err = mongo_read(c, cmd, &reply);
    if (err == OK && !mongo_reply_rows(reply, out_batch))
        err = ctx_fail(c, ERR_INTERNAL, "Webhooks could not be read");
    return err;
}

/* Leaves those that are not there: both are sorted. */
static void take_out(struct ids *ids, const bson_t *there)
{
    char text[ID_OBJECT_MAX];
    size_t from = 0, n = 0;
    bson_iter_t it, id;

    bson_iter_init(&it, there);
    while (bson_iter_next(&it)) {
        if (!bson_iter_recurse(&it, &id) || !bson_iter_find(&id, "_id") ||
            !BSON_ITER_HOLDS_OID(&id))
            continue;
        bson_oid_to_string(bson_iter_oid(&id), text);
        while (from < ids->n && strcmp(ids->v[from], text) < 0)
            ids->v[n++] = ids->v[from++];
        if (from < ids->n && strcmp(ids->v[from], text) == 0)
            from++;
    }
    while (from < ids->n)
        ids->v[n++] = ids->v[from++];
    ids->n = n;
}

/* Rows are read before the webhooks: these are older than their rows. */
static enum err find_gone(struct ctx *c, enum job_queue q, struct ids *ids)
{
    bson_t there;
    enum err err;

    ids->v = ctx_alloc(c, SUBSCRIBERS_MAX * sizeof *ids->v);
    if (!ids->v)
        return ERR_OVERLOADED;
    err = read_jobs(c, q, ids);
    if (err == OK)
        err = read_limits(c, q, ids);
    if (err || ids->n == 0)
        return err;
    sort_once(ids);
    err = find_webhooks(c, ids, &there);
    if (err == OK)
        take_out(ids, &there);
    return err;
}

enum err sweep_cancelled(struct ctx *c, enum job_queue q, int64_t *out_n)
{
    struct ids gone = {NULL, 0};
    enum err err = find_gone(c, q, &gone);
    int64_t all = 0, n;

    for (size_t i = 0;
         err == OK && i < gone.n && i < SLICE_SUBSCRIBERS && all < SLICE_ROWS;
         i++) {
        n = 0;
        err = queue_cancel(c, q, str_of(gone.v[i]), &n);
        all += n;
    }
    *out_n = all;
    return err;
}

/* ---- dead letters beyond what is kept */

/* Those that ended, by one index. */
static void append_dead(bson_t *filter, enum job_queue q)
{
    BCON_APPEND(filter, "q", BCON_UTF8(job_queue_name(q)), "st",
                BCON_UTF8(job_state_name(JOB_DEAD)), "endAt", "{", "$gt",
                BCON_DATE_TIME(0), "}");
}

static enum err count_dead(struct ctx *c, enum job_queue q, int64_t *out)
{
    bson_t *cmd = mongo_bson(c), *reply, query = BSON_INITIALIZER;
    bson_iter_t it;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    append_dead(&query, q);
    BCON_APPEND(cmd, "count", "_jobs", "query", BCON_DOCUMENT(&query));
    bson_destroy(&query);
    err = mongo_read(c, cmd, &reply);
    if (err == OK)
        *out =
            bson_iter_init_find(&it, reply, "n") ? bson_iter_as_int64(&it) : 0;
    return err;
}

static enum err oldest_dead(struct ctx *c, enum job_queue q, int64_t n,
                            bson_t *out_ids)
{
    bson_t *cmd = mongo_bson(c), *reply, filter = BSON_INITIALIZER, batch;
    bson_iter_t it, id;
    char number[16];
    const char *key;
    uint32_t found = 0;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    append_dead(&filter, q);
    BCON_APPEND(cmd, "find", "_jobs", "filter", BCON_DOCUMENT(&filter), "sort",
                "{", "endAt", BCON_INT32(1), "}", "projection", "{", "_id",
                BCON_INT32(1), "}", "limit", BCON_INT64(n), "batchSize",
                BCON_INT32(SLICE_ROWS), "singleBatch", BCON_BOOL(true));
    bson_destroy(&filter);
    err = mongo_read(c, cmd, &reply);
    if (err || !mongo_reply_rows(reply, &batch) || !bson_iter_init(&it, &batch))
        return err;
    while (bson_iter_next(&it)) {
        if (!bson_iter_recurse(&it, &id) || !bson_iter_find(&id, "_id"))
            continue;
        bson_uint32_to_string(found++, &key, number, sizeof number);
        bson_append_iter(out_ids, key, -1, &id);
    }
    return OK;
}

/* One that was replayed meanwhile stays. */
static enum err delete_dead(struct ctx *c, const bson_t *ids, int64_t *out_n)
{
    bson_t *cmd = mongo_bson(c), *reply;
    bson_iter_t it;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "delete", "_jobs", "deletes", "[", "{", "q", "{", "_id",
                "{", "$in", BCON_ARRAY(ids), "}", "st",
                BCON_UTF8(job_state_name(JOB_DEAD)), "}", "limit",
                BCON_INT32(0), "}", "]");
    err = mongo_write(c, cmd, &reply, NULL);
    if (err == OK && bson_iter_init_find(&it, reply, "n"))
        *out_n = bson_iter_as_int64(&it);
    return err;
}

enum err sweep_dead(struct ctx *c, enum job_queue q, int64_t most,
                    int64_t *out_n)
{
    bson_t *ids = mongo_bson(c);
    int64_t there = 0;
    enum err err = ids ? count_dead(c, q, &there) : ERR_OVERLOADED;

    *out_n = 0;
    there -= most;
    if (err || there <= 0)
        return err;
    err = oldest_dead(c, q, there < SLICE_ROWS ? there : SLICE_ROWS, ids);
    if (err == OK && !bson_empty(ids))
        err = delete_dead(c, ids, out_n);
    if (*out_n > 0)
        log_note(LOG_WARN, "dead_letters.trimmed",
                 "the oldest %lld are removed: %lld are kept",
                 (long long)*out_n, (long long)most);
    return err;
}
