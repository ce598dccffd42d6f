/* api_webhooks - subscriptions: list, create, get, change, delete, new secret
 */
#include "fcgi-app/api.h"
#include "fcgi-app/members.h"
#include "fcgi-app/rows_json.h"
#include "fcgi-app/targets.h"
#include "lib/base/jwrite.h"
#include "lib/base/log.h"
#include "lib/coord/queue.h"
#include "lib/data/json_out.h"

enum {
    OVERLAP_HOURS = 24, /* unless it is said */
    HOUR_MS = 3600000,
    SUMMARY_BYTES = 400
};

/* Who changes what is worth a line; names and URLs are the user's. */
static void log_change(const struct ctx *c, const char *event, str id)
{
    log_event(LOG_INFO, event,
              (struct log_field[]){{"webhook", id},
                                   {"requestId", c->request_id},
                                   {NULL, STR_NONE}});
}

/* The change is done; what it asks of the queue is repeated there. */
static void forgive_queue(struct ctx *c, const char *event, str id)
{
    log_event(LOG_WARN, event,
              (struct log_field[]){{"webhook", id},
                                   {"requestId", c->request_id},
                                   {"reason", str_of(c->reason)},
                                   {NULL, STR_NONE}});
    ctx_forgive(c);
}

static str id_of(struct ctx *c, const bson_t *row)
{
    struct buf b = buf_over(ctx_alloc(c, ID_OBJECT_MAX), ID_OBJECT_MAX);
    bson_iter_t it;

    if (!b.p || !bson_iter_init_find(&it, row, "_id") ||
        !json_out_text(&b, &it))
        return STR("");
    return buf_str(&b);
}

/* {"success":true,"message":..,"data":<webhook>} */
static void write_one(struct ctx *c, struct reply *out, const char *message,
                      const bson_t *row, bool with_secret)
{
    struct buf *b = out->body;

    buf_add(b, STR("{\"success\":true"));
    if (message)
        buf_addf(b, ",\"message\":\"%s\"", message);
    buf_add(b, STR(",\"data\":"));
    webhook_write(b, c->conf, row, with_secret);
    buf_add_char(b, '}');
}

static void write_listed(struct buf *b, const bson_t *row, const void *conf)
{
    webhook_write(b, conf, row, false);
}

enum err api_webhooks_list(struct ctx *c, const struct request *q,
                           struct reply *out)
{
    const bson_t *rows;
    size_t n;
    enum err err = webhook_list(c, &rows);

    (void)q;
    if (err)
        return err;
    buf_add(out->body, STR("{\"success\":true,\"data\":{\"webhooks\":"));
    n = rows_json(out->body, rows, write_listed, c->conf);
    buf_addf(out->body, "},\"count\":%zu}", n);
    return OK;
}

enum err api_webhooks_get(struct ctx *c, const struct request *q,
                          struct reply *out)
{
    const bson_t *row;
    enum err err = webhook_get(c, q->param[0], &row);

    if (err == OK)
        write_one(c, out, NULL, row, false);
    return err;
}

/* Its form, unless that is wrong already. */
static void check_url(struct ctx *c, const struct members *m,
                      struct webhook_faults *faults)
{
    struct webhook_fault *f = &faults->v[faults->n];
    str url;

    for (size_t i = 0; i < faults->n; i++)
        if (strcmp(faults->v[i].member, "url") == 0)
            return;
    if (faults->n == WEBHOOK_FAULTS_MAX || !members_text(m, "url", &url) ||
        targets_check(c, url) == OK)
        return;
    f->member = "url";
    f->message = arena_str(&c->arena, str_of(c->reason)).p;
    faults->n += f->message != NULL;
    ctx_forgive(c);
}

/* All that is wrong, in `details` and, as far as there is room, in words. */
static enum err refuse(struct ctx *c, struct members *m,
                       const struct webhook_faults *faults, struct reply *out)
{
    char summary[SUMMARY_BYTES];
    struct buf b = buf_over(summary, sizeof summary - 1);

    buf_add(&b, STR("The webhook is not valid"));
    for (size_t i = 0; i < faults->n; i++) {
        const struct webhook_fault *f = &faults->v[i];

        members_wrong(m, f->member, "%s", f->message);
        buf_addf(&b, "%s%s: %s", i ? "; " : ": ", f->member, f->message);
    }
    summary[b.n] = '\0';
    return members_end(c, m, out, summary);
}

