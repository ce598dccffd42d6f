/*
 * mongo_charge - limits of subscribers: grants in a sliding window, what is in
 * flight, holds; see mongo_queue.h
 *
 * One command by _id that decides by $$NOW in its pipeline (an upsert's filter
 * cannot hold $expr). Times of grants never fall: a command that is later than
 * another, but began before it, takes the other's. So the first of the last
 * `limit` grants tells exactly whether the window is full.
 */
#include "lib/base/conf.h"
#include "lib/coord/queue_inside.h"

enum {
    WAIT_MOST_MS = 1000,
    FULL_MS = 100, /* at the cap: until somebody may have finished */
    EVERY = 1000,  /* grants kept of the limit over all, at most */
    TRIES = 2      /* two first upserts: one has a duplicate key */
};

/* Of one row of `_limits`. */
struct terms {
    const char *id;
    int64_t limit; /* grants kept; the window holds no more */
    int64_t every; /* a grant is kept each so many */
    int64_t cap;
    ms window_ms, lease_ms;
    const char *token;
};

const char *queue_limits_id(struct ctx *c, enum job_queue q, str lim)
{
    return arena_strf(&c->arena, "%s:" STR_FMT, job_queue_name(q), STR_ARG(lim))
        .p;
}

/* ---- the expressions of a charge; variables: fl, gr, n, at */

#define OR_EMPTY(path) "{", "$ifNull", "[", path, "[", "]", "]", "}"
#define HAS_TOKEN                                                              \
    "{", "$in", "[", BCON_UTF8(t->token), OR_EMPTY("$fl.tok"), "]", "}"

/* What is in flight still; grants, unless a clock that was far ahead wrote
 * them. */
static void append_kept(bson_t *vars, const struct terms *t)
{
    BCON_APPEND(vars, "fl", "{", "$filter", "{", "input", OR_EMPTY("$fl"), "as",
                "f", "cond", "{", "$gt", "[", "$$f.until", "$$NOW", "]", "}",
                "}", "}", "gr", "{", "$cond", "[", "{", "$gt", "[", "{",
                "$last", "$grants", "}", QUEUE_NOW_AND(t->window_ms), "]", "}",
                "[", "]", OR_EMPTY("$grants"), "]", "}");
}

static bson_t *is_open(struct ctx *c, const struct terms *t)
{
    bson_t *expr = mongo_bson(c);

    if (expr)
        BCON_APPEND(expr, "$and", "[", "{", "$lte", "[", "$hold", "$$NOW", "]",
                    "}", "{", "$lt", "[", "{", "$size", "$$fl", "}", "{",
                    "$min", "[", BCON_INT64(t->cap), "$pc", "]", "}", "]", "}",
                    "]");
    return expr;
}

static bson_t *is_below(struct ctx *c, const struct terms *t)
{
    bson_t *expr = mongo_bson(c);

    if (expr)
        BCON_APPEND(expr, "$or", "[", "{", "$lt", "[", "$$n",
                    BCON_INT64(t->limit), "]", "}", "{", "$lt", "[", "{",
                    "$arrayElemAt", "[", "$$gr", "{", "$subtract", "[", "$$n",
                    BCON_INT64(t->limit), "]", "}", "]", "}", "{", "$subtract",
                    "[", "$$at", BCON_INT64(t->window_ms), "]", "}", "]", "}",
                    "]");
    return expr;
}

/* The rows of which it will be one, as an expression. */
static bson_t *ids_of(struct ctx *c, const struct candidate *job)
{
    bson_t *expr = mongo_bson(c), ids;

    if (!expr)
        return NULL;
    BSON_APPEND_ARRAY_BEGIN(expr, "$literal", &ids);
    queue_append_text(&ids, "0", job->id);
    for (size_t i = 0; i < job->others_n; i++)
        queue_append_text(&ids, (const char *[]){"1", "2", "3"}[i],
                          job->others[i]);
    bson_append_array_end(expr, &ids);
    return expr;
}

static bson_t *granted(struct ctx *c, const struct terms *t,
                       const struct candidate *job)
{
    const bson_t *ids = ids_of(c, job);
    bson_t *expr = ids ? mongo_bson(c) : NULL;

    if (expr)
        BCON_APPEND(expr, "$mergeObjects", "[", "$$ROOT", "{", "grants", "{",
                    "$slice", "[", "{", "$concatArrays", "[", "$$gr", "[",
                    "$$at", "]", "]", "}", BCON_INT64(-t->limit), "]", "}",
                    "fl", "{", "$concatArrays", "[", "$$fl", "[", "{", "tok",
                    BCON_UTF8(t->token), "until", QUEUE_NOW_AND(t->lease_ms),
                    "at", "$$at", "ids", BCON_DOCUMENT(ids), "}", "]", "]", "}",
                    "}", "]");
    return expr;
}

