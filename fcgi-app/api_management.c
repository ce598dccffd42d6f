/* api_management - collections: list, create, drop; the database's health */
#include "fcgi-app/api.h"
#include "fcgi-app/guard.h"
#include "lib/base/clock.h"
#include "lib/base/jwrite.h"
#include "lib/data/collections.h"
#include "lib/data/doc.h"
#include "lib/data/json_out.h"

static enum err write_collection(struct ctx *c, const struct collection *one,
                                 struct buf *b)
{
    struct collection_stats stats;
    char time[CLOCK_ISO_MAX];
    enum err err = collections_stats(c, one->name.p, &stats);

    /* what one view or a slow count cannot tell must not hide the others */
    if (err == ERR_BAD_QUERY || err == ERR_TIME_LIMIT || err == ERR_INTERNAL)
        ctx_forgive(c);
    else if (err)
        return err;
    buf_add(b, STR("{\"name\":"));
    jwrite_str(b, one->name);
    buf_add(b, STR(",\"type\":"));
    json_out_member(b, &one->row, "type", STR("\"collection\""));
    buf_add(b, STR(",\"options\":"));
    json_out_member(b, &one->row, "options", STR("{}"));
    buf_add(b, STR(",\"stats\":{\"documentCount\":"));
    if (err)
        buf_add(b, STR("null"));
    else
        buf_add_i64(b, stats.documents);
    buf_add(b, STR(",\"lastUpdated\":"));
    if (!err && stats.known && clock_iso(stats.last_updated, time) > 0)
        buf_addf(b, "\"%s\"}}", time);
    else
        buf_add(b, STR("null}}"));
    return OK;
}

enum err api_management_list(struct ctx *c, const struct request *q,
                             struct reply *out)
{
    struct collection *list;
    struct buf *b = out->body;
    enum err err;
    size_t n;

    (void)q;
    err = collections_list(c, false, &list, &n);
    if (err)
        return err;
    buf_add(b, STR("{\"success\":true,\"collections\":["));
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_add_char(b, ',');
        err = write_collection(c, &list[i], b);
        if (err)
            return err;
    }
    buf_addf(b, "],\"count\":%zu}", n);
    return OK;
}

static void write_change(struct buf *b, str name, const char *what)
{
    buf_addf(b,
             "{\"success\":true,\"message\":\"Collection %s\","
             "\"collection\":{\"name\":\"" STR_FMT "\",\"%s\":true}}",
             what, STR_ARG(name), what);
}

enum err api_management_create(struct ctx *c, const struct request *q,
                               struct reply *out)
{
    const char *checked;
    bson_t *body;
    enum err err;
    str name;

    err = guard_object(c, q, &body);
    if (err)
        return err;
    if (!json_out_text_member(body, "name", &name)) {
        out->err_members = STR(",\"details\":[{\"field\":\"name\","
                               "\"message\":\"a text is required\"}]");
        return ctx_fail(c, ERR_VALIDATION_ERROR,
                        "'name' must be given and a text");
    }
    err = doc_collection(c, name, &checked);
    if (err)
        return err;
    err = collections_create(c, checked);
    if (err)
        return err;
    out->status = 201;
    write_change(out->body, name, "created");
    return OK;
}

enum err api_management_drop(struct ctx *c, const struct request *q,
                             struct reply *out)
{
    const char *name;
    enum err err;

    err = doc_collection(c, q->param[0], &name);
    if (err)
        return err;
    err = collections_drop(c, name);
    if (err)
        return err;
    write_change(out->body, q->param[0], "dropped");
    return OK;
}

enum err api_management_health(struct ctx *c, const struct request *q,
                               struct reply *out)
{
    struct collection *list;
    char time[CLOCK_ISO_MAX];
    size_t n;
    enum err err;

    (void)q;
    clock_iso(clock_wall_ms(), time);
    err = collections_list(c, true, &list, &n);
    if (err) {
        out->err_members = arena_strf(
            &c->arena, ",\"status\":\"unhealthy\",\"timestamp\":\"%s\"", time);
        return err;
    }
    buf_addf(out->body,
             "{\"success\":true,\"status\":\"healthy\",\"timestamp\":\"%s\","
             "\"mongodb\":{\"connected\":true,\"collections\":%zu}}",
             time, n);
    return OK;
}
