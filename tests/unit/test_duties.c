/* test_duties - what the maintenance leader keeps the index in Redis told of,
 * and when */
#include <signal.h>

#include "tests/unit/home.h"
#include "tests/unit/queue_world.h"

#include "workers/duties.c"

enum {
    TURNS_MOST = 200
};

static struct {
    struct duties d;
    struct redis_watch watch;
    struct view view;
    struct duty_input in;
    ms now; /* boot clock, as the duties have it */
} world;

static int fresh(void **state)
{
    struct ctx *c;

    home_redis(state);
    c = *state;
    rds_free(c->rds);
    c->rds = NULL;
    mongod.conf->webhook_rate_limit_window_ms = WINDOW_MS;
    mongod.conf->webhooks_global_rate_limit_per_minute = 77;
    assert_int_equal(schema_apply(c), OK);
    world_hook(c, &(struct hook){.n = 1});
    memset(&world, 0, sizeof world);
    assert_true(redis_watch_init(&world.watch, mongod.conf));
    world.watch.state.usable = true;
    world.view.dataset.home = DATASET_REDIS;
    snprintf(world.view.dataset.id, DATASET_ID_MAX, HOME_ID);
    world.in = (struct duty_input){c, &world.watch, &world.view};
    world.now = clock_boot_ms();
    duties_start(&world.d, mongod.conf, 1);
    for (int i = 0; i < DUTY_N; i++) /* only those of the index */
        if (i < DUTY_INDEX || i > DUTY_OVERDUE)
            world.d.next[i] = INT64_MAX;
    return 0;
}

static int ended(void **state)
{
    redis_watch_done(&world.watch);
    return home_end(state);
}

#define IN_DUTIES(test) cmocka_unit_test_setup_teardown(test, fresh, ended)

/* All that is due at this time; gives the number of slices. */
static int run_due(void)
{
    int turns = 0;

    world.now += INDEX_EVERY_MS;
    do {
        world_reset(world.in.c);
        assert_true(turns++ < TURNS_MOST);
        (void)duties_turn(&world.d, &world.in, world.now);
        assert_null(world.in.c->rds);
        assert_string_equal(world.in.c->index, "");
    } while (duties_next(&world.d) <= world.now);
    return turns;
}

/* A field of the queue's settings in Redis; -1: there is none. */
static int64_t meta(const char *name)
{
    struct ctx *c = world.in.c;
    struct rds *r = rds_find(c);
    struct rds_reply reply;
    int64_t n = -1;

    redis_await(r);
    if (rds_call(r, WORDS(STR("HGET"), STR("t:q:webhook:meta"), str_of(name)),
                 clock_mono_ms() + 10000, &c->arena, &reply) != RDS_OK)
        fail_msg("%s", rds_reason(r));
    if (reply.kind == RDS_TEXT)
        assert_true(str_to_i64(reply.text, &n));
    rds_free(r);
    c->rds = NULL;
    return n;
}

static int64_t marked(const char *dataset)
{
    const bson_t *reply =
        mongod_do(world.in.c, BCON_NEW("count", "_jobs", "query", "{", "enq",
                                       BCON_UTF8(dataset), "}"));

    return world_number(reply, "n", -1);
}

static void fill(int from, int to, ms age)
{
    ms ts = clock_server_ms() - age;

    world_fill(world.in.c, (struct put){.hook = 1}, from, to);
    (void)mongod_do(world.in.c,
                    BCON_NEW("update", "_jobs", "updates", "[", "{", "q", "{",
                             "enq", "{", "$exists", BCON_BOOL(false), "}", "}",
                             "u", "{", "$set", "{", "ts", BCON_DATE_TIME(ts),
                             "}", "}", "multi", BCON_BOOL(true), "}", "]"));
}

static void settings_are_told_each_second(void **state)
{
    (void)state;
    (void)run_due();
    assert_int_equal(meta("max"), INDEX_JOBS_MAX);
    assert_int_equal(meta("cap"), 1);
    assert_int_equal(meta("gl"), 77);
    assert_int_equal(meta("gw"), WINDOW_MS + queue_slack_ms(mongod.conf));
}

static void rows_are_brought_until_there_are_no_more(void **state)
{
    (void)state;
    fill(0, 1200, 5000);
    assert_true(run_due() >= 3 + 1 + 1);
    assert_int_equal(marked(HOME_ID), 1200);
    assert_int_equal(meta("len"), 1200);
    assert_true(world.d.index.stats.complete);
}

