/*
 * mongo_lock - locks in MongoDB, for deployments without Redis
 *
 * Acquire: takes a number, looks whether the locks are still at home here, then
 * one upsert by _id decides (an upsert's filter cannot hold $expr). Renew and
 * release: one findAndModify each.
 */
#include "lib/coord/mongo_lock.h"

#include "lib/base/log.h"

enum {
    TRIES = 3,
    SETTLE_MS = 1500, /* a driver that lost a reply rests for 500 */
    ROW_BYTES = 4096, /* none of ours is as large */
    AHEAD_MS = 2 * LOCK_TTL_MOST_MS, /* no lock ends later */
    RELEASED_MS = 12 * 3600 * 1000   /* the TTL index lets them be for a day */
};

/* ---- expressions that no stored value makes throw */

#define FENCE_IS_SANE                                                          \
    "{", "$in", "[", "{", "$type", "$fence", "}", "[", "int", "long", "]",     \
        "]", "}", "{", "$gt", "[", "$fence", BCON_INT32(0), "]", "}", "{",     \
        "$lt", "[", "$fence", BCON_INT64(DATASET_FENCE_END), "]", "}"

static void append_alive(bson_t *to, const struct dataset *d)
{
    BCON_APPEND(to, "$and", "[", MONGO_TYPE_IS("$until", "date"), "{", "$gt",
                "[", "$until", "$$NOW", "]", "}", "{", "$lte", "[", "$until",
                MONGO_NOW_AND(AHEAD_MS), "]", "}",
                MONGO_TYPE_IS("$_id", "string"),
                MONGO_TYPE_IS("$tok", "string"), "{", "$ne", "[", "$tok", "",
                "]", "}", FENCE_IS_SANE, "{", "$eq", "[", "$ds",
                BCON_UTF8(d->id), "]", "}", "{", "$lt", "[", "{", "$bsonSize",
                "$$ROOT", "}", BCON_INT32(ROW_BYTES), "]", "}", "]");
}

bson_t *mongo_lock_alive(struct ctx *c, const struct dataset *d)
{
    bson_t *expr = mongo_bson(c);

    if (expr)
        append_alive(expr, d);
    return expr;
}

bson_t *mongo_lock_literal(struct ctx *c, str text)
{
    bson_t *expr = mongo_bson(c);

    if (expr)
        bson_append_utf8(expr, "$literal", -1, text.p, (int)text.n);
    return expr;
}

/* ---- round trips and what came of them */

enum lock_result mongo_lock_judge(struct ctx *c, enum err err,
                                  enum lock_result unsure)
{
    char reason[sizeof c->reason];

    if (err == OK)
        return LOCK_DONE;
    memcpy(reason, c->reason, sizeof reason);
    ctx_forgive(c);
    if (err == ERR_DB_UNAVAILABLE || err == ERR_TIME_LIMIT)
        return unsure;
    log_note(LOG_WARN, "lock.refused", "MongoDB refuses: %s", reason);
    return LOCK_CLOSED;
}

static enum lock_result may_write(struct ctx *c)
{
    return mongo_lock_judge(c, mongo_may_start(c), LOCK_AWAY);
}

/*
 * findAndModify of the row `name`; the row as it is then, or before with
 * `was`, has `left` (ms; absent: no lock) and `held`, ms since the grant.
 */
static bson_t *begin(struct ctx *c, const char *name, const bson_t *alive,
                     bool was)
{
    bson_t *cmd = mongo_bson(c);

    if (cmd)
        BCON_APPEND(
            cmd, "findAndModify", MONGO_LOCKS, "query", "{", "_id",
            BCON_UTF8(name), "}", "new", BCON_BOOL(!was), "fields", "{", "_id",
            BCON_INT32(0), "tok", BCON_INT32(1), "inst", BCON_INT32(1), "owner",
            BCON_INT32(1), "fence", BCON_INT32(1), "left", "{", "$cond", "[",
            BCON_DOCUMENT(alive), "{", "$subtract", "[", "$until", "$$NOW", "]",
            "}", "$$REMOVE", "]", "}", "held", "{", "$cond", "[", "{", "$and",
            "[", BCON_DOCUMENT(alive), MONGO_TYPE_IS("$at", "date"), "{", "$gt",
            "[", "$at", BCON_DATE_TIME(0), "]", "}", "{", "$lte", "[", "$at",
            "$$NOW", "]", "}", "]", "}", "{", "$subtract", "[", "$$NOW", "$at",
            "]", "}", "$$REMOVE", "]", "}", "}");
    return cmd;
}

