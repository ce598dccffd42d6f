/* egress - see egress.h */
#include "lib/run/egress.h"

#include <ifaddrs.h>

#include "lib/run/resolve.h"

void egress_init(struct egress *e, const struct conf *conf)
{
    *e = (struct egress){.allow = &conf->webhook_allow_cidrs};
}

static bool same(const struct addr *a, const struct addr *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Loopback, and what the kernel takes for it: "any" of either family. */
static bool is_loopback(const struct addr *a)
{
    struct addr one;

    if (addr_parse(STR("127.0.0.1"), &one) && memcmp(a, &one, 13) == 0)
        return true;
    return addr_is_any(a) || (addr_parse(STR("::1"), &one) && same(a, &one));
}

/* Does the address belong to this host? */
static bool is_here(const struct addr *a)
{
    struct ifaddrs *list = NULL;
    bool found = is_loopback(a);
    struct addr one;
    uint16_t port;

    if (found || getifaddrs(&list) != 0)
        return found;
    for (const struct ifaddrs *i = list; i && !found; i = i->ifa_next)
        found = i->ifa_addr && addr_of_sockaddr(i->ifa_addr, &one, &port) &&
                same(a, &one);
    freeifaddrs(list);
    return found;
}

static void add(struct egress *e, const struct addr *a, uint16_t port)
{
    for (size_t i = 0; i < e->own_n; i++)
        if (same(&e->own[i].addr, a) && e->own[i].port == port)
            return;
    if (e->own_n < EGRESS_OWN_MAX) {
        e->own[e->own_n].addr = *a;
        e->own[e->own_n].port = port;
        e->own_n++;
    }
}

static void add_own(void *arg, const struct addr *a, uint16_t port)
{
    struct addr to = addr_unwrap(a);

    add(arg, &to, port);
}

bool egress_deny(struct egress *e, const char *host, uint16_t port, ms most_ms)
{
    return resolve_host(host, port, most_ms, add_own, e);
}

void egress_deny_too(struct egress *e, const struct egress *other)
{
    for (size_t i = 0; i < other->own_n; i++)
        add(e, &other->own[i].addr, other->own[i].port);
}

/* What listens on one address of this host may listen on all of them. */
static bool is_own(const struct egress *e, const struct addr *a, uint16_t port)
{
    for (size_t i = 0; i < e->own_n; i++)
        if (e->own[i].port == port &&
            (same(&e->own[i].addr, a) ||
             (is_here(a) && is_here(&e->own[i].addr))))
            return true;
    return false;
}

/* Keys of the whole machine's rights are told there. */
static bool is_metadata(const struct addr *a)
{
    static const str places[] = {STR_INIT("169.254.169.254"),
                                 STR_INIT("fd00:ec2::254")};
    struct addr one;

    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (addr_parse(places[i], &one) && same(a, &one))
            return true;
    return false;
}

static bool is_named(const struct addr_ranges *ranges, const struct addr *a)
{
    for (size_t i = 0; i < ranges->n; i++)
        if (ranges->v[i].bits == 128 && same(&ranges->v[i].base, a))
            return true;
    return false;
}

bool egress_allows(const struct egress *e, const struct addr *a, uint16_t port)
{
    struct addr to = addr_unwrap(a);

    if (is_own(e, &to, port))
        return false;
    if (is_metadata(&to))
        return is_named(e->allow, &to);
    return addr_is_global(&to) || addr_in(e->allow, &to);
}
