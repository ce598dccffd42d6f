/* test_hint - ids of events just committed, in a real redis-server */
#include "lib/coord/hint.c"

#include <signal.h>

#include "tests/unit/redis.h"

static struct ctx c;
static struct conf conf;

#define ID_A STR("665f1c2e9b1e8a0012ab34cd")
#define ID_B STR("665f1c2e9b1e8a0012ab34ce")

static int begin(void **state)
{
    struct rds_target target = {.url = redis.url,
                                .password = "s3cret",
                                .connect_ms = 10000,
                                .command_ms = 10000,
                                .retry_ms = 20};

    (void)redis_begin(state);
    conf.redis_key_prefix = "p";
    ctx_init(&c, &conf, 64 << 20);
    c.rds = rds_new(&target);
    assert_non_null(c.rds);
    redis_await(c.rds);
    return 0;
}

static int end(void **state)
{
    rds_free(c.rds);
    ctx_done(&c);
    return redis_end(state);
}

static int64_t length(void)
{
    struct rds_reply reply;

    assert_int_equal(rds_call(c.rds, WORDS(STR("LLEN"), STR("p:ev")),
                              clock_mono_ms() + 10000, &c.arena, &reply),
                     RDS_OK);
    return reply.number;
}

static int64_t lost(void)
{
    return metrics_sum(METRIC_HINTS_LOST, 0);
}

/* What a relay gets; n of them. */
static size_t pop(str out_ids[HINT_POP_MAX])
{
    struct rds_reply reply;
    size_t n, key;
    const str *words = hint_wait_words(&c, 1, &n, &key);

    assert_non_null(words);
    assert_str(words[key], "p:ev");
    assert_int_equal(
        rds_call(c.rds, words, n, clock_mono_ms() + 10000, &c.arena, &reply),
        RDS_OK);
    return hint_read(&reply, out_ids);
}

static void what_is_pushed_is_popped_in_order(void **state)
{
    str ids[HINT_POP_MAX];

    (void)state;
    hint_push(&c, (const str[]){ID_A, ID_B}, 2);
    hint_push(&c, &ID_A, 1);
    assert_int_equal(pop(ids), 3);
    assert_true(str_eq(ids[0], ID_A));
    assert_true(str_eq(ids[1], ID_B));
    assert_true(str_eq(ids[2], ID_A));
    assert_int_equal(pop(ids), 0); /* its time passes */
}

static void more_than_a_command_holds_is_pushed(void **state)
{
    static str many[2 * RDS_WORDS_MAX];
    str ids[HINT_POP_MAX];

    (void)state;
    for (size_t i = 0; i < 2 * RDS_WORDS_MAX; i++)
        many[i] = ID_A;
    hint_push(&c, many, 2 * RDS_WORDS_MAX);
    assert_int_equal(length(), 2 * RDS_WORDS_MAX);
    assert_int_equal(pop(ids), HINT_POP_MAX);
    hint_push(&c, NULL, 0);
    assert_int_equal(length(), 2 * RDS_WORDS_MAX - HINT_POP_MAX);
}

static void oldest_go_beyond_the_most(void **state)
{
    static const char fill[] =
        "local t = {} for i = 1, 1000 do t[i] = ARGV[1] end "
        "for i = 1, 100 do redis.call('RPUSH', KEYS[1], unpack(t)) end";
    int64_t before = lost();
    str ids[HINT_POP_MAX];

    (void)state;
    redis_do(c.rds,
             WORDS(STR("EVAL"), str_of(fill), STR("1"), STR("p:ev"), ID_A));
    assert_int_equal(length(), HINT_MOST);
    hint_push(&c, (const str[]){ID_B, ID_B}, 2);
    assert_int_equal(length(), HINT_MOST);
    assert_int_equal(lost(), before + 2);
    assert_int_equal(pop(ids), HINT_POP_MAX);
    assert_true(str_eq(ids[0], ID_A));
}

static void strangers_key_gives_way(void **state)
{
    str ids[HINT_POP_MAX];

    (void)state;
    redis_do(c.rds, WORDS(STR("SET"), STR("p:ev"), STR("x")));
    hint_push(&c, &ID_A, 1);
    assert_int_equal(pop(ids), 1);
}

static void what_is_no_id_is_dropped_and_counted(void **state)
{
    int64_t before = lost();
    str ids[HINT_POP_MAX];

    (void)state;
    redis_do(c.rds, WORDS(STR("RPUSH"), STR("p:ev"), STR("x"), STR(""), ID_B,
                          STR("zzzzzzzzzzzzzzzzzzzzzzzz")));
    assert_int_equal(pop(ids), 1);
    assert_true(str_eq(ids[0], ID_B));
    assert_int_equal(lost(), before + 3);
}

static void reply_of_any_shape_is_read(void **state)
{
    const struct rds_reply text = {.kind = RDS_TEXT, .text = ID_A};
    const struct rds_reply pair[] = {text, text};
    const struct rds_reply deep[] = {
        text,
        {.kind = RDS_LIST,
         .items =
             (const struct rds_reply[]){{.kind = RDS_INT}, {.kind = RDS_NIL}},
         .items_n = 2}};
    const struct rds_reply rows[] = {
        {.kind = RDS_NIL},
        {.kind = RDS_INT},
        text,
        {.kind = RDS_LIST},
        {.kind = RDS_LIST, .items = pair, .items_n = 1},
        {.kind = RDS_LIST, .items = pair, .items_n = 2},
        {.kind = RDS_LIST, .items = deep, .items_n = 2}};
    str ids[HINT_POP_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(hint_read(&rows[i], ids), 0);
}

static void hung_server_costs_little_time(void **state)
{
    int64_t before = lost();
    ms start;

    (void)state;
    kill(redis.pid, SIGSTOP);
    start = clock_mono_ms();
    hint_push(&c, (const str[]){ID_A, ID_B}, 2);
    assert_in_range(clock_mono_ms() - start, HINT_MS, 5000);
    assert_int_equal(lost(), before + 2);
    kill(redis.pid, SIGCONT);
}

/* Mode single */
static void without_redis_they_are_counted(void **state)
{
    int64_t before = lost();
    struct ctx none;

    (void)state;
    conf.redis_url = "none";
    ctx_init(&none, &conf, 1 << 20);
    hint_push(&none, &ID_A, 1);
    assert_null(none.rds);
    assert_int_equal(lost(), before + 1);
    ctx_done(&none);
}

#define HINT_CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HINT_CASE(what_is_pushed_is_popped_in_order),
        HINT_CASE(more_than_a_command_holds_is_pushed),
        HINT_CASE(oldest_go_beyond_the_most),
        HINT_CASE(strangers_key_gives_way),
        HINT_CASE(what_is_no_id_is_dropped_and_counted),
        HINT_CASE(reply_of_any_shape_is_read),
        HINT_CASE(hung_server_costs_little_time),
        HINT_CASE(without_redis_they_are_counted),
    };

    redis_setup();
    if (metrics_setup(1, (struct metric_labels){0},
                      (struct metric_labels){0}) != OK)
        return 1;
    metrics_join(0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
