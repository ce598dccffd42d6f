/* redis_watch - see redis_watch.h */
#include "lib/coord/redis_watch.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/coord/rds_info.h"
#include "lib/coord/rds_script.h"

bool redis_watch_init(struct redis_watch *w, const struct conf *conf)
{
    struct rds_target target;

    *w = (struct redis_watch){.conf = conf};
    if (!rds_target_of(conf, &target))
        return false;
    /* a connection to a server of no use shows why better than none */
    target.ready_check = false;
    w->rds = rds_new(&target);
    return w->rds != NULL;
}

void redis_watch_done(struct redis_watch *w)
{
    rds_free(w->rds);
    *w = (struct redis_watch){.conf = NULL};
}

/* ---- what is seen */

static int64_t number_at(const struct rds_reply *r, size_t i)
{
    return i < r->items_n && r->items[i].kind == RDS_INT ? r->items[i].number
                                                         : 0;
}

static bool read_look(const struct rds_reply *r, struct redis_sight *out)
{
    if (r->kind != RDS_LIST || r->items_n == 0)
        return false;
    if (r->items[0].kind == RDS_TEXT)
        snprintf(out->held, sizeof out->held, STR_FMT,
                 STR_ARG(r->items[0].text));
    out->fence = number_at(r, 1);
    out->fence_max = number_at(r, 2);
    out->time_us = number_at(r, 3);
    out->locks = number_at(r, 4);
    out->locks_expired = number_at(r, 5);
    out->locks_owned = number_at(r, 6);
    return true;
}

static enum rds_result ask_look(struct redis_watch *w, struct ctx *c,
                                ms deadline, struct redis_sight *out)
{
    const char *prefix = w->conf->redis_key_prefix;
    struct arena *a = &c->arena;
    str keys[] = {
        arena_strf(a, "%s:dataset", prefix), arena_strf(a, "%s:l:idx", prefix),
        arena_strf(a, "%s:l:fence", prefix), arena_strf(a, "%s:l:max", prefix),
        arena_strf(a, "%s:l:ahead", prefix)};
    str args[] = {arena_strf(a, "%s:l:k:", prefix),
                  str_of(w->conf->cluster_instance_id)};
    struct rds_script script = {LUA_DATASET_LOOK, keys, args, 5, 2};
    ms start = clock_mono_ms();
    struct rds_reply reply;
    enum rds_result result;

    if (!args[0].p || !keys[3].p)
        return RDS_DOWN;
    result = rds_run(w->rds, &script, deadline, a, &reply);
    out->rtt_ms = clock_mono_ms() - start;
    if (result == RDS_OK && !read_look(&reply, out))
        return RDS_UNKNOWN;
    return result;
}

/* ---- what kind of server it is */

static void judge_kind(struct redis_watch *w, str text)
{
    char reason[RDS_REFUSAL_MAX];
    struct rds_info info;

    rds_info_read(text, &info);
    w->evicts = rds_info_evicts(&info);
    w->fit = rds_info_serves(&info, reason);
    if (!w->fit)
        snprintf(w->unfit, sizeof w->unfit, "%s", reason);
    else if (w->evicts)
        snprintf(w->unfit, sizeof w->unfit,
                 "maxmemory-policy is %s and must be noeviction", info.policy);
    w->fit = w->fit && !w->evicts;
}

/* False when Redis did not answer; a refusal is an answer. */
static bool ask_info(struct redis_watch *w, struct ctx *c, ms deadline)
{
    struct rds_reply reply;
    enum rds_result result =
        rds_call(w->rds, &STR("INFO"), 1, deadline, &c->arena, &reply);

    if (result != RDS_OK && result != RDS_ERR)
        return false;
    w->fit = w->evicts = false;
    if (result == RDS_ERR)
        snprintf(w->unfit, sizeof w->unfit,
                 "%s (allow it to the user of REDIS_USERNAME, or set "
                 "REDIS_READY_CHECK=false)",
                 rds_reason(w->rds));
    else if (reply.kind == RDS_TEXT)
        judge_kind(w, reply.text);
    else
        snprintf(w->unfit, sizeof w->unfit, "INFO gives no text");
    w->connected = rds_connected(w->rds);
    w->next_info = clock_boot_ms() + REDIS_WATCH_INFO_MS;
    return true;
}

/* Asks only when what is known is old or of another connection. */
static bool know_kind(struct redis_watch *w, struct ctx *c, ms deadline)
{
    if (!w->conf->redis_ready_check) {
        w->fit = true;
        return true;
    }
    if (w->connected == rds_connected(w->rds) && clock_boot_ms() < w->next_info)
        return true;
    return ask_info(w, c, deadline);
}

static void see(struct redis_watch *w, struct ctx *c, ms deadline,
                struct redis_sight *out)
{
    enum rds_result result = ask_look(w, c, deadline, out);

    if (result == RDS_ERR) { /* it is there, and does not do what we need */
        out->answers = true;
        snprintf(out->reason, sizeof out->reason, "%s", rds_reason(w->rds));
        return;
    }
    out->answers = result == RDS_OK && know_kind(w, c, deadline);
    if (!out->answers) {
        snprintf(out->reason, sizeof out->reason, "%s", rds_reason(w->rds));
        return;
    }
    out->fit = w->fit;
    out->evicts = w->evicts;
    if (!out->fit)
        snprintf(out->reason, sizeof out->reason, "%s", w->unfit);
}

/* ---- what is said about it */

static void tell_sight(struct redis_watch *w, const struct redis_sight *was)
{
    const struct redis_sight *s = &w->sight;
    bool turned = was->boot == 0 || s->answers != was->answers;

    if (s->answers && turned)
        log_note(LOG_INFO, "redis.up", "Redis answers");
    if (s->answers && s->fit) {
        w->told[0] = '\0';
        return;
    }
    /* one that is away may come back with another password */
    if ((s->answers || !turned) && strcmp(s->reason, w->told) == 0)
        return;
    snprintf(w->told, sizeof w->told, "%s", s->reason);
    if (s->answers)
        log_note(LOG_WARN, "redis.unfit", "Redis cannot be used: %s",
                 s->reason);
    else
        log_note(LOG_WARN, "redis.down", "Redis does not answer: %s",
                 s->reason);
}

static const char *away_reason(const struct redis_watch *w,
                               const struct dataset *d, ms now)
{
    if (d->read_boot == 0 || now - d->read_boot >= USABLE_UNREAD_MS)
        return "MongoDB does not say which data set is in use";
    if (!w->sight.answers || !w->sight.fit)
        return w->sight.reason;
    return "it holds another data set than MongoDB names";
}

void redis_watch_look(struct redis_watch *w, struct ctx *c,
                      const struct dataset *d, ms within_ms)
{
    struct redis_sight was = w->sight, sight = {.boot = clock_boot_ms()};
    struct usable_look look;
    ms now;

    see(w, c, clock_mono_ms() + within_ms, &sight);
    w->sight = sight;
    tell_sight(w, &was);
    now = clock_boot_ms();
    look = (struct usable_look){sight.answers, sight.fit, w->sight.held};
    if (!usable_note(&w->state, &look, d, now))
        return;
    if (w->state.usable)
        log_note(LOG_INFO, "redis.usable", "data set %s", w->sight.held);
    else
        log_note(LOG_WARN, "redis.away", "%s", away_reason(w, d, now));
}

const char *redis_watch_index(const struct redis_watch *w,
                              const struct dataset *d)
{
    return w && w->state.usable && d->home == DATASET_REDIS ? d->id : "";
}
