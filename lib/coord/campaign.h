#pragma once
/*
 * campaign - what one coordinator believes about one service
 *
 *   FOLLOWING --take--> LEADING --refused | validity over | resign--> FOLLOWING
 *
 * campaign_move() alone changes the state. on_start and on_stop come in turn:
 * never a stop without a start, never two starts in a row.
 *
 * LEADING is believed until valid_until on the boot clock: the stamp before
 * the last renewal that succeeded + ttl - max(ttl / 10, 600 ms). A failed or
 * slow renewal is repeated every 250 ms and is no loss; a refusal and the end
 * of validity are. The claim is saved in memory that outlives the process
 * before it is sent, so that the next coordinator goes on with the same term;
 * at the third restart within one ttl it resigns instead.
 */
#include "lib/coord/view.h"

/* In memory shared with the supervisor; zeroed at first. */
struct campaign_saved {
    struct leader_claim claim; /* term 0: the token was sent, none known yet */
    int restarts;              /* of the coordinator within one ttl */
    ms restarted_boot;         /* the first of them */
};

struct campaign {
    enum leader_service service;
    const struct conf *conf;
    struct campaign_saved *saved;
    void (*on_start)(void *arg, enum leader_service s, int64_t term);
    void (*on_stop)(void *arg, enum leader_service s, int64_t term);
    void *arg;
    bool leading;
    int64_t term;
    ms valid_until, next_renewal, next_try, cool_until; /* boot clock */
};

void campaign_init(struct campaign *k, enum leader_service s,
                   const struct conf *conf, struct campaign_saved *saved);

/*
 * Does what is due: renews, takes, answers an ask. v: the last look (it may be
 * old or, at first, NULL). may: this instance may lead (settings, Redis).
 * At most one command to MongoDB. Gives when to come again (boot clock).
 */
ms campaign_turn(struct campaign *k, struct ctx *c, const struct view *v,
                 bool may);

/* Is work of this service allowed at this moment? Looks at the clock. */
bool campaign_is_valid(const struct campaign *k);

/* Stop callbacks, then frees the term; stands back for cool_ms. */
void campaign_resign(struct campaign *k, struct ctx *c, ms cool_ms);

/* A term was lost: found by who met a greater one. */
void campaign_step_down(struct campaign *k);
