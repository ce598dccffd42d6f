/*
 * relay - see relay.h
 *
 * While Redis can be used, events come by hints just after their commit; the
 * outbox is looked at for those whose hint was lost. Else it is looked at all
 * the time.
 */
#include "workers/relay.h"

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/coord/fanout.h"
#include "lib/coord/hint.h"
#include "workers/roles.h"
#include "workers/waiter.h"
#include "workers/worker.h"

enum {
    EVERY_MS = 100,
    HINTED_EVERY_MS = 250, /* the same with hints .. */
    HINTED_YOUNG_MS = 300, /* .. for events older than that */
    HINTS_SECONDS = 1,
    TURN_MS = 5000,
    KILL_MS = 10000, /* of a turn, before the supervisor ends it */
    AGAIN_MS = 500,  /* after one in vain, doubling */
    AGAIN_MOST_MS = 2000,
    END_MS = 1000
};
_Static_assert(HINT_POP_MAX <= (int)FANOUT_EVENTS_MAX, "one pop is one turn");

struct relay {
    struct worker w;
    struct waiter hints;
    ms again;     /* how long after one in vain; 0: the last one was not */
    ms next_boot; /* look at the outbox; nothing is done before it while
                   * turns are in vain */
};

/* False: it was in vain. */
static bool turn(struct relay *r, const struct fanout_ask *ask,
                 struct fanout_batch *out)
{
    struct worker *w = &r->w;
    struct ctx *c = &w->ctx;
    enum err err = fanout_turn(c, ask, out);

    if (!c->index[0]) /* who is told by the index wakes somebody */
        board_poke(w->board, (int)out->jobs);
    if (err == OK) {
        r->again = 0;
        return true;
    }
    if (r->again == 0)
        log_note(LOG_WARN, "fanout.failed", "%s: %s", err_code(err), c->reason);
    r->again = r->again == 0              ? AGAIN_MS
               : r->again < AGAIN_MOST_MS ? 2 * r->again
                                          : r->again;
    r->next_boot = clock_boot_ms() + r->again;
    return false;
}

static struct ctx *begin(struct relay *r)
{
    worker_deadline(&r->w, clock_boot_ms() + KILL_MS);
    return worker_begin(&r->w, TURN_MS);
}

static struct fanout_ask ask_of(const struct relay *r)
{
    return (struct fanout_ask){
        .share = {r->w.words.share_index, r->w.words.share_n}};
}

static void look(struct relay *r)
{
    struct fanout_ask ask = ask_of(r);
    struct fanout_batch batch = {0};
    bool hinted = begin(r)->index[0];

    ask.young_ms = hinted ? HINTED_YOUNG_MS : 0;
    if (turn(r, &ask, &batch))
        r->next_boot = clock_boot_ms() + (batch.more ? 0
                                          : hinted   ? HINTED_EVERY_MS
                                                     : EVERY_MS);
}

static void follow_hints(struct relay *r)
{
    struct ctx *c = begin(r);
    struct fanout_ask ask = ask_of(r);
    struct fanout_batch batch = {0};
    str ids[HINT_POP_MAX];
    struct rds_reply reply;

    if (!waiter_look(&r->hints, c, &reply))
        return;
    ask.hints = ids;
    ask.hints_n = hint_read(&reply, ids);
    if (ask.hints_n > 0)
        (void)turn(r, &ask, &batch);
}

/* What was popped for nobody is for others. */
static void leave_hints(struct relay *r)
{
    str ids[HINT_POP_MAX];
    struct rds_reply reply;
    struct ctx *c;

    if (waiter_fd(&r->hints) < 0)
        return;
    c = worker_begin(&r->w, END_MS);
    if (waiter_end(&r->hints, c, &reply))
        hint_push(c, ids, hint_read(&reply, ids));
}

/* Sleeps until the next look; true: there are hints. */
static bool rest(struct relay *r)
{
    ms wait = r->next_boot - clock_boot_ms();

    if (r->w.words.dataset[0] && r->again == 0)
        waiter_begin(&r->hints, begin(r));
    else
        leave_hints(r);
    return worker_wait_for(&r->w, (int[]){waiter_fd(&r->hints)}, 1, wait) & 1;
}

/* Handles are not freed: that would wait for a server that hangs. */
int relay_run(void *arg, int slot)
{
    static struct relay r;

    if (!worker_open(&r.w, arg, slot))
        return 1;
    waiter_init(&r.hints, hint_wait_words, HINTS_SECONDS);
    while (!worker_must_end(&r.w)) {
        worker_tidy(&r.w);
        if (clock_boot_ms() >= r.next_boot)
            look(&r);
        if (rest(&r))
            follow_hints(&r);
    }
    leave_hints(&r);
    return 0;
}
