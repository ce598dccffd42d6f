/* deliver_send - see deliver_send.h */
#include "workers/deliver_send.h"

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/text.h"
#include "lib/run/sign.h"

enum {
    VALUES_BYTES = 4096 /* of all values that are made here */
};

/* Values are written behind one another; none ever moves. */
struct maker {
    struct send_headers *out;
    struct buf values;
    size_t from; /* of the value being written */
};

static void put(struct maker *m, const char *name, str value)
{
    m->out->v[m->out->n++] = (struct http_header){str_of(name), value};
}

/* What was written since the last one is the value. */
static void put_written(struct maker *m, const char *name)
{
    put(m, name, str_from(buf_str(&m->values), m->from));
    m->from = m->values.n;
}

static void put_attempt(struct maker *m, const struct claim *cl, ms wall)
{
    const struct webhook *w = &cl->target->webhook;
    char at[CLOCK_ISO_MAX];

    text_percent(&m->values, w->name);
    put_written(m, "X-Webhook-Name");
    buf_add_i64(&m->values, cl->job.tries + 1);
    put_written(m, "X-Attempt-Number");
    buf_add_i64(&m->values, cl->job.tries_max - 1);
    put_written(m, "X-Max-Retries");
    buf_addf(&m->values, "%lld/min", (long long)w->max_per_window);
    put_written(m, "X-Rate-Limit");
    buf_add(&m->values, (str){at, clock_iso(wall, at)});
    put_written(m, "X-Delivery-Timestamp");
}

/* Without a secret there is no signature. */
static void put_signature(struct maker *m, const struct claim *cl, ms wall)
{
    const struct webhook *w = &cl->target->webhook;
    int64_t seconds = wall / 1000;
    str secrets[2];
    size_t n = 0;

    put(m, "webhook-id", cl->job.message_id);
    buf_add_i64(&m->values, seconds);
    put_written(m, "webhook-timestamp");
    if (w->secret.n > 0)
        secrets[n++] = w->secret;
    if (w->previous_secret.n > 0 && w->previous_expires > wall)
        secrets[n++] = w->previous_secret;
    if (n > 0 && sign_write(&m->values, secrets, n, cl->job.message_id, seconds,
                            cl->job.body))
        put_written(m, "webhook-signature");
}

enum err send_headers_make(struct ctx *c, const struct claim *cl, ms wall,
                           struct send_headers *out)
{
    const struct webhook *w = &cl->target->webhook;
    char *text = ctx_alloc(c, VALUES_BYTES);
    struct maker m = {out, buf_over(text, VALUES_BYTES), 0};

    if (!text)
        return c->err;
    out->n = 0;
    put(&m, "Content-Type", STR("application/json"));
    put(&m, "User-Agent", STR("MongoCRUD-Webhook/1.0"));
    put(&m, "X-Webhook-ID", w->id);
    put(&m, "X-Delivery-ID", cl->job.id);
    put(&m, "X-Instance-ID", str_of(c->conf->cluster_instance_id));
    put_attempt(&m, cl, wall);
    put_signature(&m, cl, wall);
    for (size_t i = 0; i < w->headers_n && i < WEBHOOK_HEADERS_MAX; i++)
        out->v[out->n++] =
            (struct http_header){w->headers[i].name, w->headers[i].value};
    return m.values.err ? ctx_fail(c, m.values.err, "headers are too long")
                        : OK;
}

/* The limits of requests are counted from the grant: it is not used later. */
static bool is_too_late(const struct claim *cl)
{
    return clock_boot_ms() - cl->granted_boot > cl->slack_ms;
}

enum send_result deliver_send(struct ctx *c, const struct sending *s,
                              const struct claim *cl,
                              struct http_answer *out_answer)
{
    const struct webhook *w = &cl->target->webhook;
    struct send_headers headers;
    struct http_request q = {.url = w->url,
                             .key = w->id,
                             .headers = headers.v,
                             .body = cl->job.body,
                             .connect_ms = c->conf->webhook_connect_timeout,
                             .total_ms = c->conf->webhook_timeout,
                             .stop_fd = s->stop_fd,
                             .may_go_on = s->may_go_on,
                             .arg = s->arg};
    ms signed_at;

    do { /* until it is fresh: a process may be stopped in between */
        signed_at = clock_boot_ms();
        if (send_headers_make(c, cl, clock_wall_ms(), &headers) != OK)
            return SEND_NO_MEMORY;
        if (is_too_late(cl))
            return SEND_TOO_LATE;
    } while (clock_boot_ms() - signed_at > SEND_SIGNED_MS);
    q.headers_n = headers.n;
    http_post(s->http, &q, out_answer);
    return SEND_ANSWERED;
}