/* The same where only each so many grants are kept, counted in `n`. */
static bson_t *granted_some(struct ctx *c, const struct terms *t,
                            const struct candidate *job)
{
    const bson_t *whole = granted(c, t, job);
    bson_t *expr = whole ? mongo_bson(c) : NULL;

    if (expr)
        BCON_APPEND(expr, "$let", "{", "vars", "{", "m", "{", "$mod", "[",
                    QUEUE_PLUS("$n", (int64_t)1), BCON_INT64(t->every), "]",
                    "}", "}", "in", "{", "$mergeObjects", "[",
                    BCON_DOCUMENT(whole), "{", "n", "{", "$ifNull", "[", "$$m",
                    BCON_INT64(1), "]", "}", "grants", "{", "$cond", "[", "{",
                    "$eq", "[", "$$m", BCON_INT64(0), "]", "}", "{", "$slice",
                    "[", "{", "$concatArrays", "[", "$$gr", "[", "$$at", "]",
                    "]", "}", BCON_INT64(-t->limit), "]", "}", "$$gr", "]", "}",
                    "}", "]", "}", "}");
    return expr;
}

static bson_t *pipeline_of(struct ctx *c, const struct terms *t,
                           const struct candidate *job)
{
    const bson_t *open = is_open(c, t), *below = is_below(c, t);
    const bson_t *grant =
        t->every > 1 ? granted_some(c, t, job) : granted(c, t, job);
    bson_t *kept = mongo_bson(c), *p = mongo_bson(c);

    if (!open || !below || !grant || !kept || !p)
        return NULL;
    append_kept(kept, t);
    BCON_APPEND(
        p, "0", "{", "$replaceWith", "{", "$let", "{", "vars",
        BCON_DOCUMENT(kept), "in", "{", "$let", "{", "vars", "{", "n", "{",
        "$size", "$$gr", "}", "at", "{", "$max", "[", "$$NOW", "{", "$last",
        "$$gr", "}", "]", "}", "}", "in", "{", "$switch", "{", "branches", "[",
        "{", "case", HAS_TOKEN, "then", "$$ROOT", "}", "{", "case", "{", "$not",
        "[", BCON_DOCUMENT(open), "]", "}", "then", "$$ROOT", "}", "{", "case",
        BCON_DOCUMENT(below), "then", BCON_DOCUMENT(grant), "}", "]", "default",
        "{", "$mergeObjects", "[", "$$ROOT", "{", "limited", "{", "$add", "[",
        "{", "$ifNull", "[", "$limited", BCON_INT64(0), "]", "}", BCON_INT64(1),
        "]", "}", "}", "]", "}", "}", "}", "}", "}", "}", "}", "}");
    return p;
}

static enum err send(struct ctx *c, const struct terms *t,
                     const struct candidate *job, bson_t **out)
{
    const bson_t *p = pipeline_of(c, t, job);
    bson_t *cmd = mongo_bson(c);

    if (!p || !cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "findAndModify", QUEUE_LIMITS, "query", "{", "_id",
                BCON_UTF8(t->id), "}", "upsert", BCON_BOOL(true), "new",
                BCON_BOOL(true), "update", BCON_ARRAY(p), "fields", "{", "_id",
                BCON_INT32(0), "got", HAS_TOKEN, "held", "{", "$subtract", "[",
                "$hold", "$$NOW", "]", "}", "left", "{", "$cond", "[", "{",
                "$gte", "[", "{", "$size", OR_EMPTY("$grants"), "}",
                BCON_INT64(t->limit), "]", "}", "{", "$subtract", "[", "{",
                "$add", "[", "{", "$arrayElemAt", "[", "$grants",
                BCON_INT64(-t->limit), "]", "}", BCON_INT64(t->window_ms + 1),
                "]", "}", "$$NOW", "]", "}", BCON_INT64(0), "]", "}", "}");
    return queue_write(c, cmd, out);
}

