/* test_keeper - the data set is opened anew after any loss, on real servers */
#include "tests/unit/keeper_world.h"

/* What was open before, to be compared with what is open afterwards. */
struct before {
    struct dataset d;
    int64_t max;
};

static struct before open_first(struct world *o)
{
    struct before b;

    settle(o);
    b.d = stored(o);
    b.max = number_in_redis(o, "unit:l:max");
    return b;
}

static void check_new(struct world *o, const struct before *b)
{
    struct dataset d = stored(o);

    assert_string_not_equal(d.id, b->d.id);
    assert_true(number_in_redis(o, "unit:l:fence") >= b->max);
    assert_true(number_in_redis(o, "unit:l:max") > b->max);
}

static void empty_deployment_is_opened(void **state)
{
    struct world o;
    int64_t fence;

    open_world(&o, *state);
    settle(&o);
    fence = number_in_redis(&o, "unit:l:fence");
    assert_int_equal(number_in_redis(&o, "unit:l:max") - fence, hour_us);
    assert_true(fence >= (clock_wall_ms() - 600000) * 1000);
    assert_int_equal(turn(&o), KEEPER_IDLE);
    assert_false(o.changed);
    close_world(&o);
}

static void all_data_lost_gives_another_data_set(void **state)
{
    struct world o;
    struct before b;

    open_world(&o, *state);
    b = open_first(&o);
    redis_do(o.r, WORDS(STR("FLUSHALL")));
    settle(&o);
    check_new(&o, &b);
    close_world(&o);
}

static void fill(struct world *o, const char *pattern, int n)
{
    char count[12];

    snprintf(count, sizeof count, "%d", n);
    redis_do(o->r, WORDS(STR("EVAL"),
                         STR("for i = 1, ARGV[2] do redis.call('SET', "
                             "string.format(ARGV[1], i), i) end return 1"),
                         STR("0"), str_of(pattern), str_of(count)));
}

/* So an operator forces a refill: only what queues hold is removed. */
static void deleted_id_clears_the_queues_in_slices(void **state)
{
    struct world o;
    struct before b;

    open_world(&o, *state);
    b = open_first(&o);
    fill(&o, "foreign:%d", 20000);
    fill(&o, "unit:q:webhook:j:%d", 3000);
    fill(&o, "unit:qq:%d", 10);
    fill(&o, "unit:l:k:%d", 10);
    redis_do(o.r, WORDS(STR("DEL"), STR("unit:dataset")));
    settle(&o);
    check_new(&o, &b);
    /* foreign ones, locks, id and three about fences */
    assert_int_equal(count_in_redis(&o, "DBSIZE"), 20020 + 4);
    assert_in_range(o.turns, 20000 / 1000, TURNS_MOST);
    close_world(&o);
}

static void id_of_a_stranger_is_judged_by_two_looks(void **state)
{
    struct world o;
    struct before b;

    open_world(&o, *state);
    b = open_first(&o);
    fill(&o, "unit:q:webhook:j:%d", 10);
    redis_do(o.r, WORDS(STR("SET"), STR("unit:dataset"), STR("stranger")));
    assert_int_equal(turn(&o), KEEPER_IDLE);
    assert_int_equal(slice(&o), KEEPER_IDLE);
    assert_string_equal(stored(&o).id, b.d.id);
    settle(&o);
    check_new(&o, &b);
    assert_int_equal(count_in_redis(&o, "DBSIZE"), 10 + 4);
    close_world(&o);
}

/* It was seen once, and is as it was at the next look. */
static void id_that_differs_once_changes_nothing(void **state)
{
    struct world o;
    struct before b;

    open_world(&o, *state);
    b = open_first(&o);
    redis_do(o.r, WORDS(STR("SET"), STR("unit:dataset"), STR("stranger")));
    assert_int_equal(turn(&o), KEEPER_IDLE);
    redis_do(o.r, WORDS(STR("SET"), STR("unit:dataset"), str_of(b.d.id)));
    (void)poll(NULL, 0, 500);
    assert_int_equal(turn(&o), KEEPER_IDLE);
    redis_do(o.r, WORDS(STR("SET"), STR("unit:dataset"), STR("stranger")));
    assert_int_equal(turn(&o), KEEPER_IDLE);
    assert_string_equal(stored(&o).id, b.d.id);
    close_world(&o);
}

