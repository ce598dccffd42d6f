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
                                 .dataset = "0123456789abcdef",
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
    assert_string_equal(out.dataset, "0123456789abcdef");
    w.dataset[0] = '\0';
    board_write(b, &w);
    board_read(b, &out);
    assert_string_equal(out.dataset, "");
}

enum {
    DATASETS = 20000 /* written while they are read */
};

static void *write_datasets(void *arg)
{
    struct board_words w = {.share_n = 1};

    for (int i = 0; i < DATASETS; i++) {
        memset(w.dataset, "abcdef"[i % 6], sizeof w.dataset - 1);
        board_write(arg, &w);
    }
    return NULL;
}

/* One half of an old id and one of a new one name no data set. */
static void data_set_is_read_whole_or_not_at_all(void **state)
{
    struct board_words w = {.share_n = 1, .dataset = "ffffffffffffffff"};
    pthread_t writer;
    bool last;

    board_write(*state, &w);
    assert_int_equal(pthread_create(&writer, NULL, write_datasets, *state), 0);
    do {
        last = pthread_tryjoin_np(writer, NULL) == 0;
        board_read(*state, &w);
        for (size_t i = 0; w.dataset[i]; i++)
            assert_int_equal(w.dataset[i], w.dataset[0]);
    } while (!last);
    assert_int_equal(strlen(w.dataset), DATASET_ID_MAX - 1);
}

static void nothing_may_be_claimed_before_the_first_look(void **state)
{
    struct board_words w;

    board_read(*state, &w);
    assert_false(w.open);
    assert_string_equal(w.dataset, "");
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

/* ---- a finish that the index is told with the next claim */

/* Both tokens that are held in these places, as one text */
static const char *held_by(bool (*next)(const struct board *b, int from,
                                        struct board_dead *out),
                           const struct board *b)
{
    static char text[4 * ID_TOKEN_MAX];
    struct board_dead held;
    size_t n = 0;

    text[0] = '\0';
    for (int at = 0; next(b, at, &held); at = held.at + 1)
        n += (size_t)snprintf(text + n, sizeof text - n, "%.1s%s ", held.token,
                              held.busy ? "!" : "");
    return text;
}

static void finish_not_told_keeps_its_token(void **state)
{
    struct board *b = *state;

    board_begin(b, 0);
    board_claiming(b, 0, TOKEN_A);
    board_busy(b, 0);
    board_untold(b, 0);
    assert_int_equal(board_busy_n(b), 0);
    assert_string_equal(held_by(board_next_live, b), "a! ");
    board_claiming(b, 0, TOKEN_B);
    assert_string_equal(held_by(board_next_live, b), "b a! ");
    board_told(b, 0);
    board_busy(b, 0);
    assert_string_equal(held_by(board_next_live, b), "b! ");
    board_idle(b, 0);
    assert_string_equal(held_by(board_next_live, b), "");
}

static void both_tokens_of_a_dead_child_are_known(void **state)
{
    struct board *b = *state;

    board_begin(b, 1);
    board_claiming(b, 1, TOKEN_A);
    board_busy(b, 1);
    board_untold(b, 1);
    board_claiming(b, 1, TOKEN_B);
    board_busy(b, 1);
    board_died(b, 1);
    assert_string_equal(held_by(board_next_dead, b), "b! a! ");
    assert_string_equal(held_by(board_next_live, b), "");
}

static void idle_child_leaves_the_finish_that_is_not_told(void **state)
{
    struct board *b = *state;

    board_begin(b, 1);
    board_claiming(b, 1, TOKEN_A);
    board_busy(b, 1);
    board_untold(b, 1);
    board_died(b, 1);
    assert_string_equal(held_by(board_next_dead, b), "a! ");
    board_begin(b, 1); /* the next child has told all of its own */
    board_died(b, 1);
    assert_string_equal(held_by(board_next_dead, b), "a! ");
}

static void next_finish_takes_the_place(void **state)
{
    struct board *b = *state;

    board_begin(b, 0);
    board_claiming(b, 0, TOKEN_A);
    board_untold(b, 0);
    board_claiming(b, 0, TOKEN_B);
    board_untold(b, 0);
    assert_string_equal(held_by(board_next_live, b), "b! ");
}

#define BOARD_CASE(test)                                                       \
    cmocka_unit_test_setup_teardown(test, board_setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOARD_CASE(words_come_back_as_written),
        BOARD_CASE(data_set_is_read_whole_or_not_at_all),
        BOARD_CASE(nothing_may_be_claimed_before_the_first_look),
        BOARD_CASE(words_of_an_old_look_allow_no_claim),
        BOARD_CASE(draining_lasts_till_it_is_undone),
        BOARD_CASE(child_that_held_nothing_leaves_nothing),
        BOARD_CASE(child_killed_while_claiming_leaves_its_token),
        BOARD_CASE(child_killed_in_a_job_leaves_its_token),
        BOARD_CASE(next_child_of_the_slot_hides_nothing),
        BOARD_CASE(several_deaths_are_all_known),
        BOARD_CASE(what_a_living_child_holds_can_be_seen),
        BOARD_CASE(finish_not_told_keeps_its_token),
        BOARD_CASE(both_tokens_of_a_dead_child_are_known),
        BOARD_CASE(idle_child_leaves_the_finish_that_is_not_told),
        BOARD_CASE(next_finish_takes_the_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
