#pragma once
/* json_number - which BSON number a JSON literal becomes (pure) */
#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

struct json_number {
    bool is_int;
    int64_t i;
    double d;
};

/*
 * text is a JSON number literal. Without fraction and exponent: an integer
 * when int64 holds it. With them: an integer when the value is integral and
 * int32 holds it. Else, and for -0, a double. ERR_BAD_JSON when no double
 * holds it; spare is room to work in, its content is lost.
 */
MUST_CHECK enum err json_number(str text, struct buf *spare,
                                struct json_number *out);
