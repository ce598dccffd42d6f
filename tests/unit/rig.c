/* rig - see rig.h */
#include "tests/unit/rig.h"

#include "lib/base/clock.h"
#include "lib/base/metrics.h"

ms rig_boot;

void rig_step(ms by)
{
    rig_boot += by;
    clock_set(rig_boot, 0); /* the wall clock is wrong on purpose */
}

static void started(void *arg, enum leader_service s, int64_t term)
{
    struct rig *r = arg;

    assert_int_equal(s, r->k.service);
    assert_int_equal(r->starts, r->stops);
    assert_true(campaign_is_valid(&r->k));
    assert_true(term >= r->term && term > 0);
    r->term = term;
    r->starts++;
}

static void stopped(void *arg, enum leader_service s, int64_t term)
{
    struct rig *r = arg;

    assert_int_equal(s, r->k.service);
    assert_int_equal(r->starts, r->stops + 1);
    assert_false(campaign_is_valid(&r->k));
    assert_int_equal(term, r->term);
    r->stops++;
}

/* A coordinator comes (again): what was saved is all that it knows. */
void rig_come(struct rig *r, enum leader_service s)
{
    campaign_init(&r->k, s, &r->conf, &r->saved);
    r->k.call_ms = 20000; /* for slow machines */
    r->k.on_start = started;
    r->k.on_stop = stopped;
    r->k.arg = r;
    r->starts = r->stops = 0;
}

void rig_init(struct rig *r, const char *instance)
{
    *r = (struct rig){.conf = *mongod.conf};
    r->conf.cluster_instance_id = instance;
    r->conf.cluster_leader_ttl_ms = RIG_TTL;
    rig_come(r, LEADER_CRON);
}

bool rig_has_claim(const struct rig *r)
{
    return r->saved.claim.token[0] != '\0';
}

void rig_time(struct ctx *c)
{
    ctx_reset(c);
    c->deadline = clock_mono_ms() + 30000;
}

void rig_be(const struct rig *r)
{
    mongod.conf->cluster_instance_id = r->conf.cluster_instance_id;
}

/* A look by the real server, when it can be reached, and a turn. */
ms rig_turn_when(struct rig *r, struct ctx *c, bool may)
{
    struct view v;
    ms next;
    bool seen;

    rig_step(1);
    rig_time(c);
    rig_be(r);
    seen = view_read(c, str_of(r->conf.cluster_instance_id), &v) == OK;
    ctx_forgive(c);
    next = campaign_turn(&r->k, c, seen ? &v : NULL, may);
    assert_int_equal(c->err, OK);
    assert_true(next <= rig_boot + RIG_VALID);
    return next;
}

/* Past the jitter: what is free is taken. */
void rig_turn(struct rig *r, struct ctx *c)
{
    (void)rig_turn_when(r, c, true);
    rig_step(RIG_JITTER_MS);
    (void)rig_turn_when(r, c, true);
}

struct leader_term rig_stored(struct ctx *c)
{
    struct view v;

    rig_time(c);
    assert_int_equal(view_read(c, STR("me"), &v), OK);
    return v.terms[LEADER_CRON];
}

void rig_let_lapse(struct ctx *c)
{
    coord_change(c, "_leader", "cron",
                 BCON_NEW("$set", "{", "until", "{", "$subtract", "[", "$$NOW",
                          BCON_INT32(1), "]", "}", "}"));
}

/* Another instance takes the term, which ends for that. */
int64_t rig_lose_to_other(struct ctx *c)
{
    struct leader_try try = {RIG_OTHER, RIG_TTL, 0};
    struct leader_term t;
    bool mine;

    rig_time(c);
    rig_let_lapse(c);
    mongod.conf->cluster_instance_id = "other";
    assert_int_equal(leader_take(c, LEADER_CRON, &try, &t, &mine), OK);
    return mine ? t.term : 0;
}

void rig_set_away(bool away)
{
    mongo_set_away(mongod.pool, away);
}

int rig_fresh(void **state)
{
    rig_set_away(false);
    clock_unset();
    (void)mongod_fresh(state);
    rig_boot = RIG_START_BOOT;
    rig_step(0);
    return 0;
}

int rig_run(const char *name, const struct CMUnitTest *tests, size_t n)
{
    struct metric_labels none = {NULL, 0};

    if (metrics_setup(1, none, none) != OK)
        return 1;
    metrics_join(0);
    return _cmocka_run_group_tests(name, tests, n, mongod_setup,
                                   mongod_teardown);
}
