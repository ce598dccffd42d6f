/* index_row - see index_row.h */
#include "lib/coord/index_row.h"

#include "lib/base/conf.h"
#include "lib/coord/queue_inside.h"

#define DELAY_MOST INT64_C(100000000000) /* three years */
#define ORD_MOST   ((INT64_C(1) << 53) - 1)

enum {
    GROUP_MAX = JOB_ID_MAX + EVENT_ORDER_MAX
};

/* Whatever somebody has written, within what Redis counts exactly. */
static int64_t within(int64_t v, int64_t most)
{
    return v < 0 ? 0 : v > most ? most : v;
}

void index_row_project(bson_t *cmd)
{
    BCON_APPEND(cmd, "projection", "{", "lim", BCON_INT32(1), "g",
                BCON_INT32(1), "cls", BCON_INT32(1), "ts", BCON_INT32(1), "ord",
                BCON_INT32(1), "once", BCON_INT32(1), "runAt", BCON_INT32(1),
                "lease.until", BCON_INT32(1), "enq", BCON_INT32(1), "}");
}

/* "<lim>:<document>", of which the text may be empty */
static bool is_group_of(str group, str lim)
{
    return str_eq(group, lim) ||
           (group.n < GROUP_MAX && group.n > lim.n && str_starts(group, lim) &&
            group.p[lim.n] == ':' && str_find(lim, ':', 0) == SIZE_MAX);
}

static bool is_set(const bson_t *row, const char *name)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, row, name) && bson_iter_as_bool(&it);
}

static ms lease_end(const bson_t *row)
{
    bson_t lease;

    return mongo_reply_doc(row, "lease", &lease) ? queue_number(&lease, "until")
                                                 : 0;
}

static void set_limit(const struct conf *conf, const struct subs *s,
                      struct index_job *out)
{
    const struct subscription *one = subs_by_id(s, out->lim);

    if (queue_is_test(out->lim))
        return;
    out->limit = one ? one->webhook.max_per_window
                     : conf->webhooks_rate_limit_per_minute;
    out->window_ms = conf->webhook_rate_limit_window_ms + queue_slack_ms(conf);
}

bool index_row_read(const struct conf *conf, const struct subs *s,
                    const bson_t *row, ms now, struct index_job *out)
{
    ms run_at = within(queue_number(row, "runAt"), INT64_MAX);
    ms until = within(lease_end(row), INT64_MAX);
    struct index_job job = {.id = queue_text(row, "_id"),
                            .lim = queue_text(row, "lim"),
                            .group = queue_text(row, "g"),
                            .ts = within(queue_number(row, "ts"), INT64_MAX),
                            .ord = within(queue_number(row, "ord"), ORD_MOST),
                            .once = is_set(row, "once")};
    int64_t cls = queue_number(row, "cls");

    if (!queue_is_id(job.id) || !queue_is_id(job.lim) ||
        !is_group_of(job.group, job.lim))
        return false;
    job.cls = cls < 0 || cls > JOB_CLASS_LAST ? JOB_CLASS_LAST : (int)cls;
    job.delay_ms = within((run_at > until ? run_at : until) - now, DELAY_MOST);
    set_limit(conf, s, &job);
    *out = job;
    return true;
}
