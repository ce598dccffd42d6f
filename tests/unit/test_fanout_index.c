/* test_fanout_index - rows are told to the index in Redis, and none is lost
 * between the two stores, whoever dies when */
#define index_enqueue enqueue_by_test
#include "lib/coord/fanout_rows.c"
#undef index_enqueue

#include <signal.h>
#include <sys/wait.h>

#include "tests/unit/fanout_world.h"
#include "tests/unit/home.h"

/* The real one */
enum index_result index_enqueue(struct ctx *c, enum job_queue q,
                                enum index_source by,
                                const struct index_job *jobs, size_t n,
                                enum index_seat *seats);

enum {
    SLOW_MS = 600,
    MANY = 120 /* rows of three calls */
};

/* What happens to calls of the index. */
static struct {
    int calls;
    ms slow_ms;           /* a call takes so long */
    ms most_ms;           /* the longest that one was given */
    bool lost;            /* done, but the reply does not come */
    bool died;            /* not done: as if the process ended here */
    void (*before)(void); /* something happens meanwhile */
} world;

enum index_result enqueue_by_test(struct ctx *c, enum job_queue q,
                                  enum index_source by,
                                  const struct index_job *jobs, size_t n,
                                  enum index_seat *seats)
{
    ms given = c->deadline - clock_mono_ms();
    enum index_result result;

    assert_int_equal(by, INDEX_BY_FANOUT);
    assert_in_range(n, 1, INDEX_ENQUEUE_MAX);
    world.calls++;
    if (given > world.most_ms)
        world.most_ms = given;
    if (world.died)
        return INDEX_AWAY;
    if (world.before)
        world.before();
    if (world.slow_ms)
        home_nap(world.slow_ms);
    result = index_enqueue(c, q, by, jobs, n, seats);
    return world.lost ? INDEX_UNKNOWN : result;
}

static int fresh(void **state)
{
    struct ctx *c;

    home_redis(state);
    c = *state;
    memset(&world, 0, sizeof world);
    if (schema_apply(c) != OK)
        fail_msg("no schema");
    set_version(c);
    await_version(c);
    c->index = HOME_ID;
    return 0;
}

static int ended(void **state)
{
    struct ctx *c = *state;

    c->index = "";
    return home_end(state);
}

#define IN_INDEX(test) cmocka_unit_test_setup_teardown(test, fresh, ended)

/* ---- what is there */

static int64_t asked(const str *words, size_t n)
{
    struct rds_reply reply;

    redis_await(home.c->rds);
    if (rds_call(home.c->rds, words, n, clock_mono_ms() + 10000, &home.c->arena,
                 &reply) != RDS_OK ||
        reply.kind != RDS_INT)
        fail_msg("%s", rds_reason(home.c->rds));
    return reply.number;
}

static bool is_indexed(str id)
{
    return asked(WORDS(STR("EXISTS"),
                       arena_strf(&home.c->arena, "t:q:webhook:j:" STR_FMT,
                                  STR_ARG(id)))) == 1;
}

static int64_t waiting_in_index(const char *group)
{
    return asked(WORDS(STR("ZCARD"),
                       arena_strf(&home.c->arena, "t:q:webhook:w:%s", group)));
}

static str id_at(struct ctx *c, int i)
{
    return text(job_at(c, i), "_id");
}

static int64_t marked(struct ctx *c, const char *dataset)
{
    return count(c, "_jobs", BCON_NEW("enq", BCON_UTF8(dataset)));
}

static int64_t unmarked(struct ctx *c)
{
    return count(c, "_jobs",
                 BCON_NEW("enq", "{", "$exists", BCON_BOOL(false), "}"));
}

/* Many rows of one event: a webhook each. */
static void many_webhooks(struct ctx *c, int n)
{
    for (int i = 0; i < n; i++) {
        char id[25];

        (void)snprintf(id, sizeof id, "%024x", (unsigned)i + 1);
        webhook(c, id);
    }
}

static void lose_data(struct ctx *c)
{
    redis_do(c->rds, WORDS(STR("FLUSHALL")));
}

static void open_other(void)
{
    home_open(HOME_OTHER);
}

/* ---- told */

static void rows_are_known_before_their_event_goes(void **state)
{
    struct ctx *c = *state;

    webhook(c, HOOK_A);
    ordered(c, HOOK_B);
    (void)put_new(c, 5);
    assert_int_equal(turn(c).jobs, 2);
    assert_int_equal(marked(c, HOME_ID), 2);
    assert_true(is_indexed(id_at(c, 0)) && is_indexed(id_at(c, 1)));
    assert_int_equal(waiting_in_index(HOOK_A), 1);
    assert_int_equal(waiting_in_index(text(job_at(c, 1), "g").p), 1);
    assert_int_equal(waiting_events(c), 0);
}