static void new_data_set_is_filled_at_once(void **state)
{
    (void)state;
    fill(0, 10, 5000);
    (void)run_due();
    assert_int_equal(marked(HOME_ID), 10);
    home_open(HOME_OTHER);
    rds_free(home.c->rds);
    home.c->rds = NULL;
    snprintf(world.view.dataset.id, DATASET_ID_MAX, HOME_OTHER);
    for (int i = 0; i < 2; i++) { /* the settings, the rows: nothing is due */
        world_reset(world.in.c);
        (void)duties_turn(&world.d, &world.in, world.now);
    }
    assert_int_equal(meta("max"), INDEX_JOBS_MAX);
    assert_int_equal(marked(HOME_OTHER), 10);
}

static void nothing_is_brought_while_redis_is_not_used(void **state)
{
    (void)state;
    fill(0, 10, 5000);
    world.watch.state.usable = false;
    (void)run_due();
    world.watch.state.usable = true;
    world.view.dataset.home = DATASET_MONGO;
    (void)run_due();
    world.view.dataset.home = DATASET_REDIS;
    world.in.w = NULL;
    (void)run_due();
    assert_int_equal(marked(HOME_ID), 0);
    assert_int_equal(meta("max"), -1);
}

/* What came while it spilled is brought too, and then it is over. */
static void spill_ends_when_none_is_left(void **state)
{
    struct ctx *c = *state;

    fill(0, 5, 5000);
    (void)run_due();
    fill(5, 10, 0);
    redis_do(rds_find(c), WORDS(STR("HSET"), STR("t:q:webhook:meta"),
                                STR("spill"), STR("1")));
    rds_free(c->rds);
    c->rds = NULL;
    (void)run_due();
    assert_int_equal(marked(HOME_ID), 10);
    assert_int_equal(meta("spill") == 1, 0);
}

static void young_rows_are_left_to_who_made_them(void **state)
{
    (void)state;
    (void)run_due();
    fill(0, 5, -30000); /* however long this takes */
    (void)run_due();
    assert_int_equal(marked(HOME_ID), 0);
}

static void hung_redis_costs_no_term(void **state)
{
    ms start;

    (void)state;
    fill(0, 10, 5000);
    (void)run_due();
    fill(10, 20, 5000);
    kill(redis.pid, SIGSTOP);
    world.now += INDEX_EVERY_MS;
    for (int i = DUTY_INDEX; i <= DUTY_OVERDUE; i++) {
        world_reset(world.in.c);
        start = clock_mono_ms();
        (void)duties_turn(&world.d, &world.in, world.now);
        assert_true(clock_mono_ms() - start < 10000);
    }
    kill(redis.pid, SIGCONT);
    assert_int_equal(marked(HOME_ID), 10);
}

static void figures_add_what_the_index_counts(void **state)
{
    struct ctx *c = *state;
    const bson_t *row;

    for (int i = DUTY_INDEX; i <= DUTY_OVERDUE; i++)
        world.d.next[i] = INT64_MAX;
    snprintf(world.d.index.id, DATASET_ID_MAX, HOME_ID); /* as noted */
    world.d.index.stats.limited = 3;
    world.d.index.stats.breakers = 2;
    world.d.next[DUTY_FIGURES] = 0;
    world_reset(c);
    (void)duties_turn(&world.d, &world.in, world.now);
    row = mongod_find(c, "_cluster", "queue:webhook");
    assert_int_equal(world_number(row, "figures.limited", -1), 3);
    assert_int_equal(world_number(row, "figures.breakers", -1), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DUTIES(settings_are_told_each_second),
        IN_DUTIES(rows_are_brought_until_there_are_no_more),
        IN_DUTIES(new_data_set_is_filled_at_once),
        IN_DUTIES(nothing_is_brought_while_redis_is_not_used),
        IN_DUTIES(spill_ends_when_none_is_left),
        IN_DUTIES(young_rows_are_left_to_who_made_them),
        IN_DUTIES(hung_redis_costs_no_term),
        IN_DUTIES(figures_add_what_the_index_counts),
    };

    redis_setup();
    return cmocka_run_group_tests_name("duties", tests, world_main_setup,
                                       mongod_teardown);
}
