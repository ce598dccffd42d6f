/* leader - see leader.h */
#include "lib/coord/leader.h"

#include "lib/base/conf.h"
#include "lib/data/json_out.h"
#include "lib/data/mongo.h"

enum {
    RESERVE_MOST_MS = 10000, /* no reservation is that long */
    RESIGNED_MS = 1000       /* a term given up ended so long ago */
};

#define COLLECTION "_leader"
#define WALL_MOST  INT64_C(8640000000000000) /* ECMA-262, 21.4.1.1 */

static const char *const names[] = {"cron", "maintenance"};
_Static_assert(sizeof names / sizeof *names == LEADER_N, "a name each");

const char *leader_name(enum leader_service s)
{
    return names[s];
}

enum leader_service leader_find(str name)
{
    int s = 0;

    if (str_eq(name, STR("cron-scheduler")))
        return LEADER_CRON;
    while (s < LEADER_N && !str_eq(name, str_of(names[s])))
        s++;
    return (enum leader_service)s;
}

ms leader_ttl_ms(const struct conf *conf)
{
    return conf->cluster_leader_ttl_ms;
}

/* A whole number, as a shell writes them too; 0: it is none, or no term. */
static int64_t term_of(const bson_t *doc, const char *name)
{
    bson_iter_t it;
    int64_t v = 0;

    if (!bson_iter_init_find(&it, doc, name))
        return 0;
    if (BSON_ITER_HOLDS_DOUBLE(&it)) {
        double d = bson_iter_double(&it);

        v = d >= 0 && d <= (double)LEADER_TERM_MAX ? (int64_t)d : 0;
    } else if (BSON_ITER_HOLDS_INT(&it)) {
        v = bson_iter_as_int64(&it);
    }
    return v >= 0 && v <= LEADER_TERM_MAX ? v : 0;
}

/* In a range in which two of them can be subtracted. */
static ms date_of(const bson_t *doc, const char *name, ms none)
{
    bson_iter_t it;
    ms v;

    if (!bson_iter_init_find(&it, doc, name) || !BSON_ITER_HOLDS_DATE_TIME(&it))
        return none;
    v = bson_iter_date_time(&it);
    return v > WALL_MOST ? WALL_MOST : v < -WALL_MOST ? -WALL_MOST : v;
}

static str text_of(const bson_t *doc, const char *name)
{
    str v;

    return json_out_text_member(doc, name, &v) ? v : STR("");
}

static void read_ask(const bson_t *ask, struct leader_term *out)
{
    str what = text_of(ask, "what");

    out->ask_term = term_of(ask, "term");
    if (str_eq(what, STR("resign")))
        out->ask = LEADER_ASK_RESIGN;
    else if (str_eq(what, STR("force")))
        out->ask = LEADER_ASK_FORCE;
}

static void read_reserve(const bson_t *reserve, ms now_wall,
                         struct leader_term *out)
{
    ms left = date_of(reserve, "until", now_wall) - now_wall;

    if (left <= 0 || left > RESERVE_MOST_MS)
        return;
    out->reserved = text_of(reserve, "instance");
    out->reserved_ms = out->reserved.n > 0 ? left : 0;
}

void leader_term_read(const bson_t *doc, ms now_wall, struct leader_term *out)
{
    bson_t member;

    *out = (struct leader_term){.known = doc->len <= LEADER_DOC_BYTES,
                                .holder = STR(""),
                                .token = STR(""),
                                .reserved = STR("")};
    if (!out->known)
        return;
    out->term = term_of(doc, "term");
    out->holder = text_of(doc, "holder");
    out->token = text_of(doc, "tok");
    out->left_ms = date_of(doc, "until", now_wall) - now_wall;
    out->since_wall = date_of(doc, "since", 0);
    if (mongo_reply_doc(doc, "ask", &member))
        read_ask(&member, out);
    if (mongo_reply_doc(doc, "reserve", &member))
        read_reserve(&member, now_wall, out);
}

/* The time that the write itself left there */
static void read_written(const bson_t *doc, struct leader_term *out)
{
    leader_term_read(doc, date_of(doc, "seen", 0), out);
}

/* {findAndModify, query, new}: the caller adds `update`. */
static bson_t *begin(struct ctx *c, const bson_t *query)
{
    bson_t *cmd = mongo_bson(c);

    if (!cmd)
        return NULL;
    BSON_APPEND_UTF8(cmd, "findAndModify", COLLECTION);
    BSON_APPEND_DOCUMENT(cmd, "query", query);
    BSON_APPEND_BOOL(cmd, "new", true);
    return cmd;
}

/* *out_doc is owned by the ctx; false in *out_found: the query met nothing. */
static enum err finish(struct ctx *c, bson_t *cmd, bson_t *out_doc,
                       bool *out_found)
{
    bson_t *reply;
    enum err err = mongo_write_majority(c, cmd, &reply);

    if (err == OK)
        *out_found = mongo_reply_doc(reply, "value", out_doc);
    return err;
}

/* Expressions that no stored value makes throw. */