static void judge(const bson_t *row, struct charge *out)
{
    ms held = queue_number(row, "held"), left = queue_number(row, "left");

    out->limited = held <= 0 && left > 0;
    out->wait_ms = held > 0 ? held : left > 0 ? left : FULL_MS;
    if (out->wait_ms > WAIT_MOST_MS)
        out->wait_ms = WAIT_MOST_MS;
}

static enum charge_result charge_row(struct ctx *c, const struct terms *t,
                                     const struct candidate *job,
                                     struct charge *out)
{
    bson_t *reply, row;
    bson_iter_t it;
    enum err err = send(c, t, job, &reply);

    for (int i = 1; i < TRIES && err == ERR_DUPLICATE_KEY; i++) {
        ctx_forgive(c);
        err = send(c, t, job, &reply);
    }
    if (err || !mongo_reply_doc(reply, "value", &row))
        return CHARGE_UNKNOWN;
    if (bson_iter_init_find(&it, &row, "got") && bson_iter_as_bool(&it))
        return CHARGE_GRANTED;
    judge(&row, out);
    return CHARGE_REFUSED;
}

/* The limit over all, of which each so many grants are kept. */
static enum charge_result charge_all(struct ctx *c, const struct claimant *k,
                                     const struct candidate *job,
                                     const char *token, struct charge *inout)
{
    int64_t limit = c->conf->webhooks_global_rate_limit_per_minute;
    int64_t every = (limit + EVERY - 1) / EVERY;
    const struct terms t = {.id = queue_limits_id(c, k->queue, STR("*")),
                            .limit = limit / every,
                            .every = every,
                            .cap = INT64_MAX,
                            .window_ms = inout->window_ms,
                            .lease_ms = k->lease_ms,
                            .token = token};
    enum charge_result result =
        t.id ? charge_row(c, &t, job, inout) : CHARGE_UNKNOWN;

    inout->all = result == CHARGE_REFUSED;
    return result;
}

enum charge_result mongo_queue_charge(struct ctx *c, const struct claimant *k,
                                      const struct candidate *job,
                                      const char *token, struct charge *inout)
{
    const struct terms t = {.id = queue_limits_id(c, k->queue, job->lim),
                            .limit = inout->limit,
                            .every = 1,
                            .cap = k->cap > 0 ? k->cap : 1,
                            .window_ms = inout->window_ms,
                            .lease_ms = k->lease_ms,
                            .token = token};
    const struct settlement back = {.back = true};
    enum charge_result result =
        t.id ? charge_row(c, &t, job, inout) : CHARGE_UNKNOWN;

    if (result != CHARGE_GRANTED ||
        c->conf->webhooks_global_rate_limit_per_minute == 0)
        return result;
    result = charge_all(c, k, job, token, inout);
    if (result == CHARGE_REFUSED &&
        mongo_queue_settle(c, k->queue, job->lim, str_of(token), &back) != OK)
        return CHARGE_UNKNOWN;
    return result;
}

/* ---- settling */

#define NOT_MINE                                                               \
    "{", "$filter", "{", "input", "$fl", "as", "f", "cond", "{", "$ne", "[",   \
        "$$f.tok", BCON_UTF8(token.p), "]", "}", "}", "}"
#define ADDED(path, n)                                                         \
    "{", "$add", "[", "{", "$ifNull", "[", path, BCON_INT64(0), "]", "}",      \
        BCON_INT64(n), "]", "}"

/* One grant of the time that the entry in flight has is taken out. */
static void append_back(bson_t *set, str token)
{
    BCON_APPEND(
        set, "grants", "{", "$let", "{", "vars", "{", "i", "{", "$indexOfArray",
        "[", OR_EMPTY("$grants"), "{", "$arrayElemAt", "[", "$fl.at", "{",
        "$indexOfArray", "[", "$fl.tok", BCON_UTF8(token.p), "]", "}", "]", "}",
        "]", "}", "}", "in", "{", "$cond", "[", "{", "$lt", "[", "$$i",
        BCON_INT32(0), "]", "}", OR_EMPTY("$grants"), "{", "$concatArrays", "[",
        "{", "$slice", "[", "$grants", "$$i", "]", "}", "{", "$slice", "[",
        "$grants", "{", "$add", "[", "$$i", BCON_INT32(1), "]", "}", "{",
        "$size", "$grants", "}", "]", "}", "]", "}", "]", "}", "}", "}");
}

