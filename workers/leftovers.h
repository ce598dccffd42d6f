#pragma once
/*
 * leftovers - what dead children held is given back by their tokens
 *
 *   board_died -> leftovers_turn at once -> again after 100 ms and after 1 s
 *
 * Repeated, as a command that the dead child had sent may arrive late. A turn
 * that fails is repeated until it succeeds. What a former coordinator has not
 * ended is in the board: another one begins anew with it.
 */
#include "lib/base/ctx.h"
#include "lib/coord/board.h"

enum {
    LEFTOVERS_AGAIN_MS = 250 /* after a failure */
};

struct leftovers;

/* NULL without memory. Borrows the board for ever. */
struct leftovers *leftovers_new(struct board *b);

/* Gives back what is due; c is fresh and of one unit of work. Gives the time
 * of the next turn (boot clock), INT64_MAX when there is nothing. */
ms leftovers_turn(struct leftovers *l, struct ctx *c);

/* On behalf of children that have not ended, at the end of all. */
void leftovers_take_all(struct leftovers *l, struct ctx *c);
