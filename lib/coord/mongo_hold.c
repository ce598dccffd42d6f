/* mongo_hold - subscribers that wait, and whose charge a token is; see
 * mongo_queue.h */
#include "lib/coord/queue_inside.h"

enum err mongo_queue_hold(struct ctx *c, enum job_queue q, str lim, ms hold_ms)
{
    const char *id = queue_limits_id(c, q, lim);
    bson_t *cmd = mongo_bson(c), *set = mongo_bson(c), *reply;

    if (!id || !cmd || !set)
        return ctx_no_memory(c);
    if (hold_ms > 0)
        BCON_APPEND(set, "hold", "{", "$max", "[", "$hold",
                    QUEUE_NOW_AND(hold_ms), "]", "}");
    else
        BCON_APPEND(set, "hold", "$$REMOVE", "fails", BCON_INT64(0), "pc",
                    "$$REMOVE");
    BCON_APPEND(cmd, "update", QUEUE_LIMITS, "updates", "[", "{", "q", "{",
                "_id", BCON_UTF8(id), "}", "u", "[", "{", "$set",
                BCON_DOCUMENT(set), "}", "]", "upsert", BCON_BOOL(hold_ms > 0),
                "}", "]");
    return mongo_write(c, cmd, &reply, NULL);
}

/* Of a row "<queue>:<lim>", but not of the limit over all. */
static str lim_of(const bson_t *row)
{
    str id = queue_text(row, "_id");
    size_t at = str_find(id, ':', 0);

    return at == SIZE_MAX ? STR("") : str_from(id, at + 1);
}

static void ids_of(const bson_t *row, str token, bson_t *out)
{
    bson_t fl, one;
    bson_iter_t it;

    if (!mongo_reply_doc(row, "fl", &fl) || !bson_iter_init(&it, &fl))
        return;
    while (mongo_next_doc(&it, &one)) {
        if (str_eq(queue_text(&one, "tok"), token)) {
            (void)mongo_reply_doc(&one, "ids", out);
            return;
        }
    }
}

enum err mongo_queue_find_charge(struct ctx *c, str token, str *out_lim,
                                 bson_t *out_ids, bool *out_found)
{
    bson_t *cmd = mongo_bson(c), *reply, batch, row;
    bson_iter_t it;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    *out_found = false;
    BCON_APPEND(cmd, "find", QUEUE_LIMITS, "filter", "{", "fl.tok",
                BCON_UTF8(token.p), "}", "projection", "{", "fl", BCON_INT32(1),
                "}", "limit", BCON_INT32(2), "singleBatch", BCON_BOOL(true));
    err = mongo_read(c, cmd, &reply);
    if (err || !mongo_reply_rows(reply, &batch) || !bson_iter_init(&it, &batch))
        return err;
    while (mongo_next_doc(&it, &row)) {
        if (*out_found && str_eq(lim_of(&row), STR("*")))
            continue;
        *out_found = true;
        *out_lim = lim_of(&row);
        bson_init(out_ids);
        ids_of(&row, token, out_ids);
    }
    return OK;
}
