/* auth - see auth.h */
#include "fcgi-app/auth.h"

#include <stdlib.h>

#include "fcgi-app/token.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/data/apikey.h"

enum {
    SLOTS = 64,
    KEPT_MS = 4000,
    CALLER_MAX = 160, /* bytes; who has a longer name is not kept */
    PREPARE_MS = 5000,
    PREPARE_BYTES = 1 << 20
};

struct identity {
    enum role role;
    ms expires_at; /* wall; 0: never */
    str caller;    /* empty: it has no name */
};

struct slot {
    unsigned char digest[HASH_BYTES];
    ms until; /* monotonic; 0: empty */
    struct identity who;
    char caller[CALLER_MAX];
};

/* Of one thread, by the first byte of the digest. */
struct auth_cache {
    struct slot slots[SLOTS];
};

static struct auth_cache *cache_new(void)
{
    return calloc(1, sizeof(struct auth_cache));
}

void auth_cache_free(struct auth_cache *cache)
{
    free(cache);
}

/* NULL without memory: then nothing is kept. */
static struct slot *slot_of(struct ctx *c,
                            const unsigned char digest[HASH_BYTES])
{
    if (!c->auth)
        c->auth = cache_new();
    return c->auth ? &c->auth->slots[digest[0] % SLOTS] : NULL;
}

static void keep(struct slot *slot, const unsigned char digest[HASH_BYTES],
                 ms until, const struct identity *who)
{
    if (!slot || who->caller.n > CALLER_MAX)
        return;
    memcpy(slot->digest, digest, HASH_BYTES);
    slot->until = until;
    slot->who = *who;
    if (who->caller.n)
        memcpy(slot->caller, who->caller.p, who->caller.n);
    slot->who.caller.p = slot->caller;
}

static enum err by_key(struct ctx *c, const unsigned char digest[HASH_BYTES],
                       struct identity *out)
{
    struct apikey key;
    bool found;
    enum err err = apikey_find(c, digest, &found, &key);

    if (err)
        return err;
    if (!found)
        return ctx_fail(c, ERR_UNAUTHORIZED,
                        "The API key is unknown, expired or revoked");
    *out = (struct identity){key.role, key.expires_at,
                             arena_strf(&c->arena, "key:%s", key.id)};
    return OK;
}

static enum err by_token(struct ctx *c, str text, struct identity *out)
{
    struct token token;
    enum err err = token_judge(c, text, clock_wall_ms(), &token);

    if (err)
        return err;
    *out = (struct identity){token.role, token.expires_at, STR("")};
    if (token.subject.n)
        out->caller =
            arena_strf(&c->arena, "sub:" STR_FMT, STR_ARG(token.subject));
    return OK;
}

/* The time of the look-up is before it: what it saw may be revoked since. */
static enum err look_up(struct ctx *c, str text,
                        const unsigned char digest[HASH_BYTES],
                        struct identity *out)
{
    struct slot *slot = slot_of(c, digest);
    ms now = clock_mono_ms();
    enum err err;

    if (slot && slot->until > now &&
        hash_equal(slot->digest, digest, HASH_BYTES)) {
        *out = slot->who;
        return OK;
    }
    err = apikey_is_key(text) ? by_key(c, digest, out) : by_token(c, text, out);
    if (err == OK)
        keep(slot, digest, now + KEPT_MS, out);
    return err;
}

static enum err identify(struct ctx *c, str text, struct identity *out)
{
    unsigned char digest[HASH_BYTES];
    enum err err;

    if (!hash_sha256(text, digest))
        return ctx_no_memory(c);
    err = look_up(c, text, digest, out);
    if (err == OK && out->expires_at && out->expires_at <= clock_wall_ms())
        return ctx_fail(c, ERR_UNAUTHORIZED, "The key or token has expired");
    return err;
}

/* "Bearer X" gives X, of whatever form; empty: no bearer token was sent. */
static str bearer(const struct request *q)
{
    str rest = str_trim(q->authorization), scheme;
    size_t blank = str_find(rest, ' ', 0);

    if (blank == SIZE_MAX)
        return STR("");
    scheme = str_head(rest, blank);
    return str_eq_nocase(scheme, STR("Bearer"))
               ? str_trim(str_from(rest, blank))
               : STR("");
}

static enum err check_role(struct ctx *c, enum role role, enum role least)
{
    if (role >= least)
        return OK;
    if (role == ROLE_NONE)
        return ctx_fail(c, ERR_FORBIDDEN,
                        "The key or token names no role of read, write, admin");
    return ctx_fail(c, ERR_FORBIDDEN,
                    "This needs the role %s; the key or token has %s",
                    role_name(least), role_name(role));
}

enum err auth_check(struct ctx *c, struct request *q, enum role least,
                    struct reply *out)
{
    struct identity who;
    str text = bearer(q);
    enum err err;

    if (text.n == 0) {
        reply_header(out, "WWW-Authenticate: Bearer");
        return ctx_fail(c, ERR_UNAUTHORIZED,
                        "Send an API key or a token in the header "
                        "Authorization: Bearer <key or token>");
    }
    err = identify(c, text, &who);
    if (err == ERR_UNAUTHORIZED)
        reply_header(out, "WWW-Authenticate: Bearer error=\"invalid_token\"");
    if (err)
        return err;
    if (who.caller.n)
        q->caller = who.caller;
    return check_role(c, who.role, least);
}

enum err auth_prepare(const struct conf *conf, struct mongo_pool *pool,
                      bool *out_open)
{
    struct ctx c;
    enum err err = ERR_DB_UNAVAILABLE;

    *out_open = conf->jwt_secret[0] || conf->jwt_public_key[0];
    ctx_init(&c, conf, PREPARE_BYTES);
    c.deadline = clock_mono_ms() + PREPARE_MS;
    c.mongo = mongo_client_new(pool);
    if (c.mongo) {
        err = apikey_prepare(&c);
        if (!*out_open && apikey_exists(&c, out_open) != OK && err == OK)
            err = ERR_DB_UNAVAILABLE;
    }
    ctx_done(&c);
    mongo_client_free(c.mongo);
    return err;
}
