/*
 * test_redis_queue_mend - values in keys of the queue that no script of ours
 * leaves there: of strangers, of a clock that was far ahead, of keys that were
 * lost. What the rows tell again (INDEX_BY_SWEEP) makes it right.
 */
#include "tests/unit/queue_redis.h"

#define KEY(name) STR("p:q:webhook:" name)

static str key_of(const char *name)
{
    return arena_strf(&index_c->arena, "p:q:webhook:%s", name);
}

/* Far away, as of a clock that was two hours ahead */
static str ahead(void)
{
    return arena_strf(&index_c->arena, "%lld",
                      (long long)clock_wall_ms() + 7200000);
}

/* As the safety net does of a row that is overdue. */
static enum index_seat put_again(const char *id, const char *lim)
{
    return index_put_by(INDEX_BY_SWEEP,
                        (struct index_put){.id = id, .lim = lim});
}

/* None of them is a reason to refuse a script. */
static void numbers_that_are_none_stop_nothing(void **state)
{
    static const char *const bad[] = {"1.5", " 5",   "5 ", "0x1p3", "1e400",
                                      "nan", "-inf", "",   "-1",    "x"};
    static const char *const fields[][2] = {
        {"l:w", "lmt"},   {"l:w", "win"}, {"l:w", "n"},    {"l:w", "ls"},
        {"l:w", "fails"}, {"l:w", "h"},   {"l:w", "pc"},   {"meta", "gl"},
        {"meta", "gw"},   {"meta", "gn"}, {"meta", "len"}, {"meta", "max"},
        {"meta", "due"},  {"j:a", "sc"},  {"j:a", "o"},    {"j:a", "gt"},
        {"j:d", "sc"},    {"j:d", "o"}};

    const struct index_meta m = {
        .cap = 9, .max = 1000, .limit_all = 500, .window_ms = INDEX_WINDOW_MS};
    int64_t back;

    (void)state;
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++)
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            struct index_told t = index_told_of("a", "1", INDEX_RETRY);

            index_open();
            index_reset();
            index_settings(m);
            PUT(.id = "a", .lim = "w", .limit = 9);
            PUT(.id = "b", .lim = "w", .limit = 9);
            PUT(.id = "d", .lim = "w", .group = "w:1", .ord = 3, .limit = 9);
            ASSERT_GOT(index_claim("1", NULL), "a");
            redis_do(index_c->rds, WORDS(STR("HSET"), key_of(fields[f][0]),
                                         str_of(fields[f][1]), str_of(bad[i]),
                                         STR("c"), STR("1")));
            t.health = HEALTH_OK;
            index_settings(m); /* as each second */
            (void)index_tell(&t);
            (void)index_claim("3", NULL); /* of what there is */
            assert_int_equal(
                index_recover(index_c, QUEUE_WEBHOOK, STR("3"), &back),
                INDEX_DONE);
            (void)put_again("a", "w");
            (void)put_again("b", "w");
            for (int n = 0; n < 3; n++)
                if (!index_claim("2", NULL).claimed)
                    fail_msg("%s %s: no job %d", fields[f][1], bad[i], n);
        }
}

static void breaker_of_a_cap_of_none_lets_one_try(void **state)
{
    (void)state;
    PUT(.id = "a", .lim = "w");
    redis_do(index_c->rds, WORDS(STR("HSET"), KEY("l:w"), STR("pc"), STR("0"),
                                 STR("c"), STR("1")));
    (void)put_again("a", "w");
    ASSERT_GOT(index_claim("1", NULL), "a");
}

/* It counts jobs, and nothing brings it back when some were lost. */
static void index_that_is_empty_is_not_full(void **state)
{
    (void)state;
    redis_do(index_c->rds,
             WORDS(STR("HSET"), KEY("meta"), STR("len"), STR("100000")));
    assert_int_equal(put_again("a", "w"), INDEX_NEW);
    ASSERT_GOT(index_claim("1", NULL), "a");
}

