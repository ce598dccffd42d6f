#pragma once
/*
 * rig - a coordinator's process as far as campaign.h goes, on a real mongod
 *
 * The boot clock stands still but for rig_step(); the server's runs. Terms end
 * when the test says so: the lease is longer than a test. Callbacks fail the
 * test unless they come in turn.
 */
#include "lib/base/conf.h"
#include "lib/coord/campaign.h"
#include "tests/unit/coord.h"

enum {
    RIG_TTL = 60000,
    RIG_VALID = RIG_TTL - RIG_TTL / 10,
    RIG_START_BOOT = 1000000,
    RIG_AGAIN_MS = 250, /* after a command that failed */
    RIG_COOL_MS = 10000,
    RIG_JITTER_MS = 100
};

#define RIG_OTHER "zzzzzzzzzzzzzzzzzzzzzzzz" /* the token of `other` */

struct rig {
    struct conf conf;
    struct campaign k;
    struct campaign_saved saved;
    int starts, stops; /* of this process */
    int64_t term;      /* of the last start */
};

extern ms rig_boot; /* what the boot clock shows */

#define RIG_CASE(test) cmocka_unit_test_setup(test, rig_fresh)
int rig_fresh(void **state);
int rig_run(const char *name, const struct CMUnitTest *tests, size_t n);

void rig_init(struct rig *r, const char *instance);

/* A coordinator comes (again): what was saved is all that it knows. */
void rig_come(struct rig *r, enum leader_service s);

void rig_step(ms by);

/* A look by the real server, when it can be reached, and a turn. */
ms rig_turn_when(struct rig *r, struct ctx *c, bool may);

/* Twice that, past the jitter: what is free is taken. */
void rig_turn(struct rig *r, struct ctx *c);

void rig_time(struct ctx *c);     /* resets c, gives 30 s more */
void rig_be(const struct rig *r); /* c's settings name its instance */
void rig_set_away(bool away);     /* MongoDB */
bool rig_has_claim(const struct rig *r);

/* The document of cron; ends now; is taken by `other` now, gives the term. */
struct leader_term rig_stored(struct ctx *c);
void rig_let_lapse(struct ctx *c);
int64_t rig_lose_to_other(struct ctx *c);
