/* view - see view.h */
#include "lib/coord/view.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/utf8.h"
#include "lib/data/json_out.h"
#include "lib/data/mongo.h"

enum {
    ROW_BYTES = LEADER_DOC_BYTES,
    OWN_ROW_BYTES = 1 << 20, /* with its metrics */
    BATCH = VIEW_INSTANCES_MAX + 16,
    TEXT_MAX = 255,
    BOOT_MAX = 64,
    SLOTS_MOST = 10000, /* of an instance; a greater number is nonsense */
    CAP_OF_TEN = 4,     /* so many tenths of all slots */
    QUEUE_ID_MAX = 32   /* "queue:webhook", with NUL */
};

#define WALL_MOST    INT64_C(8640000000000000) /* ECMA-262, 21.4.1.1 */
#define VERSION_MOST (INT64_C(1) << 53)        /* none can be raised so far */

/* Rows larger than ours can be are left out, so that one reply has them all. */
static void append_small(bson_t *stages, const char *key, str me)
{
    bson_t own = BSON_INITIALIZER;

    bson_append_utf8(&own, "$literal", -1, me.p, (int)me.n);
    BCON_APPEND(stages, key, "{", "$match", "{", "$expr", "{", "$lte", "[", "{",
                "$bsonSize", "$$ROOT", "}", "{", "$cond", "[", "{", "$eq", "[",
                "$_id", BCON_DOCUMENT(&own), "]", "}",
                BCON_INT32(OWN_ROW_BYTES), BCON_INT32(ROW_BYTES), "]", "}", "]",
                "}", "}", "}");
    bson_destroy(&own);
}

static void queue_id(enum job_queue q, char out[QUEUE_ID_MAX])
{
    (void)snprintf(out, QUEUE_ID_MAX, "queue:%s", job_queue_name(q));
}

static void cluster_ids(bson_t *out)
{
    char key[16], id[QUEUE_ID_MAX];

    BCON_APPEND(out, "0", "redis", "1", "fence", "2", "subs");
    for (int q = 0; q < QUEUE_N; q++) {
        (void)snprintf(key, sizeof key, "%d", 3 + q);
        queue_id((enum job_queue)q, id);
        BSON_APPEND_UTF8(out, key, id);
    }
}

static void cluster_stages(bson_t *out)
{
    bson_t ids = BSON_INITIALIZER;

    cluster_ids(&ids);
    BCON_APPEND(out, "0", "{", "$match", "{", "_id", "{", "$in",
                BCON_ARRAY(&ids), "}", "}", "}", "1", "{", "$project", "{",
                "home", BCON_INT32(1), "dataset", BCON_INT32(1), "term",
                BCON_INT32(1), "v", BCON_INT32(1), "ver", BCON_INT32(1),
                "paused", BCON_INT32(1), "figures", BCON_INT32(1), "of", "{",
                "$literal", "cluster", "}", "}", "}");
    append_small(out, "2", STR(""));
    bson_destroy(&ids);
}

static void leader_stages(bson_t *out)
{
    BCON_APPEND(out, "0", "{", "$match", "{", "_id", "{", "$in", "[",
                BCON_UTF8(leader_name(LEADER_CRON)),
                BCON_UTF8(leader_name(LEADER_MAINTENANCE)), "]", "}", "}", "}",
                "1", "{", "$project", "{", "term", BCON_INT32(1), "holder",
                BCON_INT32(1), "tok", BCON_INT32(1), "until", BCON_INT32(1),
                "since", BCON_INT32(1), "ask", BCON_INT32(1), "reserve",
                BCON_INT32(1), "of", "{", "$literal", "leader", "}", "}", "}");
    append_small(out, "2", STR(""));
}

/* `seen` in the form that lets its index be used. */
static void instance_stages(bson_t *out, str me)
{
    bson_t own = BSON_INITIALIZER;

    bson_append_utf8(&own, "$literal", -1, me.p, (int)me.n);
    BCON_APPEND(out, "0", "{", "$match", "{", "$expr", "{", "$and", "[", "{",
                "$gt", "[", "$seen", "{", "$subtract", "[", "$$NOW",
                BCON_INT32(VIEW_ALIVE_MS), "]", "}", "]", "}", "{", "$lte", "[",
                "$seen", "{", "$add", "[", "$$NOW", BCON_INT32(VIEW_AHEAD_MS),
                "]", "}", "]", "}", "]", "}", "}", "}", "1", "{", "$sort", "{",
                "seen", BCON_INT32(-1), "}", "}", "2", "{", "$project", "{",
                "seen", BCON_INT32(1), "boot", BCON_INT32(1), "host",
                BCON_INT32(1), "pid", BCON_INT32(1), "version", BCON_INT32(1),
                "started", BCON_INT32(1), "mode", BCON_INT32(1), "redisOk",
                BCON_INT32(1), "draining", BCON_INT32(1), "digest",
                BCON_INT32(1), "processes", BCON_INT32(1), "slots",
                BCON_INT32(1), "metrics", "{", "$cond", "[", "{", "$eq", "[",
                "$_id", BCON_DOCUMENT(&own), "]", "}", "$metrics", "$$REMOVE",
                "]", "}", "of", "{", "$literal", "instance", "}", "}", "}");
    append_small(out, "3", me);
    BCON_APPEND(out, "4", "{", "$limit", BCON_INT32(VIEW_INSTANCES_MAX), "}");
    bson_destroy(&own);
}