static void timer_of_another_time_is_set_again(void **state)
{
    (void)state;
    PUT(.id = "a", .lim = "w", .delay_ms = 1);
    redis_do(index_c->rds, WORDS(STR("HSET"), KEY("meta"), STR("due"),
                                 STR("4000000000000000")));
    (void)put_again("a", "w");
    ASSERT_GOT(index_claim("1", NULL), "a");
}

static void job_that_is_due_by_its_row_is_delayed_no_more(void **state)
{
    (void)state;
    PUT(.id = "a", .lim = "w", .delay_ms = 1);
    redis_do(index_c->rds, WORDS(STR("ZADD"), KEY("dly"), ahead(), STR("a")));
    assert_int_equal(put_again("a", "w"), INDEX_KNOWN);
    ASSERT_GOT(index_claim("1", NULL), "a");
}

/* Holds of all kinds, of a clock that was far ahead: none lasts longer than it
 * ever may. */
static void hold_of_another_time_is_none(void **state)
{
    static const char *const kinds[] = {"limit", "breaker"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        index_open();
        PUT(.id = "a", .lim = "w", .limit = 9);
        redis_do(index_c->rds, WORDS(STR("HSET"), KEY("l:w"), STR("h"), ahead(),
                                     STR("hk"), str_of(kinds[i]), STR("c"),
                                     STR("1"), STR("win"), STR("60000")));
        redis_do(index_c->rds,
                 WORDS(STR("ZADD"), KEY("hold"), ahead(), STR("lw")));
        redis_do(index_c->rds, WORDS(STR("ZREM"), KEY("r"), STR("w")));
        redis_do(index_c->rds,
                 WORDS(STR("HSET"), KEY("l:w"), STR("r"), STR("0")));
        ASSERT_NONE(index_claim("1", NULL));
        (void)index_put_by(
            INDEX_BY_SWEEP,
            (struct index_put){.id = "a", .lim = "w", .limit = 9});
        ASSERT_GOT(index_claim("1", NULL), "a");
    }
}

static void group_of_another_time_is_held_no_more(void **state)
{
    const struct index_put one = {
        .id = "a", .lim = "w", .group = "w:1", .ord = 1};

    (void)state;
    (void)index_put_by(INDEX_BY_SWEEP, one);
    redis_do(index_c->rds,
             WORDS(STR("ZADD"), KEY("hold"), ahead(), STR("gw:1")));
    redis_do(index_c->rds, WORDS(STR("ZREM"), KEY("e:w"), STR("w:1")));
    (void)index_put_by(INDEX_BY_SWEEP, one);
    ASSERT_GOT(index_claim("1", NULL), "a");
}

/* One in flight may not be stepped over. */
static void group_in_flight_stays_held_whatever_is_told_again(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        PUT(.id = "a", .lim = "w", .group = "w:1", .ord = 1);
        PUT(.id = "b", .lim = "w", .group = "w:1", .ord = 2);
        if (i == 0)
            ASSERT_GOT(index_claim("1", NULL), "a");
    }
    ASSERT_NONE(index_claim("2", NULL));
}

static void flights_are_counted_again_when_they_never_end(void **state)
{
    (void)state;
    index_settings((struct index_meta){.cap = 1, .max = 1000});
    PUT(.id = "a", .lim = "w");
    redis_do(index_c->rds, WORDS(STR("HSET"), KEY("l:w"), STR("n"), STR("1"),
                                 STR("ls"), ahead()));
    (void)put_again("a", "w");
    ASSERT_GOT(index_claim("1", NULL), "a");
}

static void assert_ends(str key)
{
    int64_t left;

    assert_true(str_to_i64(INDEX_ASK(STR("PTTL"), key), &left));
    assert_in_range(left, 1, 172800000);
}

