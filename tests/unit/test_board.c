/* test_board - words, slots and wake-ups, with real processes that are killed
 */
#include "lib/coord/board.c"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "tests/unit/support.h"

enum {
    SLOTS = 3,
    PATIENCE_MS = 10000
};

#define TOKEN_A "aaaaaaaaaaaaaaaaaaaaaaaa"
#define TOKEN_B "bbbbbbbbbbbbbbbbbbbbbbbb"

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

/* ---- words */

static void words_come_back_as_written(void **state)
{
    struct board *b = *state;
    struct board_words out, w = {.open = true,
                                 .paused = {true},
                                 .transactions = true,
                                 .cap = {1LL << 40},
                                 .share_index = 6,
                                 .share_n = 7,
                                 .clock_offset = -3600000,
                                 .seen_boot = clock_boot_ms()};

    board_write(b, &w);
    board_read(b, &out);
    assert_true(out.open && out.paused[0] && out.transactions);
    assert_false(out.draining);
    assert_int_equal(out.cap[0], 1LL << 40);
    assert_int_equal(out.share_index, 6);
    assert_int_equal(out.share_n, 7);
    assert_int_equal(out.clock_offset, -3600000);
    assert_int_equal(out.seen_boot, w.seen_boot);
}

static void nothing_may_be_claimed_before_the_first_look(void **state)
{
    struct board_words w;

    board_read(*state, &w);
    assert_false(w.open);
    assert_int_equal(w.seen_boot, 0);
    assert_int_equal(w.share_index, 0);
    assert_int_equal(w.share_n, 1);
}

static void words_of_an_old_look_allow_no_claim(void **state)
{
    struct board_words out, w = {.open = true, .share_n = 1, .seen_boot = 5000};

    clock_set(5000 + BOARD_FRESH_MS, 0);
    board_write(*state, &w);
    board_read(*state, &out);
    assert_true(out.open);
    clock_set(5001 + BOARD_FRESH_MS, 0);
    board_read(*state, &out);
    assert_false(out.open);
}

static void draining_lasts_till_it_is_undone(void **state)
{
    struct board_words out, w = {.open = true, .share_n = 1, .seen_boot = 1};

    board_drain(*state);
    board_write(*state, &w);
    board_read(*state, &out);
    assert_true(out.draining);
    board_undrain(*state);
    board_read(*state, &out);
    assert_false(out.draining);
}

/* ---- slots */

/* A child that goes through the steps of a job and stays at the last. */
static pid_t child_at(struct board *b, int slot, enum state last)
{
    int ready[2];
    char byte;
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (last >= IDLE)
            board_begin(b, slot);
        if (last >= CLAIMING)
            board_claiming(b, slot, slot == 0 ? TOKEN_A : TOKEN_B);
        if (last >= BUSY)
            board_busy(b, slot);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

static void end_child(struct board *b, int slot, pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    board_died(b, slot);
}

static void child_that_held_nothing_leaves_nothing(void **state)
{
    struct board *b = *state;
    struct board_dead dead;

    for (int s = FREE; s <= IDLE; s++) {
        pid_t pid = child_at(b, 0, (enum state)s);

        assert_int_equal(board_live(b), s == IDLE);
        end_child(b, 0, pid);
        assert_int_equal(board_live(b), 0);
        assert_false(board_next_dead(b, 0, &dead));
        /* but who waits for the last one hears of it */
        assert_true(board_take(board_dead_fd(b)));
        assert_false(board_take(board_dead_fd(b)));
    }
}

static void child_killed_while_claiming_leaves_its_token(void **state)
{
    struct board *b = *state;
    struct board_dead dead;

    end_child(b, 0, child_at(b, 0, CLAIMING));
    assert_true(board_next_dead(b, 0, &dead));
    assert_string_equal(dead.token, TOKEN_A);
    assert_false(dead.busy);
    assert_false(board_next_dead(b, dead.at + 1, &dead));
}

static void child_killed_in_a_job_leaves_its_token(void **state)
{
    struct board *b = *state;
    struct board_dead dead;

    end_child(b, 1, child_at(b, 1, BUSY));
    assert_true(board_next_dead(b, 0, &dead));
    assert_string_equal(dead.token, TOKEN_B);
    assert_true(dead.busy);
    board_freed(b, dead.at);
    assert_false(board_next_dead(b, 0, &dead));
}

static void next_child_of_the_slot_hides_nothing(void **state)
{
    struct board *b = *state;
    struct board_dead dead;
    pid_t next;

    end_child(b, 0, child_at(b, 0, BUSY));
    next = child_at(b, 0, IDLE);
    assert_int_equal(board_live(b), 1);
    assert_int_equal(board_busy_n(b), 0);
    assert_true(board_next_dead(b, 0, &dead));
    assert_string_equal(dead.token, TOKEN_A);
    end_child(b, 0, next);
    assert_true(board_next_dead(b, 0, &dead));
}

static void several_deaths_are_all_known(void **state)
{
    struct board *b = *state;
    struct board_dead dead;
    int n = 0;

    for (int i = 0; i < SLOTS * GRAVES_PER_SLOT; i++) {
        board_begin(b, 2);
        board_claiming(b, 2, TOKEN_A);
        board_died(b, 2);
    }
    for (int at = 0; board_next_dead(b, at, &dead); at = dead.at + 1)
        n++;
    assert_int_equal(n, SLOTS * GRAVES_PER_SLOT);
    assert_int_equal(board_places(b), n);
    /* one more is not known, and harms none of the others */
    board_begin(b, 2);
    board_claiming(b, 2, TOKEN_B);
    board_died(b, 2);
    for (int at = 0; board_next_dead(b, at, &dead); at = dead.at + 1)
        assert_string_equal(dead.token, TOKEN_A);
}

static void what_a_living_child_holds_can_be_seen(void **state)
{
    struct board *b = *state;
    struct board_dead held;

    board_begin(b, 0);
    board_begin(b, 1);
    board_claiming(b, 1, TOKEN_B);
    board_busy(b, 1);
    assert_true(board_next_live(b, 0, &held));
    assert_int_equal(held.at, 1);
    assert_string_equal(held.token, TOKEN_B);
    assert_true(held.busy);
    assert_false(board_next_live(b, 2, &held));
    board_idle(b, 1);
    assert_false(board_next_live(b, 0, &held));
}

/* ---- wake-ups */

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
        BOARD_CASE(words_come_back_as_written),
        BOARD_CASE(nothing_may_be_claimed_before_the_first_look),
        BOARD_CASE(words_of_an_old_look_allow_no_claim),
        BOARD_CASE(draining_lasts_till_it_is_undone),
        BOARD_CASE(child_that_held_nothing_leaves_nothing),
        BOARD_CASE(child_killed_while_claiming_leaves_its_token),
        BOARD_CASE(child_killed_in_a_job_leaves_its_token),
        BOARD_CASE(next_child_of_the_slot_hides_nothing),
        BOARD_CASE(several_deaths_are_all_known),
        BOARD_CASE(what_a_living_child_holds_can_be_seen),
        BOARD_CASE(poke_wakes_as_many_as_may_look),
        BOARD_CASE(poke_reaches_one_that_is_claiming),
        BOARD_CASE(wake_ups_do_not_pile_up),
        BOARD_CASE(each_process_takes_one_wake_up),
        BOARD_CASE(one_of_many_looks),
        BOARD_CASE(no_turn_is_given_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
