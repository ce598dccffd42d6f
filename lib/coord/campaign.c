/* campaign - see campaign.h */
#include "lib/coord/campaign.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"

enum {
    CALL_MS = 500,   /* of one command */
    AGAIN_MS = 250,  /* after one that failed */
    LOOK_MS = 500,   /* a candidate looks at least as often */
    JITTER_MS = 100, /* so that candidates do not meet */
    MARGIN_MS = 600, /* at least */
    COOL_MS = 10000, /* after a resignation somebody asked for */
    RESTARTS_MOST = 3
};

_Static_assert((int)LEADER_N == (int)METRIC_SERVICE_N &&
                   (int)LEADER_CRON == (int)METRIC_SERVICE_CRON,
               "a series each");

static ms ttl_of(const struct campaign *k)
{
    return leader_ttl_ms(k->conf);
}

static ms validity_of(const struct campaign *k)
{
    ms ttl = ttl_of(k), margin = ttl / 10;

    return ttl - (margin > MARGIN_MS ? margin : MARGIN_MS);
}

static ms earlier(ms a, ms b)
{
    return a < b ? a : b;
}

static bool has_claim(const struct campaign *k)
{
    return k->saved->claim.token[0] != '\0';
}

static void drop_claim(struct campaign *k)
{
    k->saved->claim = (struct leader_claim){0};
    k->saved->leaving = false;
}

/* What no term can be above is a stranger's. */
static void note_term(struct campaign *k, int64_t term)
{
    if (term > k->saved->seen_term && term < LEADER_TERM_MAX)
        k->saved->seen_term = term;
}

static void log_move(const struct campaign *k, const char *why)
{
    char term[24];

    (void)snprintf(term, sizeof term, "%lld", (long long)k->term);
    log_event(
        LOG_INFO, k->leading ? "leader.started" : "leader.stopped",
        (const struct log_field[]){{"service", str_of(leader_name(k->service))},
                                   {"term", str_of(term)},
                                   {"reason", str_of(why)},
                                   {NULL, STR_NONE}});
}

/* A term that goes on, here or in the next process, is no new one. */
static void count_move(struct campaign *k)
{
    metrics_add(METRIC_LEADER, k->service, k->leading ? 1 : -1);
    if (k->leading && k->saved->begun != k->term)
        metrics_add(METRIC_LEADER_CHANGES, k->service, 1);
    if (k->leading)
        k->saved->begun = k->term;
}

/* The one place that changes the state; the validity is set before. */
static void campaign_move(struct campaign *k, bool leading, const char *why)
{
    if (k->leading == leading)
        return;
    k->leading = leading;
    if (leading)
        k->term = k->saved->claim.term;
    else
        k->valid_until = 0;
    count_move(k);
    log_move(k, why);
    if (leading && k->on_start)
        k->on_start(k->arg, k->service, k->term);
    else if (!leading && k->on_stop)
        k->on_stop(k->arg, k->service, k->term);
}

void campaign_init(struct campaign *k, enum leader_service s,
                   const struct conf *conf, struct campaign_saved *saved)
{
    ms now = clock_boot_ms();

    *k = (struct campaign){
        .service = s, .conf = conf, .saved = saved, .call_ms = CALL_MS};
    if (!has_claim(k))
        return;
    if (saved->restarts == 0 || now - saved->restarted_boot > ttl_of(k)) {
        saved->restarts = 0;
        saved->restarted_boot = now;
    }
    if (++saved->restarts < RESTARTS_MOST)
        return;
    saved->restarts = 0;
    saved->leaving = saved->claim.term > 0;
    k->cool_until = now + COOL_MS;
}

/* One command within what the caller gives; gives back the caller's limit. */
static ms call_begin(const struct campaign *k, struct ctx *c)
{
    ms deadline = c->deadline;

    c->deadline = earlier(deadline, clock_mono_ms() + k->call_ms);
    return deadline;
}

/* Failures end here: all that they tell is "come again". */
static void call_end(struct ctx *c, ms deadline)
{
    c->deadline = deadline;
    ctx_forgive(c);
}

/* The term has been ours since `sent`. */
static void keep(struct campaign *k, ms sent, int64_t term, const char *why)
{
    ms now = clock_boot_ms(), end = sent + validity_of(k);

    k->saved->claim.term = term;
    note_term(k, term);
    k->next_renewal = now < end ? sent + ttl_of(k) / 4 : now;
    if (now >= end)
        return; /* an answer so late proves nothing any more */
    k->valid_until = end;
    campaign_move(k, true, why);
}

static void renew(struct campaign *k, struct ctx *c, const char *why)
{
    ms deadline = call_begin(k, c), sent = clock_boot_ms();
    struct leader_term t;
    bool mine;
    enum err err =
        leader_renew(c, k->service, &k->saved->claim, ttl_of(k), &t, &mine);

    call_end(c, deadline);
    if (err) {
        k->next_renewal = clock_boot_ms() + AGAIN_MS;
    } else if (mine) {
        keep(k, sent, k->saved->claim.term, why);
    } else {
        drop_claim(k);
        campaign_move(k, false, "refused");
    }
}

/* Whole in the shared memory before it is sent. */
static enum err draw_token(struct campaign *k)
{
    char token[ID_TOKEN_MAX];
    enum err err = id_token(token);

