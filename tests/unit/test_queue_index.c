/* test_queue_index - what only the claim path through Redis knows: an index
 * that is behind its rows, or was told lies */
#include "lib/coord/queue.h"

#include "tests/unit/queue_paths.h"

static bool has_job(struct ctx *c, str id)
{
    return PATHS_ASK(c, STR("EXISTS"), paths_key(c, "j:", id)).p[0] == '1';
}

/* When a job that waits for its time may run, in ms from now; 0: it does not */
static ms delay_of(struct ctx *c, str id)
{
    str at = PATHS_ASK(c, STR("ZSCORE"), STR("t:q:webhook:dly"), id);
    int64_t v;

    return at.n > 0 && str_to_i64(at, &v) ? v - clock_wall_ms() : 0;
}

static void set_number(struct ctx *c, str id, const char *name, int64_t v)
{
    coord_change(c, "_jobs", id.p,
                 BCON_NEW("$set", "{", name, BCON_INT64(v), "}"));
}

static bool is_listed(struct ctx *c, str id)
{
    return world_has(world_job(c, id), "enq");
}

/* ---- rows that the index is behind of */

static void what_has_ended_is_passed_over_at_no_cost(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    str gone, ended, last;

    world_hook(c, &(struct hook){.n = 1, .limit = 1});
    gone = world_put(c, &(struct put){.hook = 1, .n = 0});
    ended = world_put(c, &(struct put){.hook = 1, .n = 1});
    last = world_put(c, &(struct put){.hook = 1, .n = 2});
    (void)mongod_do(c, BCON_NEW("delete", "_jobs", "deletes", "[", "{", "q",
                                "{", "_id", BCON_UTF8(gone.p), "}", "limit",
                                BCON_INT32(1), "}", "]"));
    coord_change(c, "_jobs", ended.p, BCON_NEW("$unset", "open"));
    assert_str(world_got(c, &k).job.id, last.p);
    assert_false(has_job(c, gone) || has_job(c, ended));
    assert_int_equal(world_grants(c, 1), 1);
    assert_int_equal(world_flying(c, 1), 1);
}

/* More than a claim looks at: the rest is told, too. */
static void many_that_have_ended_are_passed_over_in_some_claims(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;
    int claims = 1;
    str last;

    world_hook(c, &(struct hook){.n = 1, .limit = 1});
    world_fill(c, (struct put){.hook = 1}, 0, 50);
    (void)mongod_do(c, BCON_NEW("delete", "_jobs", "deletes", "[", "{", "q",
                                "{", "}", "limit", BCON_INT32(0), "}", "]"));
    last = world_put(c, &(struct put){.hook = 1, .n = 60});
    while (world_claim(c, &k, &cl) != CLAIM_GOT) {
        assert_in_range(cl.wait_ms, 1, 20);
        assert_true(++claims < 6);
    }
    assert_str(cl.job.id, last.p);
    assert_int_equal(claims, 4);
}

static void row_that_is_not_due_waits_in_the_index(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;
    str id;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1});
    coord_change(c, "_jobs", id.p,
                 BCON_NEW("$set", "{", "runAt", "{", "$add", "[", "$$NOW",
                          BCON_INT64(30000), "]", "}", "}"));
    assert_int_equal(world_claim(c, &k, &cl), CLAIM_NONE);
    assert_in_range(delay_of(c, id), 20000, 30100);
    assert_int_equal(world_grants(c, 1), 0);
    assert_int_equal(world_flying(c, 1), 0);
    assert_int_equal(world_number(world_job(c, id), "starts", -1), 0);
    assert_true(is_listed(c, id));
}

/* Who got one is busy, and the only one who knows when the next is due. */
static void claim_tells_when_the_next_is_due(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;
    str id;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1, .n = 1});
    coord_change(c, "_jobs", id.p,
                 BCON_NEW("$set", "{", "runAt", "{", "$add", "[", "$$NOW",
                          BCON_INT64(700), "]", "}", "}"));
    world_none(c, &k); /* the index is told */
    (void)world_put(c, &(struct put){.hook = 1, .n = 2});
    cl = world_got(c, &k);
    assert_in_range(cl.wait_ms, 1, 750);
}

/* It may be over at any time. */
static void row_that_somebody_has_is_tried_again_within_a_second(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker(), other = world_worker();
    struct claim cl;
    str id;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1});
    c->index = "";
    cl = world_got(c, &other); /* on the other path */
    c->index = PATHS_ID;
    assert_string_equal(cl.dataset, "");
    world_none(c, &k);
    assert_in_range(delay_of(c, id), 1, 1050);
    assert_str(world_text(world_job(c, id), "lease.tok"), cl.token);
    assert_int_equal(world_grants(c, 1), 0);
}

static str put(struct ctx *c, const char *doc, int ord)
{
    return world_put(
        c, &(struct put){.hook = 1, .n = ord, .doc = doc, .ord = ord});
}

