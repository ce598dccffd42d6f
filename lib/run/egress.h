#pragma once
/*
 * egress - may this address be dialled for a URL that a user gave
 *
 * All but global unicast is denied (addr.h), then what WEBHOOK_ALLOW_CIDRS
 * opens is allowed; 169.254.169.254 and fd00:ec2::254 only by a range of
 * exactly that address. What was given to egress_deny stays denied always.
 * Judged on the numeric address about to be dialled, so that names, rebinding
 * and odd spellings need no rule of their own.
 */
#include "lib/base/addr.h"
#include "lib/base/conf.h"

enum {
    EGRESS_OWN_MAX = 64
};

struct egress {
    const struct addr_ranges *allow;
    struct {
        struct addr addr;
        uint16_t port;
    } own[EGRESS_OWN_MAX];
    size_t own_n;
};

void egress_init(struct egress *e, const struct conf *conf);

/* A place of ours: host is a name or address; all it resolves to. False: it did
 * not within most_ms. */
bool egress_deny(struct egress *e, const char *host, uint16_t port, ms most_ms);

/* What the other one denies as ours. */
void egress_deny_too(struct egress *e, const struct egress *other);

bool egress_allows(const struct egress *e, const struct addr *a, uint16_t port);
