#pragma once
/*
 * sign - Standard Webhooks 1.0.0 signatures (symmetric, v1)
 *
 * Signed content: bytes of id, ".", timestamp, ".", body. Key: the bytes behind
 * "whsec_" after base64 decoding.
 */
#include "lib/base/buf.h"

enum {
    SIGN_TOLERANCE_S = 300 /* of the timestamp, both ways */
};

/* "v1,<base64>" for each secret, one space between; secrets that cannot be
 * decoded are left out; false: none is left, nothing was added. */
bool sign_write(struct buf *b, const str *secrets, size_t n, str id,
                int64_t timestamp, str body);

enum sign_verdict {
    SIGN_OK,
    SIGN_MISSING,   /* a header is not there or empty */
    SIGN_MALFORMED, /* timestamp or secret */
    SIGN_TOO_OLD,
    SIGN_TOO_NEW,
    SIGN_WRONG
};

/* As a receiver does: any of the signatures, unknown versions skipped, compared
 * in constant time. */
enum sign_verdict sign_verify(str secret, str id, str timestamp, str signature,
                              str body, int64_t now);
const char *sign_verdict_text(enum sign_verdict v);
