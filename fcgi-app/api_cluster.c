/*
 * api_cluster - what this instance knows of itself and of the others; no I/O
 * but /proc, all from the last looks of the poll threads
 */
#include <unistd.h>

#include "fcgi-app/api.h"
#include "fcgi-app/cluster_json.h"
#include "fcgi-app/measure.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"
#include "lib/base/version.h"
#include "lib/run/usage.h"

static const char *text_of(bool v)
{
    return v ? "true" : "false";
}

static void end_with_time(struct buf *b, const struct scene *s)
{
    jwrite_time(b, ",\"timestamp\":", s->wall);
    buf_add_char(b, '}');
}

/* ---- status */

/* Of fcgi-app and, while they are seen, of workers. */
static int64_t processes(const struct scene *s)
{
    const struct view_instance *row = cluster_workers(s->cluster, s->conf);
    struct usage u;

    usage_read(getppid(), &u);
    return u.processes + (row ? row->processes : 0);
}

static void write_self(struct buf *b, const struct scene *s)
{
    buf_add(b, STR("\"instance\":{\"id\":"));
    jwrite_str(b, str_of(s->conf->cluster_instance_id));
    jwrite_time(b, ",\"startTime\":", measure_started_wall());
    buf_add(b, STR(",\"uptime\":"));
    jwrite_double(b, measure_uptime_s());
    buf_add(b, STR(",\"nodeVersion\":\"sql-free/" VERSION_NUMBER
                   "\",\"environment\":"));
    jwrite_str(b, str_of(s->conf->node_env));
    buf_addf(b, ",\"version\":\"" VERSION_NUMBER "\",\"processes\":%lld}",
             (long long)processes(s));
}

static void write_services(struct buf *b, const struct scene *s)
{
    const struct cluster *k = s->cluster;

    buf_add(b, STR("\"services\":{\"scripts\":"));
    cluster_json_scripts(b, s);
    buf_add(b, STR(",\"webhooks\":"));
    cluster_json_queue(b, s);
    buf_addf(b, ",\"distributedLock\":{\"healthy\":%s,\"activeLocks\":",
             text_of(k->locks_known));
    cluster_json_number(b, k->locks_known, k->locks.held);
    buf_addf(b, "},\"database\":{\"connected\":%s,\"collections\":",
             text_of(wellness_has_db(s)));
    cluster_json_number(b, k->collections >= 0, k->collections);
    buf_addf(b, "},\"redis\":{\"connected\":%s}}",
             text_of(wellness_has_redis(s)));
}

enum err api_cluster_status(struct ctx *c, const struct request *q,
                            struct reply *out)
{
    const struct conf *conf = c->conf;
    struct buf *b = out->body;
    struct scene s;

    (void)q;
    scene_take(c, &s);
    buf_add(b, STR("{\"success\":true,\"status\":{"));
    write_self(b, &s);
    buf_addf(b,
             ",\"mode\":\"%s\",\"features\":{\"distributedLocking\":%s,"
             "\"cronLeaderElection\":%s,\"webhookProcessing\":%s},",
             refresh_mode_text(&s.refresh),
             text_of(conf->cluster_enable_distributed_locking),
             text_of(conf->cluster_cron_leader_election),
             text_of(cluster_json_has_slots(&s)));
    write_services(b, &s);
    buf_addf(b,
             ",\"scaling\":{\"minInstances\":%lld,\"maxInstances\":%lld,"
             "\"liveInstances\":",
             (long long)conf->cluster_scaling_min_instances,
             (long long)conf->cluster_scaling_max_instances);
    cluster_json_number(b, s.cluster->seen,
                        (int64_t)s.cluster->view.instances_n);
    buf_add_char(b, '}');
    end_with_time(b, &s);
    buf_add_char(b, '}');
    return OK;
}

/* ---- instances */

enum err api_cluster_instances(struct ctx *c, const struct request *q,
                               struct reply *out)
{
    struct buf *b = out->body;
    const struct view *v;
    struct scene s;

    (void)q;
    scene_take(c, &s);
    v = &s.cluster->view;
    buf_add(b, STR("{\"success\":true,\"instances\":"));
    if (s.cluster->seen) {
        buf_add_char(b, '[');
        for (size_t i = 0; i < v->instances_n; i++) {
            if (i)
                buf_add_char(b, ',');
            cluster_json_instance(b, &s, &v->instances[i]);
        }
        buf_add_char(b, ']');
    } else {
        buf_add(b, STR("null"));
    }
    buf_add(b, STR(",\"count\":"));
    cluster_json_number(b, s.cluster->seen, (int64_t)v->instances_n);
    end_with_time(b, &s);
    return OK;
}

