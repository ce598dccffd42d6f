/* test_leftovers - when what dead children held is given back, and how often */
#include "workers/leftovers.c"

#include "tests/unit/support.h"

enum {
    START = 100000
};

#define TOKEN_A "aaaaaaaaaaaaaaaaaaaaaaaa"
#define TOKEN_B "bbbbbbbbbbbbbbbbbbbbbbbb"

static struct {
    int calls, deaths;
    char token[ID_TOKEN_MAX]; /* of the last call */
    bool died;
    const char *index; /* of its ctx */
    bool away;
    int64_t freed; /* what the next call says */
} world;

ms queue_slack_ms(const struct conf *conf)
{
    (void)conf;
    return 1000;
}

enum err queue_recover(struct ctx *c, str token, bool died, int64_t *out_n)
{
    world.calls++;
    memcpy(world.token, token.p, token.n);
    world.died = died;
    world.deaths += died;
    world.index = c->index;
    if (world.away)
        return ctx_fail(c, ERR_DB_UNAVAILABLE, "away");
    *out_n = world.freed;
    world.freed = 0;
    return OK;
}

struct fixture {
    struct board *board;
    struct leftovers *left;
    struct ctx c;
};

static int fresh(void **state)
{
    static struct fixture f;

    memset(&world, 0, sizeof world);
    clock_set(START, 0);
    f.board = board_new(3);
    f.left = leftovers_new(f.board);
    ctx_init(&f.c, NULL, 1 << 20);
    *state = &f;
    return f.board && f.left ? 0 : -1;
}

static int done(void **state)
{
    struct fixture *f = *state;

    clock_unset();
    free(f->left);
    board_free(f->board);
    ctx_done(&f->c);
    return 0;
}

static void die(struct fixture *f, int slot, const char *token, bool busy)
{
    board_begin(f->board, slot);
    board_claiming(f->board, slot, token);
    if (busy)
        board_busy(f->board, slot);
    board_died(f->board, slot);
}

static ms turn_at(struct fixture *f, ms now)
{
    clock_set(now, 0);
    return leftovers_turn(f->left, &f->c);
}

static void nothing_to_do_is_for_ever(void **state)
{
    assert_true(turn_at(*state, START) == INT64_MAX);
    assert_int_equal(world.calls, 0);
}

static void given_back_at_once_and_twice_more(void **state)
{
    struct fixture *f = *state;
    struct board_dead dead;

    die(f, 0, TOKEN_A, true);
    assert_int_equal(turn_at(f, START), START + 100);
    assert_int_equal(world.calls, 1);
    assert_string_equal(world.token, TOKEN_A);
    assert_true(world.died);
    assert_int_equal(turn_at(f, START + 99), START + 100);
    assert_int_equal(world.calls, 1);
    assert_int_equal(turn_at(f, START + 100), START + 1000);
    assert_int_equal(world.calls, 2);
    assert_true(board_next_dead(f->board, 0, &dead));
    assert_true(turn_at(f, START + 1000) == INT64_MAX);
    assert_int_equal(world.calls, 3);
    assert_false(board_next_dead(f->board, 0, &dead));
}

static void one_that_only_claimed_is_no_death_in_a_job(void **state)
{
    struct fixture *f = *state;

    die(f, 0, TOKEN_A, false);
    (void)turn_at(f, START);
    assert_false(world.died);
}

/* It may be in flight in the index, and a request of it was sent. */
static void finish_that_was_not_told_keeps_its_grant(void **state)
{
    struct fixture *f = *state;

    board_begin(f->board, 0);
    board_claiming(f->board, 0, TOKEN_A);
    board_busy(f->board, 0);
    board_untold(f->board, 0);
    board_died(f->board, 0);
    f->c.index = "0123456789abcdef";
    assert_int_equal(turn_at(f, START), START + 100);
    assert_int_equal(world.calls, 1);
    assert_string_equal(world.token, TOKEN_A);
    assert_true(world.died);
    assert_string_equal(world.index, "0123456789abcdef");
}

