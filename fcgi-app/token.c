/* token - see token.h */
#include "fcgi-app/token.h"

#include <errno.h>
#include <stdlib.h>

#include <jwt.h>

#include "lib/base/conf.h"
#include "lib/base/hash.h"
#include "lib/data/json_in.h"
#include "lib/data/json_out.h"

enum {
    TOKEN_MAX = 8192, /* bytes; web servers take no longer header line */
    LEEWAY_MS = 60000 /* clocks of issuers differ from ours */
};

#define TIME_MAX_MS 8.64e15 /* of a date that can be written down */

static enum err refuse(struct ctx *c, const char *why)
{
    return ctx_fail(c, ERR_UNAUTHORIZED, "The token is not accepted: %s", why);
}

static bool is_base64url(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!(s.p[i] >= 'a' && s.p[i] <= 'z') &&
            !(s.p[i] >= 'A' && s.p[i] <= 'Z') &&
            !(s.p[i] >= '0' && s.p[i] <= '9') && s.p[i] != '-' && s.p[i] != '_')
            return false;
    return s.n > 0;
}

/* header.claims.signature; libjwt would skip over any other byte. */
static bool is_compact(str text)
{
    size_t parts = 0;
    str part;

    if (text.n > TOKEN_MAX)
        return false;
    while (str_cut(&text, '.', &part)) {
        parts++;
        if (!is_base64url(part))
            return false;
    }
    return parts == 3;
}

static void free_jwt(void *arg)
{
    jwt_free(arg);
}

/* An empty key only parses: nothing is verified then. */
static enum err decode(struct ctx *c, str text, str key, jwt_t **out)
{
    const char *z = arena_str(&c->arena, text).p;
    jwt_t *jwt = NULL;
    int e;

    if (!z)
        return ctx_no_memory(c);
    e = jwt_decode(&jwt, z, key.n ? (const unsigned char *)key.p : NULL,
                   (int)key.n);
    if (e == ENOMEM)
        return ctx_no_memory(c);
    if (e)
        return refuse(c, key.n ? "its signature is not by the configured key"
                               : "it is no JSON Web Token");
    *out = jwt;
    return arena_defer(&c->arena, free_jwt, jwt);
}

/* The key for tokens of that algorithm; empty: there is none. */
static str key_for(const struct conf *conf, const char *alg)
{
    static const struct {
        const char *alg;
        enum hash_key use;
    } rows[] = {{"RS256", HASH_KEY_RS256}, {"ES256", HASH_KEY_ES256}};

    if (strcmp(alg, "HS256") == 0)
        return str_of(conf->jwt_secret);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(alg, rows[i].alg) == 0 &&
            conf->jwt_public_key_use == (int64_t)rows[i].use)
            return str_of(conf->jwt_public_key);
    return STR("");
}

static enum err choose_key(struct ctx *c, jwt_t *parsed, str *out)
{
    const char *alg = jwt_get_header(parsed, "alg");
    char *critical = jwt_get_headers_json(parsed, "crit");

    free(critical);
    if (critical) /* RFC 7515, 4.1.11: what is not understood */
        return refuse(c, "its header has extensions that are not supported");
    *out = key_for(c->conf, alg ? alg : "");
    if (out->n == 0)
        return refuse(c, "its algorithm is not one of a configured key");
    return OK;
}

/* The claims of a token whose signature holds. */
static enum err read_claims(struct ctx *c, jwt_t *jwt, bson_t **out)
{
    char *json = jwt_get_grants_json(jwt, NULL);
    enum json_root root;
    enum err err;

    if (!json)
        return refuse(c, "it has no claims");
    err = arena_defer(&c->arena, free, json);
    if (err == OK)
        err = json_in(c, str_of(json), &root, out);
    if (err == OK && root == JSON_OBJECT)
        return OK;
    if (err == ERR_OVERLOADED)
        return err;
    ctx_forgive(c);
    return refuse(c, "its claims are no JSON object");
}

static enum err verify(struct ctx *c, str text, bson_t **out_claims)
{
    jwt_t *jwt;
    enum err err;
    str key;

    if (!is_compact(text))
        return refuse(c, "it is neither an API key nor a JSON Web Token");
    err = decode(c, text, STR(""), &jwt);
    if (err == OK)
        err = choose_key(c, jwt, &key);
    if (err == OK)
        err = decode(c, text, key, &jwt);
    return err ? err : read_claims(c, jwt, out_claims);
}

/* Seconds since 1970, with a fraction or not. */
static bool read_time(const bson_iter_t *it, ms *out)
{
    double t;

    if (BSON_ITER_HOLDS_DOUBLE(it))
        t = bson_iter_double(it) * 1000;
    else if (BSON_ITER_HOLDS_NUMBER(it))
        t = (double)bson_iter_as_int64(it) * 1000;
    else
        return false;
    if (!(t > -TIME_MAX_MS && t < TIME_MAX_MS))
        return false;
    *out = (ms)t;
    return true;
}

