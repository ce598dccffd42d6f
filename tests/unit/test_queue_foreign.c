/* test_queue_foreign - rows that no program of ours would write, or that are
 * left of what is gone: they hold nobody else up */
#include "lib/coord/queue.h"

#include "tests/unit/queue_paths.h"

enum {
    CLAIMS = 8 /* with a turn for everybody */
};

/* What the subscriber gets out of some claims. */
static int jobs_for(struct ctx *c, struct claimant *k, str hook)
{
    struct claim cl;
    int n = 0;

    for (int i = 0; i < CLAIMS; i++) {
        enum claim_result got = world_claim(c, k, &cl);
        struct job_result r = world_done();

        if (got != CLAIM_GOT)
            continue;
        n += str_eq(cl.job.lim, hook);
        world_finish(c, k, &cl, &r);
    }
    return n;
}

static void change_job(struct ctx *c, str id, const char *name,
                       const char *text)
{
    coord_change(c, "_jobs", id.p,
                 BCON_NEW("$set", "{", name, BCON_UTF8(text), "}"));
}

static void lost_job_of_a_deleted_webhook_is_cancelled(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;

    world_hook(c, &(struct hook){.n = 1});
    (void)world_put(c, &(struct put){.hook = 1});
    cl = world_got(c, &k);
    world_unhook(c, 1);
    world_none(c, &k);
    assert_str(world_text(world_job(c, cl.job.id), "st"), "leased");
    world_lapse(c, cl.job.id);
    k.skips_n = 0;
    world_none(c, &k);
    assert_str(world_text(world_job(c, cl.job.id), "st"), "cancelled");
    assert_false(world_has(world_job(c, cl.job.id), "open"));
}

/* Charging it is refused by the server. */
static void limits_that_cannot_be_read_hold_nobody_else_up(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();

    world_hook(c, &(struct hook){.n = 1});
    world_hook(c, &(struct hook){.n = 2});
    (void)mongod_do(c, BCON_NEW("update", "_limits", "updates", "[", "{", "q",
                                "{", "_id", BCON_UTF8(world_limits_id(c, 1).p),
                                "}", "u", "{", "$set", "{", "hold", "x", "}",
                                "}", "upsert", BCON_BOOL(true), "}", "]",
                                "bypassDocumentValidation", BCON_BOOL(true)));
    for (int i = 0; i < 3; i++) {
        (void)world_put(c, &(struct put){.hook = 1, .n = i});
        (void)world_put(c, &(struct put){.hook = 2, .n = i});
    }
    assert_int_equal(jobs_for(c, &k, world_hook_id(c, 2)), 3);
}

/* Starting it is refused by the server. */
static void row_that_cannot_be_read_holds_nobody_else_up(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    str bad;

    world_hook(c, &(struct hook){.n = 1});
    world_hook(c, &(struct hook){.n = 2});
    bad = world_put(c, &(struct put){.hook = 1});
    change_job(c, bad, "starts", "many");
    for (int i = 0; i < 3; i++)
        (void)world_put(c, &(struct put){.hook = 2, .n = i});
    assert_int_equal(jobs_for(c, &k, world_hook_id(c, 2)), 3);
    world_settled(c, &k);
    assert_int_equal(world_flying(c, 1), 0);
    assert_int_equal(world_grants(c, 1), 0);
}

/* Nobody has that webhook. */
static void row_of_a_foreign_subscriber_is_cancelled(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    str bad;

    world_hook(c, &(struct hook){.n = 2});
    bad = world_put(c, &(struct put){.hook = 1});
    change_job(c, bad, "lim", "00");
    for (int i = 0; i < 3; i++)
        (void)world_put(c, &(struct put){.hook = 2, .n = i});
    assert_int_equal(jobs_for(c, &k, world_hook_id(c, 2)), 3);
    if (c->index[0]) { /* it is listed as what it is, by the sweep */
        assert_str(world_text(world_job(c, bad), "st"), "waiting");
        assert_false(world_has(world_job(c, bad), "enq"));
        change_job(c, bad, "g", "00");
        world_list(c, bad);
        assert_int_equal(jobs_for(c, &k, world_hook_id(c, 2)), 0);
    }
    assert_str(world_text(world_job(c, bad), "st"), "cancelled");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BOTH(lost_job_of_a_deleted_webhook_is_cancelled),
        IN_MONGO(limits_that_cannot_be_read_hold_nobody_else_up),
        IN_BOTH(row_that_cannot_be_read_holds_nobody_else_up),
        IN_BOTH(row_of_a_foreign_subscriber_is_cancelled),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, world_main_setup, mongod_teardown);
}
