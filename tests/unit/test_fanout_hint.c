/* test_fanout_hint - which events a turn begins with */
#include "lib/coord/fanout_filter.c"

#include "tests/unit/fanout_world.h"

static const struct fanout_share second = {1, 2};

static struct fanout_batch hinted(struct ctx *c, const str *ids, size_t n)
{
    struct fanout_ask ask = {.share = second, .hints = ids, .hints_n = n};
    struct fanout_batch out;
    enum err err = fanout_turn(c, &ask, &out);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return out;
}

static str hex_of(struct ctx *c, const struct event *e)
{
    char id[25];

    bson_oid_to_string(&e->id, id);
    return arena_str(&c->arena, str_of(id));
}

static void hinted_events_are_done_wherever_they_belong(void **state)
{
    struct ctx *c = *state;
    struct event mine = event_of(1), other = event_of(2), left = event_of(3);
    str ids[2];

    webhook(c, HOOK_A);
    mine.ts = other.ts = left.ts = now_ms() + 30000;
    mine.ver = other.ver = left.ver = version;
    put_part(c, &mine, 1000);
    put_part(c, &other, 3);
    put_part(c, &left, 1000);
    ids[0] = hex_of(c, &mine);
    ids[1] = hex_of(c, &other);
    assert_int_equal(hinted(c, ids, 2).events, 2);
    assert_int_equal(jobs_of(c, 1) + jobs_of(c, 2), 2);
    assert_int_equal(jobs_of(c, 3), 0);
    assert_int_equal(hinted(c, ids, 2).events, 0); /* somebody has done them */
}

static void hints_of_strangers_are_none(void **state)
{
    struct ctx *c = *state;
    const str odd[] = {STR("x"), STR("zzzzzzzzzzzzzzzzzzzzzzzz"), STR(""),
                       STR("123456789012"), STR("0123456789abcdef01234567")};
    struct fanout_batch out;

    webhook(c, HOOK_A);
    (void)put_new(c, 1);
    out = hinted(c, odd, sizeof odd / sizeof *odd);
    assert_true(out.events == 0 && !out.more);
    assert_int_equal(waiting_events(c), 1);
}

/* An older one of its document comes along. */
static void hint_keeps_the_order(void **state)
{
    struct ctx *c = *state;
    struct event older = event_of(1), newer = event_of(1);
    str id;

    ordered(c, HOOK_A);
    older.ord = 10;
    newer.ord = 11;
    older.ver = newer.ver = version;
    put(c, &older);
    put(c, &newer);
    id = hex_of(c, &newer);
    assert_int_equal(hinted(c, &id, 1).events, 2);
    assert_int_equal(jobs_of(c, 1), 2);
}

static void young_ones_are_left_to_hints(void **state)
{
    struct ctx *c = *state;
    struct fanout_ask ask = {.share = whole, .young_ms = 60000};
    struct event young, old, far;
    struct fanout_batch out;

    webhook(c, HOOK_A);
    young = event_of(1);
    old = event_of(2);
    old.ts -= 70000;
    far = event_of(3);
    far.ts = FANOUT_ASIDE_TS - 1;
    put(c, &young);
    put(c, &old);
    put(c, &far);
    assert_int_equal(fanout_turn(c, &ask, &out), OK);
    assert_int_equal(out.events, 2);
    assert_int_equal(jobs_of(c, 1), 0);
    ask.young_ms = 0;
    assert_int_equal(fanout_turn(c, &ask, &out), OK);
    assert_int_equal(jobs_of(c, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(hinted_events_are_done_wherever_they_belong),
        CASE(hints_of_strangers_are_none),
        CASE(hint_keeps_the_order),
        CASE(young_ones_are_left_to_hints),
    };

    return cmocka_run_group_tests_name("fanout_hint", tests, mongod_setup,
                                       mongod_teardown);
}
