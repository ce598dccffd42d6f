/* fuzz_sign - a receiver's headers: any bytes are judged, ours hold, and what
 * holds carries our signature; base64 is read as it would be written */
#include <stdint.h>
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/base/text.h"
#include "lib/run/sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_base64(str s)
{
    static unsigned char bytes[4096];
    static char text[TEXT_BASE64_LEN(4096) + 1];
    size_t n;

    if (!text_base64_read(s, bytes, sizeof bytes, &n))
        return;
    text_base64(bytes, n, text);
    if (!str_eq(str_of(text), s))
        abort();
}

/* secret, id, timestamp, signature and body, a line each */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str rest = {(const char *)data, size}, part[4] = {STR_NONE};
    char room[256];
    struct buf b = buf_over(room, sizeof room);
    enum sign_verdict got;
    int64_t at = 0;
    bool ours;

    for (int i = 0; i < 4; i++)
        if (!str_cut(&rest, '\n', &part[i]))
            part[i] = STR("");
    check_base64(part[3]);
    if (!rest.p)
        rest = STR("");
    (void)str_to_i64(part[2], &at);
    got = sign_verify(part[0], part[1], part[2], part[3], rest, at);
    ours = sign_write(&b, part, 1, part[1], at, rest);
    if (b.err || ours != (b.n > 0))
        abort();
    if (got == SIGN_OK && !ours)
        abort();
    if (ours && part[1].n > 0) {
        char stamp[32];
        struct buf z = buf_over(stamp, sizeof stamp);

        buf_add_i64(&z, at > 0 ? at : 0);
        if (at >= 0 && sign_verify(part[0], part[1], buf_str(&z), buf_str(&b),
                                   rest, at) != SIGN_OK)
            abort();
        if (got == SIGN_OK && str_eq(part[2], buf_str(&z)) &&
            str_find_str(part[3], buf_str(&b)) == SIZE_MAX)
            abort();
    }
    return sign_verdict_text(got)[0] == '\0' ? abort(), 0 : 0;
}
