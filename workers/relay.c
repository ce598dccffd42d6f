/* relay - see relay.h */
#include "workers/relay.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/coord/fanout.h"
#include "workers/roles.h"
#include "workers/worker.h"

enum {
    EVERY_MS = 100,
    TURN_MS = 5000,
    KILL_MS = 10000, /* of a turn, before the supervisor ends it */
    AGAIN_MS = 500,  /* after one in vain, doubling */
    AGAIN_MOST_MS = 2000
};

/* Gives how long to wait. */
static ms turn(struct worker *w, ms *again)
{
    struct fanout_ask ask = {.share = {w->words.share_index, w->words.share_n}};
    struct ctx *c = worker_begin(w, TURN_MS);
    struct fanout_batch batch;
    enum err err;
    ms wait;

    worker_deadline(w, clock_boot_ms() + KILL_MS);
    err = fanout_turn(c, &ask, &batch);
    board_poke(w->board, (int)batch.jobs);
    if (err == OK) {
        *again = AGAIN_MS;
        return batch.more ? 0 : EVERY_MS;
    }
    if (*again == AGAIN_MS)
        log_note(LOG_WARN, "fanout.failed", "%s: %s", err_code(err), c->reason);
    wait = *again;
    *again = wait < AGAIN_MOST_MS ? 2 * wait : wait;
    return wait;
}

/* Handles are not freed: that would wait for a server that hangs. */
int relay_run(void *arg, int slot)
{
    static struct worker w;
    ms again = AGAIN_MS;

    if (!worker_open(&w, arg, slot))
        return 1;
    while (!worker_must_end(&w)) {
        worker_tidy(&w);
        worker_wait(&w, -1, turn(&w, &again));
    }
    return 0;
}
