/*
 * api_locks - locks for users: list, acquire, renew, release, clean up
 *
 * Where the locks live and whether they can be had comes first: while they
 * cannot, the answer is the same whatever was asked.
 */
#include "fcgi-app/api.h"
#include "fcgi-app/cluster.h"
#include "fcgi-app/members.h"
#include "fcgi-app/permits.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"

static const char *const name_rule =
    "1 to 200 bytes of A-Za-z0-9._:@/- are expected, and neither . nor ..";

static void end_with_time(struct buf *b)
{
    jwrite_time(b, ",\"timestamp\":", clock_wall_ms());
    buf_add_char(b, '}');
}

/* An owner need not be named. */
static void write_owner(struct buf *b, str owner)
{
    if (owner.n > 0)
        jwrite_str(b, owner);
    else
        buf_add(b, STR("null"));
}

/* ---- acquire */

static enum err read_ask(struct ctx *c, const struct request *q,
                         struct lock_ask *ask, struct reply *out)
{
    struct members m;
    enum err err = members_read(c, q, &m);

    if (err)
        return err;
    *ask = (struct lock_ask){.owner = STR(""),
                             .instance = str_of(c->conf->cluster_instance_id),
                             .ttl_ms = c->conf->cluster_lock_ttl};
    if (!members_text(&m, "key", &ask->name) || !lock_is_name(ask->name))
        members_wrong(&m, "key", "%s", name_rule);
    members_ms(&m, "ttlMs", LOCK_TTL_LEAST_MS, LOCK_TTL_MOST_MS, &ask->ttl_ms);
    members_ms(&m, "waitMs", 0, LOCK_WAIT_MOST_MS, &ask->wait_ms);
    if (members_has(&m, "owner") &&
        (!members_text(&m, "owner", &ask->owner) || !lock_is_owner(ask->owner)))
        members_wrong(&m, "owner",
                      "a text of at most %d bytes without control characters "
                      "is expected",
                      LOCK_OWNER_MAX);
    return members_end(c, &m, out,
                       "A lock needs a key, and may have ttlMs, waitMs, owner");
}

struct wait {
    const struct request *q;
    bool begun;
};

static bool may_wait(void *arg)
{
    struct wait *wait = arg;

    wait->begun = permits_begin_wait_for_clients();
    return wait->begun;
}

/* Also who would wait while the process ends. */
static bool nobody_waits(void *arg)
{
    const struct wait *wait = arg;

    return wait->begun && (permits_are_closed() || request_is_gone(wait->q));
}

/* The last try shall end before the request does. */
static ms bounded(const struct ctx *c, ms wait)
{
    ms most = ctx_left_ms(c) - LOCK_CALL_MS;

    return wait < most ? wait : most > 0 ? most : 0;
}

static enum err take(struct ctx *c, const struct request *q,
                     struct lock_place *place, struct lock_ask *ask,
                     struct lock *out, struct lock_holder *holder)
{
    struct wait wait = {q, false};
    enum err err;

    ask->wait_ms = bounded(c, ask->wait_ms);
    ask->stop = nobody_waits;
    ask->may_wait = may_wait;
    ask->stop_arg = &wait;
    err = lock_acquire(c, place, ask, out, holder);
    if (wait.begun)
        permits_end_wait();
    if (err != ERR_CUT || request_is_gone(q))
        return err;
    /* the process ends: its clients get an answer */
    ctx_forgive(c);
    ask->wait_ms = 0;
    ask->stop = NULL;
    return lock_acquire(c, place, ask, out, holder);
}

static enum err tell_holder(struct ctx *c, const struct lock_holder *h,
                            struct reply *out)
{
    ms left = h->left_ms > 0 ? h->left_ms : 0;
    struct buf b;

    buf_init(&b, 8192, ERR_OVERLOADED);
    buf_add(&b, STR(",\"holder\":{\"owner\":"));
    write_owner(&b, h->owner);
    buf_add(&b, STR(",\"instanceId\":"));
    jwrite_str(&b, h->instance);
    buf_addf(&b, "},\"retryAfterMs\":%lld", (long long)left);
    out->err_members = arena_str(&c->arena, buf_str(&b));
    buf_done(&b);
    reply_header(out, "Retry-After: %lld",
                 left > 0 ? (long long)(left + 999) / 1000 : 1);
    return ERR_LOCK_HELD;
}

enum err api_locks_acquire(struct ctx *c, const struct request *q,
                           struct reply *out)
{
    struct lock_holder holder = {.left_ms = 0};
    struct buf *b = out->body;
    struct lock_place place;
    struct lock_ask ask;
    struct lock lock;
    enum err err = cluster_place(c, &place);

    if (err == OK)
        err = read_ask(c, q, &ask, out);
    if (err == OK)
        err = take(c, q, &place, &ask, &lock, &holder);
    if (err == ERR_LOCK_HELD)
        return tell_holder(c, &holder, out);
    if (err)
        return err;
    out->status = 201;
    reply_header(out, "Cache-Control: no-store");
    buf_addf(b,
             "{\"success\":true,\"key\":\"%s\",\"token\":\"%s\","
             "\"fence\":%lld,\"ttlMs\":%lld",
             lock.name, lock.token, (long long)lock.fence,
             (long long)lock.ttl_ms);
    jwrite_time(b, ",\"expiresAt\":", clock_wall_ms() + lock.ttl_ms);
    buf_add(b, STR(",\"owner\":"));
    write_owner(b, ask.owner);
    end_with_time(b);
    return OK;
}

/* ---- renew, release */

