/* roster - see roster.h */
#include "lib/coord/roster.h"

#include <stdio.h>
#include <unistd.h>

#include "lib/base/conf.h"
#include "lib/base/hash.h"
#include "lib/base/utf8.h"
#include "lib/base/version.h"
#include "lib/coord/rds_target.h"
#include "lib/coord/view.h"
#include "lib/data/json_out.h"
#include "lib/data/mongo.h"

#define COLLECTION "_instances"

enum {
    HOST_MAX = 256,
    DIGEST_BYTES = (ROSTER_DIGEST_MAX - 1) / 2
};

/* What a host is called is any bytes; a text of MongoDB is UTF-8. */
static void host_name(char out[HOST_MAX])
{
    if (gethostname(out, HOST_MAX) != 0 || !out[0])
        (void)memcpy(out, "localhost", sizeof "localhost");
    out[HOST_MAX - 1] = '\0';
    if (!utf8_is_valid(str_of(out)))
        for (char *p = out; *p; p++)
            if (*p & 0x80)
                *p = '-';
}

static void append_slots(bson_t *out, const struct roster_figures *f)
{
    bson_t slots;

    BSON_APPEND_DOCUMENT_BEGIN(out, "slots", &slots);
    for (int q = 0; q < QUEUE_N; q++)
        BSON_APPEND_INT64(&slots, job_queue_name((enum job_queue)q),
                          f->slots[q]);
    bson_append_document_end(out, &slots);
}

/* All but what only the server knows. */
static void append_row(bson_t *out, struct ctx *c,
                       const struct roster_life *life,
                       const struct roster_figures *f)
{
    str metrics = f->metrics.p ? f->metrics : STR("");
    char host[HOST_MAX], digest[ROSTER_DIGEST_MAX];

    host_name(host);
    roster_digest(c->conf, digest);
    BCON_APPEND(out, "_id", BCON_UTF8(c->conf->cluster_instance_id), "boot",
                BCON_UTF8(life->boot), "host", BCON_UTF8(host), "pid",
                BCON_INT64(life->pid), "version", VERSION_NUMBER, "started",
                BCON_DATE_TIME(life->started_wall), "mode", BCON_UTF8(f->mode),
                "redisOk", BCON_BOOL(f->redis_ok), "draining",
                BCON_BOOL(f->draining), "digest", BCON_UTF8(digest),
                "processes", BCON_INT64(f->processes), "metrics",
                BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)metrics.p,
                         (uint32_t)metrics.n));
    append_slots(out, f);
}

/* The row is of a life that goes on, whoever's it is. */
static void expr_alive(bson_t *out)
{
    BCON_APPEND(out, "$and", "[", "{", "$eq", "[", "{", "$type", "$boot", "}",
                "string", "]", "}", "{", "$eq", "[", "{", "$type", "$seen", "}",
                "date", "]", "}", "{", "$gt", "[", "$seen", "{", "$subtract",
                "[", "$$NOW", BCON_INT32(VIEW_ALIVE_MS), "]", "}", "]", "}",
                "{", "$lte", "[", "$seen", "{", "$add", "[", "$$NOW",
                BCON_INT32(VIEW_AHEAD_MS), "]", "}", "]", "}", "]");
}

/* When this life first wrote it */
static void expr_claimed(bson_t *out, const bson_t *mine)
{
    BCON_APPEND(out, "$cond", "[", "{", "$and", "[", BCON_DOCUMENT(mine), "{",
                "$eq", "[", "{", "$type", "$claimed", "}", "date", "]", "}",
                "]", "}", "$claimed", "$$NOW", "]");
}

/*
 * Written when the row is of this life, or of none that is alive, or this life
 * has not claimed the name yet.
 */
static void append_update(bson_t *cmd, const struct roster_life *life,
                          const bson_t *row)
{
    bson_t mine = BSON_INITIALIZER, alive = BSON_INITIALIZER,
           claimed = BSON_INITIALIZER;

    BCON_APPEND(&mine, "$eq", "[", "$boot", BCON_UTF8(life->boot), "]");
    expr_alive(&alive);
    expr_claimed(&claimed, &mine);
    BCON_APPEND(cmd, "update", "[", "{", "$replaceWith", "{", "$cond", "[", "{",
                "$or", "[", BCON_BOOL(!life->claimed), BCON_DOCUMENT(&mine),
                "{", "$not", "[", BCON_DOCUMENT(&alive), "]", "}", "]", "}",
                "{", "$mergeObjects", "[", "{", "$literal", BCON_DOCUMENT(row),
                "}", "{", "seen", "$$NOW", "claimed", BCON_DOCUMENT(&claimed),
                "}", "]", "}", "$$ROOT", "]", "}", "}", "]");
    bson_destroy(&mine);
    bson_destroy(&alive);
    bson_destroy(&claimed);
}

/* A row that is lost is written again in a second. */
static void append_light_concern(bson_t *cmd)
{
    BCON_APPEND(cmd, "writeConcern", "{", "w", BCON_INT32(1), "}");
}

static bool is_of(const bson_t *reply, const struct roster_life *life)
{
    bson_t row;
    str boot;

    return mongo_reply_doc(reply, "value", &row) &&
           json_out_text_member(&row, "boot", &boot) &&
           str_eq(boot, str_of(life->boot));
}

enum err roster_beat(struct ctx *c, struct roster_life *life,
                     const struct roster_figures *f, bool *out_mine)
{
    bson_t *cmd = mongo_bson(c), *row = mongo_bson(c), *reply;
    enum err err;

    if (!cmd || !row)
        return ERR_OVERLOADED;
    append_row(row, c, life, f);
    BCON_APPEND(cmd, "findAndModify", COLLECTION, "query", "{", "_id",
                BCON_UTF8(c->conf->cluster_instance_id), "}", "upsert",
                BCON_BOOL(true), "new", BCON_BOOL(true), "fields", "{", "boot",
                BCON_INT32(1), "}");
    append_update(cmd, life, row);
    append_light_concern(cmd);
    err = mongo_write(c, cmd, &reply, NULL);
    if (err)
        return err;
    *out_mine = is_of(reply, life);
    if (*out_mine)
        life->claimed = true;
    return OK;
}

enum err roster_leave(struct ctx *c, const struct roster_life *life)
{
    bson_t *cmd = mongo_bson(c), *reply;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "delete", COLLECTION, "deletes", "[", "{", "q", "{", "_id",
                BCON_UTF8(c->conf->cluster_instance_id), "boot",
                BCON_UTF8(life->boot), "}", "limit", BCON_INT32(1), "}", "]");
    append_light_concern(cmd);
    return mongo_write(c, cmd, &reply, NULL);
}

void roster_digest(const struct conf *conf, char out[ROSTER_DIGEST_MAX])
{
    unsigned char hash[HASH_BYTES] = {0};
    struct rds_target target;
    char lines[1024];
    int n = snprintf(lines, sizeof lines,
                     "prefix=%s\nredis=%d\ndatabase=%s\nleader=%lld\n"
                     "lock=%lld\n",
                     conf->redis_key_prefix, rds_target_of(conf, &target),
                     conf->mongodb_database_name,
                     (long long)conf->cluster_leader_ttl_ms,
                     (long long)conf->cluster_lock_ttl);

    if (n < 0 || !hash_sha256((str){lines, strlen(lines)}, hash))
        n = 0; /* without memory: zeros, which differ from all others */
    id_hex(hash, DIGEST_BYTES, out);
}
