/* sign - see sign.h */
#include "lib/run/sign.h"

#include <inttypes.h>
#include <stdio.h>

#include "lib/base/hash.h"
#include "lib/base/text.h"

enum {
    KEY_MAX = 128, /* bytes */
    STAMP_MAX = 24
};

static bool mac(str secret, str id, str timestamp, str body,
                unsigned char out[HASH_BYTES])
{
    const str prefix = STR("whsec_");
    const str pieces[] = {id, STR("."), timestamp, STR("."), body};
    unsigned char key[KEY_MAX];
    size_t n = 0;
    bool done;

    if (!str_starts(secret, prefix) ||
        !text_base64_read(str_from(secret, prefix.n), key, sizeof key, &n))
        return false;
    done = n > 0 && hash_hmac((str){(const char *)key, n}, pieces,
                              sizeof pieces / sizeof *pieces, out);
    explicit_bzero(key, sizeof key);
    return done;
}

bool sign_write(struct buf *b, const str *secrets, size_t n, str id,
                int64_t timestamp, str body)
{
    char stamp[STAMP_MAX], text[TEXT_BASE64_LEN(HASH_BYTES) + 1];
    unsigned char sum[HASH_BYTES];
    bool any = false;

    snprintf(stamp, sizeof stamp, "%" PRId64, timestamp);
    for (size_t i = 0; i < n; i++) {
        if (!mac(secrets[i], id, str_of(stamp), body, sum))
            continue;
        if (any)
            buf_add_char(b, ' ');
        text_base64(sum, sizeof sum, text);
        buf_add(b, STR("v1,"));
        buf_add(b, str_of(text));
        any = true;
    }
    return any;
}

static bool any_equals(str signatures, const unsigned char want[HASH_BYTES])
{
    unsigned char sum[HASH_BYTES];
    bool found = false;
    str one;
    size_t n;

    while (str_cut(&signatures, ' ', &one))
        if (str_starts(one, STR("v1,")) &&
            text_base64_read(str_from(one, 3), sum, sizeof sum, &n) &&
            n == sizeof sum && hash_equal(sum, want, sizeof sum))
            found = true;
    return found;
}

enum sign_verdict sign_verify(str secret, str id, str timestamp, str signature,
                              str body, int64_t now)
{
    unsigned char sum[HASH_BYTES];
    int64_t at;

    if (id.n == 0 || timestamp.n == 0 || signature.n == 0)
        return SIGN_MISSING;
    if (!str_is_digits(timestamp) || !str_to_i64(timestamp, &at) ||
        !mac(secret, id, timestamp, body, sum))
        return SIGN_MALFORMED;
    if (now - at > SIGN_TOLERANCE_S) /* neither is below 0 */
        return SIGN_TOO_OLD;
    if (at - now > SIGN_TOLERANCE_S)
        return SIGN_TOO_NEW;
    return any_equals(signature, sum) ? SIGN_OK : SIGN_WRONG;
}

const char *sign_verdict_text(enum sign_verdict v)
{
    switch (v) {
    case SIGN_OK:
        return "valid";
    case SIGN_MISSING:
        return "not signed";
    case SIGN_MALFORMED:
        return "timestamp or secret malformed";
    case SIGN_TOO_OLD:
        return "timestamp too old";
    case SIGN_TOO_NEW:
        return "timestamp too new";
    case SIGN_WRONG:
        return "WRONG";
    }
    return "";
}
