/* queue_order - which row of a group is next; see queue_inside.h */
#include "lib/coord/queue_inside.h"

/* An open row of the group that comes before this one */
static bson_t *find_older(struct ctx *c, const struct job *job)
{
    bson_t *cmd = mongo_bson(c);

    if (cmd)
        BCON_APPEND(cmd, "find", QUEUE_JOBS, "filter", "{", "g",
                    BCON_UTF8(job->group.p), "open", BCON_BOOL(true), "ord",
                    "{", "$lte", BCON_INT64(job->ord), "}", "$or", "[", "{",
                    "ord", "{", "$lt", BCON_INT64(job->ord), "}", "}", "{",
                    "_id", "{", "$lt", BCON_UTF8(job->id.p), "}", "}", "]", "}",
                    "hint", "group_1");
    return cmd;
}

/* A row of the group that somebody else has by now */
static bson_t *find_running(struct ctx *c, const struct job *job, str token)
{
    bson_t *cmd = mongo_bson(c);

    if (cmd)
        BCON_APPEND(cmd, "find", QUEUE_JOBS, "filter", "{", "lease.tok", "{",
                    "$gt", "", "$ne", BCON_UTF8(token.p), "}", "g",
                    BCON_UTF8(job->group.p), "$expr", "{", "$gt", "[",
                    "$lease.until", "$$NOW", "]", "}", "}", "hint", "lease_1");
    return cmd;
}

/* Its first row without the body, or NULL. */
static enum err find_one(struct ctx *c, bson_t *cmd, const bson_t **out)
{
    bson_t *reply, batch, *row = ctx_alloc(c, sizeof *row);
    enum err err;

    if (!cmd || !row)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "projection", "{", "body", BCON_INT32(0), "}", "limit",
                BCON_INT32(1), "singleBatch", BCON_BOOL(true));
    err = mongo_read(c, cmd, &reply);
    if (err)
        return err;
    *out = mongo_reply_rows(reply, &batch) && mongo_reply_doc(&batch, "0", row)
               ? row
               : NULL;
    return OK;
}

enum err queue_find_blocker(struct ctx *c, const struct job *job, str token,
                            struct blocker *out)
{
    const bson_t *running = NULL;
    enum err err = find_one(c, find_older(c, job), &out->older);

    if (err == OK && !out->older && job->replays > 0)
        err = find_one(c, find_running(c, job, token), &running);
    out->any = out->older || running;
    return err;
}