/* The first row is there always and tells the time. */
static void append_command(bson_t *cmd, str me)
{
    bson_t cluster = BSON_INITIALIZER, leader = BSON_INITIALIZER,
           instance = BSON_INITIALIZER;

    cluster_stages(&cluster);
    leader_stages(&leader);
    instance_stages(&instance, me);
    BCON_APPEND(cmd, "aggregate", BCON_INT32(1), "pipeline", "[", "{",
                "$documents", "[", "{", "of", "now", "}", "]", "}", "{", "$set",
                "{", "now", "$$NOW", "}", "}", "{", "$unionWith", "{", "coll",
                "_cluster", "pipeline", BCON_ARRAY(&cluster), "}", "}", "{",
                "$unionWith", "{", "coll", "_leader", "pipeline",
                BCON_ARRAY(&leader), "}", "}", "{", "$unionWith", "{", "coll",
                "_instances", "pipeline", BCON_ARRAY(&instance), "}", "}", "]",
                "cursor", "{", "batchSize", BCON_INT32(BATCH), "}");
    bson_destroy(&cluster);
    bson_destroy(&leader);
    bson_destroy(&instance);
}

static str text_of(const bson_t *row, const char *name)
{
    str v;

    return json_out_text_member(row, name, &v) ? v : STR("");
}

static bool read_text(const bson_t *row, const char *name, size_t most,
                      str *out)
{
    *out = text_of(row, name);
    return out->n > 0 && out->n <= most && utf8_is_valid(*out);
}

static bool read_number(const bson_t *row, const char *name, int64_t *out)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, row, name) || !BSON_ITER_HOLDS_INT(&it))
        return false;
    *out = bson_iter_as_int64(&it);
    return *out >= 0;
}

static bool read_bool(const bson_t *row, const char *name, bool *out)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, row, name) || !BSON_ITER_HOLDS_BOOL(&it))
        return false;
    *out = bson_iter_bool(&it);
    return true;
}

static bool read_date(const bson_t *row, const char *name, ms *out)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, row, name) || !BSON_ITER_HOLDS_DATE_TIME(&it))
        return false;
    *out = bson_iter_date_time(&it);
    return *out >= 0 && *out <= WALL_MOST;
}

static str read_binary(const bson_t *row, const char *name)
{
    const uint8_t *data;
    bson_subtype_t kind;
    bson_iter_t it;
    uint32_t n;

    if (!bson_iter_init_find(&it, row, name) || !BSON_ITER_HOLDS_BINARY(&it))
        return STR("");
    bson_iter_binary(&it, &kind, &n, &data);
    return (str){(const char *)data, n};
}

/* Programs of other versions may say nothing of it. */
static void read_slots(const bson_t *row, int64_t out[QUEUE_N])
{
    bson_t slots;

    if (!mongo_reply_doc(row, "slots", &slots))
        return;
    for (int q = 0; q < QUEUE_N; q++) {
        int64_t n;

        if (read_number(&slots, job_queue_name((enum job_queue)q), &n) &&
            n <= SLOTS_MOST)
            out[q] = n;
    }
}

/* False: not as a roster_beat() has written it. */
static bool read_instance(const bson_t *row, ms now, struct view_instance *out)
{
    if (!read_text(row, "_id", ID_INSTANCE_MAX - 1, &out->id) ||
        !read_text(row, "boot", BOOT_MAX, &out->boot) ||
        !read_text(row, "host", TEXT_MAX, &out->host) ||
        !read_text(row, "version", TEXT_MAX, &out->version) ||
        !read_text(row, "mode", TEXT_MAX, &out->mode) ||
        !read_text(row, "digest", TEXT_MAX, &out->digest) ||
        !read_number(row, "pid", &out->pid) ||
        !read_number(row, "processes", &out->processes) ||
        !read_date(row, "seen", &out->seen_wall) ||
        !read_date(row, "started", &out->started_wall) ||
        !read_bool(row, "redisOk", &out->redis_ok) ||
        !read_bool(row, "draining", &out->draining))
        return false;
    out->age_ms = now > out->seen_wall ? now - out->seen_wall : 0;
    read_slots(row, out->slots);
    out->metrics = read_binary(row, "metrics");
    return true;
}

static void read_queue(const bson_t *row, ms now, struct view_queue *out)
{
    ms at;

    out->known = true;
    (void)read_bool(row, "paused", &out->paused);
    out->counted =
        figures_read(row, &out->figures, &at) && at <= now + VIEW_AHEAD_MS;
    if (!out->counted)
        return;
    out->figures_age_ms = now > at ? now - at : 0;
    out->fresh = out->figures_age_ms <= FIGURES_FRESH_MS + out->figures.rest_ms;
}

