/* cmd_listen - shows deliveries that come, and whether their signature holds */
#include <errno.h>
#include <stdio.h>

#include "cli/commands.h"
#include "cli/receiver.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/id.h"
#include "lib/base/jread.h"
#include "lib/base/program.h"
#include "lib/base/utf8.h"
#include "lib/data/webhook.h"
#include "lib/run/sign.h"

enum {
    SHOWN_MAX = 240,     /* bytes of a body */
    NAME_ROOM = 256,     /* of a text within it */
    LOOK_MS = 2000,      /* for a webhook's secrets */
    REST_MS = 10000,     /* without a look, after one that failed */
    MORE_BODY = 64 << 10 /* of other senders */
};

struct listener {
    struct ctx *c;
    str secret; /* "": those of the webhook */
    ms rests;   /* monotonic: until then MongoDB is not asked */
};

/* Names within a body. `inside` 1: data, 2: data.document. */
struct names {
    int depth, inside, enters;
    char *next; /* what the value that follows is, or NULL */
    char event[NAME_ROOM], collection[NAME_ROOM], document[NAME_ROOM];
};

static void on_key(struct names *s, str key)
{
    s->next = NULL;
    s->enters = 0;
    if (s->depth == 1 && str_eq(key, STR("event")))
        s->next = s->event;
    else if (s->depth == 1 && str_eq(key, STR("collection")))
        s->next = s->collection;
    else if (s->depth == 1 && str_eq(key, STR("data")))
        s->enters = 1;
    else if (s->depth == 2 && s->inside == 1 && str_eq(key, STR("document")))
        s->enters = 2;
    else if (s->depth == 3 && s->inside == 2 && str_eq(key, STR("_id")))
        s->next = s->document;
}

static enum err on_event(void *arg, enum jread_event event, str text)
{
    struct names *s = arg;

    if (event == JREAD_KEY) {
        on_key(s, text);
        return OK;
    }
    if (event == JREAD_OBJECT || event == JREAD_ARRAY) {
        s->depth++;
        if (event == JREAD_OBJECT && s->enters)
            s->inside = s->enters;
    } else if (event == JREAD_END) {
        s->depth--;
        if (s->inside > s->depth - 1)
            s->inside = s->depth > 0 ? s->depth - 1 : 0;
    } else if (s->next && (event == JREAD_STRING || event == JREAD_NUMBER)) {
        size_t n = text.n < NAME_ROOM ? text.n : NAME_ROOM - 1;

        memcpy(s->next, text.p, n);
        s->next[n] = '\0';
    }
    s->next = NULL;
    s->enters = 0;
    return OK;
}

static void names_read(struct ctx *c, str body, struct names *out)
{
    struct jread_sink sink = {on_event, out};
    struct jread_fault fault;

    *out = (struct names){.depth = 0};
    if (jread(body, &c->arena, &sink, &fault) != OK)
        *out = (struct names){.event = "not JSON"};
}

struct headers {
    str webhook, delivery, attempt, retries, id, timestamp, signature;
};

static enum sign_verdict verify(str secret, const struct headers *h, str body)
{
    return sign_verify(secret, h->id, h->timestamp, h->signature, body,
                       clock_wall_ms() / 1000);
}

static const char *judge_by(struct listener *l, const bson_t *row,
                            const struct headers *h, str body)
{
    struct webhook w;

    if (!webhook_read(&l->c->arena, l->c->conf, row, &w))
        return "not checked: the webhook cannot be read";
    if (w.secret.n == 0)
        return "not checked: the webhook has no secret";
    if (w.previous_secret.n > 0 && w.previous_expires > clock_wall_ms() &&
        verify(w.secret, h, body) != SIGN_OK &&
        verify(w.previous_secret, h, body) == SIGN_OK)
        return "valid, by the previous secret";
    return sign_verdict_text(verify(w.secret, h, body));
}

static const char *judge(struct listener *l, const struct headers *h, str body)
{
    struct ctx *c = l->c;
    const bson_t *row;
    enum err err;

    if (l->secret.n > 0)
        return sign_verdict_text(verify(l->secret, h, body));
    if (!id_is_object(h->webhook))
        return "not checked: no X-Webhook-ID";
    if (clock_mono_ms() < l->rests)
        return "not checked: the database is away";
    c->deadline = clock_mono_ms() + LOOK_MS;
    err = webhook_get(c, h->webhook, &row);
    if (err == OK)
        return judge_by(l, row, h, body);
    if (err == ERR_WEBHOOK_NOT_FOUND)
        return "not checked: no such webhook";
    l->rests = clock_mono_ms() + REST_MS;
    return "not checked: the database is away";
}

