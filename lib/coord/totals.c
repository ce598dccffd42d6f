/* totals - see totals.h */
#include "lib/coord/totals.h"

#include <stdlib.h>

#include "lib/base/conf.h"
#include "lib/coord/queue.h"
#include "lib/data/json_out.h"
#include "lib/data/mongo.h"

enum {
    ROWS_MAX = 10000 /* subscribers in one answer */
};

#define WALL_MOST INT64_C(8640000000000000) /* ECMA-262, 21.4.1.1 */

static int64_t number_of(const bson_t *row, const char *name)
{
    bson_iter_t it;
    int64_t v;

    if (!bson_iter_init_find(&it, row, name) || !BSON_ITER_HOLDS_NUMBER(&it))
        return 0;
    v = bson_iter_as_int64(&it);
    return v > 0 ? v : 0;
}

static ms time_of(const bson_t *row, const char *name)
{
    bson_iter_t it;
    ms v;

    if (!bson_iter_init_find(&it, row, name) || !BSON_ITER_HOLDS_DATE_TIME(&it))
        return 0;
    v = bson_iter_date_time(&it);
    return v >= 0 && v <= WALL_MOST ? v : 0;
}

static str text_of(const bson_t *row, const char *name)
{
    str v;

    return json_out_text_member(row, name, &v) ? v : STR("");
}

static enum err first_batch(struct ctx *c, const bson_t *reply,
                            bson_t *out_batch)
{
    if (mongo_reply_rows(reply, out_batch))
        return OK;
    return ctx_fail(c, ERR_INTERNAL, "Something went wrong on our side");
}

static int compare(str a, str b)
{
    int by = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

    return by ? by : (a.n > b.n) - (a.n < b.n);
}

/* ---- totals */

/* "webhook:a" gives "a"; nothing for the limit over all, and for tests. */
static str subscriber_of(str id, str queue)
{
    str rest = str_from(id, queue.n + 1);

    if (!str_starts(id, queue) || id.n <= queue.n || id.p[queue.n] != ':' ||
        str_eq(rest, STR("*")) || str_starts(rest, STR("test:")))
        return STR("");
    return rest;
}

/* The window as it is kept: lengthened by the slack of its grants. */
static ms window_ms(const struct conf *conf)
{
    return conf->webhook_rate_limit_window_ms + queue_slack_ms(conf);
}

/* `;` follows `:`. What is not an array has no grants. */
static void append_totals(struct ctx *c, bson_t *cmd, str queue)
{
    str from = arena_strf(&c->arena, STR_FMT ":", STR_ARG(queue));
    str to = arena_strf(&c->arena, STR_FMT ";", STR_ARG(queue));

    BCON_APPEND(cmd, "aggregate", "_limits", "pipeline", "[", "{", "$match",
                "{", "_id", "{", "$gt", BCON_UTF8(from.p ? from.p : ""), "$lt",
                BCON_UTF8(to.p ? to.p : ""), "}", "}", "}", "{", "$limit",
                BCON_INT32(ROWS_MAX), "}", "{", "$project", "{", "attempts",
                BCON_INT32(1), "delivered", BCON_INT32(1), "failed",
                BCON_INT32(1), "dead", BCON_INT32(1), "limited", BCON_INT32(1),
                "tookMs", BCON_INT32(1), "last", BCON_INT32(1), "recent", "{",
                "$size", "{", "$filter", "{", "input", "{", "$cond", "[", "{",
                "$isArray", "$grants", "}", "$grants", "[", "]", "]", "}",
                "cond", "{", "$gt", "[", "$$this", "{", "$subtract", "[",
                "$$NOW", BCON_INT64(window_ms(c->conf)), "]", "}", "]", "}",
                "}", "}", "}", "}", "}", "]", "cursor", "{", "batchSize",
                BCON_INT32(ROWS_MAX + 1), "}");
}

static int by_subscriber(const void *a, const void *b)
{
    const struct totals *x = a, *y = b;

    return compare(x->subscriber, y->subscriber);
}