static void without_an_index_rows_are_not_marked(void **state)
{
    struct ctx *c = *state;

    c->index = "";
    webhook(c, HOOK_A);
    (void)put_new(c, 5);
    assert_int_equal(turn(c).jobs, 1);
    assert_int_equal(unmarked(c), 1);
    assert_int_equal(world.calls, 0);
}

static void many_rows_go_fifty_at_a_time(void **state)
{
    struct ctx *c = *state;
    struct index_stats s;

    many_webhooks(c, MANY);
    (void)put_new(c, 5);
    assert_int_equal(turn(c).jobs, MANY);
    assert_int_equal(world.calls, 3);
    assert_int_equal(index_stats(c, QUEUE_WEBHOOK, &s), INDEX_DONE);
    assert_int_equal(s.jobs, MANY);
    assert_int_equal(marked(c, HOME_ID), MANY);
}

/* The limit of a webhook comes with its rows, its window has the slack. */
static void limit_comes_with_the_rows(void **state)
{
    struct ctx *c = *state;
    struct rds_reply reply;

    webhook_with(
        c, HOOK_A,
        BCON_NEW("rateLimit", "{", "maxRequestsPerMinute", BCON_INT32(7), "}"));
    (void)put_new(c, 5);
    assert_int_equal(turn(c).jobs, 1);
    assert_int_equal(rds_call(c->rds,
                              WORDS(STR("HMGET"), STR("t:q:webhook:l:" HOOK_A),
                                    STR("lmt"), STR("win")),
                              clock_mono_ms() + 10000, &c->arena, &reply),
                     RDS_OK);
    assert_str(reply.items[0].text, "7");
    assert_str(reply.items[1].text,
               arena_strf(&c->arena, "%lld",
                          (long long)(c->conf->webhook_rate_limit_window_ms +
                                      queue_slack_ms(c->conf)))
                   .p);
}

/* ---- who dies in between */

/* The fanout that repeats it finds its rows made, and tells. */
static void death_between_insert_and_enqueue_loses_nothing(void **state)
{
    struct ctx *c = *state;
    struct event e;

    webhook(c, HOOK_A);
    e = event_of(1);
    put(c, &e);
    assert_int_equal(turn(c).jobs, 1);
    lose_data(c);
    home_open(HOME_ID);
    put(c, &e); /* rows and event are there, the index knows nothing */
    assert_false(is_indexed(id_at(c, 0)));
    assert_int_equal(turn(c).jobs, 0);
    assert_true(is_indexed(id_at(c, 0)));
    assert_int_equal(marked(c, HOME_ID), 1);
    assert_int_equal(waiting_events(c), 0);
}

static void death_between_enqueue_and_delete_changes_nothing(void **state)
{
    struct ctx *c = *state;
    struct event e;
    const bson_t *before;
    str keys;

    webhook(c, HOOK_A);
    e = event_of(1);
    put(c, &e);
    assert_int_equal(turn(c).jobs, 1);
    before = all_jobs(c);
    keys = arena_str(&c->arena, redis_snapshot(c->rds));
    put(c, &e);
    assert_int_equal(turn(c).jobs, 0);
    assert_true(bson_equal(all_jobs(c), before));
    assert_int_equal(waiting_in_index(HOOK_A), 1);
    assert_true(str_eq(redis_snapshot(c->rds), keys));
    assert_int_equal(waiting_events(c), 0);
}

/* He had an index, who repeats it has none: nobody may believe that the row is
 * known. */
static void repeat_without_an_index_takes_the_mark_off(void **state)
{
    struct ctx *c = *state;
    struct event e;

    webhook(c, HOOK_A);
    e = event_of(1);
    put(c, &e);
    assert_int_equal(turn(c).jobs, 1);
    put(c, &e);
    c->index = "";
    assert_int_equal(turn(c).jobs, 0);
    assert_int_equal(unmarked(c), 1);
    assert_int_equal(waiting_events(c), 0);
}

/* ---- not taken */

static void assert_left_to_the_sweep(struct ctx *c, int n)
{
    assert_int_equal(jobs(c), n);
    assert_int_equal(unmarked(c), n);
    assert_int_equal(waiting_events(c), 0);
}

static void row_that_was_not_told_loses_its_mark(void **state)
{
    struct ctx *c = *state;

    world.died = true;
    webhook(c, HOOK_A);
    (void)put_new(c, 1);
    assert_int_equal(turn(c).jobs, 1);
    assert_left_to_the_sweep(c, 1);
}

