/* test_proc - the supervisor with real children */
#include "lib/run/proc.c"

#include "tests/unit/support.h"

enum {
    SLOTS = 3,
    PATIENCE_MS = 10000
};

/* What children and the test tell each other. */
struct board {
    volatile pid_t pid[SLOTS];
    volatile sig_atomic_t starts[SLOTS];
    volatile sig_atomic_t deaths[SLOTS]; /* as told to the supervisor */
    volatile sig_atomic_t told;          /* starts when the last was told */
    volatile sig_atomic_t terms;         /* signals a child has read */
};

static struct board *board;

static void rest(void)
{
    poll(NULL, 0, 5);
}

static void wait_for_term(void)
{
    sigset_t set;
    int sig;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigwait(&set, &sig);
}

static void sign_in(int slot)
{
    board->starts[slot]++;
    board->pid[slot] = getpid();
}

static int obedient(void *arg, int slot)
{
    (void)arg;
    proc_ready(slot);
    sign_in(slot);
    wait_for_term();
    return 0;
}

/* Counts the first signal, and does nothing else about it. */
static int deaf(void *arg, int slot)
{
    sigset_t set;

    (void)arg;
    proc_ready(slot);
    sign_in(slot);
    while (getppid() != 0) {
        rest();
        sigpending(&set);
        board->terms = sigismember(&set, SIGTERM);
    }
    return 0;
}

static int failing_at_start(void *arg, int slot)
{
    (void)arg;
    sign_in(slot);
    return 1;
}

/* Ends with 1 the first time, but after it was ready. */
static int failing_later(void *arg, int slot)
{
    (void)arg;
    proc_ready(slot);
    sign_in(slot);
    if (board->starts[slot] == 1)
        return 1;
    wait_for_term();
    return 0;
}

/* The first life stops itself, its deadline behind it; the next obeys. */
static int stopping_once(void *arg, int slot)
{
    (void)arg;
    proc_ready(slot);
    proc_deadline(slot, clock_boot_ms() + 60000);
    proc_deadline(slot, clock_boot_ms() + 100);
    sign_in(slot);
    if (board->starts[slot] == 1)
        raise(SIGSTOP);
    proc_deadline(slot, 0);
    wait_for_term();
    return 0;
}

static int final(void *arg, int slot)
{
    (void)arg;
    proc_ready(slot);
    sign_in(slot);
    return PROC_EXIT_FINAL;
}

/* Ends by itself, but only after a second signal. */
static int reluctant(void *arg, int slot)
{
    (void)arg;
    proc_ready(slot);
    sign_in(slot);
    wait_for_term();
    board->terms++;
    wait_for_term();
    board->terms++;
    return 0;
}

static void note_death(void *arg, int slot)
{
    struct board *b = arg;

    b->deaths[slot]++;
    b->told = b->starts[slot];
}

static pid_t supervise_by(const struct proc_options *o)
{
    pid_t pid;

    memset(board, 0, sizeof *board);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(proc_supervise(o));
    return pid;
}

static pid_t supervise(const struct proc_role *roles, size_t n, ms grace_ms)
{
    struct proc_options o = {
        .roles = roles, .roles_n = n, .grace_ms = grace_ms};

    return supervise_by(&o);
}

static int await_exit(pid_t pid)
{
    ms end = clock_mono_ms() + PATIENCE_MS;
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (clock_mono_ms() > end) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return -2;
        }
        rest();
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The pid in the slot once the child there has started `starts` times. */
static pid_t await_child(int slot, int starts)
{
    ms end = clock_mono_ms() + PATIENCE_MS;

    while (board->starts[slot] < starts || board->pid[slot] == 0) {
        assert_true(clock_mono_ms() < end);
        rest();
    }
    return board->pid[slot];
}

/* The test adopts orphans, so a dead one is not left as a zombie of init. */
static bool is_alive(pid_t pid)
{
    waitpid(pid, NULL, WNOHANG);
    return kill(pid, 0) == 0;
}

static void await_death(pid_t pid)
{
    ms end = clock_mono_ms() + PATIENCE_MS;

    while (is_alive(pid)) {
        assert_true(clock_mono_ms() < end);
        rest();
    }
}

/* Two signals that nobody has read are one. */
static void await_terms(int n)
{
    ms end = clock_mono_ms() + PATIENCE_MS;

    while (board->terms < n) {
        assert_true(clock_mono_ms() < end);
        rest();
    }
}

static void term_ends_all_children_and_gives_0(void **state)
{
    static const struct proc_role roles[] = {{"first", 2, obedient, NULL},
                                             {"second", 1, obedient, NULL}};
    pid_t top = supervise(roles, 2, 5000);
    pid_t pid[SLOTS];

    (void)state;
    for (int i = 0; i < SLOTS; i++)
        pid[i] = await_child(i, 1);
    kill(top, SIGTERM);
    assert_int_equal(await_exit(top), 0);
    for (int i = 0; i < SLOTS; i++)
        assert_false(is_alive(pid[i]));
}

