#pragma once
/*
 * campaign - what one coordinator believes about one service
 *
 *   FOLLOWING --take, renew--> LEADING
 *   LEADING --refused | validity over | resign | step down--> FOLLOWING
 *
 * campaign_move() alone changes the state. on_start and on_stop come in turn:
 * never a stop without a start, never two starts in a row.
 *
 * LEADING is believed until valid_until on the boot clock: the stamp before
 * the last renewal that succeeded + ttl - max(ttl / 10, 600 ms). A failed or
 * slow renewal is repeated every 250 ms and is no loss; a refusal and the end
 * of validity are. The claim is saved in memory that outlives the process
 * before it is sent, so that an answer that got lost is asked for again, and
 * the next coordinator goes on with the same term; at the third restart within
 * one ttl it resigns instead.
 */
#include "lib/coord/view.h"

/* In memory shared with the supervisor; zeroed at first. */
struct campaign_saved {
    /* No token: none. Term 0: the token was sent, what came of it is not known.
     * Else the term is this token's until MongoDB says that it is not. */
    struct leader_claim claim;
    bool leaving;      /* the claim is to be given up */
    int64_t seen_term; /* the greatest one met: later ones are above it */
    int64_t begun;     /* the last one that was led */
    int restarts;      /* of the coordinator within one ttl */
    ms restarted_boot; /* the first of them */
};

struct campaign {
    enum leader_service service;
    const struct conf *conf;
    struct campaign_saved *saved;
    void (*on_start)(void *arg, enum leader_service s, int64_t term);
    void (*on_stop)(void *arg, enum leader_service s, int64_t term);
    void *arg;
    ms call_ms; /* the limit of one command: 500 */
    bool leading;
    int64_t term;
    ms valid_until, next_renewal, next_try, cool_until; /* boot clock */
    ms looked;                                          /* view.taken_boot */
};

/* Callbacks, and another limit of commands, are set afterwards. */
void campaign_init(struct campaign *k, enum leader_service s,
                   const struct conf *conf, struct campaign_saved *saved);

/*
 * Does what is due: renews, takes, answers an ask. v: the last look (it may be
 * old or, at first, NULL). may: this instance may lead (settings, Redis).
 * At most one command to MongoDB, of at most call_ms; its failure is dealt
 * with. Gives when to come again (boot clock).
 */
ms campaign_turn(struct campaign *k, struct ctx *c, const struct view *v,
                 bool may);

/* Is work of this service allowed at this moment? Looks at the clock. */
bool campaign_is_valid(const struct campaign *k);

/*
 * Stop callbacks, then frees the term; stands back for cool_ms. What MongoDB
 * did not take is sent again by the next turns.
 */
void campaign_resign(struct campaign *k, struct ctx *c, ms cool_ms);

/*
 * A guarded write was refused: somebody has written with a greater term. The
 * next turn frees what is left of this one.
 */
void campaign_step_down(struct campaign *k);
