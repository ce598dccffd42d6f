/* targets - see targets.h */
#include "fcgi-app/targets.h"

#include "lib/base/conf.h"
#include "lib/coord/own.h"
#include "lib/run/target.h"

enum {
    LOOK_UP_MS = 2000,
    OWN_MS = 500 /* for each of our own servers */
};

/* One that is not found now is denied by the delivery. */
static void deny(void *egress, const char *host, uint16_t port)
{
    (void)egress_deny(egress, host, port, OWN_MS);
}

enum err targets_check(struct ctx *c, str url)
{
    return target_check(c, url, c->conf->webhook_https_only);
}

enum err targets_judge(struct ctx *c, str url)
{
    struct egress *e = ctx_alloc(c, sizeof *e);
    ms most = ctx_left_ms(c);

    if (!e)
        return ERR_OVERLOADED;
    egress_init(e, c->conf);
    own_places(c->conf, deny, e);
    return target_judge(c, e, url, most < LOOK_UP_MS ? most : LOOK_UP_MS);
}
