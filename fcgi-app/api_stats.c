/* api_stats - what deliveries came to so far, webhook by webhook */
#include "fcgi-app/api.h"
#include "fcgi-app/cluster_json.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"
#include "lib/coord/redis_queue.h"
#include "lib/coord/totals.h"
#include "lib/data/mongo.h"

enum {
    RECENT_MOST = 100 /* webhooks asked about in one call */
};

/* All that the answer is made of. */
struct stats {
    const struct conf *conf;
    const struct webhook *webhooks;
    size_t webhooks_n;
    int64_t *recent; /* of each: tries by the index within the window */
    const struct totals *totals;
    size_t totals_n;
    const struct backlog *backlog; /* NULL: too long to be counted in time */
    size_t backlog_n;
    struct scene scene;
};

static enum err read_webhooks(struct ctx *c, struct stats *s)
{
    struct webhook *list;
    const bson_t *rows;
    bson_iter_t it;
    bson_t row;
    enum err err = webhook_list(c, &rows);

    if (err)
        return err;
    list = ctx_alloc(c, (bson_count_keys(rows) + 1) * sizeof *list);
    if (!list)
        return ERR_OVERLOADED;
    bson_iter_init(&it, rows);
    while (mongo_next_doc(&it, &row))
        s->webhooks_n +=
            webhook_read(&c->arena, c->conf, &row, &list[s->webhooks_n]);
    s->webhooks = list;
    return OK;
}

/* Of an index that does not tell, none: `_limits` tell of the other path. */
static enum err read_recent(struct ctx *c, struct stats *s)
{
    str *lims = ctx_alloc(c, (s->webhooks_n + 1) * sizeof *lims);

    s->recent = ctx_alloc(c, (s->webhooks_n + 1) * sizeof *s->recent);
    if (!lims || !s->recent)
        return ERR_OVERLOADED;
    for (size_t i = 0; i < s->webhooks_n; i++)
        lims[i] = s->webhooks[i].id;
    for (size_t i = 0; c->index[0] && i < s->webhooks_n; i += RECENT_MOST) {
        size_t n = s->webhooks_n - i;

        if (n > RECENT_MOST)
            n = RECENT_MOST;
        if (index_recent(c, QUEUE_WEBHOOK, &lims[i], n, &s->recent[i]) !=
            INDEX_DONE)
            break;
    }
    return OK;
}

static enum err read_all(struct ctx *c, struct stats *s)
{
    enum err err = read_webhooks(c, s);

    if (err == OK)
        err = read_recent(c, s);
    if (err == OK)
        err = totals_read(c, QUEUE_WEBHOOK, &s->totals, &s->totals_n);
    if (err == OK)
        err = backlog_read(c, QUEUE_WEBHOOK, &s->backlog, &s->backlog_n);
    if (err != ERR_TIME_LIMIT || !s->totals)
        return err;
    ctx_forgive(c);
    s->backlog = NULL;
    return OK;
}

static struct totals totals_of(const struct stats *s, const struct webhook *w)
{
    const struct totals *found = totals_find(s->totals, s->totals_n, w->id);

    return found ? *found : (struct totals){.subscriber = w->id};
}

static void write_bool(struct buf *b, const char *name, bool v)
{
    buf_addf(b, "\"%s\":%s", name, v ? "true" : "false");
}

static void write_limits(struct buf *b, const struct stats *s)
{
    buf_add(b, STR("\"rateLimitStatus\":["));
    for (size_t i = 0; i < s->webhooks_n; i++) {
        const struct webhook *w = &s->webhooks[i];
        int64_t recent = totals_of(s, w).recent + s->recent[i];

        buf_add(b, i ? STR(",{\"url\":") : STR("{\"url\":"));
        jwrite_str(b, w->url);
        buf_addf(b, ",\"webhookId\":\"" STR_FMT "\",\"recentRequests\":%lld,",
                 STR_ARG(w->id), (long long)recent);
        write_bool(b, "isLimited", recent >= w->max_per_window);
        buf_add_char(b, '}');
    }
    buf_add_char(b, ']');
}

static void write_webhook(struct buf *b, const struct stats *s,
                          const struct webhook *w)
{
    const struct backlog *open = NULL;
    struct totals t = totals_of(s, w);

    if (s->backlog)
        open = backlog_find(s->backlog, s->backlog_n, w->id);
    buf_addf(b, "{\"webhookId\":\"" STR_FMT "\",\"name\":", STR_ARG(w->id));
    jwrite_str(b, w->name);
    buf_addf(b,
             ",\"delivered\":%lld,\"failed\":%lld,\"rateLimited\":%lld,"
             "\"pending\":",
             (long long)t.delivered, (long long)t.failed, (long long)t.limited);
    cluster_json_number(b, s->backlog != NULL, open ? open->pending : 0);
    jwrite_time(b, ",\"lastDelivery\":", t.last_wall);
    buf_addf(b, ",\"averageResponseTime\":\"%lldms\"}",
             (long long)(t.attempts > 0 ? t.took_ms / t.attempts : 0));
}

