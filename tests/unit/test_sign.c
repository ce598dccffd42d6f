/* test_sign - Standard Webhooks: published vectors, what a receiver refuses */
#include "lib/run/sign.h"

#include <stdio.h>

#include "tests/unit/support.h"

struct vector {
    const char *secret, *id, *body, *signature;
    int64_t timestamp;
};

/* The first two are those of the libraries of Standard Webhooks and Svix. */
static const struct vector vectors[] = {
    {"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek",
     "{\"test\": 2432232314}",
     "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", 1614265330},
    {"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
     "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk",
     "{\"email\":\"test@example.com\",\"username\":\"test_user\"}",
     "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=", 1649367553},
    {"whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
     "msg_7yWzpNVqVquNxbs11rA1Jy6Dk3N", "{\"event\":\"test\"}",
     "v1,bbczXZZV20GUMxjrOdqqaA1d/nD14Y+AWh0yQ+cjyPA=", 1767225600},
};
static const struct vector *const first = &vectors[0];

static char room[1024];

static const char *write_with(const str *secrets, size_t n)
{
    struct buf b = buf_over(room, sizeof room);

    if (!sign_write(&b, secrets, n, str_of(first->id), first->timestamp,
                    str_of(first->body))) {
        assert_int_equal(b.n, 0);
        return NULL;
    }
    buf_add_char(&b, '\0');
    assert_false(b.err);
    return room;
}

static void signatures_are_those_of_the_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const struct vector *v = &vectors[i];
        struct buf b = buf_over(room, sizeof room);
        str secret = str_of(v->secret);
        char stamp[24];

        assert_true(sign_write(&b, &secret, 1, str_of(v->id), v->timestamp,
                               str_of(v->body)));
        support_assert_str(buf_str(&b), v->signature, __FILE__, __LINE__);
        snprintf(stamp, sizeof stamp, "%lld", (long long)v->timestamp);
        assert_int_equal(sign_verify(secret, str_of(v->id), str_of(stamp),
                                     str_of(v->signature), str_of(v->body),
                                     v->timestamp),
                         SIGN_OK);
    }
}

static void two_secrets_give_two_signatures(void **state)
{
    const str secrets[] = {str_of(vectors[0].secret),
                           str_of(vectors[1].secret)};
    const char *both = write_with(secrets, 2);

    (void)state;
    assert_int_equal(strncmp(both, first->signature, 47), 0);
    assert_int_equal(strncmp(both + 47, " v1,", 4), 0);
    assert_int_equal(strlen(both), 95);
}

static void secrets_that_cannot_be_read_are_left_out(void **state)
{
    static const char *const bad[] = {
        "",
        "whsec_",
        "whsec_!!!!",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_A",
        "whsec_AA",
        "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    };
    str secrets[2];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        secrets[0] = str_of(bad[i]);
        secrets[1] = str_of(first->secret);
        assert_null(write_with(secrets, 1));
        assert_string_equal(write_with(secrets, 2), first->signature);
    }
    assert_null(write_with(NULL, 0));
}

static enum sign_verdict verify(const char *timestamp, const char *signature,
                                const char *body, int64_t now)
{
    return sign_verify(str_of(first->secret), str_of(first->id),
                       str_of(timestamp), str_of(signature), str_of(body), now);
}

#define STAMP "1614265330"
#define GOOD  "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
#define OTHER "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static void headers_must_be_there(void **state)
{
    int64_t now = first->timestamp;
    str secret = str_of(first->secret), body = str_of(first->body);

    (void)state;
    assert_int_equal(verify("", GOOD, first->body, now), SIGN_MISSING);
    assert_int_equal(verify(STAMP, "", first->body, now), SIGN_MISSING);
    assert_int_equal(
        sign_verify(secret, STR_NONE, STR(STAMP), STR(GOOD), body, now),
        SIGN_MISSING);
    assert_int_equal(verify(STAMP, "v1,", first->body, now), SIGN_WRONG);
}

static void five_minutes_are_the_limit(void **state)
{
    int64_t now = first->timestamp;

    (void)state;
    assert_int_equal(verify(STAMP, GOOD, first->body, now + 300), SIGN_OK);
    assert_int_equal(verify(STAMP, GOOD, first->body, now + 301), SIGN_TOO_OLD);
    assert_int_equal(verify(STAMP, GOOD, first->body, now - 300), SIGN_OK);
    assert_int_equal(verify(STAMP, GOOD, first->body, now - 301), SIGN_TOO_NEW);
}

static void timestamps_are_digits(void **state)
{
    static const char *const bad[] = {
        "now", "1614265330.0",           " 1614265330", "-1", "0x60374f72",
        "1e9", "99999999999999999999999"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(verify(bad[i], GOOD, first->body, first->timestamp),
                         SIGN_MALFORMED);
    /* its sum would be one with INT64_MIN */
    assert_int_equal(
        verify("9223372036854775807", GOOD, first->body, first->timestamp),
        SIGN_TOO_NEW);
}

static void one_good_signature_is_enough(void **state)
{
    static const char *const good[] = {
        OTHER " " OTHER " " GOOD,
        "v1a,xyz " GOOD,
        "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= " GOOD,
        "  " GOOD " ",
    };
    static const char *const bad[] = {
        OTHER " " OTHER,
        "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE",
        "v1,g0hM9SsE",
        GOOD GOOD,
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(verify(STAMP, good[i], first->body, first->timestamp),
                         SIGN_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(verify(STAMP, bad[i], first->body, first->timestamp),
                         SIGN_WRONG);
}

static void what_differs_by_a_byte_is_wrong(void **state)
{
    int64_t now = first->timestamp;

    (void)state;
    assert_int_equal(verify(STAMP, GOOD, "{\"test\": 2432232315}", now),
                     SIGN_WRONG);
    assert_int_equal(verify("1614265331", GOOD, first->body, now), SIGN_WRONG);
    assert_int_equal(sign_verify(str_of(first->secret), STR("msg_x"),
                                 STR(STAMP), STR(GOOD), str_of(first->body),
                                 now),
                     SIGN_WRONG);
    assert_int_equal(sign_verify(str_of(vectors[1].secret), str_of(first->id),
                                 STR(STAMP), STR(GOOD), str_of(first->body),
                                 now),
                     SIGN_WRONG);
}

/* made with the text MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw as the key */
static void key_is_not_the_text(void **state)
{
    (void)state;
    assert_int_equal(verify(STAMP,
                            "v1,ELhqG0Ku1gwOc1f4jyKdp3SFGFLAOdJ9bvpWLciCakI=",
                            first->body, first->timestamp),
                     SIGN_WRONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_those_of_the_vectors),
        cmocka_unit_test(two_secrets_give_two_signatures),
        cmocka_unit_test(secrets_that_cannot_be_read_are_left_out),
        cmocka_unit_test(headers_must_be_there),
        cmocka_unit_test(five_minutes_are_the_limit),
        cmocka_unit_test(timestamps_are_digits),
        cmocka_unit_test(one_good_signature_is_enough),
        cmocka_unit_test(what_differs_by_a_byte_is_wrong),
        cmocka_unit_test(key_is_not_the_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