static void both_tokens_of_one_death_are_given_back(void **state)
{
    struct fixture *f = *state;

    board_begin(f->board, 0);
    board_claiming(f->board, 0, TOKEN_A);
    board_busy(f->board, 0);
    board_untold(f->board, 0);
    board_claiming(f->board, 0, TOKEN_B);
    board_busy(f->board, 0);
    board_died(f->board, 0);
    assert_int_equal(turn_at(f, START), START + 100);
    assert_int_equal(world.calls, 2);
    assert_int_equal(world.deaths, 2);
    (void)turn_at(f, START + 100);
    assert_true(turn_at(f, START + 1000) == INT64_MAX);
    assert_int_equal(world.calls, 6);
}

static void failure_is_repeated_until_it_is_done(void **state)
{
    struct fixture *f = *state;
    ms now = START;

    world.away = true;
    die(f, 0, TOKEN_A, true);
    for (int i = 1; i <= 20; i++) {
        ms next = turn_at(f, now);

        assert_int_equal(world.calls, i);
        assert_int_equal(next, now + LEFTOVERS_AGAIN_MS);
        assert_int_equal(f->c.err, OK); /* the next token is not hindered */
        now = next;
    }
    world.away = false;
    assert_int_equal(turn_at(f, now), now + 100);
}

static void two_deaths_go_their_own_ways(void **state)
{
    struct fixture *f = *state;

    die(f, 0, TOKEN_A, true);
    (void)turn_at(f, START);
    die(f, 1, TOKEN_B, false);
    assert_int_equal(turn_at(f, START + 50), START + 100);
    assert_int_equal(world.calls, 2);
    assert_string_equal(world.token, TOKEN_B);
    assert_int_equal(turn_at(f, START + 100), START + 150);
    assert_string_equal(world.token, TOKEN_A);
}

static void idle_worker_is_woken_for_what_came_free(void **state)
{
    struct fixture *f = *state;

    board_begin(f->board, 2);
    world.freed = 1;
    die(f, 0, TOKEN_A, true);
    (void)turn_at(f, START);
    assert_true(board_take(board_work_fd(f->board)));
    (void)turn_at(f, START + 100); /* nothing came free: nobody is woken */
    assert_false(board_take(board_work_fd(f->board)));
}

static void another_coordinator_begins_anew(void **state)
{
    struct fixture *f = *state;

    die(f, 0, TOKEN_A, true);
    (void)turn_at(f, START);
    free(f->left);
    f->left = leftovers_new(f->board);
    assert_int_equal(turn_at(f, START + 10), START + 110);
    assert_int_equal(world.calls, 2);
}

static void place_of_another_death_is_no_repeat(void **state)
{
    struct fixture *f = *state;

    die(f, 0, TOKEN_A, true);
    (void)turn_at(f, START);
    (void)turn_at(f, START + 100);
    (void)turn_at(f, START + 1000);
    die(f, 0, TOKEN_A, true); /* in the same place, even the same token */
    assert_int_equal(turn_at(f, START + 1000), START + 1100);
    assert_int_equal(world.calls, 4);
}

static void at_the_end_the_living_are_given_back_too(void **state)
{
    struct fixture *f = *state;

    board_begin(f->board, 1);
    board_claiming(f->board, 1, TOKEN_B);
    board_busy(f->board, 1);
    (void)turn_at(f, START);
    assert_int_equal(world.calls, 0);
    leftovers_take_all(f->left, &f->c);
    assert_int_equal(world.calls, 1);
    assert_string_equal(world.token, TOKEN_B);
    board_untold(f->board, 1);
    board_claiming(f->board, 1, TOKEN_A);
    leftovers_take_all(f->left, &f->c);
    assert_int_equal(world.calls, 3);
}

#define LEFT_CASE(test) cmocka_unit_test_setup_teardown(test, fresh, done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEFT_CASE(nothing_to_do_is_for_ever),
        LEFT_CASE(given_back_at_once_and_twice_more),
        LEFT_CASE(one_that_only_claimed_is_no_death_in_a_job),
        LEFT_CASE(finish_that_was_not_told_keeps_its_grant),
        LEFT_CASE(both_tokens_of_one_death_are_given_back),
        LEFT_CASE(failure_is_repeated_until_it_is_done),
        LEFT_CASE(two_deaths_go_their_own_ways),
        LEFT_CASE(idle_worker_is_woken_for_what_came_free),
        LEFT_CASE(another_coordinator_begins_anew),
        LEFT_CASE(place_of_another_death_is_no_repeat),
        LEFT_CASE(at_the_end_the_living_are_given_back_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
