/*
 * api_queue - the queue of deliveries as a whole: its state, pause and resume,
 * dead letters and their replay
 */
#include "fcgi-app/api.h"
#include "fcgi-app/cluster_json.h"
#include "fcgi-app/members.h"
#include "fcgi-app/params.h"
#include "fcgi-app/rows_json.h"
#include "lib/base/clock.h"
#include "lib/base/id.h"
#include "lib/base/jwrite.h"
#include "lib/base/log.h"
#include "lib/coord/queue.h"

enum {
    IDS_MOST = 1000 /* in one replay */
};

static void end_with_time(struct buf *b)
{
    jwrite_time(b, ",\"timestamp\":", clock_wall_ms());
    buf_add_char(b, '}');
}

/* Who may do what is worth a line. */
static void log_change(const struct ctx *c, const char *event)
{
    log_event(
        LOG_INFO, event,
        (struct log_field[]){{"requestId", c->request_id}, {NULL, STR_NONE}});
}

/* ---- state, pause */

enum err api_queue_state(struct ctx *c, const struct request *q,
                         struct reply *out)
{
    struct scene s;

    (void)q;
    scene_take(c, &s);
    buf_add(out->body, STR("{\"success\":true,\"queue\":"));
    cluster_json_queue(out->body, &s);
    end_with_time(out->body);
    return OK;
}

static enum err set_pause(struct ctx *c, struct reply *out, bool on)
{
    enum err err = queue_pause(c, QUEUE_WEBHOOK, on);

    if (err)
        return err;
    log_change(c, on ? "queue.paused" : "queue.resumed");
    buf_addf(out->body, "{\"success\":true,\"paused\":%s,\"message\":\"%s\"",
             on ? "true" : "false",
             on ? "Paused: within 1 s no new delivery starts on any instance"
                : "Resumed");
    end_with_time(out->body);
    return OK;
}

enum err api_queue_pause(struct ctx *c, const struct request *q,
                         struct reply *out)
{
    (void)q;
    return set_pause(c, out, true);
}

enum err api_queue_resume(struct ctx *c, const struct request *q,
                          struct reply *out)
{
    (void)q;
    return set_pause(c, out, false);
}

/* ---- dead letters */

struct dead_query {
    str webhook_id;
    struct rows_page page;
};

static enum err read_query(struct ctx *c, const struct request *q,
                           struct dead_query *out)
{
    struct params p;
    enum err err = params_read(c, q, &p);

    out->webhook_id = STR("");
    if (err == OK)
        err = params_text(c, &p, "webhookId", &out->webhook_id);
    if (err == OK)
        err = rows_page_read(c, &p, &out->page);
    if (err == OK && out->webhook_id.n > 0 && !id_is_object(out->webhook_id))
        err = ctx_fail(c, ERR_BAD_ID,
                       "'webhookId' must be 24 hexadecimal digits");
    out->webhook_id = rows_id(c, out->webhook_id);
    return err;
}

/* Of a webhook that is no more there is neither name nor url. */
static void write_dead(struct buf *b, const bson_t *row, const void *arg)
{
    const struct subscription *from = NULL;
    struct job job;

    if (job_read(row, &job))
        from = subs_by_id(arg, job.subscriber);
    job_write_dead(b, row, from ? from->webhook.name : STR_NONE,
                   from ? from->webhook.url : STR_NONE);
}

enum err api_dead_list(struct ctx *c, const struct request *q,
                       struct reply *out)
{
    const struct subs *subs;
    struct dead_query want;
    const bson_t *rows;
    int64_t total;
    size_t n;
    enum err err = read_query(c, q, &want);

    if (err == OK)
        err = subs_get(c, &subs);
    if (err == OK)
        err = queue_list_dead(c, QUEUE_WEBHOOK, want.webhook_id,
                              want.page.limit, want.page.before, &rows, &total);
    if (err)
        return err;
    buf_add(out->body, STR("{\"success\":true,\"deadLetters\":"));
    n = rows_json(out->body, rows, write_dead, subs);
    buf_addf(out->body, ",\"count\":%zu,\"total\":%lld", n, (long long)total);
    end_with_time(out->body);
    return OK;
}

static void check_ids(struct members *m, const struct queue_dead *which)
{
    for (size_t i = 0; i < which->ids_n; i++)
        if (!job_is_id(which->ids[i])) {
            members_wrong(m, "ids", "number %zu is no id of a delivery", i + 1);
            return;
        }
}

static enum err read_which(struct ctx *c, const struct request *q,
                           struct queue_dead *which, struct reply *out)
{
    struct members m;
    enum err err = members_read(c, q, &m);

    if (err)
        return err;
    *which = (struct queue_dead){.webhook_id = STR(""), .since = INT64_MIN};
    if (members_has(&m, "webhookId") &&
        (!members_text(&m, "webhookId", &which->webhook_id) ||
         !id_is_object(which->webhook_id)))
        members_wrong(&m, "webhookId", "24 hexadecimal digits are expected");
    which->webhook_id = rows_id(c, which->webhook_id);
    members_time(&m, "since", &which->since);
    members_texts(c, &m, "ids", IDS_MOST, &which->ids, &which->ids_n);
    check_ids(&m, which);
    return members_end(c, &m, out,
                       "A replay may be held to webhookId, since, ids");
}

enum err api_dead_replay(struct ctx *c, const struct request *q,
                         struct reply *out)
{
    struct queue_replayed got = {0};
    struct queue_dead which;
    enum err err = read_which(c, q, &which, out);

    if (err == OK)
        err = queue_replay_dead(c, QUEUE_WEBHOOK, &which, &got);
    if (err)
        return err;
    log_change(c, "deadletters.replayed");
    buf_addf(out->body,
             "{\"success\":true,\"replayed\":%lld,\"skipped\":%lld,"
             "\"remaining\":%lld,\"message\":\"%lld dead letters are delivered "
             "again\"",
             (long long)got.replayed, (long long)got.skipped,
             (long long)got.remaining, (long long)got.replayed);
    end_with_time(out->body);
    return OK;
}
