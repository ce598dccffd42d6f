/* test_hash - published digests; which public keys can be used */
#include "lib/base/hash.h"
#include "lib/base/id.h"
#include "tests/unit/keys.h"
#include "tests/unit/support.h"

static void digest_is(str s, const char *want)
{
    unsigned char digest[HASH_BYTES];
    char hex[2 * HASH_BYTES + 1];

    assert_true(hash_sha256(s, digest));
    id_hex(digest, HASH_BYTES, hex);
    assert_string_equal(hex, want);
}

/* FIPS 180-4, examples of SHA-256 */
static void sha256_is_the_published_one(void **state)
{
    static char million[1000000];

    (void)state;
    digest_is(STR(""), "e3b0c44298fc1c149afbf4c8996fb924"
                       "27ae41e4649b934ca495991b7852b855");
    digest_is(STR("abc"), "ba7816bf8f01cfea414140de5dae2223"
                          "b00361a396177a9cb410ff61f20015ad");
    digest_is(STR("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
              "248d6a61d20638b8e5c026930c3e6039"
              "a33ce45964ff2167f6ecedd419db06c1");
    memset(million, 'a', sizeof million);
    digest_is((str){million, sizeof million},
              "cdc76e5c9914fb9281a1c7e284d73e67"
              "f1809a48a497200e046d39ccc7112cd0");
}

static void hmac_is(str key, const str *pieces, size_t n, const char *want)
{
    unsigned char sum[HASH_BYTES];
    char hex[2 * HASH_BYTES + 1];

    assert_true(hash_hmac(key, pieces, n, sum));
    id_hex(sum, HASH_BYTES, hex);
    assert_string_equal(hex, want);
}

/* RFC 4231, 4.2, 4.3, 4.7, and nothing at all */
static void hmac_is_the_published_one(void **state)
{
    const str hi = STR("Hi There"),
              pieces[] = {STR("what do ya "), STR_NONE, STR("want"), STR(""),
                          STR(" for nothing?")},
              large = STR("Test Using Larger Than Block-Size Key - Hash Key "
                          "First");
    char key[131];

    (void)state;
    memset(key, 0x0b, 20);
    hmac_is((str){key, 20}, &hi, 1,
            "b0344c61d8db38535ca8afceaf0bf12b"
            "881dc200c9833da726e9376c2e32cff7");
    hmac_is(STR("Jefe"), pieces, 5,
            "5bdcc146bf60754e6a042426089575c7"
            "5a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    hmac_is((str){key, sizeof key}, &large, 1,
            "60e431591ee0b67f0d8a26aacbf5b77f"
            "8e0bc6213728c5140546040f0ee37f54");
    hmac_is(STR_NONE, NULL, 0,
            "b613679a0814d9ec772f95d778c35fc5"
            "ff1697c493715653c6c712144292c5ad");
}

static void equal_looks_at_every_byte(void **state)
{
    unsigned char a[HASH_BYTES] = {0}, b[HASH_BYTES] = {0};

    (void)state;
    assert_true(hash_equal(a, b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] = 1;
        assert_false(hash_equal(a, b, sizeof a));
        b[i] = 0;
    }
}

static void keys_in_use_are_told_apart(void **state)
{
    (void)state;
    assert_int_equal(hash_key_judge(STR(KEY_RSA_2048)), HASH_KEY_RS256);
    assert_int_equal(hash_key_judge(STR(KEY_P256)), HASH_KEY_ES256);
}

static void other_keys_are_none(void **state)
{
    str whole = STR(KEY_RSA_2048);

    (void)state;
    assert_int_equal(hash_key_judge(STR(KEY_RSA_1024)), HASH_KEY_NONE);
    assert_int_equal(hash_key_judge(STR(KEY_P384)), HASH_KEY_NONE);
    assert_int_equal(hash_key_judge(STR(KEY_ED25519)), HASH_KEY_NONE);
    assert_int_equal(hash_key_judge(str_head(whole, whole.n / 2)),
                     HASH_KEY_NONE);
    assert_int_equal(hash_key_judge(STR("")), HASH_KEY_NONE);
    assert_int_equal(hash_key_judge(STR("no key")), HASH_KEY_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_is_the_published_one),
        cmocka_unit_test(hmac_is_the_published_one),
        cmocka_unit_test(equal_looks_at_every_byte),
        cmocka_unit_test(keys_in_use_are_told_apart),
        cmocka_unit_test(other_keys_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