/* ---- acquire */

struct grant {
    const struct dataset *d;
    struct lock *l;
    const struct lock_ask *ask;
    struct lock_holder *holder;
};

/* Mine: a new end, the same fence. Free and no greater fence: mine now. */
static enum err upsert(struct ctx *c, const struct grant *g, int64_t number,
                       bson_t **out)
{
    const bson_t *alive = mongo_lock_alive(c, g->d),
                 *owner = mongo_lock_literal(c, g->ask->owner),
                 *instance = mongo_lock_literal(c, g->ask->instance);
    bson_t *cmd;

    if (!alive || !owner || !instance)
        return ERR_OVERLOADED;
    cmd = begin(c, g->l->name, alive, false);
    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(
        cmd, "upsert", BCON_BOOL(true), "update", "[", "{", "$replaceWith", "{",
        "$switch", "{", "branches", "[", "{", "case", "{", "$and", "[",
        BCON_DOCUMENT(alive), "{", "$eq", "[", "$tok", BCON_UTF8(g->l->token),
        "]", "}", "]", "}", "then", "{", "$mergeObjects", "[", "$$ROOT", "{",
        "until", MONGO_NOW_AND(g->l->ttl_ms), "}", "]", "}", "}", "{", "case",
        BCON_DOCUMENT(alive), "then", "$$ROOT", "}", "{", "case", "{", "$and",
        "[", FENCE_IS_SANE, "{", "$gte", "[", "$fence", BCON_INT64(number), "]",
        "}", "]", "}", "then", "$$ROOT", "}", "]", "default", "{", "_id",
        "$_id", "tok", BCON_UTF8(g->l->token), "inst", BCON_DOCUMENT(instance),
        "owner", BCON_DOCUMENT(owner), "fence", BCON_INT64(number), "until",
        MONGO_NOW_AND(g->l->ttl_ms), "at", "$$NOW", "ds", BCON_UTF8(g->d->id),
        "}", "}", "}", "}", "]");
    return mongo_write_majority(c, cmd, out);
}

/* The number counts if the locks were at home here after it was taken. */
static enum lock_result take_number(struct ctx *c, const struct dataset *d,
                                    int64_t at_least, int64_t *out)
{
    struct dataset now;
    enum lock_result result =
        mongo_lock_judge(c, dataset_fence(c, at_least, out), LOCK_UNKNOWN);

    if (result == LOCK_DONE)
        result = mongo_lock_judge(c, dataset_read(c, &now), LOCK_AWAY);
    if (result != LOCK_DONE)
        return result;
    return now.home == DATASET_MONGO && strcmp(now.id, d->id) == 0 ? LOCK_DONE
                                                                   : LOCK_STALE;
}

/*
 * LOCK_GONE: neither granted nor held, to be tried again with a number of
 * *at_least. Two first upserts at a time: one of them has a duplicate key.
 */
static enum lock_result try_upsert(struct ctx *c, const struct grant *g,
                                   int64_t number, int64_t *at_least)
{
    bson_t *reply, row;
    enum err err = upsert(c, g, number, &reply);
    enum lock_result result;

    if (err == ERR_DUPLICATE_KEY) {
        ctx_forgive(c);
        return LOCK_GONE;
    }
    result = mongo_lock_judge(c, err, LOCK_UNKNOWN);
    if (result != LOCK_DONE)
        return result;
    if (!mongo_reply_doc(reply, "value", &row))
        return LOCK_GONE;
    if (!bson_has_field(&row, "left")) {
        *at_least = mongo_lock_number(&row, "fence");
        *at_least += *at_least < DATASET_FENCE_END;
        return LOCK_GONE;
    }
    if (str_eq(mongo_lock_text(&row, "tok"), str_of(g->l->token))) {
        g->l->fence = mongo_lock_number(&row, "fence");
        return LOCK_DONE;
    }
    *g->holder = (struct lock_holder){mongo_lock_text(&row, "owner"),
                                      mongo_lock_text(&row, "inst"),
                                      mongo_lock_number(&row, "left")};
    return LOCK_BUSY;
}

