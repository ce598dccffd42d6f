/* addr - network addresses and lists of address ranges */
#include "lib/base/addr.h"

#include <arpa/inet.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool addr_parse(str text, struct addr *out)
{
    char z[INET6_ADDRSTRLEN];
    struct addr got = {{0}};

    if (text.n == 0 || text.n >= sizeof z || memchr(text.p, '\0', text.n))
        return false;
    memcpy(z, text.p, text.n);
    z[text.n] = '\0';
    if (inet_pton(AF_INET6, z, got.b) != 1) {
        memcpy(got.b, mapped, sizeof mapped);
        if (inet_pton(AF_INET, z, got.b + sizeof mapped) != 1)
            return false;
    }
    *out = got;
    return true;
}

size_t addr_block(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    struct addr net = {{0}};

    if (memcmp(a->b, mapped, sizeof mapped) == 0) {
        inet_ntop(AF_INET, a->b + sizeof mapped, out, ADDR_TEXT_MAX);
        return strlen(out);
    }
    memcpy(net.b, a->b, 8);
    inet_ntop(AF_INET6, net.b, out, INET6_ADDRSTRLEN);
    memcpy(out + strlen(out), "/64", sizeof "/64");
    return strlen(out);
}

bool addr_is_any(const struct addr *a)
{
    static const uint8_t zero[16];

    return memcmp(a->b, zero, 16) == 0 ||
           (memcmp(a->b, mapped, 12) == 0 && memcmp(a->b + 12, zero, 4) == 0);
}

static bool range_parse(str text, struct addr_range *out)
{
    size_t slash = str_find(text, '/', 0);
    str host = slash == SIZE_MAX ? text : str_head(text, slash);
    bool is_v4 = str_find(host, ':', 0) == SIZE_MAX;
    int64_t most = is_v4 ? 32 : 128, bits = most;
    str digits;

    if (!addr_parse(host, &out->base))
        return false;
    if (slash != SIZE_MAX) {
        digits = str_from(text, slash + 1);
        if (!str_is_digits(digits) || digits.n > 3 ||
            !str_to_i64(digits, &bits) || bits > most)
            return false;
    }
    out->bits = (int)(is_v4 ? bits + 96 : bits);
    return true;
}

bool addr_ranges_parse(str text, struct arena *a, struct addr_ranges *out)
{
    struct addr_ranges got = {NULL, 0};
    str rest = str_trim(text), piece;
    size_t most = 1;

    if (rest.n == 0) {
        *out = got;
        return true;
    }
    for (size_t i = 0; i < rest.n; i++)
        most += rest.p[i] == ',';
    got.v = arena_alloc(a, most * sizeof *got.v);
    if (got.v == NULL)
        return false;
    while (str_cut(&rest, ',', &piece))
        if (!range_parse(str_trim(piece), &got.v[got.n++]))
            return false;
    *out = got;
    return true;
}

static bool range_has(const struct addr_range *r, const struct addr *a)
{
    size_t whole = (size_t)r->bits / 8;
    int rest = r->bits % 8;

    if (memcmp(r->base.b, a->b, whole) != 0)
        return false;
    return rest == 0 || ((r->base.b[whole] ^ a->b[whole]) >> (8 - rest)) == 0;
}

bool addr_in(const struct addr_ranges *ranges, const struct addr *a)
{
    for (size_t i = 0; i < ranges->n; i++)
        if (range_has(&ranges->v[i], a))
            return true;
    return false;
}
