/* test_board_wakes - wake-ups, the turns of looks and their timer */
#include "lib/coord/board.c"

#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>

#include "tests/unit/support.h"

enum {
    SLOTS = 3,
    PATIENCE_MS = 10000
};

#define TOKEN_A "aaaaaaaaaaaaaaaaaaaaaaaa"

static int board_setup(void **state)
{
    *state = board_new(SLOTS);
    return *state ? 0 : -1;
}

static int board_teardown(void **state)
{
    clock_unset();
    board_free(*state);
    return 0;
}

static void poke_wakes_as_many_as_may_look(void **state)
{
    struct board *b = *state;
    int fd = board_work_fd(b), n = 0;

    board_poke(b, 5); /* nobody is there */
    assert_false(board_take(fd));
    board_begin(b, 0);
    board_begin(b, 1);
    board_begin(b, 2);
    board_claiming(b, 2, TOKEN_A);
    board_busy(b, 2);
    board_poke(b, 1);
    assert_true(board_take(fd));
    assert_false(board_take(fd));
    board_poke(b, 1000);
    while (board_take(fd))
        n++;
    assert_int_equal(n, 2);
}

static void poke_reaches_one_that_is_claiming(void **state)
{
    struct board *b = *state;

    board_begin(b, 0);
    board_claiming(b, 0, TOKEN_A); /* it may have looked already */
    board_poke(b, 1);
    assert_true(board_take(board_work_fd(b)));
}

/* A wake-up that nobody has taken yet is enough: each costs a look later. */
static void wake_ups_do_not_pile_up(void **state)
{
    struct board *b = *state;
    int fd = board_work_fd(b), n = 0;

    board_begin(b, 0);
    board_begin(b, 1);
    for (int i = 0; i < 1000; i++)
        board_poke(b, 1);
    while (board_take(fd))
        n++;
    assert_int_equal(n, 2);
}

/* Takes one wake-up, as a worker that waits for work. */
static int take_one(struct board *b)
{
    struct pollfd p = {.fd = board_work_fd(b), .events = POLLIN};

    while (poll(&p, 1, PATIENCE_MS) == 1)
        if (board_take(board_work_fd(b)))
            return 0;
    return 1;
}

static void each_process_takes_one_wake_up(void **state)
{
    struct board *b = *state;
    pid_t pid[SLOTS];

    for (int i = 0; i < SLOTS; i++) {
        board_begin(b, i);
        fflush(NULL);
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (pid[i] == 0)
            _exit(take_one(b));
    }
    board_poke(b, SLOTS);
    for (int i = 0; i < SLOTS; i++) {
        int status;

        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    assert_false(board_take(board_work_fd(b)));
}

static void one_of_many_looks(void **state)
{
    struct board *b = *state;
    ms wait = 0;

    assert_true(board_may_look(b, 1000, 250, &wait));
    assert_false(board_may_look(b, 1000, 250, &wait));
    assert_int_equal(wait, 250);
    assert_false(board_may_look(b, 1249, 250, &wait));
    assert_int_equal(wait, 1);
    assert_true(board_may_look(b, 1250, 250, &wait));
    board_look_by(b, 1300);
    board_look_by(b, 9000); /* later than it is anyway */
    assert_false(board_may_look(b, 1299, 250, &wait));
    assert_true(board_may_look(b, 1300, 250, &wait));
}

/* Gives the time of the boot clock at which it fires. */
static ms fires_at(const struct board *b)
{
    struct pollfd p = {.fd = board_timer_fd(b), .events = POLLIN};

    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1);
    return clock_boot_ms();
}

static void who_sleeps_already_is_woken_for_an_earlier_time(void **state)
{
    struct board *b = *state;
    ms now = clock_boot_ms(), wait = 0;

    assert_true(board_may_look(b, now, 3600000, &wait));
    assert_false(board_take(board_timer_fd(b)));
    board_look_by(b, now + 1800000);
    board_look_by(b, now + 50);
    board_look_by(b, now + 3000000); /* later than it is anyway */
    assert_true(fires_at(b) >= now + 50);
    assert_true(board_take(board_timer_fd(b)));
    assert_false(board_take(board_timer_fd(b)));
    assert_true(board_may_look(b, clock_boot_ms(), 1000, &wait));
    assert_false(board_may_look(b, clock_boot_ms(), 1000, &wait));
}

enum {
    EARLIER = 20000
};

static ms far;

static void *bring_forward(void *arg)
{
    for (ms by = far + EARLIER; by >= far; by--)
        board_look_by(arg, by);
    return NULL;
}

/* However they meet, the timer is that of the earliest time. */
static void timer_is_left_right_by_all_together(void **state)
{
    struct board *b = *state;
    struct itimerspec left;
    pthread_t t[2];
    ms now = clock_boot_ms(), wait;

    far = now + 3600000;
    assert_true(board_may_look(b, now, 2 * 3600000, &wait));
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&t[i], NULL, bring_forward, b), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(timerfd_gettime(board_timer_fd(b), &left), 0);
    assert_true(clock_boot_ms() + left.it_value.tv_sec * 1000 <= far);
    assert_true(left.it_value.tv_sec > 0);
}

enum {
    RACERS = 4,
    TURNS = 20000
};

static struct board *raced;
static int won[RACERS];

static void *race(void *arg)
{
    int *wins = arg;
    ms wait;

    for (ms now = 1; now <= TURNS; now++)
        if (board_may_look(raced, now, 1, &wait))
            (*wins)++;
    return NULL;
}

/* No instant is given to two. */
static void no_turn_is_given_twice(void **state)
{
    pthread_t t[RACERS];
    int sum = 0;

    raced = *state;
    for (int i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, race, &won[i]), 0);
    for (int i = 0; i < RACERS; i++) {
        pthread_join(t[i], NULL);
        sum += won[i];
    }
    assert_in_range(sum, 1, TURNS);
}

#define BOARD_CASE(test)                                                       \
    cmocka_unit_test_setup_teardown(test, board_setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOARD_CASE(poke_wakes_as_many_as_may_look),
        BOARD_CASE(poke_reaches_one_that_is_claiming),
        BOARD_CASE(wake_ups_do_not_pile_up),
        BOARD_CASE(each_process_takes_one_wake_up),
        BOARD_CASE(one_of_many_looks),
        BOARD_CASE(who_sleeps_already_is_woken_for_an_earlier_time),
        BOARD_CASE(timer_is_left_right_by_all_together),
        BOARD_CASE(no_turn_is_given_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