static void older_row_that_the_index_lacks_comes_first(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    struct claim cl;
    str old, young;

    world_hook(c, &(struct hook){.n = 1, .limit = 2});
    c->index = "";
    old = put(c, "a", 1);
    c->index = PATHS_ID;
    young = put(c, "a", 2);
    world_none(c, &k);
    assert_true(has_job(c, old));
    assert_int_equal(world_number(world_job(c, young), "starts", -1), 0);
    assert_str(world_text(world_job(c, young), "st"), "waiting");
    assert_true(is_listed(c, young));
    assert_int_equal(world_grants(c, 1), 0);
    world_due_now(c, young); /* the group waits for the young one */
    cl = world_got(c, &k);
    assert_str(cl.job.id, old.p);
    world_finish(c, &k, &cl, &r);
    assert_str(world_got(c, &k).job.id, young.p);
    assert_int_equal(world_grants(c, 1), 2);
}

/* As dead letters that are replayed while more waits than there is room for. */
static void older_row_comes_first_though_the_index_is_full(void **state)
{
    const struct index_meta meta = {.cap = 1000, .max = 1};
    struct ctx *c = *state;
    struct claimant k = world_worker();
    str old, young;

    world_hook(c, &(struct hook){.n = 1});
    young = put(c, "a", 2);
    assert_int_equal(index_meta(c, QUEUE_WEBHOOK, &meta), INDEX_DONE);
    c->index = "";
    old = put(c, "a", 1);
    c->index = PATHS_ID;
    world_none(c, &k);
    world_due_now(c, young);
    assert_str(world_got(c, &k).job.id, old.p);
}

/* ---- what no program of ours has put there */

/* A job of the index that no program of ours would list so */
static void plant(struct ctx *c, str id, str lim, str group)
{
    const struct index_job one = {
        .id = id, .lim = lim, .group = group, .ord = 1};
    enum index_seat seat;

    assert_int_equal(
        index_enqueue(c, QUEUE_WEBHOOK, INDEX_BY_SWEEP, &one, 1, &seat),
        INDEX_DONE);
}

static int64_t foreign_seen(void)
{
    return metrics_sum(METRIC_QUEUE_FOREIGN, 0);
}

static void ids_that_no_row_can_have_are_removed(void **state)
{
    static const char *const bad[] = {
        "", "a b", "\xff\xfe",
        "0123456789012345678901234567890123456789012345678901234567890123"};
    struct ctx *c = *state;
    struct claimant k = world_worker();
    int64_t seen = foreign_seen();
    str id;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1});
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        plant(c, str_of(bad[i]), world_hook_id(c, 1), world_hook_id(c, 1));
    assert_str(world_got(c, &k).job.id, id.p);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(has_job(c, str_of(bad[i])));
    assert_int_equal(foreign_seen() - seen, 4);
    world_none(c, &k);
}

static void jobs_without_a_row_are_passed_over(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();

    world_hook(c, &(struct hook){.n = 1});
    plant(c, STR("x"), world_hook_id(c, 1), world_hook_id(c, 1));
    plant(c, STR("y"), STR("nobody"), STR("nobody"));
    plant(c, STR("z"), STR("test:z"), STR("test:z"));
    plant(c, STR("$v"), STR("\xff\xfe"), STR("\xff\xfe"));
    plant(c, STR("u"), STR("nobody"), STR("nobody:\xff"));
    world_none(c, &k);
    world_settled(c, &k);
    assert_false(has_job(c, STR("x")) || has_job(c, STR("y")) ||
                 has_job(c, STR("z")) || has_job(c, STR("$v")) ||
                 has_job(c, STR("u")));
}

/* The index says that the row belongs elsewhere: it is believed nothing. */
static void row_that_is_listed_as_another_is_listed_anew(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    str id, lies[4];

    world_hook(c, &(struct hook){.n = 1});
    world_hook(c, &(struct hook){.n = 2});
    lies[0] = world_hook_id(c, 2);             /* of another webhook */
    lies[1] = STR("000000000000000000000009"); /* of one that is gone */
    lies[2] = STR("test:1");                   /* a test */
    lies[3] = world_hook_id(c, 1);             /* in a group */
    id = world_put(c, &(struct put){.hook = 1});
    for (int i = 0; i < 4; i++) {
        str group = i < 3
                        ? lies[i]
                        : arena_strf(&c->arena, STR_FMT ":d", STR_ARG(lies[i]));

        paths_open(c, PATHS_ID);
        set_number(c, id, "enq", 1);
        plant(c, id, lies[i], group);
        world_none(c, &k);
        world_settled(c, &k);
        assert_str(world_text(world_job(c, id), "st"), "waiting");
        assert_int_equal(world_number(world_job(c, id), "starts", -1), 0);
        assert_false(is_listed(c, id));
        assert_false(has_job(c, id));
    }
    world_list(c, id);
    assert_str(world_got(c, &k).job.id, id.p);
}

