/* mongo_lock_all - listing, counting and clean-up; see mongo_lock.h */
#include "lib/coord/mongo_lock.h"

enum {
    OWNED_MOST = 1000,
    GUARDS_MS = 2000, /* no acquire is under way for longer */
};

#define WALL_MOST INT64_C(8640000000000000) /* ECMA-262, 21.4.1.1 */

static ms date_of(const bson_t *row, const char *name)
{
    bson_iter_t it;
    ms v;

    if (!bson_iter_init_find(&it, row, name) || !BSON_ITER_HOLDS_DATE_TIME(&it))
        return 0;
    v = bson_iter_date_time(&it);
    return v >= 0 && v <= WALL_MOST ? v : 0;
}

/* Calls fn for each document of the first batch of a cursor. */
static void each_row(const bson_t *reply,
                     void (*fn)(const bson_t *row, void *arg), void *arg)
{
    bson_t batch, row;
    bson_iter_t it;

    if (!mongo_reply_rows(reply, &batch) || !bson_iter_init(&it, &batch))
        return;
    while (mongo_next_doc(&it, &row))
        fn(&row, arg);
}

/* The plain bound lets the index be used from where the last page ended. */
static enum err find_page(struct ctx *c, const struct dataset *d,
                          const struct lock_page *p, bson_t **out)
{
    const bson_t *alive = mongo_lock_alive(c, d);
    bson_t *cmd = mongo_bson(c), last = BSON_INITIALIZER;

    if (!alive || !cmd)
        return ERR_OVERLOADED;
    bson_append_utf8(&last, "$lte", -1, p->name.n ? p->name.p : "",
                     (int)p->name.n);
    BCON_APPEND(cmd, "find", MONGO_LOCKS, "filter", "{", "until", "{", "$gte",
                BCON_DATE_TIME(p->end), "}", "$expr", BCON_DOCUMENT(alive),
                "$nor", "[", "{", "until", BCON_DATE_TIME(p->end), "_id",
                BCON_DOCUMENT(&last), "}", "]", "}", "sort", "{", "until",
                BCON_INT32(1), "_id", BCON_INT32(1), "}", "projection", "{",
                "inst", BCON_INT32(1), "owner", BCON_INT32(1), "fence",
                BCON_INT32(1), "until", BCON_INT32(1), "at", BCON_INT32(1),
                "left", "{", "$subtract", "[", "$until", "$$NOW", "]", "}", "}",
                "limit", BCON_INT64((int64_t)p->max), "batchSize",
                BCON_INT64((int64_t)p->max), "singleBatch", BCON_BOOL(true));
    bson_destroy(&last);
    return mongo_read(c, cmd, out);
}

static void note_row(const bson_t *row, void *arg)
{
    struct lock_page *p = arg;
    str name = mongo_lock_text(row, "_id");

    if (p->rows_n == p->max)
        return;
    lock_page_note(p, date_of(row, "until"), name);
    p->rows[p->rows_n++] =
        (struct lock_row){.name = name,
                          .owner = mongo_lock_text(row, "owner"),
                          .instance = mongo_lock_text(row, "inst"),
                          .at_wall = date_of(row, "at"),
                          .left_ms = mongo_lock_number(row, "left"),
                          .fence = mongo_lock_number(row, "fence")};
}

enum lock_result mongo_lock_list(struct ctx *c, const struct dataset *d,
                                 struct lock_page *p)
{
    bson_t *reply;
    enum lock_result result =
        mongo_lock_judge(c, find_page(c, d, p, &reply), LOCK_AWAY);

    if (result != LOCK_DONE)
        return result;
    p->rows_n = p->entries = 0;
    each_row(reply, note_row, p);
    return LOCK_DONE;
}

/* No lock, and no acquire can be under way that began before its grant. */
static void append_removable(bson_t *to, const bson_t *alive)
{
    BCON_APPEND(to, "$not", "[", "{", "$or", "[", BCON_DOCUMENT(alive), "{",
                "$and", "[", MONGO_TYPE_IS("$at", "date"), "{", "$gt", "[",
                "$at", MONGO_NOW_AND(-(int64_t)GUARDS_MS), "]", "}", "{",
                "$lte", "[", "$at", MONGO_NOW_AND(GUARDS_MS), "]", "}", "]",
                "}", "]", "}", "]");
}

static bson_t *removable_expr(struct ctx *c, const struct dataset *d)
{
    const bson_t *alive = mongo_lock_alive(c, d);
    bson_t *expr = mongo_bson(c);

    if (!alive || !expr)
        return NULL;
    append_removable(expr, alive);
    return expr;
}

