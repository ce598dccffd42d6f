#pragma once
/*
 * hash - digests, comparison without a clock, public keys judged
 *
 * The only door to libcrypto. A supervisor calls nothing of this in its own
 * process: see check_public_key() in conf_check.c.
 */
#include "lib/base/err.h"
#include "lib/base/str.h"

enum {
    HASH_BYTES = 32 /* of SHA-256 */
};

/* False when libcrypto has no memory. */
MUST_CHECK bool hash_sha256(str s, unsigned char out[HASH_BYTES]);

/* HMAC-SHA256 (RFC 2104) over the pieces one after the other. */
MUST_CHECK bool hash_hmac(str key, const str *pieces, size_t pieces_n,
                          unsigned char out[HASH_BYTES]);

/* Takes the same time wherever the first difference is. */
bool hash_equal(const void *a, const void *b, size_t n);

/* What a key can verify. */
enum hash_key {
    HASH_KEY_NONE,  /* not a public key, or not one that is used here */
    HASH_KEY_RS256, /* RSA of 2048 bits or more */
    HASH_KEY_ES256  /* on the curve P-256 */
};

/* Reads "-----BEGIN PUBLIC KEY-----"; asks nobody for a password. */
enum hash_key hash_key_judge(str pem);