static void home_moves_to_mongodb_and_back(void **state)
{
    struct world o;
    struct before b, moved;
    int64_t given;

    open_world(&o, *state);
    b = open_first(&o);
    fill(&o, "unit:l:k:%d", 10);
    fill(&o, "foreign:%d", 10);

    mongod.conf->redis_url = "none";
    assert_int_equal(turn(&o), KEEPER_MORE);
    assert_int_equal(slice(&o), KEEPER_IDLE);
    assert_true(o.changed);
    moved.d = stored(&o);
    assert_int_equal(moved.d.home, DATASET_MONGO);
    assert_string_not_equal(moved.d.id, b.d.id);
    assert_int_equal(turn(&o), KEEPER_IDLE);
    assert_string_equal(stored(&o).id, moved.d.id);
    renew_time(o.c);
    assert_int_equal(dataset_fence(o.c, 0, &given), OK);
    assert_true(given > b.max);

    mongod.conf->redis_url = url;
    moved.max = given;
    settle(&o);
    check_new(&o, &moved);
    assert_int_equal(stored(&o).home, DATASET_REDIS);
    assert_int_equal(count_in_redis(&o, "DBSIZE"), 10 + 4);
    close_world(&o);
}

static void set_term(struct world *o, int64_t term)
{
    renew_time(o->c);
    (void)mongod_do(o->c,
                    BCON_NEW("update", "_cluster", "updates", "[", "{", "q",
                             "{", "_id", "redis", "}", "u", "{", "$set", "{",
                             "term", BCON_INT64(term), "}", "}", "}", "]"));
}

static void older_term_writes_nothing(void **state)
{
    struct world o;

    open_world(&o, *state);
    set_term(&o, 9);
    o.term = 8;
    assert_int_equal(turn(&o), KEEPER_LOST);
    /* also when its look was taken before the greater term wrote */
    o.v.dataset_term = 0;
    assert_int_equal(slice(&o), KEEPER_MORE);
    while (o.k.step == KEEPER_CLEAR)
        assert_int_equal(slice(&o), KEEPER_MORE);
    assert_int_equal(slice(&o), KEEPER_LOST);
    assert_string_equal(stored(&o).id, "");
    assert_int_equal(count_in_redis(&o, "DBSIZE"), 0);
    o.term = 9;
    settle(&o);
    close_world(&o);
}

/* The coordinator dies between the two writes of an opening. */
static void named_and_not_opened_heals(void **state)
{
    struct world o;
    struct before b;

    open_world(&o, *state);
    b = open_first(&o);
    redis_do(o.r, WORDS(STR("FLUSHALL")));
    while (o.k.step != KEEPER_OPEN)
        assert_int_not_equal(turn(&o), KEEPER_LOST);
    assert_string_not_equal(stored(&o).id, b.d.id);
    o.k = (struct keeper){.term = 0};
    settle(&o);
    check_new(&o, &b);
    close_world(&o);
}

/* Another leader was faster. */
static void redis_that_changed_meanwhile_is_not_overwritten(void **state)
{
    struct world o;

    open_world(&o, *state);
    while (o.k.step != KEEPER_OPEN)
        assert_int_not_equal(turn(&o), KEEPER_LOST);
    redis_do(o.r, WORDS(STR("SET"), STR("unit:dataset"), STR("faster")));
    assert_int_equal(slice(&o), KEEPER_IDLE);
    assert_str(text_in_redis(&o, "unit:dataset"), "faster");
    settle(&o);
    close_world(&o);
}

static void shrink_reservation(struct world *o)
{
    char text[24];

    snprintf(text, sizeof text, "%lld",
             (long long)(number_in_redis(o, "unit:l:fence") + 1000));
    redis_do(o->r, WORDS(STR("SET"), STR("unit:l:max"), str_of(text)));
}

static void reservation_that_runs_out_is_raised(void **state)
{
    struct world o;
    struct before b;

    open_world(&o, *state);
    b = open_first(&o);
    shrink_reservation(&o);
    assert_int_equal(turn(&o), KEEPER_IDLE);
    assert_true(number_in_redis(&o, "unit:l:max") > b.max);
    check_reservation(&o);
    assert_string_equal(stored(&o).id, b.d.id);
    close_world(&o);
}

