/* places - see places.h */
#include "workers/places.h"

#include "lib/base/clock.h"
#include "lib/coord/own.h"
#include "lib/data/mongo_hosts.h"

enum {
    LOOK_MS = 1000,
    EVERY_MS = 60000,
    AGAIN_MS = 10000 /* after a look that did not find all */
};

struct look {
    struct egress found;
    ms end_boot;
    bool all;
};

static void find(void *arg, const char *host, uint16_t port)
{
    struct look *l = arg;
    ms left = l->end_boot - clock_boot_ms();

    if (left <= 0 || !egress_deny(&l->found, host, port, left))
        l->all = false;
}

void places_look(struct places *p)
{
    struct look l = {.end_boot = clock_boot_ms() + LOOK_MS, .all = true};

    egress_init(&l.found, p->conf);
    own_places(p->conf, find, &l);
    mongo_members(p->mongo, find, &l);
    if (!l.all)
        egress_deny_too(&l.found, p->egress);
    *p->egress = l.found;
    p->due_boot = clock_boot_ms() + (l.all ? EVERY_MS : AGAIN_MS);
}

void places_init(struct places *p, const struct conf *conf, struct mongo *m,
                 struct egress *e)
{
    *p = (struct places){.conf = conf, .mongo = m, .egress = e};
    egress_init(e, conf);
    places_look(p);
    /* the driver does not know its members yet */
    if (p->due_boot > clock_boot_ms() + AGAIN_MS)
        p->due_boot = clock_boot_ms() + AGAIN_MS;
}

bool places_are_due(const struct places *p)
{
    return clock_boot_ms() >= p->due_boot;
}
