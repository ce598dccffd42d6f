/* leftovers - see leftovers.h */
#include "workers/leftovers.h"

#include <stdlib.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/coord/queue.h"

/* After each success; then it is done with. */
static const ms again_ms[] = {100, 900};
static const int again_n = sizeof again_ms / sizeof *again_ms;

/* Of a place of the board. */
struct left {
    char token[ID_TOKEN_MAX]; /* whose; "" nobody's yet */
    int done;                 /* times */
    ms due;
};

struct leftovers {
    struct board *board;
    int n;
    struct left left[];
};

struct leftovers *leftovers_new(struct board *b)
{
    int n = board_places(b);
    struct leftovers *l =
        calloc(1, sizeof *l + (size_t)n * sizeof(struct left));

    if (!l)
        return NULL;
    l->board = b;
    l->n = n;
    return l;
}

/* False: MongoDB did not do it. */
static bool give_back(struct leftovers *l, struct ctx *c,
                      const struct board_dead *dead)
{
    int64_t n = 0;

    if (queue_recover(c, str_of(dead->token), dead->ran, &n) != OK) {
        log_note(LOG_WARN, "leftovers.failed", "%s", c->reason);
        ctx_forgive(c);
        return false;
    }
    if (n > 0) {
        log_note(LOG_INFO, "leftovers.given_back", "%lld jobs of a dead child",
                 (long long)n);
        board_poke(l->board, (int)n);
    }
    return true;
}

static void advance(struct leftovers *l, struct ctx *c,
                    const struct board_dead *dead)
{
    struct left *left = &l->left[dead->at];

    if (strcmp(left->token, dead->token) != 0) {
        *left = (struct left){.due = 0};
        memcpy(left->token, dead->token, sizeof left->token);
    }
    if (left->due > clock_boot_ms())
        return;
    if (!give_back(l, c, dead)) {
        left->due = clock_boot_ms() + LEFTOVERS_AGAIN_MS;
    } else if (left->done < again_n) {
        left->due = clock_boot_ms() + again_ms[left->done++];
    } else {
        left->token[0] = '\0';
        board_freed(l->board, dead->at);
    }
}

ms leftovers_turn(struct leftovers *l, struct ctx *c)
{
    struct board_dead dead;
    ms next = INT64_MAX;

    for (int at = 0; board_next_dead(l->board, at, &dead); at = dead.at + 1) {
        const struct left *left = &l->left[dead.at];

        advance(l, c, &dead);
        if (left->token[0] && left->due < next)
            next = left->due;
    }
    return next;
}

void leftovers_take_all(struct leftovers *l, struct ctx *c)
{
    struct board_dead held;

    (void)leftovers_turn(l, c);
    for (int at = 0; board_next_live(l->board, at, &held); at = held.at + 1)
        (void)give_back(l, c, &held);
}
