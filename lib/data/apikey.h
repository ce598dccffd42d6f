#pragma once
/*
 * apikey - keys of callers, in the collection `_api_keys`
 *
 * A key is "sqf_" and 32 random bytes in base64url. apikey_create() shows it
 * once; what is stored is its SHA-256 and its first 8 characters, so that
 * nobody can use what stands in the database.
 */
#include "lib/base/hash.h"
#include "lib/base/id.h"
#include "lib/base/role.h"
#include "lib/data/rows.h"

enum {
    APIKEY_CHARS = 47,
    APIKEY_MAX = APIKEY_CHARS + 1, /* and NUL */
    APIKEY_PREFIX = 8,
    APIKEY_NAME_MAX = 128 /* bytes */
};

struct apikey {
    char id[ID_OBJECT_MAX];
    str name, prefix;
    enum role role;
    ms created_at, expires_at, last_used_at; /* wall; 0: never */
};

bool apikey_is_key(str s);

/* 1 to 128 bytes of valid UTF-8 without control characters. */
bool apikey_is_name(str s);

/* Makes the collection and the index by which keys are found; again is no
 * harm. */
MUST_CHECK enum err apikey_prepare(struct ctx *c);

/* Is there any that can be used? */
MUST_CHECK enum err apikey_exists(struct ctx *c, bool *out);

/* name is checked; expires_at 0: never. The texts live until ctx_reset. */
MUST_CHECK enum err apikey_create(struct ctx *c, str name, enum role role,
                                  ms expires_at, struct apikey *out,
                                  char out_key[APIKEY_MAX]);

/* Oldest first. *out_more is false at the end; texts live until the next. */
MUST_CHECK enum err apikey_list(struct ctx *c, struct rows **out);
MUST_CHECK enum err apikey_next(struct ctx *c, struct rows *rows,
                                bool *out_more, struct apikey *out);

/* From now on it is found no more. ERR_BAD_ID, ERR_KEY_NOT_FOUND. */
MUST_CHECK enum err apikey_revoke(struct ctx *c, str id);

/*
 * The key with this digest, unless it has expired; *out_found tells. One
 * command, on the primary; it also notes the use, at most once a minute.
 */
MUST_CHECK enum err apikey_find(struct ctx *c,
                                const unsigned char digest[HASH_BYTES],
                                bool *out_found, struct apikey *out);