static void let_term(bson_t *vars)
{
    BCON_APPEND(vars, "term", "{", "$cond", "[", "{", "$and", "[", "{", "$in",
                "[", "{", "$type", "$term", "}", "[", "int", "long", "double",
                "]", "]", "}", "{", "$gte", "[", "$term", BCON_INT32(0), "]",
                "}", "{", "$lt", "[", "$term", BCON_INT64(LEADER_TERM_MAX), "]",
                "}", "]", "}", "{", "$toLong", "$term", "}", BCON_INT64(0), "]",
                "}");
}

#define IS_SMALL                                                               \
    "{", "$lte", "[", "{", "$bsonSize", "$$ROOT", "}",                         \
        BCON_INT32(LEADER_DOC_BYTES), "]", "}"

static void let_until(bson_t *vars)
{
    BCON_APPEND(vars, "until", "{", "$cond", "[", "{", "$and", "[", "{", "$eq",
                "[", "{", "$type", "$until", "}", "date", "]", "}", IS_SMALL,
                "]", "}", "$until", BCON_DATE_TIME(0), "]", "}");
}

/* Who may take now: the one it is reserved for, else `me`. */
static void let_next(bson_t *vars, const bson_t *me)
{
    BCON_APPEND(vars, "next", "{", "$cond", "[", "{", "$and", "[", "{", "$eq",
                "[", "{", "$type", "$reserve.instance", "}", "string", "]", "}",
                "{", "$ne", "[", "$reserve.instance", "", "]", "}", "{", "$eq",
                "[", "{", "$type", "$reserve.until", "}", "date", "]", "}", "{",
                "$gt", "[", "$reserve.until", "$$NOW", "]", "}", "{", "$lte",
                "[", "$reserve.until", "{", "$add", "[", "$$NOW",
                BCON_INT32(RESERVE_MOST_MS), "]", "}", "]", "}", "]", "}",
                "$reserve.instance", BCON_DOCUMENT(me), "]", "}");
}

/* {until: now + ttl} */
static void lease(bson_t *out, ms ttl_ms)
{
    BCON_APPEND(out, "until", "{", "$add", "[", "$$NOW", BCON_INT64(ttl_ms),
                "]", "}");
}

static void new_term(bson_t *out, const bson_t *me, const struct leader_try *t)
{
    int64_t above = t->above < LEADER_TERM_MAX ? t->above : 0;

    BCON_APPEND(out, "_id", "$_id", "term", "{", "$add", "[", "{", "$max", "[",
                "$$term", BCON_INT64(above), "]", "}", BCON_INT64(1), "]", "}",
                "holder", BCON_DOCUMENT(me), "tok", BCON_UTF8(t->token),
                "since", "$$NOW");
    lease(out, t->ttl_ms);
}

/*
 * Mine: a new end. An end that no lease can have: cut, so that it passes. Over
 * and for me: the next term. Else nothing but `seen` changes.
 */
static void append_take(bson_t *cmd, str instance, const struct leader_try *t)
{
    bson_t me = BSON_INITIALIZER, vars = BSON_INITIALIZER,
           end = BSON_INITIALIZER, taken = BSON_INITIALIZER;

    bson_append_utf8(&me, "$literal", -1, instance.p, (int)instance.n);
    let_term(&vars);
    let_until(&vars);
    let_next(&vars, &me);
    lease(&end, t->ttl_ms);
    new_term(&taken, &me, t);
    BCON_APPEND(
        cmd, "upsert", BCON_BOOL(true), "update", "[", "{", "$replaceWith", "{",
        "$let", "{", "vars", BCON_DOCUMENT(&vars), "in", "{", "$switch", "{",
        "branches", "[",
        /* mine */
        "{", "case", "{", "$and", "[", "{", "$eq", "[", "$tok",
        BCON_UTF8(t->token), "]", "}", "{", "$gt", "[", "$$term", BCON_INT32(0),
        "]", "}", IS_SMALL, "]", "}", "then", "{", "$mergeObjects", "[",
        "$$ROOT", BCON_DOCUMENT(&end), "]", "}", "}",
        /* too far ahead */
        "{", "case", "{", "$gt", "[", "$$until", "{", "$add", "[", "$$NOW",
        BCON_INT32(LEADER_LEFT_MOST), "]", "}", "]", "}", "then", "{",
        "$mergeObjects", "[", "$$ROOT", BCON_DOCUMENT(&end), "]", "}", "}",
        /* over */
        "{", "case", "{", "$and", "[", "{", "$lte", "[", "$$until", "$$NOW",
        "]", "}", "{", "$eq", "[", "$$next", BCON_DOCUMENT(&me), "]", "}", "]",
        "}", "then", BCON_DOCUMENT(&taken), "}", "]", "default", "$$ROOT", "}",
        "}", "}", "}", "}", "{", "$set", "{", "seen", "$$NOW", "}", "}", "]");
    bson_destroy(&me);
    bson_destroy(&vars);
    bson_destroy(&end);
    bson_destroy(&taken);
}

