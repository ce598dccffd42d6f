/*
 * api_metrics - the figures of this instance, for Prometheus and as JSON; no
 * I/O but /proc and what the poll thread saw last
 */
#include <malloc.h>
#include <unistd.h>

#include "fcgi-app/api.h"
#include "fcgi-app/measure.h"
#include "fcgi-app/refresh.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"
#include "lib/base/metrics.h"
#include "lib/run/usage.h"

static void write_text(struct buf *b)
{
    struct refresh_view v = refresh_view();
    double now[METRIC_N] = {0};
    struct usage u;

    usage_read(getppid(), &u);
    now[METRIC_DB_UP] = v.db_up;
    now[METRIC_REDIS_UP] = v.redis == REFRESH_REDIS_UP;
    now[METRIC_MODE] = refresh_mode(&v);
    now[METRIC_BUILD_INFO] = 1;
    now[METRIC_UPTIME] = measure_uptime_s();
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

static void write_json(struct buf *b, const struct ctx *c)
{
    struct refresh_view v = refresh_view();
    char time[CLOCK_ISO_MAX];

    buf_add(b, STR("{\"success\":true,\"metrics\":{\"instance\":"));
    jwrite_str(b, str_of(c->conf->cluster_instance_id));
    buf_add(b, STR(",\"timestamp\":\""));
    buf_add(b, (str){time, clock_iso(clock_wall_ms(), time)});
    buf_addf(b, "\",\"mode\":\"%s\",", refresh_mode_text(&v));
    write_process(b);
    /* no workers program: nothing is known of scripts and webhooks */
    buf_add(b, STR(",\"services\":{\"scripts\":null,\"webhooks\":null,"
                   "\"locks\":{\"total\":0,\"owned\":0}}}}"));
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
    if (wants_json(q)) {
        write_json(out->body, c);
        return OK;
    }
    out->content_type = "text/plain; version=0.0.4; charset=utf-8";
    write_text(out->body);
    return OK;
}