static void append_totals(bson_t *set, const struct settlement *s)
{
    BCON_APPEND(set, "attempts", ADDED("$attempts", s->attempts), "delivered",
                ADDED("$delivered", s->delivered), "failed",
                ADDED("$failed", s->failed), "dead", ADDED("$dead", s->dead),
                "tookMs", ADDED("$tookMs", s->took_ms));
    if (s->attempts > 0)
        BSON_APPEND_UTF8(set, "last", "$$NOW");
}

/* A success closes the breaker, and ends the hold that it made. */
static void append_success(bson_t *set)
{
    BCON_APPEND(set, "fails", BCON_INT64(0), "pc", "$$REMOVE", "hold", "{",
                "$cond", "[", "{", "$gt", "[", "$pc", BCON_INT32(0), "]", "}",
                "$$REMOVE", "$hold", "]", "}");
}

/* hold: the later of what there is, this span, and the breaker's. */
static void append_failure(bson_t *set, ms hold_ms, bool counts)
{
    BCON_APPEND(set, "hold", "{", "$max", "[", "$hold", "{", "$cond", "[",
                BCON_BOOL(hold_ms > 0), QUEUE_NOW_AND(hold_ms), BCON_NULL, "]",
                "}", "{", "$cond", "[", "{", "$and", "[", BCON_BOOL(counts),
                "{", "$gte", "[", ADDED("$fails", (int64_t)1),
                BCON_INT64(QUEUE_BREAKER_FAILURES), "]", "}", "]", "}",
                QUEUE_NOW_AND((ms)QUEUE_BREAKER_MS), BCON_NULL, "]", "}", "]",
                "}");
    if (counts)
        BCON_APPEND(set, "fails", ADDED("$fails", (int64_t)1), "pc", "{",
                    "$cond", "[", "{", "$gte", "[", ADDED("$fails", (int64_t)1),
                    BCON_INT64(QUEUE_BREAKER_FAILURES), "]", "}", BCON_INT64(1),
                    "$$REMOVE", "]", "}");
}

static const bson_t *settling(struct ctx *c, str token,
                              const struct settlement *s, bool all)
{
    bson_t *set = mongo_bson(c), *p = mongo_bson(c);

    if (!set || !p)
        return NULL;
    BCON_APPEND(set, "fl", NOT_MINE);
    if (s->back)
        append_back(set, token);
    if (!all && s->attempts + s->dead > 0)
        append_totals(set, s);
    if (!all && s->health == HEALTH_OK)
        append_success(set);
    else if (!all && (s->health == HEALTH_FAILED || s->hold_ms > 0))
        append_failure(set, s->hold_ms, s->health == HEALTH_FAILED);
    BCON_APPEND(p, "0", "{", "$set", BCON_DOCUMENT(set), "}");
    return p;
}

/* While the token is in flight there: so each settlement counts once. */
static enum err append_update(struct ctx *c, bson_t *updates, const char *key,
                              const char *id, str token, const bson_t *pipeline)
{
    if (!id || !pipeline)
        return ctx_no_memory(c);
    BCON_APPEND(updates, key, "{", "q", "{", "_id", BCON_UTF8(id), "fl.tok",
                BCON_UTF8(token.p), "}", "u", BCON_ARRAY(pipeline), "}");
    return OK;
}

enum err mongo_queue_settle(struct ctx *c, enum job_queue q, str lim, str token,
                            const struct settlement *s)
{
    bson_t *cmd = mongo_bson(c), *updates = mongo_bson(c), *reply;
    enum err err;

    if (!cmd || !updates)
        return ERR_OVERLOADED;
    err = append_update(c, updates, "0", queue_limits_id(c, q, lim), token,
                        settling(c, token, s, false));
    if (err == OK && c->conf->webhooks_global_rate_limit_per_minute > 0)
        err = append_update(c, updates, "1", queue_limits_id(c, q, STR("*")),
                            token, settling(c, token, s, true));
    if (err)
        return err;
    BCON_APPEND(cmd, "update", QUEUE_LIMITS, "updates", BCON_ARRAY(updates));
    return queue_write(c, cmd, &reply);
}

enum err mongo_queue_drop(struct ctx *c, str token)
{
    const struct settlement back = {.back = true};
    const bson_t *p = settling(c, token, &back, true);
    bson_t *cmd = mongo_bson(c), *reply;

    if (!p || !cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "update", QUEUE_LIMITS, "updates", "[", "{", "q", "{",
                "fl.tok", BCON_UTF8(token.p), "}", "u", BCON_ARRAY(p), "multi",
                BCON_BOOL(true), "}", "]");
    return queue_write(c, cmd, &reply);
}
