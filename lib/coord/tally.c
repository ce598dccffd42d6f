/* tally - see tally.h */
#include "lib/coord/tally.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/coord/queue_inside.h"

enum {
    ROWS = 64,
    EVERY_MS = 1000
};

/* What is added to one row of `_limits`. */
struct sum {
    enum job_queue queue;
    char lim[JOB_ID_MAX];
    int64_t attempts, delivered, failed, dead, limited, took_ms;
};

struct tally {
    struct sum rows[ROWS];
    size_t n;
    ms flushed_mono;
};

struct tally *tally_new(void)
{
    struct tally *t = calloc(1, sizeof *t);

    if (t)
        t->flushed_mono = clock_mono_ms();
    return t;
}

void tally_free(struct tally *t)
{
    free(t);
}

/* ---- writing */

static bool append_update(struct ctx *c, bson_t *updates, size_t i,
                          const struct sum *s)
{
    const char *id = queue_limits_id(c, s->queue, str_of(s->lim)), *key;
    bson_t *inc = mongo_bson(c), *u = mongo_bson(c);
    char text[16];

    if (!id || !inc || !u)
        return false;
    BCON_APPEND(inc, "attempts", BCON_INT64(s->attempts), "delivered",
                BCON_INT64(s->delivered), "failed", BCON_INT64(s->failed),
                "dead", BCON_INT64(s->dead), "tookMs", BCON_INT64(s->took_ms));
    if (s->limited > 0)
        BSON_APPEND_INT64(inc, "limited", s->limited);
    BSON_APPEND_DOCUMENT(u, "$inc", inc);
    if (s->attempts > 0)
        BCON_APPEND(u, "$currentDate", "{", "last", BCON_BOOL(true), "}");
    bson_uint32_to_string((uint32_t)i, &key, text, sizeof text);
    BCON_APPEND(updates, key, "{", "q", "{", "_id", BCON_UTF8(id), "}", "u",
                BCON_DOCUMENT(u), "upsert", BCON_BOOL(true), "}");
    return true;
}

static enum err write_sums(struct ctx *c, const struct sum *rows, size_t n)
{
    bson_t *cmd = mongo_bson(c), *updates = mongo_bson(c), *reply;

    if (!cmd || !updates)
        return ERR_OVERLOADED;
    for (size_t i = 0; i < n; i++)
        if (!append_update(c, updates, i, &rows[i]))
            return ctx_no_memory(c);
    BCON_APPEND(cmd, "update", QUEUE_LIMITS, "updates", BCON_ARRAY(updates),
                "ordered", BCON_BOOL(false));
    return queue_write(c, cmd, &reply);
}

static void flush(struct tally *t, struct ctx *c)
{
    enum err err = write_sums(c, t->rows, t->n);

    t->flushed_mono = clock_mono_ms();
    if (err && !queue_is_refused(c)) {
        ctx_forgive(c);
        return;
    }
    if (err) /* of one row: the others were written */
        log_note(LOG_WARN, "queue.not_counted", "%s", c->reason);
    ctx_forgive(c);
    t->n = 0;
}

void tally_flush(struct tally *t, struct ctx *c, bool now)
{
    if (t->n > 0 && (now || clock_mono_ms() - t->flushed_mono >= EVERY_MS))
        flush(t, c);
}

enum err tally_once(struct ctx *c, enum job_queue q, str lim,
                    const struct settlement *s)
{
    struct sum one = {.queue = q, .dead = s->dead};

    one.attempts = s->attempts;
    one.delivered = s->delivered;
    one.failed = s->failed;
    one.took_ms = s->took_ms;
    snprintf(one.lim, sizeof one.lim, STR_FMT, STR_ARG(lim));
    return write_sums(c, &one, 1);
}

/* ---- counting */

static struct sum *find(struct tally *t, enum job_queue q, str lim)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].queue == q && str_eq(str_of(t->rows[i].lim), lim))
            return &t->rows[i];
    return NULL;
}

/* Room for one more; what cannot be written makes room for it. */
static struct sum *add_row(struct tally *t, struct ctx *c, enum job_queue q,
                           str lim)
{
    struct sum *s;

    if (t->n == ROWS)
        flush(t, c);
    if (t->n == ROWS)
        t->n = 0;
    s = &t->rows[t->n++];
    *s = (struct sum){.queue = q};
    snprintf(s->lim, sizeof s->lim, STR_FMT, STR_ARG(lim));
    return s;
}

void tally_add(struct tally *t, struct ctx *c, enum job_queue q, str lim,
               const struct settlement *s, int64_t limited)
{
    struct sum *to = find(t, q, lim);

    if (!to)
        to = add_row(t, c, q, lim);
    to->attempts += s->attempts;
    to->delivered += s->delivered;
    to->failed += s->failed;
    to->dead += s->dead;
    to->took_ms += s->took_ms;
    to->limited += limited;
}
