/* id - see id.h */
#include "lib/base/id.h"

#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "lib/base/clock.h"

enum {
    OBJECT_BYTES = 12,
    SUFFIX_BYTES = 9 /* dash and 8 hex digits */
};

enum err id_random(void *out, size_t n)
{
    unsigned char *to = out;

    while (n > 0) {
        ssize_t got = getrandom(to, n, 0);

        if (got <= 0)
            return ERR_INTERNAL;
        to += got;
        n -= (size_t)got;
    }
    return OK;
}

uint32_t id_chance(void)
{
    uint32_t v;

    if (id_random(&v, sizeof v) != OK)
        v = (uint32_t)clock_wall_ms() * 2654435761u ^ (uint32_t)getpid();
    return v;
}

void id_hex(const void *bytes, size_t n, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *from = bytes;

    for (size_t i = 0; i < n; i++) {
        *out++ = digits[from[i] >> 4];
        *out++ = digits[from[i] & 15];
    }
    *out = '\0';
}

enum err id_token(char out[ID_TOKEN_MAX])
{
    static const char digits[] = "0123456789"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz";
    unsigned char bytes[2 * ID_TOKEN_MAX];
    size_t n = 0, at = sizeof bytes;

    while (n < ID_TOKEN_MAX - 1) {
        if (at == sizeof bytes) {
            if (id_random(bytes, sizeof bytes) != OK)
                return ERR_INTERNAL;
            at = 0;
        }
        /* above 4 * 62 some characters would be drawn more often */
        if (bytes[at] < 248)
            out[n++] = digits[bytes[at] % 62];
        at++;
    }
    out[n] = '\0';
    return OK;
}

void id_base64url(const void *bytes, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz0123456789-_";
    const unsigned char *from = bytes;
    unsigned bits = 0, held = 0; /* held: how many of them wait */

    for (size_t i = 0; i < n; i++) {
        bits = bits << 8 | from[i];
        for (held += 8; held >= 6; held -= 6)
            *out++ = digits[bits >> (held - 6) & 63];
    }
    if (held > 0)
        *out++ = digits[bits << (6 - held) & 63];
    *out = '\0';
}

bool id_is_object(str s)
{
    return s.n == ID_OBJECT_MAX - 1 && str_is_hex(s);
}

enum err id_object(ms wall, char out[ID_OBJECT_MAX])
{
    unsigned char id[OBJECT_BYTES];
    uint32_t seconds = (uint32_t)(wall / 1000);
    enum err err = id_random(id + 4, sizeof id - 4);

    if (err)
        return err;
    for (int i = 0; i < 4; i++)
        id[i] = (unsigned char)(seconds >> (24 - 8 * i));
    id_hex(id, sizeof id, out);
    return OK;
}

static uint32_t fnv(uint32_t h, str s)
{
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h;
}

static bool may_be_in_name(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == ':' ||
           c == '-';
}

void id_instance(str host, str boot_id, str listen, char out[ID_INSTANCE_MAX])
{
    uint32_t h = fnv(2166136261u, boot_id);

    /* a byte between them: "ab","c" and "a","bc" differ */
    h = fnv(fnv(h, STR("\n")), listen);
    host = str_head(host, ID_INSTANCE_MAX - 1 - SUFFIX_BYTES);
    for (size_t i = 0; i < host.n; i++)
        out[i] = may_be_in_name(host.p[i]) ? host.p[i] : '-';
    snprintf(out + host.n, SUFFIX_BYTES + 1, "-%08x", h);
}
