/* api_auth - the keys of callers: list, create, revoke */
#include "fcgi-app/api.h"
#include "fcgi-app/members.h"
#include "lib/base/clock.h"
#include "lib/base/jwrite.h"
#include "lib/base/log.h"
#include "lib/data/apikey.h"

/* The members that every answer about a key has; the brace is left open. */
static void write_key(struct buf *b, const struct apikey *key)
{
    buf_addf(b, "{\"id\":\"%s\",\"name\":", key->id);
    jwrite_str(b, key->name);
    buf_addf(b, ",\"role\":\"%s\",\"prefix\":", role_name(key->role));
    jwrite_str(b, key->prefix);
    jwrite_time(b, ",\"createdAt\":", key->created_at);
    jwrite_time(b, ",\"expiresAt\":", key->expires_at);
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
        jwrite_time(b, ",\"lastUsedAt\":", key.last_used_at);
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
static bool read_expiry(const struct members *m, ms *out)
{
    str text;

    *out = 0;
    if (!members_has(m, "expiresAt"))
        return true;
    return members_text(m, "expiresAt", &text) && clock_parse_iso(text, out) &&
           *out > clock_wall_ms();
}

static enum err read_wish(struct ctx *c, const struct request *q,
                          struct wish *w, struct reply *out)
{
    struct members m;
    enum err err = members_read(c, q, &m);
    str role;

    if (err)
        return err;
    if (!members_text(&m, "name", &w->name) || !apikey_is_name(w->name))
        members_wrong(&m, "name",
                      "a text of 1 to 128 bytes without control characters is "
                      "required");
    w->role = ROLE_NONE;
    if (members_text(&m, "role", &role))
        w->role = role_find(role);
    if (w->role == ROLE_NONE)
        members_wrong(&m, "role", "one of read, write, admin is required");
    if (!read_expiry(&m, &w->expires_at))
        members_wrong(&m, "expiresAt",
                      "an ISO 8601 time in the future, or null");
    return members_end(c, &m, out,
                       "A key needs a name, a role and, if it shall expire, "
                       "expiresAt");
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
    enum err err = read_wish(c, q, &wish, out);

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