/* Redis dies between the two writes; repeats do not run away with it. */
static void reservation_is_in_mongodb_first(void **state)
{
    struct world o;
    struct before b;
    int64_t held;

    open_world(&o, *state);
    b = open_first(&o);
    shrink_reservation(&o);
    look(&o);
    redis_stop();
    assert_int_equal(slice(&o), KEEPER_IDLE);
    held = stored(&o).fence;
    assert_true(held > b.max);
    for (int i = 0; i < 5; i++)
        assert_int_equal(slice(&o), KEEPER_IDLE);
    assert_int_equal(stored(&o).fence, held);
    redis_start("--appendonly", "no");
    redis_await(o.r);
    settle(&o);
    check_new(&o, &b);
    close_world(&o);
}

static void clock_of_redis_ahead_is_reserved_for(void **state)
{
    struct world o;
    struct before b;
    int64_t ahead;

    open_world(&o, *state);
    b = open_first(&o);
    look(&o);
    ahead = o.w.sight.time_us += 24 * 365 * hour_us;
    assert_int_equal(slice(&o), KEEPER_IDLE);
    assert_int_equal(number_in_redis(&o, "unit:l:max"), ahead + hour_us);
    check_reservation(&o);
    b.max = ahead + hour_us;
    redis_do(o.r, WORDS(STR("FLUSHALL")));
    settle(&o);
    check_new(&o, &b);
    close_world(&o);
}

static void hostile_numbers_in_redis_are_not_taken_over(void **state)
{
    struct world o;

    open_world(&o, *state);
    (void)open_first(&o);
    redis_do(o.r,
             WORDS(STR("SET"), STR("unit:l:fence"), STR("9007199254740990")));
    redis_do(o.r, WORDS(STR("SET"), STR("unit:l:max"), STR("no number")));
    (void)turn(&o);
    assert_true(stored(&o).fence < DATASET_FENCE_END / 2);
    close_world(&o);
}

static void redis_that_is_unfit_or_away_is_let_be(void **state)
{
    struct world o;

    open_world(&o, *state);
    redis_do(o.r, WORDS(STR("CONFIG"), STR("SET"), STR("maxmemory-policy"),
                        STR("allkeys-lru")));
    assert_int_equal(turn(&o), KEEPER_IDLE);
    assert_int_equal(count_in_redis(&o, "DBSIZE"), 0);
    redis_stop();
    assert_int_equal(turn(&o), KEEPER_IDLE);
    assert_string_equal(stored(&o).id, "");
    redis_start("--appendonly", "no");
    redis_await(o.r);
    settle(&o);
    close_world(&o);
}

/* By looks that were taken before its own change nothing is opened again. */
static void old_looks_are_not_judged(void **state)
{
    struct world o;
    struct before b;
    struct redis_sight sight;
    struct view v;

    open_world(&o, *state);
    look(&o);
    sight = o.w.sight;
    v = o.v;
    b = open_first(&o);
    o.w.sight = sight;
    o.v = v;
    assert_int_equal(slice(&o), KEEPER_IDLE);
    assert_string_equal(stored(&o).id, b.d.id);
    close_world(&o);
}

/* One that cannot be ours: too long, of another type, ours and more. */
static void nonsense_for_an_id_is_replaced(void **state)
{
    struct world o;
    struct before b;

    open_world(&o, *state);
    b = open_first(&o);
    redis_do(o.r, WORDS(STR("SET"), STR("unit:dataset"),
                        STR("0123456789abcdef0123456789")));
    settle(&o);
    check_new(&o, &b);
    assert_str(text_in_redis(&o, "unit:dataset"), stored(&o).id);

    b.d = stored(&o);
    redis_do(o.r, WORDS(STR("APPEND"), STR("unit:dataset"), STR("0")));
    settle(&o);
    check_new(&o, &b);
    assert_str(text_in_redis(&o, "unit:dataset"), stored(&o).id);

    b.d = stored(&o);
    redis_do(o.r, WORDS(STR("DEL"), STR("unit:dataset"), STR("unit:l:fence"),
                        STR("unit:l:max")));
    redis_do(o.r, WORDS(STR("HSET"), STR("unit:dataset"), STR("a"), STR("b")));
    redis_do(o.r, WORDS(STR("HSET"), STR("unit:l:fence"), STR("a"), STR("b")));
    redis_do(o.r, WORDS(STR("HSET"), STR("unit:l:max"), STR("a"), STR("b")));
    settle(&o);
    check_new(&o, &b);
    close_world(&o);
}

