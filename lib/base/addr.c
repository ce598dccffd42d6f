/* addr - network addresses and lists of address ranges */
#include "lib/base/addr.h"

#include <arpa/inet.h>
#include <sys/socket.h>

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

bool addr_of_sockaddr(const struct sockaddr *sa, struct addr *out,
                      uint16_t *out_port)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (sa->sa_family == AF_INET) {
        memcpy(&v4, sa, sizeof v4);
        memcpy(out->b, mapped, sizeof mapped);
        memcpy(out->b + sizeof mapped, &v4.sin_addr, 4);
        *out_port = ntohs(v4.sin_port);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        memcpy(&v6, sa, sizeof v6);
        memcpy(out->b, &v6.sin6_addr, 16);
        *out_port = ntohs(v6.sin6_port);
        return true;
    }
    return false;
}

static bool is_v4(const struct addr *a)
{
    return memcmp(a->b, mapped, sizeof mapped) == 0;
}

size_t addr_block(const struct addr *a, char out[ADDR_TEXT_MAX])
{
    struct addr net = {{0}};

    if (is_v4(a)) {
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
           (is_v4(a) && memcmp(a->b + 12, zero, 4) == 0);
}

static bool range_parse(str text, struct addr_range *out)
{
    size_t slash = str_find(text, '/', 0);
    str host = slash == SIZE_MAX ? text : str_head(text, slash);
    bool short_form = str_find(host, ':', 0) == SIZE_MAX;
    int64_t most = short_form ? 32 : 128, bits = most;
    str digits;

    if (!addr_parse(host, &out->base))
        return false;
    if (slash != SIZE_MAX) {
        digits = str_from(text, slash + 1);
        if (!str_is_digits(digits) || digits.n > 3 ||
            !str_to_i64(digits, &bits) || bits > most)
            return false;
    }
    out->bits = (int)(short_form ? bits + 96 : bits);
    return true;
}

/* Leading bytes of an address; bits of them count. */
struct block {
    uint8_t b[12];
    int bits;
};

static bool in_block(const uint8_t *b, const struct block *k)
{
    size_t whole = (size_t)k->bits / 8;
    int rest = k->bits % 8;

    if (memcmp(b, k->b, whole) != 0)
        return false;
    return rest == 0 || ((b[whole] ^ k->b[whole]) >> (8 - rest)) == 0;
}

static bool in_blocks(const uint8_t *b, const struct block *k, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (in_block(b, &k[i]))
            return true;
    return false;
}

struct addr addr_unwrap(const struct addr *a)
{
    static const struct block compatible = {{0}, 96},
                              sixtofour = {{0x20, 0x02}, 16},
                              nat64 = {{0, 0x64, 0xff, 0x9b}, 96};
    static const uint8_t zero[16];
    struct addr out = *a;
    size_t at = 12;

    /* :: and ::1 are no IPv4 addresses */
    if (memcmp(a->b, zero, 15) == 0 && a->b[15] <= 1)
        return out;
    if (in_block(a->b, &sixtofour))
        at = 2;
    else if (!in_block(a->b, &compatible) && !in_block(a->b, &nat64))
        return out;
    memcpy(out.b, mapped, sizeof mapped);
    memcpy(out.b + sizeof mapped, a->b + at, 4);
    return out;
}

bool addr_is_global(const struct addr *a)
{
    static const struct block v4[] = {
        {{0}, 8},
        {{10}, 8},
        {{100, 64}, 10},
        {{127}, 8},
        {{169, 254}, 16},
        {{172, 16}, 12},
        {{192, 0, 0}, 24},
        {{192, 0, 2}, 24},
        {{192, 88, 99}, 24},
        {{192, 168}, 16},
        {{198, 18}, 15},
        {{198, 51, 100}, 24},
        {{203, 0, 113}, 24},
        {{224}, 4},
        {{240}, 4},
    };
    static const struct block v6 = {{0x20}, 3};
    static const struct block v6_special[] = {
        {{0x20, 0x01}, 23},             /* protocols: Teredo, ORCHID .. */
        {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation */
        {{0x3f, 0xff}, 20},             /* documentation */
    };
    struct addr to = addr_unwrap(a);

    if (is_v4(&to))
        return !in_blocks(to.b + 12, v4, sizeof v4 / sizeof *v4);
    return in_block(to.b, &v6) &&
           !in_blocks(to.b, v6_special, sizeof v6_special / sizeof *v6_special);
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
