/* campaign - see campaign.h */
#include "lib/coord/campaign.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"

enum {
    CALL_MS = 500,   /* of one command */
    AGAIN_MS = 250,  /* after one that failed */
    LOOK_MS = 500,   /* a candidate looks at least as often */
    JITTER_MS = 100, /* so that candidates do not meet */
    MARGIN_MS = 600, /* at least */
    COOL_MS = 10000, /* after a resignation somebody asked for */
    RESTARTS_MOST = 3
};

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

static void note_term(struct campaign *k, int64_t term)
{
    if (term > k->saved->seen_term)
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

    *k = (struct campaign){.service = s, .conf = conf, .saved = saved};
    if (!has_claim(k))
        return;
    if (saved->restarts == 0 || now - saved->restarted_boot > ttl_of(k)) {
        saved->restarts = 0;
        saved->restarted_boot = now;
    }
    if (++saved->restarts < RESTARTS_MOST)
        return;
    saved->restarts = 0;
    saved->leaving = true;
    k->cool_until = now + COOL_MS;
}

/* The limit of one command, within what the caller gives. */
struct limit {
    ms deadline;
};

static struct limit limit_begin(struct ctx *c)
{
    struct limit l = {c->deadline};

    c->deadline = earlier(c->deadline, clock_mono_ms() + CALL_MS);
    return l;
}

/* Failures end here: all that is told by them is "come again". */
static void limit_end(struct ctx *c, struct limit l)
{
    c->deadline = l.deadline;
    ctx_forgive(c);
}

/* The term is ours since before `sent`. */
static void keep(struct campaign *k, ms sent, int64_t term, const char *why)
{
    k->saved->claim.term = term;
    note_term(k, term);
    k->next_renewal = sent + ttl_of(k) / 4;
    if (clock_boot_ms() >= sent + validity_of(k))
        return; /* slower than the lease: to be renewed before it counts */
    k->valid_until = sent + validity_of(k);
    campaign_move(k, true, why);
}

static void renew(struct campaign *k, struct ctx *c, const char *why)
{
    struct limit l = limit_begin(c);
    struct leader_term t;
    ms sent = clock_boot_ms();
    bool mine;
    enum err err =
        leader_renew(c, k->service, &k->saved->claim, ttl_of(k), &t, &mine);

    limit_end(c, l);
    if (err) {
        k->next_renewal = k->next_try = clock_boot_ms() + AGAIN_MS;
    } else if (mine) {
        keep(k, sent, k->saved->claim.term, why);
    } else {
        drop_claim(k);
        campaign_move(k, false, "refused");
    }
}

static void take(struct campaign *k, struct ctx *c)
{
    struct leader_claim *claim = &k->saved->claim;
    struct limit l = limit_begin(c);
    struct leader_term t;
    ms sent = clock_boot_ms();
    bool mine = false;
    enum err err = OK;

    if (!has_claim(k))
        err = id_token(claim->token);
    if (err == OK)
        err = leader_take(
            c, k->service,
            &(struct leader_try){claim->token, ttl_of(k), k->saved->seen_term},
            &t, &mine);
    limit_end(c, l);
    k->next_try = sent + AGAIN_MS;
    if (err)
        return;
    note_term(k, t.term);
    if (mine)
        keep(k, sent, t.term, "taken");
}

static void leave(struct campaign *k, struct ctx *c)
{
    struct limit l = limit_begin(c);
    enum err err = OK;

    if (k->saved->claim.term > 0)
        err = leader_resign(c, k->service, &k->saved->claim);
    limit_end(c, l);
    if (err)
        k->next_try = clock_boot_ms() + AGAIN_MS;
    else
        drop_claim(k);
}

bool campaign_is_valid(const struct campaign *k)
{
    return k->leading && clock_boot_ms() < k->valid_until;
}

void campaign_resign(struct campaign *k, struct ctx *c, ms cool_ms)
{
    k->cool_until = clock_boot_ms() + cool_ms;
    k->saved->leaving = has_claim(k);
    campaign_move(k, false, "resigned");
    if (k->saved->leaving)
        leave(k, c);
}

void campaign_step_down(struct campaign *k)
{
    k->saved->leaving = has_claim(k);
    campaign_move(k, false, "a greater term has written");
}

static ms lead(struct campaign *k, struct ctx *c, const struct view *v,
               bool may)
{
    const struct leader_term *t = v ? &v->terms[k->service] : NULL;

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

/* A look that is new tells when the term, or its reservation, ends. */
static void look(struct campaign *k, const struct view *v, bool for_me)
{
    const struct leader_term *t = &v->terms[k->service];
    ms left = t->left_ms > LEADER_LEFT_MOST ? 0 : t->left_ms;

    note_term(k, t->term);
    if (k->service == LEADER_MAINTENANCE)
        note_term(k, v->dataset_term);
    /* the answer to a claim, when its reply was lost */
    if (has_claim(k) && k->saved->claim.term == 0 && t->term > 0 &&
        str_eq(t->token, str_of(k->saved->claim.token)))
        k->saved->claim.term = t->term;
    if (k->looked == v->taken_boot)
        return;
    k->looked = v->taken_boot;
    if (!for_me && t->reserved_ms > left)
        left = t->reserved_ms;
    if (left > 0)
        k->next_try = v->taken_boot + v->rtt_ms + left +
                      (for_me ? 0 : id_chance() % JITTER_MS);
}

static ms follow(struct campaign *k, struct ctx *c, const struct view *v,
                 bool may)
{
    ms now = clock_boot_ms();
    bool for_me = v && v->terms[k->service].reserved_ms > 0 &&
                  str_eq(v->terms[k->service].reserved,
                         str_of(k->conf->cluster_instance_id));

    if (v)
        look(k, v, for_me);
    if (for_me)
        k->cool_until = 0;
    may = may && now >= k->cool_until;
    if (!may && has_claim(k))
        k->saved->leaving = true;
    if (now >= k->next_try || k->saved->claim.term > 0) {
        if (k->saved->leaving)
            leave(k, c);
        else if (may && k->saved->claim.term > 0)
            renew(k, c, "continued");
        else if (may && v)
            take(k, c);
    }
    if (k->leading)
        return earlier(k->next_renewal, k->valid_until);
    now = clock_boot_ms();
    return k->next_try > now ? earlier(k->next_try, now + LOOK_MS)
                             : now + AGAIN_MS;
}

ms campaign_turn(struct campaign *k, struct ctx *c, const struct view *v,
                 bool may)
{
    return k->leading ? lead(k, c, v, may) : follow(k, c, v, may);
}
