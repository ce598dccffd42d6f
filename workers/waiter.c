/* waiter - see waiter.h */
#include "workers/waiter.h"

#include "lib/base/clock.h"
#include "lib/base/ctx.h"

void waiter_init(struct waiter *w, waiter_words words, int seconds)
{
    *w = (struct waiter){.words = words, .seconds = seconds};
}

int waiter_fd(const struct waiter *w)
{
    return w->rds ? rds_fd(w->rds) : -1;
}

static void give_up(struct waiter *w)
{
    rds_free(w->rds);
    w->rds = NULL;
    w->again_boot = clock_boot_ms() + WAITER_AGAIN_MS;
}

/* What stands in the way of every pop is no list or set of ours. */
static void remove_foreign(struct waiter *w, struct ctx *c)
{
    struct rds_reply reply;
    size_t n, key;
    const str *words = w->words(c, w->seconds, &n, &key);

    if (words)
        (void)rds_call(w->rds, (str[]){STR("UNLINK"), words[key]}, 2,
                       clock_mono_ms() + WAITER_BEGIN_MS, &c->arena, &reply);
}

static bool judge(struct waiter *w, struct ctx *c, enum rds_waited waited,
                  const struct rds_reply *reply)
{
    if (waited == RDS_WAIT_OVER)
        return reply->kind != RDS_NIL;
    if (waited == RDS_WAIT_LOST) {
        w->again_boot = clock_boot_ms() + WAITER_AGAIN_MS;
        if (rds_refused_with(w->rds, STR("WRONGTYPE")))
            remove_foreign(w, c);
    }
    return false;
}

void waiter_begin(struct waiter *w, struct ctx *c)
{
    struct rds_target target;
    ms now = clock_boot_ms();
    const str *words;
    size_t n, key;

    if (waiter_fd(w) >= 0 && now > w->late_boot)
        give_up(w);
    if (waiter_fd(w) >= 0 || now < w->again_boot)
        return;
    if (!w->rds && rds_target_of(c->conf, &target))
        w->rds = rds_new(&target);
    words = w->rds ? w->words(c, w->seconds, &n, &key) : NULL;
    if (words && rds_wait_begin(w->rds, words, n,
                                clock_mono_ms() + WAITER_BEGIN_MS) == RDS_OK)
        w->late_boot = clock_boot_ms() + w->seconds * 1000 + WAITER_BEYOND_MS;
    else
        w->again_boot = clock_boot_ms() + WAITER_AGAIN_MS;
}

bool waiter_look(struct waiter *w, struct ctx *c, struct rds_reply *out)
{
    return w->rds && judge(w, c, rds_wait_look(w->rds, &c->arena, out), out);
}

bool waiter_end(struct waiter *w, struct ctx *c, struct rds_reply *out)
{
    struct rds *by = rds_find(c);
    ms deadline = clock_mono_ms() + WAITER_END_MS;
    enum rds_waited waited;

    if (waiter_fd(w) < 0)
        return false;
    *out = (struct rds_reply){.kind = RDS_NIL};
    if (!by) {
        give_up(w);
        return true;
    }
    waited = rds_wait_end(w->rds, by, deadline, &c->arena, out);
    return judge(w, c, waited, out) || waited == RDS_WAIT_LOST;
}
