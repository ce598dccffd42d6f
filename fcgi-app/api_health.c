/* api_health - what probes ask; no I/O, all from the poll thread's last look */
#include "fcgi-app/api.h"
#include "fcgi-app/refresh.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"

static void write_time(struct buf *b)
{
    char time[CLOCK_ISO_MAX];

    buf_add(b, STR("\"timestamp\":\""));
    buf_add(b, (str){time, clock_iso(clock_wall_ms(), time)});
    buf_add(b, STR("\""));
}

static void write_warnings(struct buf *b, const struct refresh_view *v)
{
    const char *sep = "";

    buf_add(b, STR("\"warnings\":["));
    if (v->standalone) {
        buf_add(b, STR("\"MongoDB is standalone: make it a replica set (one "
                       "node is enough), or events are best effort\""));
        sep = ",";
    }
    if (v->locked_out) {
        buf_addf(b,
                 "%s\"Access is on and nobody has a key: make one with "
                 "`sqlfree keys create`, or set JWT_SECRET or "
                 "JWT_PUBLIC_KEY\"",
                 sep);
        sep = ",";
    }
    if (v->redis_evicts)
        buf_addf(b,
                 "%s\"Redis may evict keys: set maxmemory-policy to "
                 "noeviction\"",
                 sep);
    buf_add(b, STR("]"));
}

static void write_instance(struct buf *b, const struct ctx *c)
{
    buf_add(b, STR("\"instance\":"));
    jwrite_str(b, str_of(c->conf->cluster_instance_id));
}

enum err api_health(struct ctx *c, const struct request *q, struct reply *out)
{
    struct refresh_view v = refresh_view();
    struct buf *b = out->body;

    (void)q;
    buf_add(b, STR("{\"status\":\"healthy\","));
    write_time(b);
    buf_addf(b, ",\"mongodb\":\"%s\",\"mode\":\"%s\",",
             v.db_up ? "connected" : "disconnected", refresh_mode_text(&v));
    write_instance(b, c);
    buf_add_char(b, ',');
    write_warnings(b, &v);
    buf_add_char(b, '}');
    return OK;
}

enum err api_health_live(struct ctx *c, const struct request *q,
                         struct reply *out)
{
    (void)q;
    buf_add(out->body, STR("{\"status\":\"alive\","));
    write_time(out->body);
    buf_add_char(out->body, ',');
    write_instance(out->body, c);
    buf_add_char(out->body, '}');
    return OK;
}

static const char *why_not_ready(const struct ctx *c,
                                 const struct refresh_view *v)
{
    if (v->stopping)
        return "The server is stopping";
    if (!v->started)
        return "The start is not finished";
    if (v->db_lost)
        return "MongoDB has not answered for 10 s";
    if (c->conf->cluster_require_redis && v->redis == REFRESH_REDIS_DOWN)
        return "Redis is required and does not answer";
    return NULL;
}

/* The members that a 200 and a 503 share. */
static void write_ready(struct buf *b, const struct refresh_view *v, bool ready)
{
    static const char *const redis[] = {"off", "up", "down"};

    buf_addf(b,
             "\"status\":\"%s\",\"ready\":%s,\"mode\":\"%s\","
             "\"checks\":{\"mongodb\":\"%s\",\"redis\":\"%s\"},",
             ready ? "ready" : "not ready", ready ? "true" : "false",
             refresh_mode_text(v), v->db_up ? "up" : "down", redis[v->redis]);
    write_warnings(b, v);
    buf_add_char(b, ',');
    write_time(b);
}

enum err api_health_ready(struct ctx *c, const struct request *q,
                          struct reply *out)
{
    struct refresh_view v = refresh_view();
    const char *why = why_not_ready(c, &v);
    struct buf *b = out->body;

    (void)q;
    buf_add(b, why ? STR(",") : STR("{\"success\":true,"));
    write_ready(b, &v, !why);
    if (!why) {
        buf_add_char(b, '}');
        return OK;
    }
    out->err_members = arena_str(&c->arena, buf_str(b));
    return ctx_fail(c, ERR_NOT_READY, "%s", why);
}
