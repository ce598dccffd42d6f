/* api_health - what probes ask; no I/O, all from the poll thread's last look */
#include "fcgi-app/api.h"
#include "fcgi-app/wellness.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"

static void write_instance(struct buf *b, const struct ctx *c)
{
    buf_add(b, STR("\"instance\":"));
    jwrite_str(b, str_of(c->conf->cluster_instance_id));
}

enum err api_health(struct ctx *c, const struct request *q, struct reply *out)
{
    struct buf *b = out->body;
    struct scene s;

    (void)q;
    scene_take(c, &s);
    jwrite_time(b, "{\"status\":\"healthy\",\"timestamp\":", s.wall);
    buf_addf(b, ",\"mongodb\":\"%s\",\"mode\":\"%s\",",
             s.refresh.db_up ? "connected" : "disconnected",
             refresh_mode_text(&s.refresh));
    write_instance(b, c);
    buf_add_char(b, ',');
    wellness_write_warnings(b, &s);
    buf_add_char(b, '}');
    return OK;
}

enum err api_health_live(struct ctx *c, const struct request *q,
                         struct reply *out)
{
    (void)q;
    jwrite_time(out->body,
                "{\"status\":\"alive\",\"timestamp\":", clock_wall_ms());
    buf_add_char(out->body, ',');
    write_instance(out->body, c);
    buf_add_char(out->body, '}');
    return OK;
}

static void write_ready(struct buf *b, const struct scene *s)
{
    wellness_write_ready(b, s);
    jwrite_time(b, ",\"timestamp\":", s->wall);
}

enum err api_health_ready(struct ctx *c, const struct request *q,
                          struct reply *out)
{
    struct scene s;

    (void)q;
    scene_take(c, &s);
    return wellness_answer(c, &s, out, write_ready);
}