static void webhook_of_the_row_is_not_looked_for_elsewhere(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    str id;

    world_hook(c, &(struct hook){.n = 1, .disabled = true});
    id = world_put(c, &(struct put){.hook = 1});
    paths_open(c, PATHS_ID);
    plant(c, id, STR("nobody"), STR("nobody"));
    world_none(c, &k);
    assert_false(is_listed(c, id));
    assert_false(has_job(c, id));
}

/* Else it would be started by a write that may be lost. */
static void test_that_is_listed_as_a_delivery_is_not_started(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    str id, lim;

    world_hook(c, &(struct hook){.n = 1});
    id = world_put(c, &(struct put){.hook = 1, .once = true});
    lim = arena_strf(&c->arena, "test:" STR_FMT, STR_ARG(id));
    paths_open(c, PATHS_ID);
    plant(c, id, lim, lim);
    world_none(c, &k);
    assert_int_equal(world_number(world_job(c, id), "starts", -1), 0);
    assert_str(world_text(world_job(c, id), "st"), "waiting");
    world_list(c, id);
    assert_true(world_got(c, &k).job.once);
}

/* ---- webhooks that change */

static void changed_limit_is_learnt_with_the_next_claim(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();

    world_hook(c, &(struct hook){.n = 1, .limit = 1});
    world_fill(c, (struct put){.hook = 1}, 0, 9);
    (void)world_got(c, &k);
    world_none(c, &k);
    world_hook(c, &(struct hook){.n = 1, .limit = 3});
    world_list(c, world_job_id(c, 1, 8)); /* as any new one would be */
    world_reset(c);
    (void)world_got(c, &k);
    (void)world_got(c, &k);
    world_none(c, &k);
    paths_open(c, PATHS_ID);
    for (int n = 3; n < 9; n++)
        world_list(c, world_job_id(c, 1, n));
    world_hook(c, &(struct hook){.n = 1, .limit = 2});
    world_reset(c);
    (void)world_got(c, &k);
    (void)world_got(c, &k);
    world_none(c, &k);
}

static ms held_ms(struct ctx *c, int hook)
{
    int64_t at = paths_number(PATHS_ASK(
        c, STR("HGET"), paths_key(c, "l:", world_hook_id(c, hook)), STR("h")));

    return at > 0 ? at - clock_wall_ms() : 0;
}

static void disabled_webhook_is_held_a_minute(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    str id;

    world_hook(c, &(struct hook){.n = 1, .disabled = true});
    id = world_put(c, &(struct put){.hook = 1});
    world_none(c, &k);
    assert_in_range(held_ms(c, 1), 50000, 60000);
    assert_int_equal(world_number(world_job(c, id), "starts", -1), 0);
    assert_int_equal(world_grants(c, 1), 0);
    assert_true(is_listed(c, id));
}

/* A worker whose snapshot is a little older must not hold it. */
static void webhook_that_was_enabled_just_now_is_not_held(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    bson_oid_t oid;

    world_hook(c, &(struct hook){.n = 1, .disabled = true});
    (void)world_put(c, &(struct put){.hook = 1});
    bson_oid_init_from_string(&oid, world_hook_id(c, 1).p);
    (void)mongod_do(c, BCON_NEW("update", "_webhooks", "updates", "[", "{", "q",
                                "{", "_id", BCON_OID(&oid), "}", "u", "{",
                                "$set", "{", "enabled", BCON_BOOL(true), "}",
                                "}", "}", "]"));
    world_none(c, &k);
    assert_true(held_ms(c, 1) <= 0);
    world_raise(c);
    world_reset(c);
    assert_str(world_got(c, &k).job.id, world_job_id(c, 1, 0).p);
}

int main(void)
{
    const struct metric_labels none = {NULL, 0};
    const struct CMUnitTest tests[] = {
        IN_REDIS(what_has_ended_is_passed_over_at_no_cost),
        IN_REDIS(many_that_have_ended_are_passed_over_in_some_claims),
        IN_REDIS(row_that_is_not_due_waits_in_the_index),
        IN_REDIS(claim_tells_when_the_next_is_due),
        IN_REDIS(row_that_somebody_has_is_tried_again_within_a_second),
        IN_REDIS(older_row_that_the_index_lacks_comes_first),
        IN_REDIS(older_row_comes_first_though_the_index_is_full),
        IN_REDIS(ids_that_no_row_can_have_are_removed),
        IN_REDIS(jobs_without_a_row_are_passed_over),
        IN_REDIS(row_that_is_listed_as_another_is_listed_anew),
        IN_REDIS(webhook_of_the_row_is_not_looked_for_elsewhere),
        IN_REDIS(test_that_is_listed_as_a_delivery_is_not_started),
        IN_REDIS(changed_limit_is_learnt_with_the_next_claim),
        IN_REDIS(disabled_webhook_is_held_a_minute),
        IN_REDIS(webhook_that_was_enabled_just_now_is_not_held),
    };

    redis_setup();
    if (metrics_setup(1, none, none) != OK)
        return 1;
    metrics_join(0);
    return cmocka_run_group_tests(tests, world_main_setup, mongod_teardown);
}