    if (err == OK)
        memcpy(k->saved->claim.token, token, sizeof token);
    return err;
}

/* The token stays until a term that was taken with it is over. */
static void take(struct campaign *k, struct ctx *c)
{
    struct leader_try try = {k->saved->claim.token, ttl_of(k),
                             k->saved->seen_term};
    ms deadline = call_begin(k, c), sent = clock_boot_ms();
    struct leader_term t;
    bool mine;
    enum err err = has_claim(k) ? OK : draw_token(k);

    if (err == OK)
        err = leader_take(c, k->service, &try, &t, &mine);
    call_end(c, deadline);
    k->next_try = clock_boot_ms() + AGAIN_MS;
    if (err)
        return;
    note_term(k, t.term);
    if (mine)
        keep(k, sent, t.term, "taken");
}

static void leave(struct campaign *k, struct ctx *c)
{
    ms deadline = call_begin(k, c);
    enum err err = leader_resign(c, k->service, &k->saved->claim);

    call_end(c, deadline);
    if (err)
        k->next_renewal = clock_boot_ms() + AGAIN_MS;
    else
        drop_claim(k);
}

bool campaign_is_valid(const struct campaign *k)
{
    return k->leading && clock_boot_ms() < k->valid_until;
}

/* Given up by the next command, unless it is not known to be ours. */
static void set_leaving(struct campaign *k)
{
    k->saved->leaving = k->saved->claim.term > 0;
}

void campaign_resign(struct campaign *k, struct ctx *c, ms cool_ms)
{
    k->cool_until = clock_boot_ms() + cool_ms;
    set_leaving(k);
    campaign_move(k, false, "resigned");
    if (k->saved->leaving)
        leave(k, c);
}

void campaign_step_down(struct campaign *k)
{
    set_leaving(k);
    k->next_renewal = 0;
    campaign_move(k, false, "a greater term");
}

static ms lead(struct campaign *k, struct ctx *c, const struct view *v,
               bool may)
{
    const struct leader_term *t = v ? &v->terms[k->service] : NULL;

    if (t)
        note_term(k, t->term);
    if (!campaign_is_valid(k))
        campaign_move(k, false, "validity over");
    else if (!may)
        campaign_resign(k, c, 0);
    else if (t && t->term > k->term)
        campaign_step_down(k);
    else if (t && t->ask != LEADER_ASK_NONE && t->ask_term == k->term)
        campaign_resign(k, c, COOL_MS);
    else if (clock_boot_ms() >= k->next_renewal)
        renew(k, c, "renewed");
    if (k->leading && !campaign_is_valid(k))
        campaign_move(k, false, "validity over");
    return k->leading ? earlier(k->next_renewal, k->valid_until)
                      : clock_boot_ms();
}

/* Is the next term reserved for this instance? */
static bool is_for_me(const struct campaign *k, const struct leader_term *t)
{
    return t->reserved_ms > 0 &&
           str_eq(t->reserved, str_of(k->conf->cluster_instance_id));
}

/* When the term of a new look, and what is reserved, will be over. */
static void plan(struct campaign *k, const struct view *v)
{
    const struct leader_term *t = &v->terms[k->service];
    ms left = t->left_ms > LEADER_LEFT_MOST ? 0 : t->left_ms, due;
    bool for_me = is_for_me(k, t);

    if (k->looked == v->taken_boot)
        return;
    k->looked = v->taken_boot;
    if (!for_me && t->reserved_ms > left)
        left = t->reserved_ms;
    due = v->taken_boot + v->rtt_ms + (left > 0 ? left : 0) +
          (for_me ? 0 : id_chance() % JITTER_MS);
    /* a term that stays over is not put off by each look */
    if (left > 0 || due < k->next_try)
        k->next_try = due;
}

/* What a follower learns from a look. */
static void learn(struct campaign *k, const struct view *v)
{
    const struct leader_term *t = &v->terms[k->service];
    struct leader_claim *claim = &k->saved->claim;

    note_term(k, t->term);
    if (k->service == LEADER_MAINTENANCE)
        note_term(k, v->dataset_term);
    /* the answer to a claim whose reply was lost */
    if (has_claim(k) && claim->term == 0 &&
        str_eq(t->token, str_of(claim->token)))
        claim->term = t->term;
    if (is_for_me(k, t))
        k->cool_until = 0;
    plan(k, v);
}

static ms follow(struct campaign *k, struct ctx *c, const struct view *v,
                 bool may)
{
    ms now = clock_boot_ms(), next;
    bool held;

    if (v)
        learn(k, v);
    may = may && now >= k->cool_until;
    held = k->saved->claim.term > 0;
    if (held && !may)
        k->saved->leaving = true;
    if (held && now >= k->next_renewal) {
        if (k->saved->leaving)
            leave(k, c);
        else
            renew(k, c, "continued");
    } else if (!held && may && v && now >= k->next_try) {
        take(k, c);
    }
    if (k->leading)
        return earlier(k->next_renewal, k->valid_until);
    now = clock_boot_ms();
    next = k->saved->claim.term > 0 ? k->next_renewal : k->next_try;
    return next > now ? earlier(next, now + LOOK_MS) : now + AGAIN_MS;
}

ms campaign_turn(struct campaign *k, struct ctx *c, const struct view *v,
                 bool may)
{
    return k->leading ? lead(k, c, v, may) : follow(k, c, v, may);
}
