/* hash - see hash.h */
#include "lib/base/hash.h"

#include <limits.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>

enum {
    RSA_BITS_MIN = 2048
};

bool hash_sha256(str s, unsigned char out[HASH_BYTES])
{
    return SHA256((const unsigned char *)s.p, s.n, out) != NULL;
}

bool hash_equal(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}

static bool is_p256(EVP_PKEY *key)
{
    char name[32];
    size_t n;

    return EVP_PKEY_get_group_name(key, name, sizeof name, &n) == 1 &&
           str_eq((str){name, n}, STR("prime256v1"));
}

static enum hash_key kind_of(EVP_PKEY *key)
{
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        return EVP_PKEY_get_bits(key) >= RSA_BITS_MIN ? HASH_KEY_RS256
                                                      : HASH_KEY_NONE;
    case EVP_PKEY_EC:
        return is_p256(key) ? HASH_KEY_ES256 : HASH_KEY_NONE;
    default:
        return HASH_KEY_NONE;
    }
}

enum hash_key hash_key_judge(str pem)
{
    enum hash_key kind = HASH_KEY_NONE;
    char no_password[] = ""; /* else a terminal would be asked */
    EVP_PKEY *key;
    BIO *bio;

    if (pem.n > INT_MAX)
        return kind;
    bio = BIO_new_mem_buf(pem.p, (int)pem.n);
    key = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, no_password) : NULL;
    if (key)
        kind = kind_of(key);
    EVP_PKEY_free(key);
    BIO_free(bio);
    return kind;
}
