/* test_libjwt - what a decoded token has not been checked for */
#include <stdlib.h>
#include <string.h>

#include <jwt.h>

#include "tests/unit/support.h"

/* {"exp":1} under the key below; by HS256, by HS512, by none */
static const unsigned char key[] = "0123456789abcdef0123456789abcdef";
static const int key_n = sizeof key - 1;

static char *token_by(jwt_alg_t alg)
{
    jwt_t *jwt;
    char *text;

    assert_int_equal(jwt_new(&jwt), 0);
    assert_int_equal(jwt_add_grant_int(jwt, "exp", 1), 0);
    assert_int_equal(jwt_set_alg(jwt, alg, alg ? key : NULL, alg ? key_n : 0),
                     0);
    text = jwt_encode_str(jwt);
    assert_non_null(text);
    jwt_free(jwt);
    return text;
}

/* Gives what jwt_decode() gives. */
static int decode(jwt_alg_t alg, const unsigned char *with, int n)
{
    char *text = token_by(alg);
    jwt_t *jwt = NULL;
    int e = jwt_decode(&jwt, text, with, n);

    jwt_free(jwt);
    free(text);
    return e;
}

static void p22_decode_ignores_exp(void **state)
{
    (void)state;
    assert_int_equal(decode(JWT_ALG_HS256, key, key_n), 0);
}

static void p22_any_hmac_size_is_accepted_under_one_key(void **state)
{
    (void)state;
    assert_int_equal(decode(JWT_ALG_HS384, key, key_n), 0);
    assert_int_equal(decode(JWT_ALG_HS512, key, key_n), 0);
}

static void p22_nothing_is_verified_without_a_key(void **state)
{
    char *text = token_by(JWT_ALG_HS256);
    jwt_t *jwt = NULL;

    (void)state;
    text[strlen(text) - 2] ^= 1;
    assert_int_not_equal(jwt_decode(&jwt, text, key, key_n), 0);
    assert_int_equal(jwt_decode(&jwt, text, NULL, 0), 0);
    assert_string_equal(jwt_get_header(jwt, "alg"), "HS256");
    jwt_free(jwt);
    free(text);
    assert_int_equal(decode(JWT_ALG_NONE, NULL, 0), 0);
}

static void p22_key_refuses_none(void **state)
{
    (void)state;
    assert_int_not_equal(decode(JWT_ALG_NONE, key, key_n), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p22_decode_ignores_exp),
        cmocka_unit_test(p22_any_hmac_size_is_accepted_under_one_key),
        cmocka_unit_test(p22_nothing_is_verified_without_a_key),
        cmocka_unit_test(p22_key_refuses_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