/* ---- health */

static enum wellness redis_wellness(const struct scene *s)
{
    if (!wellness_has_redis(s))
        return WELLNESS_UNHEALTHY;
    return s->refresh.redis_usable ? WELLNESS_HEALTHY : WELLNESS_DEGRADED;
}

/* Queues go on without Redis, slower. */
static enum wellness work_wellness(const struct scene *s)
{
    if (!cluster_json_is_served(s))
        return WELLNESS_UNHEALTHY;
    return refresh_mode(&s->refresh) == REFRESH_DEGRADED ? WELLNESS_DEGRADED
                                                         : WELLNESS_HEALTHY;
}

/* Served, but nobody knows how it stands. */
static enum wellness webhooks_wellness(const struct scene *s)
{
    enum wellness w = work_wellness(s);

    return w == WELLNESS_HEALTHY && !cluster_json_queue_is_healthy(s)
               ? WELLNESS_DEGRADED
               : w;
}

static void write_components(struct buf *b, const struct scene *s)
{
    const char *redis =
        s->cluster->redis_on ? wellness_text(redis_wellness(s)) : "off";
    const char *work = wellness_text(work_wellness(s));
    const char *webhooks = wellness_text(webhooks_wellness(s));
    const char *leads = s->cluster->seen
                            ? text_of(cluster_json_is_leader(s, LEADER_CRON))
                            : "null";
    bool db = wellness_has_db(s);

    buf_addf(b,
             "\"components\":{\"database\":{\"status\":\"%s\","
             "\"connected\":%s},\"redis\":{\"status\":\"%s\","
             "\"connected\":%s},\"webhooks\":{\"status\":\"%s\",\"queue\":",
             wellness_text(db ? WELLNESS_HEALTHY : WELLNESS_UNHEALTHY),
             text_of(db), redis, text_of(wellness_has_redis(s)), webhooks);
    cluster_json_counts(b, s);
    buf_addf(b,
             ",\"redis\":\"%s\",\"healthy\":%s},\"scripts\":{"
             "\"status\":\"%s\",\"isLeader\":%s,\"runningExecutions\":",
             redis, text_of(cluster_json_queue_is_healthy(s)), work, leads);
    cluster_json_number(b, s->cluster->seen, 0);
    buf_add(b, STR("}},"));
}

static void write_health(struct buf *b, const struct scene *s)
{
    buf_add(b, STR("\"health\":{\"instance\":"));
    jwrite_str(b, str_of(s->conf->cluster_instance_id));
    buf_addf(b, ",\"mode\":\"%s\",\"overall\":\"%s\",",
             refresh_mode_text(&s->refresh),
             wellness_text(wellness_overall(s)));
    write_components(b, s);
    wellness_write_warnings(b, s);
    end_with_time(b, s);
}

enum err api_cluster_health(struct ctx *c, const struct request *q,
                            struct reply *out)
{
    struct scene s;

    (void)q;
    scene_take(c, &s);
    return wellness_answer(c, &s, out, write_health);
}

/* ---- scripts, leadership */

enum err api_cluster_scripts(struct ctx *c, const struct request *q,
                             struct reply *out)
{
    struct scene s;

    (void)q;
    scene_take(c, &s);
    buf_add(out->body, STR("{\"success\":true,\"executions\":"));
    cluster_json_scripts(out->body, &s);
    end_with_time(out->body, &s);
    return OK;
}

enum err api_cluster_leadership(struct ctx *c, const struct request *q,
                                struct reply *out)
{
    struct buf *b = out->body;
    struct scene s;

    (void)q;
    scene_take(c, &s);
    buf_add(b, STR("{\"success\":true,\"leadership\":{"));
    for (int i = 0; i < LEADER_N; i++) {
        buf_addf(b, "%s\"%s\":", i ? "," : "",
                 leader_name((enum leader_service)i));
        cluster_json_service(b, &s, (enum leader_service)i);
    }
    buf_add_char(b, '}');
    end_with_time(b, &s);
    return OK;
}