/* Of webhooks that were deleted, tests that were withdrawn. */
static void what_is_known_of_a_subscriber_ends(void **state)
{
    int64_t left;

    (void)state;
    assert_int_equal(index_subscriber(index_c, QUEUE_WEBHOOK, STR("gone"),
                                      INDEX_REMOVE, 0, 0, &left),
                     INDEX_DONE);
    assert_ends(KEY("l:gone"));
    PUT(.id = "t", .lim = "test:t", .once = true);
    assert_ends(KEY("l:test:t"));
    assert_int_equal(index_cancel(index_c, QUEUE_WEBHOOK, STR("t")),
                     INDEX_DONE);
    PUT(.id = "a", .lim = "w", .limit = 5);
    assert_ends(KEY("l:w"));
}

/* The limit over all, where each third grant alone is written down */
static void grants_given_back_cost_the_limit_over_all_exactly(void **state)
{
    struct index_told t = index_told_of("", "1", INDEX_BACK);
    int all = 0;

    (void)state;
    index_settings((struct index_meta){.cap = 100000,
                                       .max = 100000,
                                       .limit_all = 2500,
                                       .window_ms = INDEX_WINDOW_MS});
    for (int i = 0; i < 2600; i++)
        PUT(.id = arena_strf(&index_c->arena, "a-1-%04d", i).p, .lim = "w",
            .ts = i);
    index_reset();
    for (int i = 0; i < 3000; i++) {
        struct index_step s = index_claim("1", NULL);

        if (!s.claimed)
            break;
        if (i % 2 == 0) {
            snprintf(t.id, sizeof t.id, STR_FMT, STR_ARG(s.id));
            assert_true(index_tell(&t));
        } else {
            all++;
        }
        index_reset();
    }
    assert_int_equal(all, 1500);
    while (index_claim("1", NULL).claimed) {
        all++;
        index_reset();
    }
    assert_in_range(all, 2497, 2500);
}

/* How often a command was done in scripts since this was asked last */
static int64_t calls(const char *command)
{
    str all = INDEX_ASK(STR("INFO"), STR("commandstats"));
    str name = arena_strf(&index_c->arena, "cmdstat_%s:calls=", command);
    size_t at = str_find_str(all, name);
    int64_t n = 0;

    if (at != SIZE_MAX)
        n = strtoll(all.p + at + name.n, NULL, 10);
    redis_do(index_c->rds, WORDS(STR("CONFIG"), STR("RESETSTAT")));
    return n;
}

/* Strangers in r, each of whose flights must be counted */
static void many_strangers_cost_one_count_of_the_flights(void **state)
{
    (void)state;
    redis_do(index_c->rds,
             WORDS(STR("EVAL"),
                   STR("for i = 1, 1000 do "
                       "redis.call('ZADD', KEYS[1], 4e15, 'x' .. i) "
                       "redis.call('ZADD', KEYS[2], -i, 'x' .. i) end"),
                   STR("2"), KEY("act"), KEY("r")));
    (void)calls("hget");
    ASSERT_NONE(index_claim("1", NULL));
    assert_in_range(calls("hget"), 1000, 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_INDEX(numbers_that_are_none_stop_nothing),
        IN_INDEX(breaker_of_a_cap_of_none_lets_one_try),
        IN_INDEX(index_that_is_empty_is_not_full),
        IN_INDEX(timer_of_another_time_is_set_again),
        IN_INDEX(job_that_is_due_by_its_row_is_delayed_no_more),
        IN_INDEX(hold_of_another_time_is_none),
        IN_INDEX(group_of_another_time_is_held_no_more),
        IN_INDEX(group_in_flight_stays_held_whatever_is_told_again),
        IN_INDEX(flights_are_counted_again_when_they_never_end),
        IN_INDEX(what_is_known_of_a_subscriber_ends),
        IN_INDEX(many_strangers_cost_one_count_of_the_flights),
        IN_INDEX(grants_given_back_cost_the_limit_over_all_exactly),
    };

    redis_setup();
    return cmocka_run_group_tests_name("redis_queue_mend", tests, NULL, NULL);
}