static void int_stops_and_hup_does_not(void **state)
{
    static const struct proc_role role = {"child", 1, obedient, NULL};
    pid_t top = supervise(&role, 1, 5000);

    (void)state;
    await_child(0, 1);
    kill(top, SIGHUP);
    poll(NULL, 0, 50);
    assert_int_equal(waitpid(top, NULL, WNOHANG), 0);
    kill(top, SIGINT);
    assert_int_equal(await_exit(top), 0);
}

/* Each after a healthy life, by the real clock: one of several is replaced at
 * once, as the machine may pause. */
static void killed_child_is_replaced_in_its_slot(void **state)
{
    static const struct proc_role role = {"child", 2, obedient, NULL};
    pid_t top = supervise(&role, 1, 5000);
    pid_t other = await_child(1, 1);
    ms best = PATIENCE_MS;

    (void)state;
    for (int i = 1; i < 5 && best >= 500; i++) {
        pid_t old = await_child(0, i);
        ms killed, took;

        poll(NULL, 0, HEALTHY_MS + 50);
        killed = clock_mono_ms();
        kill(old, SIGKILL);
        assert_int_not_equal(await_child(0, i + 1), old);
        took = clock_mono_ms() - killed;
        best = took < best ? took : best;
    }
    assert_true(best < 500);
    assert_int_equal(board->pid[1], other);
    kill(top, SIGTERM);
    assert_int_equal(await_exit(top), 0);
}

static void exit_1_before_ready_ends_the_supervisor_with_1(void **state)
{
    static const struct proc_role roles[] = {
        {"good", 1, obedient, NULL}, {"bad", 1, failing_at_start, NULL}};
    pid_t top = supervise(roles, 2, 5000);

    (void)state;
    assert_int_equal(await_exit(top), 1);
    assert_int_equal(board->starts[1], 1);
    if (board->pid[0])
        assert_false(is_alive(board->pid[0]));
}

static void exit_1_after_ready_is_a_death_like_others(void **state)
{
    static const struct proc_role role = {"child", 1, failing_later, NULL};
    pid_t top = supervise(&role, 1, 5000);

    (void)state;
    await_child(0, 2);
    kill(top, SIGTERM);
    assert_int_equal(await_exit(top), 0);
}

static void deaf_child_is_killed_after_the_grace(void **state)
{
    static const struct proc_role role = {"deaf", 1, deaf, NULL};
    pid_t top = supervise(&role, 1, 300);
    pid_t pid = await_child(0, 1);
    ms asked = clock_mono_ms();

    (void)state;
    kill(top, SIGTERM);
    assert_int_equal(await_exit(top), 0);
    assert_true(clock_mono_ms() - asked >= 290);
    assert_false(is_alive(pid));
}

static void second_term_does_not_wait(void **state)
{
    static const struct proc_role role = {"deaf", 1, deaf, NULL};
    pid_t top = supervise(&role, 1, 60000);
    pid_t pid = await_child(0, 1);

    (void)state;
    kill(top, SIGTERM);
    await_terms(1);
    assert_true(is_alive(pid));
    kill(top, SIGTERM);
    assert_int_equal(await_exit(top), 0);
    assert_false(is_alive(pid));
}

static void second_term_is_passed_on(void **state)
{
    static const struct proc_role role = {"child", 1, reluctant, NULL};
    struct proc_options o = {
        .roles = &role, .roles_n = 1, .grace_ms = 60000, .second_ms = 60000};
    pid_t top = supervise_by(&o);

    (void)state;
    await_child(0, 1);
    kill(top, SIGTERM);
    await_terms(1);
    kill(top, SIGTERM);
    assert_int_equal(await_exit(top), 0);
    assert_int_equal(board->terms, 2);
}

static void second_term_leaves_its_own_grace(void **state)
{
    static const struct proc_role role = {"deaf", 1, deaf, NULL};
    struct proc_options o = {
        .roles = &role, .roles_n = 1, .grace_ms = 60000, .second_ms = 300};
    pid_t top = supervise_by(&o);
    ms asked;

    (void)state;
    await_child(0, 1);
    kill(top, SIGTERM);
    await_terms(1);
    asked = clock_mono_ms();
    kill(top, SIGTERM);
    assert_int_equal(await_exit(top), 0);
    assert_true(clock_mono_ms() - asked >= 290);
}