/* The first bytes, whole characters. */
static str shorten(str s)
{
    size_t n = 0;

    while (n < s.n) {
        size_t more = utf8_len(str_from(s, n));

        more = more ? more : 1;
        if (n + more > SHOWN_MAX)
            break;
        n += more;
    }
    return str_head(s, n);
}

static void print_text(const char *label, str s)
{
    fputs(label, stdout);
    command_print(s.n > 0 ? s : STR("-"), 0);
}

static void show(void *arg, const struct received *r)
{
    struct listener *l = arg;
    const struct headers h = {
        receiver_header(r, STR("X-Webhook-ID")),
        receiver_header(r, STR("X-Delivery-ID")),
        receiver_header(r, STR("X-Attempt-Number")),
        receiver_header(r, STR("X-Max-Retries")),
        receiver_header(r, STR("webhook-id")),
        receiver_header(r, STR("webhook-timestamp")),
        receiver_header(r, STR("webhook-signature")),
    };
    char time[CLOCK_ISO_MAX];
    struct names names;
    str body = shorten(r->body);

    ctx_reset(l->c);
    names_read(l->c, r->body, &names);
    ctx_reset(l->c);
    clock_iso(clock_wall_ms(), time);
    fputs(time, stdout);
    print_text("  ", str_of(names.event));
    print_text(" ", str_of(names.collection));
    print_text(" ", str_of(names.document));
    print_text("\n  signature: ", str_of(judge(l, &h, r->body)));
    print_text("\n  attempt ", h.attempt);
    print_text(", at most ", h.retries);
    print_text(" retries\n  message ", h.id);
    print_text("\n  delivery ", h.delivery);
    print_text("\n  webhook ", h.webhook);
    print_text("\n  path ", r->path);
    printf("\n  body, %zu bytes: ", r->body.n);
    print_text("", body);
    puts(body.n < r->body.n ? " ..." : "");
    fflush(stdout);
    ctx_reset(l->c);
}

static bool is_secret(str s)
{
    char room[128];
    struct buf b = buf_over(room, sizeof room);

    return sign_write(&b, &s, 1, STR("id"), 0, STR("")) && !b.err;
}

/* PROGRAM_GO, or the exit code. */
static int read_wish(const struct words *w, struct receiver *r,
                     struct listener *l)
{
    struct words rest = {w->program, w->v + 1, w->n - 1};
    struct option o[] = {{"--secret", NULL}, {"--status", NULL}};
    str port = str_of(w->n > 0 ? w->v[0] : "");
    int64_t n = 0, status = 200;
    int code;

    if (!str_is_digits(port) || !str_to_i64(port, &n) || n < 1 || n > 65535)
        return program_misuse(w->program,
                              "listen: expected a port from 1 to 65535");
    code = command_options(&rest, o, sizeof o / sizeof *o);
    if (code != PROGRAM_GO)
        return code;
    l->secret = str_of(o[0].value);
    if (o[0].value && !is_secret(l->secret))
        return program_misuse(w->program,
                              "--secret: expected whsec_ and base64");
    if (o[1].value && (!str_to_i64(str_of(o[1].value), &status) ||
                       status < 200 || status > 599))
        return program_misuse(w->program, "--status: expected 200 to 599");
    r->port = (uint16_t)n;
    r->status = (int)status;
    return PROGRAM_GO;
}

int cmd_listen(struct ctx *c, const struct words *w)
{
    struct listener l = {.c = c, .secret = STR("")};
    struct receiver r = {
        .body_max = (size_t)c->conf->webhook_max_payload_bytes + MORE_BODY,
        .take = show,
        .arg = &l,
    };
    int code = read_wish(w, &r, &l);

    if (code != PROGRAM_GO)
        return code;
    if (!receiver_open(&r)) {
        fprintf(stderr, "%s: port %d of loopback: %s\n", w->program->name,
                r.port,
                errno == EADDRINUSE ? "another program listens there"
                                    : strerrordesc_np(errno));
        return PROGRAM_FAILED;
    }
    fprintf(stderr,
            "Listening on http://127.0.0.1:%d/%s; Ctrl-C ends it.\n"
            "Deliveries come here when WEBHOOK_ALLOW_CIDRS has 127.0.0.1.\n",
            r.port, r.listeners[1] >= 0 ? " and [::1]" : "");
    receiver_run(&r);
    fprintf(stderr, "%s: %s\n", w->program->name, strerrordesc_np(errno));
    return PROGRAM_FAILED;
}