/* *out_set: what is to be stored. Nothing of it is, so far. */
static enum err read_wish(struct ctx *c, const struct request *q, bool creates,
                          struct reply *out, bson_t **out_set)
{
    struct webhook_faults faults;
    struct members m;
    str url;
    enum err err = members_read(c, q, &m);

    if (err)
        return err;
    err = webhook_judge(c, m.doc, m.form, creates, out_set, &faults);
    if (err && err != ERR_VALIDATION_ERROR)
        return err;
    ctx_forgive(c);
    check_url(c, &m, &faults);
    if (faults.n)
        return refuse(c, &m, &faults, out);
    if (members_text(&m, "url", &url))
        return targets_judge(c, url);
    return OK;
}

enum err api_webhooks_create(struct ctx *c, const struct request *q,
                             struct reply *out)
{
    const bson_t *row;
    bson_t *set;
    enum err err = read_wish(c, q, true, out, &set);

    if (err == OK)
        err = webhook_insert(c, set, &row);
    if (err)
        return err;
    log_change(c, "webhook.created", id_of(c, row));
    out->status = 201;
    reply_header(out, "Cache-Control: no-store");
    write_one(c, out, "Webhook created", row, true);
    return OK;
}

static bool enables(const bson_t *set)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, set, "enabled") && bson_iter_as_bool(&it);
}

enum err api_webhooks_change(struct ctx *c, const struct request *q,
                             struct reply *out)
{
    const bson_t *row;
    bson_t *set;
    /* an unknown id is told before the body is judged */
    enum err err = webhook_get(c, q->param[0], &row);

    if (err == OK)
        err = read_wish(c, q, false, out, &set);
    if (err == OK)
        err = webhook_change(c, q->param[0], set, &row);
    if (err)
        return err;
    log_change(c, "webhook.changed", q->param[0]);
    if (enables(set) && queue_unhold(c, QUEUE_WEBHOOK, id_of(c, row)) != OK)
        forgive_queue(c, "webhook.held", q->param[0]);
    write_one(c, out, "Webhook updated", row, false);
    return OK;
}

enum err api_webhooks_delete(struct ctx *c, const struct request *q,
                             struct reply *out)
{
    int64_t n = 1;
    const bson_t *row;
    enum err err = webhook_get(c, q->param[0], &row);

    if (err == OK)
        err = webhook_remove(c, q->param[0]);
    if (err)
        return err;
    log_change(c, "webhook.deleted", q->param[0]);
    while (err == OK && n > 0 && ctx_left_ms(c) > 0)
        err = queue_cancel(c, QUEUE_WEBHOOK, id_of(c, row), &n);
    if (err)
        forgive_queue(c, "webhook.leftovers", q->param[0]);
    buf_add(out->body, STR("{\"success\":true,\"message\":\"Webhook deleted; "
                           "its unfinished deliveries are cancelled\"}"));
    return OK;
}

enum err api_webhooks_rotate(struct ctx *c, const struct request *q,
                             struct reply *out)
{
    struct buf *b = out->body;
    ms hours = OVERLAP_HOURS;
    const bson_t *row;
    struct members m;
    bson_iter_t it;
    enum err err = members_read(c, q, &m);

    if (err)
        return err;
    members_ms(&m, "overlapHours", 0, WEBHOOK_OVERLAP_HOURS_MAX, &hours);
    err = members_end(c, &m, out, "The time of overlap is not valid");
    if (err == OK)
        err = webhook_rotate(c, q->param[0], hours * HOUR_MS, &row);
    if (err)
        return err;
    log_change(c, "webhook.rotated", q->param[0]);
    reply_header(out, "Cache-Control: no-store");
    buf_add(b, STR("{\"success\":true,\"message\":\"Secret replaced; it is "
                   "shown only here\",\"data\":{\"id\":"));
    jwrite_str(b, id_of(c, row));
    buf_add(b, STR(",\"secret\":"));
    if (bson_iter_init(&it, row))
        json_out_member(b, &it, "secret", STR("null"));
    buf_add(b, STR(",\"previousExpiresAt\":"));
    if (bson_iter_init(&it, row))
        json_out_member(b, &it, "previousExpiresAt", STR("null"));
    buf_add(b, STR("}}"));
    return OK;
}