enum err totals_read(struct ctx *c, enum job_queue q, const struct totals **out,
                     size_t *out_n)
{
    str queue = str_of(job_queue_name(q));
    bson_t *cmd = mongo_bson(c), *reply, batch, row;
    struct totals *rows;
    bson_iter_t it;
    size_t n = 0;
    enum err err = cmd ? OK : ERR_OVERLOADED;

    if (err == OK) {
        append_totals(c, cmd, queue);
        err = mongo_read(c, cmd, &reply);
    }
    if (err == OK)
        err = first_batch(c, reply, &batch);
    if (err)
        return err;
    rows = ctx_alloc(c, (bson_count_keys(&batch) + 1) * sizeof *rows);
    if (!rows)
        return ERR_OVERLOADED;
    bson_iter_init(&it, &batch);
    while (mongo_next_doc(&it, &row)) {
        str id = subscriber_of(text_of(&row, "_id"), queue);

        if (id.n == 0)
            continue;
        rows[n++] = (struct totals){.subscriber = id,
                                    .attempts = number_of(&row, "attempts"),
                                    .delivered = number_of(&row, "delivered"),
                                    .failed = number_of(&row, "failed"),
                                    .dead = number_of(&row, "dead"),
                                    .limited = number_of(&row, "limited"),
                                    .recent = number_of(&row, "recent"),
                                    .took_ms = number_of(&row, "tookMs"),
                                    .last_wall = time_of(&row, "last")};
    }
    qsort(rows, n, sizeof *rows, by_subscriber);
    *out = rows;
    *out_n = n;
    return OK;
}

const struct totals *totals_find(const struct totals *rows, size_t n, str id)
{
    struct totals wanted = {.subscriber = id};

    return n ? bsearch(&wanted, rows, n, sizeof *rows, by_subscriber) : NULL;
}

/* ---- backlog */

/* Tests are no delivery of their webhook. */
static void append_backlog(bson_t *cmd, const char *queue)
{
    BCON_APPEND(cmd, "aggregate", "_jobs", "pipeline", "[", "{", "$match", "{",
                "q", BCON_UTF8(queue), "open", BCON_BOOL(true), "once", "{",
                "$ne", BCON_BOOL(true), "}", "}", "}", "{", "$group", "{",
                "_id", "$lim", "pending", "{", "$sum", BCON_INT32(1), "}",
                "retrying", "{", "$sum", "{", "$cond", "[", "{", "$gt", "[",
                "$tries", BCON_INT32(0), "]", "}", BCON_INT32(1), BCON_INT32(0),
                "]", "}", "}", "}", "}", "{", "$limit", BCON_INT32(ROWS_MAX),
                "}", "]", "cursor", "{", "batchSize", BCON_INT32(ROWS_MAX + 1),
                "}");
}

static int by_backlog(const void *a, const void *b)
{
    const struct backlog *x = a, *y = b;

    return compare(x->subscriber, y->subscriber);
}

enum err backlog_read(struct ctx *c, enum job_queue q,
                      const struct backlog **out, size_t *out_n)
{
    bson_t *cmd = mongo_bson(c), *reply, batch, row;
    struct backlog *rows;
    bson_iter_t it;
    size_t n = 0;
    enum err err = cmd ? OK : ERR_OVERLOADED;

    if (err == OK) {
        append_backlog(cmd, job_queue_name(q));
        err = mongo_read(c, cmd, &reply);
    }
    if (err == OK)
        err = first_batch(c, reply, &batch);
    if (err)
        return err;
    rows = ctx_alloc(c, (bson_count_keys(&batch) + 1) * sizeof *rows);
    if (!rows)
        return ERR_OVERLOADED;
    bson_iter_init(&it, &batch);
    while (mongo_next_doc(&it, &row))
        rows[n++] =
            (struct backlog){text_of(&row, "_id"), number_of(&row, "pending"),
                             number_of(&row, "retrying")};
    qsort(rows, n, sizeof *rows, by_backlog);
    *out = rows;
    *out_n = n;
    return OK;
}

const struct backlog *backlog_find(const struct backlog *rows, size_t n, str id)
{
    struct backlog wanted = {.subscriber = id};

    return n ? bsearch(&wanted, rows, n, sizeof *rows, by_backlog) : NULL;
}
