#pragma once
/* id - random bytes, ids of documents, the name of this instance */
#include "lib/base/err.h"
#include "lib/base/str.h"

enum {
    ID_OBJECT_MAX = 25,   /* 24 hex digits and NUL */
    ID_TOKEN_MAX = 25,    /* 24 base62 characters and NUL */
    ID_INSTANCE_MAX = 129 /* 128 characters and NUL */
};

/* From the kernel; ERR_INTERNAL when it gives none. */
MUST_CHECK enum err id_random(void *out, size_t n);

/* For jitter: a number is always given. */
uint32_t id_chance(void);

/* n bytes as 2 * n lower-case hex digits and NUL. */
void id_hex(const void *bytes, size_t n, char *out);

/* Base64url without padding (RFC 4648, 5): (4 * n + 2) / 3 characters, NUL. */
void id_base64url(const void *bytes, size_t n, char *out);

/*
 * A token: 24 random characters of 0-9A-Za-z (142 bits). What is held by a
 * token is changed by its token only.
 */
MUST_CHECK enum err id_token(char out[ID_TOKEN_MAX]);

/* An object id: seconds of `wall`, 8 random bytes. */
MUST_CHECK enum err id_object(ms wall, char out[ID_OBJECT_MAX]);

bool id_is_object(str s);

/*
 * host, `-` and 8 hex digits of boot_id and listen (pure). The same input
 * gives the same name, so that all programs of an instance agree. Bytes
 * outside A-Za-z0-9._:- become `-`.
 */
void id_instance(str host, str boot_id, str listen, char out[ID_INSTANCE_MAX]);