/* Of another form than ours no token is: then one that opens nothing. */
static void set_token(struct lock *l, str token)
{
    bool good = token.n == sizeof l->token - 1;

    for (size_t i = 0; good && i < token.n; i++)
        good = (token.p[i] >= '0' && token.p[i] <= '9') ||
               (token.p[i] >= 'A' && token.p[i] <= 'Z') ||
               (token.p[i] >= 'a' && token.p[i] <= 'z');
    memcpy(l->token, good ? token.p : "-", good ? token.n : 2);
}

/* From the path; what no lock can be named is told as what it is. */
static void read_name(struct members *m, const struct request *q,
                      struct lock *out)
{
    str name = q->param[0];

    if (lock_is_name(name))
        memcpy(out->name, name.p, name.n);
    else
        members_wrong(m, "key", "%s", name_rule);
}

static void check_token(struct members *m, str token, struct lock *out)
{
    if (token.n > 0)
        set_token(out, token);
    else
        members_wrong(m, "token",
                      "the text that was given with the lock is "
                      "expected");
}

enum err api_locks_renew(struct ctx *c, const struct request *q,
                         struct reply *out)
{
    struct lock lock = {.ttl_ms = -1};
    struct buf *b = out->body;
    struct lock_place place;
    struct members m;
    str token = STR("");
    enum err err = cluster_place(c, &place);

    if (err == OK)
        err = members_read(c, q, &m);
    if (err)
        return err;
    read_name(&m, q, &lock);
    (void)members_text(&m, "token", &token);
    check_token(&m, token, &lock);
    members_ms(&m, "ttlMs", LOCK_TTL_LEAST_MS, LOCK_TTL_MOST_MS, &lock.ttl_ms);
    err = members_end(c, &m, out, "Renewing a lock needs token and ttlMs");
    if (err == OK)
        err = lock_renew(c, &place, &lock, lock.ttl_ms);
    if (err)
        return err;
    buf_addf(b,
             "{\"success\":true,\"key\":\"%s\",\"fence\":%lld,"
             "\"ttlMs\":%lld",
             lock.name, (long long)lock.fence, (long long)lock.ttl_ms);
    jwrite_time(b, ",\"expiresAt\":", clock_wall_ms() + lock.ttl_ms);
    end_with_time(b);
    return OK;
}

/* For clients that cannot send a body with DELETE. */
static enum err token_of_query(struct ctx *c, str query, str *out)
{
    struct url_param *params;
    size_t n;
    enum err err = url_split_query(c, query, &params, &n);

    if (err)
        return err;
    for (size_t i = 0; i < n; i++)
        if (str_eq(params[i].key, STR("token")))
            *out = params[i].value;
    return OK;
}

enum err api_locks_release(struct ctx *c, const struct request *q,
                           struct reply *out)
{
    struct lock lock = {.ttl_ms = 0};
    struct lock_place place;
    struct members m;
    str token = STR("");
    enum err err = cluster_place(c, &place);

    if (err == OK)
        err = members_read(c, q, &m);
    if (err == OK && !members_has(&m, "token"))
        err = token_of_query(c, q->query, &token);
    if (err)
        return err;
    (void)members_text(&m, "token", &token);
    read_name(&m, q, &lock);
    check_token(&m, token, &lock);
    err = members_end(c, &m, out, "Releasing a lock needs its token");
    if (err == OK)
        err = lock_release(c, &place, &lock);
    if (err)
        return err;
    buf_addf(out->body, "{\"success\":true,\"key\":\"%s\",\"released\":true",
             lock.name);
    end_with_time(out->body);
    return OK;
}

/* ---- list, clean up */

static void write_row(struct buf *b, const struct ctx *c,
                      const struct lock_row *row)
{
    bool own = str_eq(row->instance, str_of(c->conf->cluster_instance_id));

    buf_add(b, STR("{\"key\":"));
    jwrite_str(b, row->name);
    buf_add(b, STR(",\"instanceId\":"));
    jwrite_str(b, row->instance);
    buf_add(b, STR(",\"owner\":"));
    write_owner(b, row->owner);
    jwrite_time(b, ",\"timestamp\":", row->at_wall);
    buf_addf(b, ",\"ttl\":%lld,\"fence\":%lld,\"isOwned\":%s}",
             (long long)row->left_ms, (long long)row->fence,
             own ? "true" : "false");
}

enum err api_locks_list(struct ctx *c, const struct request *q,
                        struct reply *out)
{
    struct buf *b = out->body;
    struct lock_place place;
    struct lock_row *rows;
    size_t n;
    enum err err = cluster_place(c, &place);

    (void)q;
    if (err == OK)
        err = lock_list(c, &place, &rows, &n);
    if (err)
        return err;
    buf_add(b, STR("{\"success\":true,\"locks\":["));
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buf_add_char(b, ',');
        write_row(b, c, &rows[i]);
    }
    buf_addf(b, "],\"count\":%zu", n);
    end_with_time(b);
    return OK;
}

enum err api_locks_cleanup(struct ctx *c, const struct request *q,
                           struct reply *out)
{
    struct buf *b = out->body;
    struct lock_place place;
    int64_t cleaned;
    enum err err = cluster_place(c, &place);

    (void)q;
    if (err == OK)
        err = lock_clean(c, &place, &cleaned);
    if (err)
        return err;
    buf_addf(b,
             "{\"success\":true,\"cleaned\":%lld,\"message\":\"%lld entries "
             "of ended locks removed\"",
             (long long)cleaned, (long long)cleaned);
    end_with_time(b);
    return OK;
}
