/*
 * api_metrics - the figures of this instance, for Prometheus and as JSON; no
 * I/O but /proc and what the poll threads saw last
 */
#include <malloc.h>
#include <unistd.h>

#include "fcgi-app/api.h"
#include "fcgi-app/cluster_json.h"
#include "fcgi-app/measure.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"
#include "lib/base/metrics.h"
#include "lib/run/usage.h"

/* Of the whole deployment, as its leader counted them. */
static void put_queue(double now[METRIC_N], const struct figures *f)
{
    now[METRIC_WEBHOOK_JOBS] = (double)(f->waiting + f->active + f->delayed);
    now[METRIC_WEBHOOK_OLDEST] = (double)f->oldest_ms / 1000;
    now[METRIC_WEBHOOK_DEAD] = (double)f->dead;
    now[METRIC_WEBHOOK_BREAKERS] = (double)f->breakers;
}

/* What is not known is 0, as far as a gauge of now can say so. */
static void write_text(struct buf *b, const struct scene *s)
{
    const struct figures *f = cluster_json_figures(s);
    const struct cluster *k = s->cluster;
    double now[METRIC_N] = {0};
    struct usage u;

    usage_read(getppid(), &u);
    now[METRIC_DB_UP] = s->refresh.db_up;
    now[METRIC_REDIS_UP] = s->refresh.redis == REFRESH_REDIS_UP;
    now[METRIC_MODE] = refresh_mode(&s->refresh);
    now[METRIC_INSTANCES] = k->seen ? (double)k->view.instances_n : 0;
    now[METRIC_LOCKS] = k->locks_known ? (double)k->locks.held : 0;
    now[METRIC_LOCKS_HELD] = k->locks_known ? (double)k->locks.owned : 0;
    if (f)
        put_queue(now, f);
    now[METRIC_BUILD_INFO] = 1;
    now[METRIC_UPTIME] = measure_uptime_s();
    now[METRIC_WORKERS_UP] = k->workers_up;
    now[METRIC_CPU] = (double)(u.user_us + u.system_us) / 1e6;
    now[METRIC_RSS] = (double)u.rss_bytes;
    now[METRIC_OPEN_FDS] = (double)u.open_fds;
    now[METRIC_MAX_FDS] = (double)u.max_fds;
    now[METRIC_START_TIME] = (double)measure_started_wall() / 1000;
    metrics_write(b, now);
}

static void write_process(struct buf *b)
{
    struct mallinfo2 heap = mallinfo2(); /* of the process that answers */
    struct usage u;

    usage_read(getppid(), &u);
    buf_add(b, STR("\"process\":{\"uptime\":"));
    jwrite_double(b, measure_uptime_s());
    buf_addf(b,
             ",\"memory\":{\"rss\":%lld,\"heapTotal\":%zu,\"heapUsed\":%zu,"
             "\"external\":0,\"arrayBuffers\":0},"
             "\"cpu\":{\"user\":%lld,\"system\":%lld}}",
             (long long)u.rss_bytes, heap.arena + heap.hblkhd,
             heap.uordblks + heap.hblkhd, (long long)u.user_us,
             (long long)u.system_us);
}

static void write_json(struct buf *b, const struct scene *s)
{
    const struct cluster *k = s->cluster;

    buf_add(b, STR("{\"success\":true,\"metrics\":{\"instance\":"));
    jwrite_str(b, str_of(s->conf->cluster_instance_id));
    jwrite_time(b, ",\"timestamp\":", s->wall);
    buf_addf(b, ",\"mode\":\"%s\",", refresh_mode_text(&s->refresh));
    write_process(b);
    buf_add(b, STR(",\"services\":{\"scripts\":"));
    cluster_json_scripts(b, s);
    buf_add(b, STR(",\"webhooks\":"));
    cluster_json_queue(b, s);
    buf_add(b, STR(",\"locks\":{\"total\":"));
    cluster_json_number(b, k->locks_known, k->locks.held);
    buf_add(b, STR(",\"owned\":"));
    cluster_json_number(b, k->locks_known, k->locks.owned);
    buf_add(b, STR("}}}}"));
}

static bool wants_json(const struct request *q)
{
    str rest = q->query, pair;

    while (rest.n > 0 && str_cut(&rest, '&', &pair))
        if (str_eq(pair, STR("format=json")))
            return true;
    return reply_wants(q, STR("application/json"));
}

enum err api_metrics(struct ctx *c, const struct request *q, struct reply *out)
{
    struct scene s;

    scene_take(c, &s);
    if (wants_json(q)) {
        write_json(out->body, &s);
        return OK;
    }
    out->content_type = "text/plain; version=0.0.4; charset=utf-8";
    write_text(out->body, &s);
    return OK;
}
