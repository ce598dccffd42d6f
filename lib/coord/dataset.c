/* dataset - see dataset.h */
#include "lib/coord/dataset.h"

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/coord/leader.h"
#include "lib/coord/rds_target.h"
#include "lib/data/json_out.h"
#include "lib/data/mongo.h"

#define COLLECTION "_cluster"

enum dataset_home dataset_home_of(const struct conf *conf)
{
    struct rds_target target;

    return rds_target_of(conf, &target) ? DATASET_REDIS : DATASET_MONGO;
}

static const char *home_name(enum dataset_home home)
{
    return home == DATASET_REDIS ? "redis" : "mongo";
}

static enum dataset_home home_of(str name)
{
    for (int home = DATASET_REDIS; home <= DATASET_MONGO; home++)
        if (str_eq(name, str_of(home_name((enum dataset_home)home))))
            return (enum dataset_home)home;
    return DATASET_NOWHERE;
}

static str text_of(const bson_t *doc, const char *name)
{
    str v;

    return json_out_text_member(doc, name, &v) ? v : STR("");
}

static int64_t fence_of(const bson_t *doc)
{
    bson_iter_t it;
    int64_t v = 0;

    if (bson_iter_init_find(&it, doc, "v") && BSON_ITER_HOLDS_INT(&it))
        v = bson_iter_as_int64(&it);
    return v > 0 && v < DATASET_FENCE_END ? v : 0;
}

void dataset_note(const bson_t *doc, struct dataset *out)
{
    str id = text_of(doc, "_id"), dataset = text_of(doc, "dataset");

    if (str_eq(id, STR("fence"))) {
        out->fence = fence_of(doc);
    } else if (dataset.n == 0 ||
               (dataset.n == DATASET_ID_MAX - 1 && str_is_hex(dataset))) {
        out->home = home_of(text_of(doc, "home"));
        if (out->home != DATASET_NOWHERE)
            memcpy(out->id, dataset.p, dataset.n);
    }
}

static enum err unreadable(struct ctx *c)
{
    return ctx_fail(c, ERR_INTERNAL, "Something went wrong on our side");
}

enum err dataset_read(struct ctx *c, struct dataset *out)
{
    bson_t *cmd = mongo_bson(c), *reply, batch, doc;
    struct dataset d = {.read_boot = clock_boot_ms()};
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "find", COLLECTION, "filter", "{", "_id", "{", "$in", "[",
                "redis", "fence", "]", "}", "}", "singleBatch",
                BCON_BOOL(true));
    err = mongo_read(c, cmd, &reply);
    if (err)
        return err;
    if (!mongo_reply_rows(reply, &batch))
        return unreadable(c);
    if (mongo_reply_doc(&batch, "0", &doc))
        dataset_note(&doc, &d);
    if (mongo_reply_doc(&batch, "1", &doc))
        dataset_note(&doc, &d);
    *out = d;
    return OK;
}

/* ---- writing: upserts by _id alone, since no filter of one holds $expr; what
 * is decided, the update decides, and no stored value makes it throw */

static bson_t *begin(struct ctx *c, const char *id)
{
    bson_t *cmd = mongo_bson(c);

    if (cmd)
        BCON_APPEND(cmd, "findAndModify", COLLECTION, "query", "{", "_id",
                    BCON_UTF8(id), "}", "upsert", BCON_BOOL(true), "new",
                    BCON_BOOL(true));
    return cmd;
}

static enum err finish(struct ctx *c, bson_t *cmd, bson_t *out_doc)
{
    bson_t *reply;
    enum err err = mongo_write_majority(c, cmd, &reply);

    if (err == OK && !mongo_reply_doc(reply, "value", out_doc))
        return unreadable(c);
    return err;
}

/* As dataset_note() reads it: a text that is no id, or no text, is as good as
 * none, and so is one without a home. */
#define STORED_ID                                                              \
    "{", "$cond", "[", "{", "$and", "[", "{", "$eq", "[", "{", "$type",        \
        "$dataset", "}", "string", "]", "}", "{", "$in", "[", "$home", "[",    \
        "redis", "mongo", "]", "]", "}", "]", "}", "{", "$cond", "[", "{",     \
        "$regexMatch", "{", "input", "$dataset", "regex",                      \
        "^[0-9a-fA-F]{16}\\z", "}", "}", "$dataset", "", "]", "}", "", "]",    \
        "}"

/* As long a number as `path` holds, if it is one below `end`; else 0. */
#define WHOLE(path, end)                                                       \
    "{", "$cond", "[", "{", "$and", "[", "{", "$in", "[", "{", "$type", path,  \
        "}", "[", "int", "long", "]", "]", "}", "{", "$gte", "[", path,        \
        BCON_INT32(0), "]", "}", "{", "$lt", "[", path, BCON_INT64(end), "]",  \
        "}", "]", "}", "{", "$toLong", path, "}", BCON_INT64(0), "]", "}"

enum err dataset_write(struct ctx *c, const char *seen, int64_t term,
                       enum dataset_home home, const char *id, bool *out_done)
{
    bson_t *cmd = begin(c, "redis"), doc;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "update", "[", "{", "$replaceWith", "{", "$cond", "[", "{",
                "$and", "[", "{", "$eq", "[", STORED_ID, BCON_UTF8(seen), "]",
                "}", "{", "$lte", "[", WHOLE("$term", LEADER_TERM_MAX),
                BCON_INT64(term), "]", "}", "]", "}", "{", "$mergeObjects", "[",
                "$$ROOT", "{", "home", BCON_UTF8(home_name(home)), "dataset",
                BCON_UTF8(id), "since", "$$NOW", "term", BCON_INT64(term), "}",
                "]", "}", "$$ROOT", "]", "}", "}", "]");
    err = finish(c, cmd, &doc);
    if (err == OK)
        *out_done = str_eq(text_of(&doc, "dataset"), str_of(id));
    return err;
}

/* v = max(v + step, us of $$NOW, at_least) + ahead */
static enum err raise_fence(struct ctx *c, int64_t step, int64_t at_least,
                            int64_t ahead_us, int64_t *out)
{
    bson_t *cmd = begin(c, "fence"), doc;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    if (at_least >= DATASET_FENCE_END)
        at_least = 0;
    BCON_APPEND(cmd, "update", "[", "{", "$set", "{", "v", "{", "$add", "[",
                "{", "$max", "[", "{", "$add", "[",
                WHOLE("$v", DATASET_FENCE_END), BCON_INT64(step), "]", "}", "{",
                "$multiply", "[", "{", "$toLong", "$$NOW", "}",
                BCON_INT64(1000), "]", "}", BCON_INT64(at_least), "]", "}",
                BCON_INT64(ahead_us), "]", "}", "}", "}", "]");
    err = finish(c, cmd, &doc);
    if (err)
        return err;
    *out = fence_of(&doc);
    return *out > 0 ? OK : unreadable(c);
}

enum err dataset_reserve(struct ctx *c, int64_t at_least, int64_t ahead_us,
                         int64_t *out_v)
{
    return raise_fence(c, 0, at_least, ahead_us, out_v);
}

enum err dataset_fence(struct ctx *c, int64_t at_least, int64_t *out)
{
    return raise_fence(c, 1, at_least, 0, out);
}