/* Greater ones are no terms. */
static void read_dataset(const bson_t *row, struct view *out)
{
    int64_t term;

    dataset_note(row, &out->dataset);
    if (str_eq(text_of(row, "_id"), STR("redis")) &&
        read_number(row, "term", &term) && term < LEADER_TERM_MAX)
        out->dataset_term = term;
}

static void read_cluster(const bson_t *row, struct view *out)
{
    str id = text_of(row, "_id");
    char name[QUEUE_ID_MAX];
    int64_t ver;

    if (str_eq(id, STR("redis")) || str_eq(id, STR("fence")))
        read_dataset(row, out);
    else if (str_eq(id, STR("subs")) && read_number(row, "ver", &ver) &&
             ver < VERSION_MOST)
        out->subs_version = ver;
    for (int q = 0; q < QUEUE_N; q++) {
        queue_id((enum job_queue)q, name);
        if (str_eq(id, str_of(name)))
            read_queue(row, out->server_wall, &out->queues[q]);
    }
}

struct reading {
    struct view *view;
    struct view_instance *instances;
};

static void read_row(const bson_t *row, struct reading *r)
{
    struct view *v = r->view;
    str of = text_of(row, "of");

    if (str_eq(of, STR("now"))) {
        (void)read_date(row, "now", &v->server_wall);
    } else if (str_eq(of, STR("cluster"))) {
        read_cluster(row, v);
    } else if (str_eq(of, STR("leader"))) {
        enum leader_service s = leader_find(text_of(row, "_id"));

        if (s < LEADER_N)
            leader_term_read(row, v->server_wall, &v->terms[s]);
    } else if (v->instances_n < VIEW_INSTANCES_MAX &&
               read_instance(row, v->server_wall,
                             &r->instances[v->instances_n])) {
        v->instances_n++;
    }
}

static int compare_ids(str a, str b)
{
    int by = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);

    return by ? by : (a.n > b.n) - (a.n < b.n);
}

static int compare_rows(const void *a, const void *b)
{
    const struct view_instance *x = a, *y = b;

    return compare_ids(x->id, y->id);
}

static enum err read_rows(struct ctx *c, const bson_t *reply, struct view *out)
{
    bson_t batch, row;
    struct reading r = {.view = out};
    bson_iter_t it;
    uint32_t rows;

    if (!mongo_reply_rows(reply, &batch))
        return ctx_fail(c, ERR_INTERNAL, "Something went wrong on our side");
    rows = bson_count_keys(&batch);
    if (rows > VIEW_INSTANCES_MAX)
        rows = VIEW_INSTANCES_MAX;
    r.instances = ctx_alloc(c, (rows + 1) * sizeof *r.instances);
    if (!r.instances)
        return ERR_OVERLOADED;
    bson_iter_init(&it, &batch);
    while (mongo_next_doc(&it, &row))
        read_row(&row, &r);
    qsort(r.instances, out->instances_n, sizeof *r.instances, compare_rows);
    out->instances = r.instances;
    return OK;
}

enum err view_read(struct ctx *c, str me, struct view *out)
{
    bson_t *cmd = mongo_bson(c), *reply;
    struct view v = {.taken_boot = clock_boot_ms()};
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    append_command(cmd, me);
    err = mongo_read(c, cmd, &reply);
    if (err)
        return err;
    v.rtt_ms = clock_boot_ms() - v.taken_boot;
    v.dataset.read_boot = v.taken_boot;
    err = read_rows(c, reply, &v);
    if (err == OK)
        *out = v;
    return err;
}

const struct view_instance *view_find(const struct view *v, str id)
{
    struct view_instance wanted = {.id = id};

    if (v->instances_n == 0)
        return NULL;
    return bsearch(&wanted, v->instances, v->instances_n, sizeof wanted,
                   compare_rows);
}

const struct view_instance *view_leader(const struct view *v,
                                        enum leader_service s)
{
    const struct leader_term *t = &v->terms[s];

    return t->known && t->left_ms > 0 ? view_find(v, t->holder) : NULL;
}

int64_t view_slots(const struct view *v, enum job_queue q)
{
    int64_t n = 0;

    for (size_t i = 0; i < v->instances_n; i++)
        n += v->instances[i].slots[q];
    return n;
}

int64_t view_cap(const struct view *v, enum job_queue q)
{
    int64_t cap = view_slots(v, q) * CAP_OF_TEN / 10;

    return cap > 0 ? cap : 1;
}

void view_share(const struct view *v, str me, int *out_index, int *out_n)
{
    int index = -1, n = 0;

    for (size_t i = 0; i < v->instances_n; i++) {
        const struct view_instance *row = &v->instances[i];

        if (row->draining)
            continue;
        if (str_eq(row->id, me))
            index = n;
        n++;
    }
    *out_index = index < 0 ? 0 : index;
    *out_n = index < 0 ? 1 : n;
}