static enum err count_rows(struct ctx *c, const struct dataset *d, str instance,
                           bson_t **out)
{
    const bson_t *alive = mongo_lock_alive(c, d),
                 *removable = removable_expr(c, d),
                 *own = mongo_lock_literal(c, instance);
    bson_t *cmd = mongo_bson(c);

    if (!alive || !removable || !own || !cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(
        cmd, "aggregate", MONGO_LOCKS, "pipeline", "[", "{", "$project", "{",
        "inst", "{", "$eq", "[", "$inst", BCON_DOCUMENT(own), "]", "}", "alive",
        BCON_DOCUMENT(alive), "old", BCON_DOCUMENT(removable), "}", "}", "{",
        "$group", "{", "_id", BCON_NULL, "held", "{", "$sum", "{", "$cond", "[",
        "$alive", BCON_INT64(1), BCON_INT64(0), "]", "}", "}", "owned", "{",
        "$sum", "{", "$cond", "[", "{", "$and", "[", "$alive", "$inst", "]",
        "}", BCON_INT64(1), BCON_INT64(0), "]", "}", "}", "expired", "{",
        "$sum", "{", "$cond", "[", "$old", BCON_INT64(1), BCON_INT64(0), "]",
        "}", "}", "}", "}", "]", "cursor", "{", "}");
    return mongo_read(c, cmd, out);
}

static void note_count(const bson_t *row, void *arg)
{
    struct lock_count *out = arg;
    int64_t owned = mongo_lock_number(row, "owned");

    *out = (struct lock_count){.held = mongo_lock_number(row, "held"),
                               .owned = owned < OWNED_MOST ? owned : OWNED_MOST,
                               .expired = mongo_lock_number(row, "expired")};
}

enum lock_result mongo_lock_count(struct ctx *c, const struct dataset *d,
                                  str instance, struct lock_count *out)
{
    bson_t *reply;
    enum lock_result result =
        mongo_lock_judge(c, count_rows(c, d, instance, &reply), LOCK_AWAY);

    if (result != LOCK_DONE)
        return result;
    *out = (struct lock_count){0};
    each_row(reply, note_count, out);
    return LOCK_DONE;
}

/* ---- clean-up */

static enum err find_removable(struct ctx *c, const bson_t *removable,
                               bson_t **out)
{
    bson_t *cmd = mongo_bson(c);

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "find", MONGO_LOCKS, "filter", "{", "$expr",
                BCON_DOCUMENT(removable), "}", "projection", "{", "_id",
                BCON_INT32(1), "}", "limit", BCON_INT32(LOCK_CLEAN_BATCH),
                "batchSize", BCON_INT32(LOCK_CLEAN_BATCH), "singleBatch",
                BCON_BOOL(true));
    return mongo_read(c, cmd, out);
}

struct ids {
    bson_t *array; /* of the _id of each row, whatever type a stranger chose */
    uint32_t n;
};

static void note_id(const bson_t *row, void *arg)
{
    struct ids *ids = arg;
    const char *index;
    bson_iter_t it;
    char text[16];

    if (!bson_iter_init_find(&it, row, "_id"))
        return;
    bson_uint32_to_string(ids->n++, &index, text, sizeof text);
    bson_append_iter(ids->array, index, -1, &it);
}

static enum err remove_rows(struct ctx *c, const bson_t *removable,
                            const bson_t *ids, int64_t *out_removed)
{
    bson_t *cmd = mongo_bson(c), *reply;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "delete", MONGO_LOCKS, "deletes", "[", "{", "q", "{",
                "_id", "{", "$in", BCON_ARRAY(ids), "}", "$expr",
                BCON_DOCUMENT(removable), "}", "limit", BCON_INT32(0), "}",
                "]");
    err = mongo_write_majority(c, cmd, &reply);
    if (err == OK)
        *out_removed = mongo_lock_number(reply, "n");
    return err;
}

enum lock_result mongo_lock_clean(struct ctx *c, const struct dataset *d,
                                  int64_t *place, int64_t *out_removed)
{
    const bson_t *removable = removable_expr(c, d);
    struct ids ids = {.array = mongo_bson(c)};
    enum err err = removable && ids.array ? OK : ERR_OVERLOADED;
    enum lock_result result;
    bson_t *reply;

    if (err == OK)
        err = find_removable(c, removable, &reply);
    result = mongo_lock_judge(c, err, LOCK_AWAY);
    if (result != LOCK_DONE)
        return result;
    each_row(reply, note_id, &ids);
    *out_removed = 0;
    if (ids.n > 0)
        result = mongo_lock_judge(
            c, remove_rows(c, removable, ids.array, out_removed), LOCK_UNKNOWN);
    if (result == LOCK_DONE && ids.n < LOCK_CLEAN_BATCH)
        *place = -1;
    return result;
}