static void write_webhooks(struct buf *b, const struct stats *s)
{
    buf_add(b, STR("\"perWebhookStats\":["));
    for (size_t i = 0; i < s->webhooks_n; i++) {
        if (i)
            buf_add_char(b, ',');
        write_webhook(b, s, &s->webhooks[i]);
    }
    buf_add_char(b, ']');
}

/* Somebody delivers; somebody counts, sweeps and plans. */
static void write_health(struct buf *b, const struct stats *s)
{
    bool works = cluster_json_delivers(&s->scene);

    buf_add(b, STR("\"systemHealth\":{"));
    write_bool(b, "databaseConnected", wellness_has_db(&s->scene));
    buf_add_char(b, ',');
    write_bool(b, "webhookDeliveryActive", works);
    buf_add_char(b, ',');
    write_bool(b, "retryProcessorRunning", works);
    buf_add_char(b, ',');
    write_bool(b, "backgroundJobsHealthy",
               cluster_json_queue_is_healthy(&s->scene));
    buf_add_char(b, '}');
}

/* In tenths of a percent, never rounded up to all. */
static void write_rate(struct buf *b, int64_t delivered, int64_t attempts)
{
    int64_t tenths = attempts > 0 ? delivered * 1000 / attempts : 0;

    if (tenths > 1000)
        tenths = 1000;
    buf_addf(b, ",\"successRate\":\"%lld.%lld%%\"", (long long)tenths / 10,
             (long long)tenths % 10);
}

static void write_sums(struct buf *b, const struct stats *s)
{
    struct totals sum = {.subscriber = STR("")};
    int64_t retrying = 0;

    for (size_t i = 0; i < s->totals_n; i++) {
        sum.attempts += s->totals[i].attempts;
        sum.delivered += s->totals[i].delivered;
        sum.failed += s->totals[i].failed;
        sum.limited += s->totals[i].limited;
    }
    for (size_t i = 0; i < s->backlog_n; i++)
        retrying += s->backlog[i].retrying;
    buf_addf(b, "\"totalWebhookUrls\":%zu,\"pendingRetries\":", s->webhooks_n);
    cluster_json_number(b, s->backlog != NULL, retrying);
    buf_addf(b,
             ",\"totalAttempts\":%lld,\"delivered\":%lld,\"failed\":%lld,"
             "\"rateLimited\":%lld,\"retryQueueSize\":",
             (long long)sum.attempts, (long long)sum.delivered,
             (long long)sum.failed, (long long)sum.limited);
    cluster_json_number(b, s->backlog != NULL, retrying);
    write_rate(b, sum.delivered, sum.attempts);
}

static void write_settings(struct buf *b, const struct conf *conf)
{
    buf_addf(b,
             "\"rateLimit\":{\"maxRequestsPerMinute\":%lld,\"windowMs\":%lld,"
             "\"maxRetries\":%lld,\"baseDelayMs\":%lld,\"maxDelayMs\":%lld,"
             "\"globalPerMinute\":%lld}",
             (long long)conf->webhooks_rate_limit_per_minute,
             (long long)conf->webhook_rate_limit_window_ms,
             (long long)conf->webhooks_retry_attempts,
             (long long)conf->webhooks_retry_delay,
             (long long)conf->webhooks_retry_max_delay,
             (long long)conf->webhooks_global_rate_limit_per_minute);
}

/* Two members stand at both levels, as older clients look for them. */
enum err api_webhooks_stats(struct ctx *c, const struct request *q,
                            struct reply *out)
{
    struct stats s = {.conf = c->conf};
    struct buf *b = out->body;
    enum err err = read_all(c, &s);

    (void)q;
    if (err)
        return err;
    scene_take(c, &s.scene);
    buf_add(b, STR("{\"success\":true,\"data\":{\"deliveryStatistics\":{"));
    write_sums(b, &s);
    buf_add_char(b, ',');
    write_limits(b, &s);
    buf_add_char(b, ',');
    write_webhooks(b, &s);
    buf_add_char(b, ',');
    write_health(b, &s);
    buf_add(b, STR("},"));
    write_webhooks(b, &s);
    buf_add_char(b, ',');
    write_health(b, &s);
    buf_add_char(b, ',');
    write_settings(b, s.conf);
    buf_add(b, STR("}}"));
    return OK;
}
