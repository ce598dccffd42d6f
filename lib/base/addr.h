#pragma once
/*
 * addr - network addresses and lists of address ranges (pure)
 *
 * IPv4 is held as its IPv4-mapped IPv6 form, so that one comparison serves
 * both and 127.0.0.1 equals ::ffff:127.0.0.1.
 */
#include "lib/base/arena.h"
#include "lib/base/str.h"

enum {
    ADDR_TEXT_MAX = 64
};

struct addr {
    uint8_t b[16];
};

struct addr_range {
    struct addr base;
    int bits; /* leading bits that count, 0-128 */
};

struct addr_ranges {
    struct addr_range *v; /* owned by the arena given */
    size_t n;
};

/* A numeric literal without brackets, port or zone. */
bool addr_parse(str text, struct addr *out);

/*
 * The block that one customer is given, as text: an IPv4 address, or the /64
 * of an IPv6 one ("2001:db8:1:2::/64"). Gives the length without NUL.
 */
size_t addr_block(const struct addr *a, char out[ADDR_TEXT_MAX]);

/* All zeros of either family: "every address" when listened on. */
bool addr_is_any(const struct addr *a);

/*
 * Comma list of addresses and CIDR blocks ("10.0.0.0/8, ::1"); blanks around
 * the pieces do not count, nor do bits behind the prefix. "" is the empty
 * list. False when a piece is bad, or without memory.
 */
bool addr_ranges_parse(str text, struct arena *a, struct addr_ranges *out);

/* Of a socket address (AF_INET, AF_INET6); false for other families. */
struct sockaddr;
bool addr_of_sockaddr(const struct sockaddr *sa, struct addr *out,
                      uint16_t *out_port);

/*
 * A global unicast address (IANA special-purpose registries, RFC 6890). IPv4
 * inside IPv6 (mapped, compatible, 6to4, NAT64) is judged as that IPv4.
 */
bool addr_is_global(const struct addr *a);

/* The address that packets really go to: IPv4 taken out of IPv6 as above. */
struct addr addr_unwrap(const struct addr *a);

bool addr_in(const struct addr_ranges *ranges, const struct addr *a);