struct times {
    ms exp, nbf, iat; /* wall */
    bool has_exp, has_nbf, has_iat;
};

static enum err read_times(struct ctx *c, const bson_t *claims,
                           struct times *out)
{
    struct {
        const char *name;
        ms *to;
        bool *has;
    } rows[] = {{"exp", &out->exp, &out->has_exp},
                {"nbf", &out->nbf, &out->has_nbf},
                {"iat", &out->iat, &out->has_iat}};
    bson_iter_t it;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *rows[i].has = bson_iter_init_find(&it, claims, rows[i].name);
        if (*rows[i].has && !read_time(&it, rows[i].to))
            return refuse(c, "exp, nbf and iat must be seconds since 1970");
    }
    return OK;
}

static enum err check_times(struct ctx *c, const bson_t *claims, ms now,
                            ms *out_expires_at)
{
    ms age_max = c->conf->jwt_expiration;
    struct times t = {0};
    enum err err = read_times(c, claims, &t);

    if (err)
        return err;
    if (!t.has_exp)
        return refuse(c, "it has no exp");
    if (t.exp <= now)
        return refuse(c, "it has expired");
    if (t.has_nbf && t.nbf > now + LEEWAY_MS)
        return refuse(c, "it is not valid yet (nbf)");
    if (t.has_iat && t.iat > now + LEEWAY_MS)
        return refuse(c, "it was issued in the future (iat)");
    if (t.has_iat && t.iat + age_max <= now)
        return refuse(c, "it is older (iat) than JWT_EXPIRATION allows");
    if (!t.has_iat && t.exp > now + age_max + LEEWAY_MS)
        return refuse(c, "it has no iat and its exp is further ahead than "
                         "JWT_EXPIRATION allows");
    *out_expires_at =
        t.has_iat && t.iat + age_max < t.exp ? t.iat + age_max : t.exp;
    return OK;
}

/* The texts of a claim that is one text or a list of them. */
struct texts {
    bson_iter_t it;
    bool is_list, ended;
};

static struct texts texts_of(const bson_t *claims, const char *name)
{
    struct texts t = {.ended = true};
    bson_iter_t it;

    if (!bson_iter_init_find(&it, claims, name))
        return t;
    t.is_list = BSON_ITER_HOLDS_ARRAY(&it);
    t.ended = t.is_list && !bson_iter_recurse(&it, &t.it);
    if (!t.is_list)
        t.it = it;
    return t;
}

static bool texts_next(struct texts *t, str *out)
{
    uint32_t n;

    while (!t->ended) {
        t->ended = t->is_list ? !bson_iter_next(&t->it) : true;
        if (t->is_list && t->ended)
            break;
        if (!BSON_ITER_HOLDS_UTF8(&t->it))
            continue;
        out->p = bson_iter_utf8(&t->it, &n);
        out->n = n;
        return true;
    }
    return false;
}

static bool is_audience(const bson_t *claims, str want)
{
    struct texts t = texts_of(claims, "aud");
    str one;

    while (texts_next(&t, &one))
        if (str_eq(one, want))
            return true;
    return false;
}

static enum role greatest_role(const bson_t *claims, const char *claim)
{
    struct texts t = texts_of(claims, claim);
    enum role greatest = ROLE_NONE;
    str one;

    while (texts_next(&t, &one))
        if (role_find(one) > greatest)
            greatest = role_find(one);
    return greatest;
}

static enum err check_parties(struct ctx *c, const bson_t *claims)
{
    str issuer = str_of(c->conf->jwt_issuer), one;
    str audience = str_of(c->conf->jwt_audience);

    if (issuer.n &&
        (!json_out_text_member(claims, "iss", &one) || !str_eq(one, issuer)))
        return refuse(c, "its issuer (iss) is not the configured one");
    if (audience.n && !is_audience(claims, audience))
        return refuse(c, "its audience (aud) is not the configured one");
    return OK;
}

enum err token_judge(struct ctx *c, str text, ms now, struct token *out)
{
    struct token token = {.subject = STR("")};
    bson_t *claims;
    enum err err = verify(c, text, &claims);

    if (err == OK)
        err = check_times(c, claims, now, &token.expires_at);
    if (err == OK)
        err = check_parties(c, claims);
    if (err)
        return err;
    token.role = greatest_role(claims, c->conf->jwt_role_claim);
    (void)json_out_text_member(claims, "sub", &token.subject);
    *out = token;
    return OK;
}
