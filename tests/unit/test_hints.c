/* test_hints - what requests have committed is pushed beside them */
#include "fcgi-app/hints.c"

#include <stdatomic.h>
#include <time.h>

#include "lib/base/clock.h"
#include "tests/unit/support.h"

enum {
    LONG_MS = 30000, /* a test waits no longer */
    AT_ONCE_MS = 5000
};

static struct conf conf;
static struct ctx *c;

/* What hints.c asks of the program. */
static struct {
    atomic_bool usable, hangs; /* Redis */
    atomic_int pushes, ids, most;
    atomic_int entered; /* pushes that were begun */
    bool wrong;
} seen;

struct refresh_view refresh_view(void)
{
    return (struct refresh_view){.redis_usable = seen.usable};
}

void cluster_use_index(struct ctx *x)
{
    x->index = seen.usable ? "d" : "";
}

static void rest(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

void hint_push(struct ctx *x, const str *ids, size_t n)
{
    seen.entered++;
    while (seen.hangs)
        rest();
    for (size_t i = 0; i < n; i++)
        seen.wrong |= ids[i].n != ID_BYTES || ids[i].p[ID_BYTES - 1] != 'x';
    seen.wrong |= x->index[0] != 'd';
    if (seen.most < (int)n)
        seen.most = (int)n;
    seen.ids += (int)n;
    seen.pushes++;
}

static int fresh(void **state)
{
    c = *state;
    ctx_reset(c);
    memset(&seen, 0, sizeof seen);
    seen.usable = true;
    conf = (struct conf){.redis_url = "redis://localhost",
                         .cluster_enabled = true};
    hints.waiting.n = 0;
    hints.stopping = hints.runs = false;
    return 0;
}

static void give(size_t n)
{
    char *p = arena_alloc(&c->arena, n * ID_BYTES);

    memset(p, 'x', n * ID_BYTES);
    c->committed = (str){p, n * ID_BYTES};
    hints_give(c);
    ctx_reset(c);
}

static void await(const atomic_int *what, int n)
{
    ms end = clock_mono_ms() + LONG_MS;

    while (*what < n && clock_mono_ms() < end)
        rest();
    assert_int_equal(*what, n);
}

static void stop(void)
{
    hints_stop(clock_mono_ms() + LONG_MS);
    assert_false(seen.wrong);
}

static void what_was_given_is_pushed(void **state)
{
    (void)state;
    assert_true(hints_start(&conf));
    give(1);
    await(&seen.ids, 1);
    give(3);
    await(&seen.ids, 4);
    hints_give(c); /* nothing was committed */
    stop();
    assert_int_equal(seen.pushes, 2);
}

static void nobody_waits_for_a_redis_that_hangs(void **state)
{
    int64_t lost = metrics_sum(METRIC_HINTS_LOST, 0);
    ms begun;

    (void)state;
    seen.hangs = true;
    assert_true(hints_start(&conf));
    give(1);
    await(&seen.entered, 1);
    begun = clock_mono_ms();
    for (int i = 0; i < WAITING_MAX + 10; i++) /* more than there is room for */
        give(1);
    give(WAITING_MAX);
    assert_true(clock_mono_ms() - begun < AT_ONCE_MS);
    seen.hangs = false;
    stop();
    assert_int_equal(seen.ids, 1 + WAITING_MAX);
    lost = metrics_sum(METRIC_HINTS_LOST, 0) - lost;
    assert_int_equal(lost, 10 + WAITING_MAX);
    assert_int_equal(seen.most, TOGETHER_MAX);
}

static void nothing_is_kept_for_a_redis_that_is_away(void **state)
{
    (void)state;
    seen.usable = false;
    assert_true(hints_start(&conf));
    give(1);
    seen.usable = true;
    give(1);
    await(&seen.ids, 1);
    seen.hangs = true;
    give(TOGETHER_MAX);
    await(&seen.entered, 2);
    give(2 * TOGETHER_MAX);
    seen.usable = false; /* under way: what comes after it is dropped */
    seen.hangs = false;
    stop();
    assert_int_equal(seen.ids, 1 + TOGETHER_MAX);
}

static void mode_single_has_no_thread(void **state)
{
    (void)state;
    conf.redis_url = "none";
    assert_true(hints_start(&conf));
    assert_false(hints.runs);
    stop();
}

int main(void)
{
    static const struct metric_labels none = {0};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_was_given_is_pushed, fresh),
        cmocka_unit_test_setup(nobody_waits_for_a_redis_that_hangs, fresh),
        cmocka_unit_test_setup(nothing_is_kept_for_a_redis_that_is_away, fresh),
        cmocka_unit_test_setup(mode_single_has_no_thread, fresh),
    };

    if (metrics_setup(1, none, none) != OK)
        return 1;
    metrics_join(0);
    return cmocka_run_group_tests_name("hints", tests, support_setup,
                                       support_teardown);
}
