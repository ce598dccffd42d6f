/* wellness - see wellness.h */
#include "fcgi-app/wellness.h"

#include <stdarg.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"
#include "lib/coord/roster.h"
#include "lib/data/subs.h"

enum {
    OFFSET_MOST_MS = 1000,
    NAMES_MOST = 10, /* of instances in one warning */
    WARNING_BYTES = 2048,
};

void scene_take(struct ctx *c, struct scene *out)
{
    *out = (struct scene){c->conf, cluster_get(c), refresh_view(),
                          clock_wall_ms()};
}

bool wellness_has_db(const struct scene *s)
{
    return s->refresh.db_up && s->cluster->seen;
}

bool wellness_has_redis(const struct scene *s)
{
    return s->cluster->redis_seen && s->cluster->redis.answers;
}

const char *wellness_why_not_ready(const struct scene *s)
{
    const struct refresh_view *v = &s->refresh;

    if (v->stopping)
        return "The server is stopping";
    if (!v->started)
        return "The start is not finished";
    if (v->db_lost)
        return "MongoDB has not answered for 10 s";
    if (s->conf->cluster_require_redis && v->redis != REFRESH_REDIS_OFF &&
        !v->redis_fit)
        return v->redis == REFRESH_REDIS_DOWN
                   ? "Redis is required and does not answer"
                   : "Redis is required and of a kind that cannot be used";
    return NULL;
}

enum wellness wellness_overall(const struct scene *s)
{
    if (wellness_why_not_ready(s))
        return WELLNESS_UNHEALTHY;
    if (!wellness_has_db(s) || refresh_mode(&s->refresh) == REFRESH_DEGRADED)
        return WELLNESS_DEGRADED;
    return WELLNESS_HEALTHY;
}

const char *wellness_text(enum wellness w)
{
    static const char *const texts[] = {"healthy", "degraded", "unhealthy"};

    return texts[w];
}

/* ---- warnings */

static void warn(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void warn(struct buf *b, const char *fmt, ...)
{
    char text[WARNING_BYTES];
    va_list list;

    va_start(list, fmt);
    vsnprintf(text, sizeof text, fmt, list);
    va_end(list);
    if (b->n > 0 && b->p[b->n - 1] != '[')
        buf_add_char(b, ',');
    jwrite_str(b, str_of(text));
}

static void warn_of_stores(struct buf *b, const struct scene *s)
{
    const struct cluster *k = s->cluster;

    if (s->refresh.standalone)
        warn(b, "MongoDB is standalone: make it a replica set (one node is "
                "enough), or events are best effort");
    if (s->refresh.locked_out)
        warn(b, "Access is on and nobody has a key: make one with `sqlfree "
                "keys create`, or set JWT_SECRET or JWT_PUBLIC_KEY");
    if (!k->redis_seen)
        return;
    if (!k->redis.answers)
        warn(b, "Redis does not answer: %s", k->redis.reason);
    else if (!k->redis.fit)
        warn(b, "Redis cannot be used: %s", k->redis.reason);
    else if (k->redis.evicts)
        warn(b, "Redis may evict keys: set maxmemory-policy to noeviction");
}

static void warn_of_events(struct buf *b)
{
    if (subs_is_stale())
        warn(b, "The webhooks could not be read again for 5 s: changes of them "
                "are not followed yet");
}

static void warn_of_workers(struct buf *b, const struct scene *s)
{
    const struct cluster *k = s->cluster;

    if (!k->seen)
        return;
    if (k->view.instances_n == 0)
        warn(b, "No instance has live workers: nobody leads, delivers, runs "
                "scripts or opens Redis; start the program workers");
    else if (!cluster_has_workers(k, s->conf))
        warn(b, "This instance has no live workers: start the program workers "
                "beside it, with the same settings");
}

static void warn_of_clock(struct buf *b, const struct scene *s)
{
    ms offset = s->cluster->clock_offset_ms;

    if (s->cluster->clock_known &&
        (offset > OFFSET_MOST_MS || offset < -OFFSET_MOST_MS))
        warn(b, "The clock is %lld ms %s that of MongoDB: keep both in step",
             (long long)(offset < 0 ? -offset : offset),
             offset < 0 ? "behind" : "ahead of");
}

/* Settings that all must agree on travel as a digest in the heartbeats. */
static void warn_of_settings(struct buf *b, const struct scene *s)
{
    const struct view *v = &s->cluster->view;
    char own[ROSTER_DIGEST_MAX], text[WARNING_BYTES / 2];
    struct buf names = buf_over(text, sizeof text);
    size_t n = 0;

    if (!s->cluster->seen)
        return;
    roster_digest(s->conf, own);
    for (size_t i = 0; i < v->instances_n; i++) {
        if (str_eq(v->instances[i].digest, str_of(own)))
            continue;
        if (n < NAMES_MOST)
            buf_addf(&names, "%s" STR_FMT, n ? ", " : "",
                     STR_ARG(str_head(v->instances[i].id, 64)));
        n++;
    }
    if (n > 0)
        warn(b,
             "Settings that must agree (Redis, its prefix, database, "
             "leases) are not those of this instance on: " STR_FMT "%s",
             STR_ARG(buf_str(&names)), n > NAMES_MOST ? ", and more" : "");
}

void wellness_write_warnings(struct buf *b, const struct scene *s)
{
    buf_add(b, STR("\"warnings\":["));
    warn_of_stores(b, s);
    warn_of_events(b);
    warn_of_workers(b, s);
    warn_of_clock(b, s);
    warn_of_settings(b, s);
    buf_add_char(b, ']');
}

void wellness_write_ready(struct buf *b, const struct scene *s)
{
    static const char *const redis[] = {"off", "up", "down"};
    bool ready = !wellness_why_not_ready(s);

    buf_addf(b,
             "\"status\":\"%s\",\"ready\":%s,\"mode\":\"%s\","
             "\"checks\":{\"mongodb\":\"%s\",\"redis\":\"%s\"},",
             ready ? "ready" : "not ready", ready ? "true" : "false",
             refresh_mode_text(&s->refresh), s->refresh.db_up ? "up" : "down",
             redis[s->refresh.redis]);
    wellness_write_warnings(b, s);
}

enum err wellness_answer(struct ctx *c, const struct scene *s,
                         struct reply *out,
                         void (*write)(struct buf *b, const struct scene *s))
{
    const char *why = wellness_why_not_ready(s);
    struct buf *b = out->body;

    buf_add(b, why ? STR(",") : STR("{\"success\":true,"));
    write(b, s);
    if (!why) {
        buf_add_char(b, '}');
        return OK;
    }
    out->err_members = arena_str(&c->arena, buf_str(b));
    return ctx_fail(c, ERR_NOT_READY, "%s", why);
}