static void death_is_told_before_the_slot_is_taken_again(void **state)
{
    static const struct proc_role role = {"child", 2, obedient, NULL};
    struct proc_options o = {.roles = &role,
                             .roles_n = 1,
                             .grace_ms = 5000,
                             .on_death = note_death,
                             .arg = board};
    pid_t top = supervise_by(&o);

    (void)state;
    await_child(0, 1);
    kill(await_child(1, 1), SIGKILL);
    await_child(1, 2);
    assert_int_equal(board->deaths[0], 0);
    assert_int_equal(board->deaths[1], 1);
    assert_int_equal(board->told, 1);
    kill(top, SIGTERM);
    assert_int_equal(await_exit(top), 0);
    assert_int_equal(board->deaths[0], 1);
    assert_int_equal(board->deaths[1], 2);
}

static void killed_supervisor_leaves_no_children(void **state)
{
    static const struct proc_role role = {"deaf", 2, deaf, NULL};
    pid_t top = supervise(&role, 1, 5000);
    pid_t pid[] = {await_child(0, 1), await_child(1, 1)};

    (void)state;
    kill(top, SIGKILL);
    assert_int_equal(await_exit(top), -1);
    await_death(pid[0]);
    await_death(pid[1]);
}

static void overdue_child_is_killed_even_when_it_is_stopped(void **state)
{
    static const struct proc_role role = {"child", 1, stopping_once, NULL};
    pid_t top = supervise(&role, 1, 5000);

    (void)state;
    await_child(0, 2);
    kill(top, SIGTERM);
    assert_int_equal(await_exit(top), 0);
}

static void final_exit_of_a_child_ends_the_supervisor_with_1(void **state)
{
    static const struct proc_role roles[] = {{"good", 1, obedient, NULL},
                                             {"final", 1, final, NULL}};
    pid_t top = supervise(roles, 2, 5000);

    (void)state;
    assert_int_equal(await_exit(top), 1);
    assert_int_equal(board->starts[1], 1);
}

static void early_deaths_wait_longer_and_end_it(void **state)
{
    static const struct proc_role role = {"child", 1, obedient, NULL};
    struct child ch = {.role = &role};
    struct proc_options o = {.grace_ms = 1000};
    struct table t = {.children = &ch, .n = 1, .o = &o, .code = 0};
    ms now = 1000, last = 0;

    (void)state;
    for (int i = 1; i < EARLY_MAX; i++) {
        move_child(&ch, RUNNING, 1, now);
        judge_death(&t, &ch, SIGSEGV, true, now + 1);
        assert_int_equal(ch.state, WAITING);
        assert_in_range(ch.due - now, 75, MAX_WAIT_MS + 1);
        assert_true(i > 6 || ch.due - now > last);
        last = ch.due - now;
        now = ch.due;
    }
    assert_false(t.stopping);
    move_child(&ch, RUNNING, 1, now);
    judge_death(&t, &ch, SIGSEGV, true, now + 1);
    assert_true(t.stopping);
    assert_int_equal(t.code, 1);
    assert_int_equal(ch.state, GONE);
}

static void healthy_life_forgets_early_deaths(void **state)
{
    static const struct proc_role role = {"child", 1, obedient, NULL};
    struct child ch = {.role = &role, .early = EARLY_MAX - 1};
    struct table t = {.children = &ch, .n = 1};

    (void)state;
    move_child(&ch, RUNNING, 1, 1000);
    judge_death(&t, &ch, SIGKILL, true, 1000 + HEALTHY_MS);
    assert_int_equal(ch.early, 0);
    assert_int_equal(ch.due, 1000 + HEALTHY_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(term_ends_all_children_and_gives_0),
        cmocka_unit_test(int_stops_and_hup_does_not),
        cmocka_unit_test(killed_child_is_replaced_in_its_slot),
        cmocka_unit_test(exit_1_before_ready_ends_the_supervisor_with_1),
        cmocka_unit_test(exit_1_after_ready_is_a_death_like_others),
        cmocka_unit_test(deaf_child_is_killed_after_the_grace),
        cmocka_unit_test(second_term_does_not_wait),
        cmocka_unit_test(second_term_is_passed_on),
        cmocka_unit_test(second_term_leaves_its_own_grace),
        cmocka_unit_test(death_is_told_before_the_slot_is_taken_again),
        cmocka_unit_test(killed_supervisor_leaves_no_children),
        cmocka_unit_test(overdue_child_is_killed_even_when_it_is_stopped),
        cmocka_unit_test(final_exit_of_a_child_ends_the_supervisor_with_1),
        cmocka_unit_test(early_deaths_wait_longer_and_end_it),
        cmocka_unit_test(healthy_life_forgets_early_deaths),
    };

    prctl(PR_SET_CHILD_SUBREAPER, 1);
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (board == MAP_FAILED)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
