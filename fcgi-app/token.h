#pragma once
/*
 * token - JSON Web Tokens (RFC 7519) judged
 *
 * The settings decide the algorithm: HS256 with JWT_SECRET, RS256 or ES256
 * with JWT_PUBLIC_KEY. A token that names another never meets a key. libjwt
 * verifies signatures and nothing else: times, issuer and audience are
 * checked here.
 */
#include "lib/base/ctx.h"
#include "lib/base/role.h"

struct token {
    enum role role; /* the greatest it names; ROLE_NONE: none that is known */
    str subject;    /* empty: it names none */
    ms expires_at;  /* wall: by its exp, or by its age */
};

/* ERR_UNAUTHORIZED with what is wrong. Texts live until ctx_reset. */
MUST_CHECK enum err token_judge(struct ctx *c, str text, ms now,
                                struct token *out);
