/* api_auth - the keys of callers: list, create, revoke */
#include "fcgi-app/api.h"
#include "fcgi-app/guard.h"
#include "lib/base/clock.h"
#include "lib/base/jwrite.h"
#include "lib/base/log.h"
#include "lib/data/apikey.h"
#include "lib/data/json_out.h"

static void write_time(struct buf *b, const char *name, ms wall)
{
    char time[CLOCK_ISO_MAX];

    if (wall && clock_iso(wall, time) > 0)
        buf_addf(b, ",\"%s\":\"%s\"", name, time);
    else
        buf_addf(b, ",\"%s\":null", name);
}

/* The members that every answer about a key has; the brace is left open. */
static void write_key(struct buf *b, const struct apikey *key)
{
    buf_addf(b, "{\"id\":\"%s\",\"name\":", key->id);
    jwrite_str(b, key->name);
    buf_addf(b, ",\"role\":\"%s\",\"prefix\":", role_name(key->role));
    jwrite_str(b, key->prefix);
    write_time(b, "createdAt", key->created_at);
    write_time(b, "expiresAt", key->expires_at);
}

enum err api_auth_list(struct ctx *c, const struct request *q,
                       struct reply *out)
{
    struct buf *b = out->body;
    struct apikey key;
    struct rows *rows;
    bool more = true;
    size_t n = 0;
    enum err err = apikey_list(c, &rows);

    (void)q;
    if (err)
        return err;
    buf_add(b, STR("{\"success\":true,\"data\":{\"keys\":["));
    for (;;) {
        err = apikey_next(c, rows, &more, &key);
        if (err)
            return err;
        if (!more)
            break;
        if (n++ > 0)
            buf_add_char(b, ',');
        write_key(b, &key);
        write_time(b, "lastUsedAt", key.last_used_at);
        buf_add_char(b, '}');
    }
    buf_addf(b, "]},\"count\":%zu}", n);
    return OK;
}

struct wish {
    str name;
    enum role role;
    ms expires_at; /* 0: never */
};

/* Absent and null mean never. */
static bool read_expiry(const bson_t *body, ms *out)
{
    bson_iter_t it;
    str text;

    *out = 0;
    if (!bson_iter_init_find(&it, body, "expiresAt") ||
        BSON_ITER_HOLDS_NULL(&it))
        return true;
    return json_out_text_member(body, "expiresAt", &text) &&
           clock_parse_iso(text, out) && *out > clock_wall_ms();
}

static void add_detail(struct buf *b, const char *field, const char *message)
{
    buf_addf(b, "%s{\"field\":\"%s\",\"message\":\"%s\"}", b->n ? "," : "",
             field, message);
}

/* All that is wrong is named at once. */
static enum err read_wish(struct ctx *c, const bson_t *body, struct wish *w,
                          struct reply *out)
{
    enum err err = OK;
    struct buf wrong;
    str role;

    buf_init(&wrong, 1024, ERR_OVERLOADED);
    if (!json_out_text_member(body, "name", &w->name) ||
        !apikey_is_name(w->name))
        add_detail(&wrong, "name",
                   "a text of 1 to 128 bytes without control characters is "
                   "required");
    w->role = ROLE_NONE;
    if (json_out_text_member(body, "role", &role))
        w->role = role_find(role);
    if (w->role == ROLE_NONE)
        add_detail(&wrong, "role", "one of read, write, admin is required");
    if (!read_expiry(body, &w->expires_at))
        add_detail(&wrong, "expiresAt",
                   "an ISO 8601 time in the future, or null");
    if (wrong.err)
        err = ctx_no_memory(c);
    else if (wrong.n > 0)
        err = ctx_fail(c, ERR_VALIDATION_ERROR,
                       "A key needs a name, a role and, if it shall expire, "
                       "expiresAt; see details");
    if (err == ERR_VALIDATION_ERROR)
        out->err_members = arena_strf(&c->arena, ",\"details\":[" STR_FMT "]",
                                      STR_ARG(buf_str(&wrong)));
    buf_done(&wrong);
    return err;
}

/* Who may do what is worth a line; names are the user's and stay out. */
static void log_change(const struct ctx *c, const char *event, str id)
{
    log_event(LOG_INFO, event,
              (struct log_field[]){
                  {"key", id}, {"requestId", c->request_id}, {NULL, STR_NONE}});
}

enum err api_auth_create(struct ctx *c, const struct request *q,
                         struct reply *out)
{
    struct buf *b = out->body;
    char text[APIKEY_MAX];
    struct apikey key;
    struct wish wish;
    bson_t *body;
    enum err err = guard_object(c, q, &body);

    if (err == OK)
        err = read_wish(c, body, &wish, out);
    if (err == OK)
        err =
            apikey_create(c, wish.name, wish.role, wish.expires_at, &key, text);
    if (err)
        return err;
    log_change(c, "key.created", str_of(key.id));
    out->status = 201;
    reply_header(out, "Cache-Control: no-store");
    buf_add(b, STR("{\"success\":true,\"message\":\"Key created; it is shown "
                   "only here\",\"data\":"));
    write_key(b, &key);
    buf_addf(b, ",\"key\":\"%s\"}}", text);
    return OK;
}

enum err api_auth_revoke(struct ctx *c, const struct request *q,
                         struct reply *out)
{
    enum err err = apikey_revoke(c, q->param[0]);

    if (err)
        return err;
    log_change(c, "key.revoked", q->param[0]);
    buf_add(out->body, STR("{\"success\":true,\"message\":\"Key revoked; it "
                           "is dead everywhere within 5 s\"}"));
    return OK;
}