static enum lock_result
mongo_lock_acquire(struct ctx *c, const struct dataset *d, struct lock *l,
                   const struct lock_ask *ask, struct lock_holder *out_holder)
{
    const struct grant g = {d, l, ask, out_holder};
    enum lock_result result = may_write(c);
    int64_t number, at_least = 0;

    if (result != LOCK_DONE)
        return result;
    for (int i = 0; i < TRIES; i++) {
        result = take_number(c, d, at_least, &number);
        if (result == LOCK_DONE)
            result = try_upsert(c, &g, number, &at_least);
        if (result != LOCK_GONE)
            return result;
    }
    /* others were quicker each time */
    *out_holder = (struct lock_holder){STR(""), STR(""), 0};
    return LOCK_BUSY;
}

/* ---- renew, release */

/*
 * Changes the row as `with` says, if it is l's; *out_row as begin() has it.
 * Without memory: ERR_OVERLOADED.
 */
static enum err send_change(struct ctx *c, const struct dataset *d,
                            const struct lock *l, const bson_t *with, bool was,
                            bson_t **out)
{
    const bson_t *alive = mongo_lock_alive(c, d);
    bson_t *cmd = alive ? begin(c, l->name, alive, was) : NULL;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "update", "[", "{", "$replaceWith", "{", "$cond", "[", "{",
                "$and", "[", BCON_DOCUMENT(alive), "{", "$eq", "[", "$tok",
                BCON_UTF8(l->token), "]", "}", "]", "}", "{", "$mergeObjects",
                "[", "$$ROOT", BCON_DOCUMENT(with), "]", "}", "$$ROOT", "]",
                "}", "}", "]");
    return mongo_write_majority(c, cmd, out);
}

static enum lock_result judge_change(struct ctx *c, enum err err,
                                     const bson_t *reply, const struct lock *l,
                                     bson_t *out_row)
{
    enum lock_result result = mongo_lock_judge(c, err, LOCK_UNKNOWN);

    if (result != LOCK_DONE)
        return result;
    if (!mongo_reply_doc(reply, "value", out_row) ||
        !bson_has_field(out_row, "left"))
        return LOCK_GONE;
    return str_eq(mongo_lock_text(out_row, "tok"), str_of(l->token))
               ? LOCK_DONE
               : LOCK_LOST;
}

static enum lock_result mongo_lock_renew(struct ctx *c, const struct dataset *d,
                                         struct lock *l)
{
    bson_t with = BSON_INITIALIZER, *reply = NULL, row;
    enum lock_result result = may_write(c);
    enum err err;

    if (result != LOCK_DONE)
        return result;
    BCON_APPEND(&with, "until", MONGO_NOW_AND(l->ttl_ms));
    err = send_change(c, d, l, &with, false, &reply);
    bson_destroy(&with);
    result = judge_change(c, err, reply, l, &row);
    if (result == LOCK_DONE)
        l->fence = mongo_lock_number(&row, "fence");
    return result;
}

/* Its fence stays for a while, so the end is in the past but not long ago. */
static enum lock_result
mongo_lock_release(struct ctx *c, const struct dataset *d, struct lock *l)
{
    bson_t with = BSON_INITIALIZER, *reply = NULL, row;
    enum lock_result result = may_write(c);
    enum err err;

    if (result != LOCK_DONE)
        return result;
    BCON_APPEND(&with, "tok", "", "until",
                MONGO_NOW_AND(-(int64_t)RELEASED_MS));
    err = send_change(c, d, l, &with, true, &reply);
    bson_destroy(&with);
    result = judge_change(c, err, reply, l, &row);
    if (result == LOCK_DONE)
        l->held_ms =
            bson_has_field(&row, "held") ? mongo_lock_number(&row, "held") : -1;
    return result;
}

const struct lock_backend mongo_lock = {.acquire = mongo_lock_acquire,
                                        .renew = mongo_lock_renew,
                                        .release = mongo_lock_release,
                                        .list = mongo_lock_list,
                                        .clean = mongo_lock_clean,
                                        .count = mongo_lock_count,
                                        .wait_least_ms = 50,
                                        .wait_most_ms = 250,
                                        .settle_ms = SETTLE_MS};
