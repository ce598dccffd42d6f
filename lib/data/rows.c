/* rows - see rows.h */
#include "lib/data/rows.h"

#include <mongoc/mongoc.h>

#include "lib/base/clock.h"
#include "lib/data/mongo_error.h"

enum {
    STREAM_BATCH = 4000 /* rows asked for at a time */
};

struct rows {
    bson_t batch; /* rows of the only batch, when cursor is NULL */
    bson_iter_t it;
    int64_t n;
    bson_t row;
    mongoc_cursor_t *cursor;
    bool begun;         /* its first batch has come */
    unsigned given : 4; /* rows, as far as the clock is concerned */
};

static bson_t *find_command(struct ctx *c, const struct rows_find *f)
{
    bson_t *cmd = mongo_bson(c);

    if (!cmd)
        return NULL;
    BSON_APPEND_UTF8(cmd, "find", f->collection);
    BSON_APPEND_DOCUMENT(cmd, "filter", f->filter);
    if (f->sort)
        BSON_APPEND_DOCUMENT(cmd, "sort", f->sort);
    if (f->projection)
        BSON_APPEND_DOCUMENT(cmd, "projection", f->projection);
    if (f->skip)
        BSON_APPEND_INT64(cmd, "skip", f->skip);
    if (f->limit) {
        BSON_APPEND_INT64(cmd, "limit", f->limit);
        /* one more than the limit: the server then closes the cursor itself */
        BSON_APPEND_INT64(cmd, "batchSize", f->limit + 1);
    }
    return cmd;
}

enum err rows_find(struct ctx *c, const struct rows_find *f, struct rows **out)
{
    struct rows *rows = ctx_alloc(c, sizeof *rows);
    bson_t *cmd = find_command(c, f), *reply, cursor;
    bson_iter_t it;
    enum err err;

    if (!rows || !cmd)
        return ERR_OVERLOADED;
    err = mongo_read(c, cmd, &reply);
    if (err)
        return err;
    if (!mongo_reply_doc(reply, "cursor", &cursor) ||
        !mongo_reply_doc(&cursor, "firstBatch", &rows->batch) ||
        !bson_iter_init_find(&it, &cursor, "id"))
        return ctx_fail(c, ERR_INTERNAL, "Something went wrong on our side");
    if (bson_iter_as_int64(&it) != 0) { /* rows beyond 16 MiB */
        mongo_kill_cursor(c, f->collection, bson_iter_as_int64(&it));
        return rows_stream(c, f, out);
    }
    rows->n = bson_count_keys(&rows->batch);
    bson_iter_init(&rows->it, &rows->batch);
    *out = rows;
    return OK;
}

static void destroy_cursor(void *arg)
{
    mongoc_cursor_destroy(arg);
}

static void append_find_opts(struct ctx *c, const struct rows_find *f,
                             bson_t *opts)
{
    if (f->sort)
        BSON_APPEND_DOCUMENT(opts, "sort", f->sort);
    if (f->projection)
        BSON_APPEND_DOCUMENT(opts, "projection", f->projection);
    if (f->skip)
        BSON_APPEND_INT64(opts, "skip", f->skip);
    if (f->limit)
        BSON_APPEND_INT64(opts, "limit", f->limit);
    BSON_APPEND_INT32(opts, "batchSize", STREAM_BATCH);
    BSON_APPEND_INT64(opts, "maxTimeMS", ctx_left_ms(c));
}

enum err rows_stream(struct ctx *c, const struct rows_find *f,
                     struct rows **out)
{
    struct rows *rows = ctx_alloc(c, sizeof *rows);
    mongoc_collection_t *collection;
    bson_t *opts = mongo_bson(c);
    enum err err = mongo_may_start(c);

    if (!rows || !opts)
        return ERR_OVERLOADED;
    if (err)
        return err;
    append_find_opts(c, f, opts);
    collection = mongo_collection(c, f->collection);
    rows->cursor =
        mongoc_collection_find_with_opts(collection, f->filter, opts, NULL);
    mongoc_collection_destroy(collection);
    rows->n = -1;
    *out = rows;
    return arena_defer(&c->arena, destroy_cursor, rows->cursor);
}

int64_t rows_n(const struct rows *rows)
{
    return rows->n;
}

/* The driver does not tell when it asks for more: the first counts. */
static bool stream_next(struct rows *rows, const bson_t **out_doc)
{
    bson_error_t e = {0};
    int64_t start_us;
    bool more;

    if (rows->begun)
        return mongoc_cursor_next(rows->cursor, out_doc);
    rows->begun = true;
    start_us = clock_mono_us();
    more = mongoc_cursor_next(rows->cursor, out_doc);
    mongo_measure(clock_mono_us() - start_us,
                  !mongoc_cursor_error(rows->cursor, &e), &e);
    return more;
}

enum err rows_next(struct ctx *c, struct rows *rows, const bson_t **out_doc)
{
    const uint8_t *data;
    bson_error_t e;
    uint32_t n;

    *out_doc = NULL;
    if (!rows->cursor) {
        if (!bson_iter_next(&rows->it))
            return OK;
        bson_iter_document(&rows->it, &n, &data);
        if (!bson_init_static(&rows->row, data, n))
            return ctx_fail(c, ERR_INTERNAL, "A stored document is damaged");
        *out_doc = &rows->row;
        return OK;
    }
    if (rows->given++ == 0 && ctx_left_ms(c) == 0)
        return ctx_fail(c, ERR_TIME_LIMIT, "The request took too long");
    if (stream_next(rows, out_doc))
        return OK;
    *out_doc = NULL;
    if (mongoc_cursor_error(rows->cursor, &e))
        return mongo_translate(c, &e, false);
    return OK;
}