static void store_home(struct world *o, const char *home)
{
    renew_time(o->c);
    (void)mongod_do(o->c,
                    BCON_NEW("update", "_cluster", "updates", "[", "{", "q",
                             "{", "_id", "redis", "}", "u", "{", "$set", "{",
                             "home", BCON_UTF8(home), "}", "}", "}", "]"));
}

/* The id beside it is as good as none, and no sign of a greater term. */
static void home_of_a_stranger_is_replaced(void **state)
{
    struct world o;
    struct before b;

    open_world(&o, *state);
    b = open_first(&o);
    store_home(&o, "nowhere");
    settle(&o);
    check_new(&o, &b);
    assert_int_equal(stored(&o).home, DATASET_REDIS);
    close_world(&o);
}

/* Without a number of its own no lock would ever be granted again. */
static void fences_that_are_gone_are_opened_anew(void **state)
{
    static const char *const held[] = {"no number", "9007199254740990", "-1",
                                       "4503599627370495"};
    struct world o;
    struct before b;

    open_world(&o, *state);
    for (size_t i = 0; i < sizeof held / sizeof *held; i++) {
        b = open_first(&o);
        redis_do(o.r, WORDS(STR("SET"), STR("unit:l:fence"), str_of(held[i])));
        assert_int_equal(turn(&o), KEEPER_MORE);
        settle(&o);
        check_new(&o, &b);
        assert_true(number_in_redis(&o, "unit:l:fence") <
                    number_in_redis(&o, "unit:l:max"));
    }
    close_world(&o);
}

/* It is told, and heals when the user gets the right. */
static void user_who_may_not_scan_is_named(void **state)
{
    struct world o;

    open_world(&o, *state);
    redis_do(o.r,
             WORDS(STR("ACL"), STR("SETUSER"), STR("default"), STR("-scan")));
    assert_int_equal(turn(&o), KEEPER_MORE);
    assert_int_equal(slice(&o), KEEPER_IDLE);
    assert_true(o.k.told);
    redis_do(o.r,
             WORDS(STR("ACL"), STR("SETUSER"), STR("default"), STR("+scan")));
    settle(&o);
    assert_false(o.k.told);
    close_world(&o);
}

static int begin(void **state)
{
    return redis_begin(state) || mongod_fresh(state);
}

#define WITH_BOTH(test) cmocka_unit_test_setup_teardown(test, begin, redis_end)

int main(void)
{
    char folder[4096];
    const struct CMUnitTest tests[] = {
        WITH_BOTH(empty_deployment_is_opened),
        WITH_BOTH(all_data_lost_gives_another_data_set),
        WITH_BOTH(deleted_id_clears_the_queues_in_slices),
        WITH_BOTH(id_of_a_stranger_is_judged_by_two_looks),
        WITH_BOTH(id_that_differs_once_changes_nothing),
        WITH_BOTH(home_moves_to_mongodb_and_back),
        WITH_BOTH(older_term_writes_nothing),
        WITH_BOTH(named_and_not_opened_heals),
        WITH_BOTH(redis_that_changed_meanwhile_is_not_overwritten),
        WITH_BOTH(reservation_that_runs_out_is_raised),
        WITH_BOTH(reservation_is_in_mongodb_first),
        WITH_BOTH(clock_of_redis_ahead_is_reserved_for),
        WITH_BOTH(hostile_numbers_in_redis_are_not_taken_over),
        WITH_BOTH(redis_that_is_unfit_or_away_is_let_be),
        WITH_BOTH(old_looks_are_not_judged),
        WITH_BOTH(nonsense_for_an_id_is_replaced),
        WITH_BOTH(home_of_a_stranger_is_replaced),
        WITH_BOTH(fences_that_are_gone_are_opened_anew),
        WITH_BOTH(user_who_may_not_scan_is_named),
    };

    redis_setup();
    if (!getcwd(folder, sizeof folder))
        return 1;
    snprintf(url, sizeof url, "unix:%s/redis.sock?db=2", folder);
    return cmocka_run_group_tests(tests, mongod_setup, mongod_teardown);
}