/* The event stays until the mark is off. */
static void event_stays_while_the_mark_stands(void **state)
{
    struct ctx *c = *state;
    struct fanout_batch out;

    world.died = true;
    webhook(c, HOOK_A);
    (void)put_new(c, 1);
    mongod_fail(c, "update", 1, 50, NULL);
    assert_int_not_equal(
        fanout_turn(c, &(struct fanout_ask){.share = whole}, &out), OK);
    ctx_forgive(c);
    assert_int_equal(marked(c, HOME_ID), 1);
    assert_int_equal(waiting_events(c), 1);
    assert_int_equal(turn(c).events, 1);
    assert_left_to_the_sweep(c, 1);
}

static void lost_reply_is_not_believed(void **state)
{
    struct ctx *c = *state;

    world.lost = true;
    webhook(c, HOOK_A);
    (void)put_new(c, 1);
    assert_int_equal(turn(c).jobs, 1);
    assert_left_to_the_sweep(c, 1);
    assert_int_equal(waiting_in_index(HOOK_A), 1);
}

static void what_a_full_index_refuses_loses_its_mark(void **state)
{
    struct ctx *c = *state;
    const struct index_meta two = {.cap = 9, .max = 2};
    struct index_stats s;

    webhook(c, HOOK_A);
    assert_int_equal(index_meta(c, QUEUE_WEBHOOK, &two), INDEX_DONE);
    for (int i = 0; i < 4; i++)
        (void)put_new(c, i);
    assert_int_equal(turn(c).jobs, 4);
    assert_int_equal(marked(c, HOME_ID), 2);
    assert_int_equal(unmarked(c), 2);
    assert_int_equal(waiting_in_index(HOOK_A), 2);
    assert_int_equal(waiting_events(c), 0);
    assert_int_equal(index_stats(c, QUEUE_WEBHOOK, &s), INDEX_DONE);
    assert_true(s.spill);
}

static void other_data_set_takes_nothing(void **state)
{
    struct ctx *c = *state;

    world.before = open_other;
    webhook(c, HOOK_A);
    (void)put_new(c, 1);
    assert_int_equal(turn(c).jobs, 1);
    assert_left_to_the_sweep(c, 1);
    assert_int_equal(waiting_in_index(HOOK_A), 0);
}

/* ---- Redis away, slow, hung */

static void dead_redis_costs_one_call(void **state)
{
    struct ctx *c = *state;

    many_webhooks(c, MANY);
    (void)put_new(c, 1);
    redis_stop();
    assert_int_equal(turn(c).jobs, MANY);
    assert_int_equal(world.calls, 1);
    assert_left_to_the_sweep(c, MANY);
}

static void hung_redis_costs_a_second_at_most(void **state)
{
    struct ctx *c = *state;

    many_webhooks(c, MANY);
    (void)put_new(c, 1);
    redis_await(c->rds);
    kill(redis.pid, SIGSTOP);
    assert_int_equal(turn(c).jobs, MANY);
    kill(redis.pid, SIGCONT);
    assert_int_equal(world.calls, 1);
    assert_in_range(world.most_ms, 1, FANOUT_INDEX_MS);
    assert_left_to_the_sweep(c, MANY);
}

/* Calls that are done, but slowly: their sum counts. */
static void slow_redis_costs_a_second_at_most(void **state)
{
    struct ctx *c = *state;

    world.slow_ms = SLOW_MS;
    many_webhooks(c, MANY);
    (void)put_new(c, 1);
    assert_int_equal(turn(c).jobs, MANY);
    assert_int_equal(world.calls, 2);
    assert_int_equal(unmarked(c), MANY - marked(c, HOME_ID));
    assert_true(unmarked(c) >= MANY - 100);
    assert_int_equal(waiting_events(c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_INDEX(rows_are_known_before_their_event_goes),
        IN_INDEX(without_an_index_rows_are_not_marked),
        IN_INDEX(many_rows_go_fifty_at_a_time),
        IN_INDEX(limit_comes_with_the_rows),
        IN_INDEX(death_between_insert_and_enqueue_loses_nothing),
        IN_INDEX(death_between_enqueue_and_delete_changes_nothing),
        IN_INDEX(repeat_without_an_index_takes_the_mark_off),
        IN_INDEX(row_that_was_not_told_loses_its_mark),
        IN_INDEX(event_stays_while_the_mark_stands),
        IN_INDEX(lost_reply_is_not_believed),
        IN_INDEX(what_a_full_index_refuses_loses_its_mark),
        IN_INDEX(other_data_set_takes_nothing),
        IN_INDEX(dead_redis_costs_one_call),
        IN_INDEX(hung_redis_costs_a_second_at_most),
        IN_INDEX(slow_redis_costs_a_second_at_most),
    };

    redis_setup();
    return cmocka_run_group_tests_name("fanout_index", tests, mongod_setup,
                                       mongod_teardown);
}