enum err leader_take(struct ctx *c, enum leader_service s,
                     const struct leader_try *t, struct leader_term *out,
                     bool *out_mine)
{
    bson_t query = BSON_INITIALIZER, *cmd, doc;
    bool found;
    enum err err;

    /* an upsert by _id alone: its query cannot hold $expr */
    BSON_APPEND_UTF8(&query, "_id", names[s]);
    cmd = begin(c, &query);
    bson_destroy(&query);
    if (!cmd)
        return ERR_OVERLOADED;
    append_take(cmd, str_of(c->conf->cluster_instance_id), t);
    err = finish(c, cmd, &doc, &found);
    if (err)
        return err;
    if (!found)
        return ctx_fail(c, ERR_INTERNAL, "Something went wrong on our side");
    read_written(&doc, out);
    *out_mine = out->term > 0 && out->left_ms > 0 &&
                str_eq(out->token, str_of(t->token));
    return OK;
}

/* By (term, token) */
static bson_t *begin_held(struct ctx *c, enum leader_service s,
                          const struct leader_claim *t)
{
    bson_t query = BSON_INITIALIZER, *cmd;

    BCON_APPEND(&query, "_id", BCON_UTF8(names[s]), "term", BCON_INT64(t->term),
                "tok", BCON_UTF8(t->token));
    cmd = begin(c, &query);
    bson_destroy(&query);
    return cmd;
}

enum err leader_renew(struct ctx *c, enum leader_service s,
                      const struct leader_claim *t, ms ttl_ms,
                      struct leader_term *out, bool *out_mine)
{
    bson_t *cmd = begin_held(c, s, t), end = BSON_INITIALIZER, doc;
    bool found;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BSON_APPEND_UTF8(&end, "seen", "$$NOW");
    lease(&end, ttl_ms);
    BCON_APPEND(cmd, "update", "[", "{", "$set", BCON_DOCUMENT(&end), "}", "]");
    bson_destroy(&end);
    err = finish(c, cmd, &doc, &found);
    if (err)
        return err;
    *out = (struct leader_term){0};
    if (found)
        read_written(&doc, out);
    *out_mine = found;
    return OK;
}

/* Without its token no late command of the holder meets it any more. */
enum err leader_resign(struct ctx *c, enum leader_service s,
                       const struct leader_claim *t)
{
    bson_t *cmd = begin_held(c, s, t), doc;
    bool found;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "update", "[", "{", "$set", "{", "until", "{", "$subtract",
                "[", "$$NOW", BCON_INT32(RESIGNED_MS), "]", "}", "tok", "",
                "seen", "$$NOW", "}", "}", "{", "$unset", "ask", "}", "]");
    return finish(c, cmd, &doc, &found);
}

enum err leader_ask_resign(struct ctx *c, enum leader_service s, int64_t term,
                           bool *out_asked)
{
    bson_t query = BSON_INITIALIZER, *cmd, doc;

    BCON_APPEND(&query, "_id", BCON_UTF8(names[s]), "term", BCON_INT64(term),
                "$expr", "{", "$and", "[", "{", "$eq", "[", "{", "$type",
                "$until", "}", "date", "]", "}", "{", "$gt", "[", "$until",
                "$$NOW", "]", "}", "]", "}");
    cmd = begin(c, &query);
    bson_destroy(&query);
    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "update", "[", "{", "$set", "{", "seen", "$$NOW", "ask",
                "{", "$literal", "{", "what", "resign", "term",
                BCON_INT64(term), "}", "}", "}", "}", "]");
    return finish(c, cmd, &doc, out_asked);
}

/* $mergeObjects makes each of the two anew; $set alone would go inside. */
enum err leader_ask_force(struct ctx *c, enum leader_service s, str instance)
{
    bson_t query = BSON_INITIALIZER, me = BSON_INITIALIZER,
           vars = BSON_INITIALIZER, *cmd, doc;
    bool found;

    BSON_APPEND_UTF8(&query, "_id", names[s]);
    cmd = begin(c, &query);
    bson_destroy(&query);
    if (!cmd)
        return ERR_OVERLOADED;
    bson_append_utf8(&me, "$literal", -1, instance.p, (int)instance.n);
    let_term(&vars);
    let_until(&vars);
    BCON_APPEND(
        cmd, "upsert", BCON_BOOL(true), "update", "[", "{", "$replaceWith", "{",
        "$let", "{", "vars", BCON_DOCUMENT(&vars), "in", "{", "$cond", "[", "{",
        "$and", "[", "{", "$gt", "[", "$$until", "$$NOW", "]", "}", "{", "$eq",
        "[", "$holder", BCON_DOCUMENT(&me), "]", "}", "]", "}", "$$ROOT", "{",
        "$mergeObjects", "[", "$$ROOT", "{", "term", "$$term", "ask", "{",
        "what", "force", "term", "$$term", "}", "reserve", "{", "instance",
        BCON_DOCUMENT(&me), "until", "{", "$add", "[", "$$NOW",
        BCON_INT32(LEADER_RESERVE_MS), "]", "}", "}", "}", "]", "}", "]", "}",
        "}", "}", "}", "{", "$set", "{", "seen", "$$NOW", "}", "}", "]");
    bson_destroy(&me);
    bson_destroy(&vars);
    return finish(c, cmd, &doc, &found);
}
