/* hash - see hash.h */
#include "lib/base/hash.h"

#include <limits.h>

#include <openssl/core_names.h>
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

static bool mac_all(EVP_MAC_CTX *x, str key, const str *pieces, size_t n,
                    unsigned char out[HASH_BYTES])
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    size_t done = 0;

    /* without a pointer the key would count as not given */
    if (EVP_MAC_init(x, (const unsigned char *)(key.n ? key.p : ""), key.n,
                     params) != 1)
        return false;
    for (size_t i = 0; i < n; i++)
        if (pieces[i].n > 0 &&
            EVP_MAC_update(x, (const unsigned char *)pieces[i].p,
                           pieces[i].n) != 1)
            return false;
    return EVP_MAC_final(x, out, &done, HASH_BYTES) == 1 && done == HASH_BYTES;
}

bool hash_hmac(str key, const str *pieces, size_t pieces_n,
               unsigned char out[HASH_BYTES])
{
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *x = mac ? EVP_MAC_CTX_new(mac) : NULL;
    bool done = x && mac_all(x, key, pieces, pieces_n, out);

    EVP_MAC_CTX_free(x);
    EVP_MAC_free(mac);
    return done;
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
