/* test_arena - memory and clean-ups of one unit of work */
#include "lib/base/arena.h"

#include <stdalign.h>

#include "tests/unit/support.h"

static char order[8];
static size_t order_n;

static void note(void *arg)
{
    order[order_n++] = *(const char *)arg;
}

static int fresh(void **state)
{
    static struct arena a;

    memset(order, 0, sizeof order);
    order_n = 0;
    arena_init(&a, 1 << 20);
    *state = &a;
    return 0;
}

static int done(void **state)
{
    arena_done(*state);
    return 0;
}

static void memory_is_zeroed_and_aligned(void **state)
{
    struct arena *a = *state;

    for (size_t n = 1; n < 200; n += 7) {
        char *p = arena_alloc(a, n);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
    }
}

static void memory_is_zeroed_after_a_reset_too(void **state)
{
    struct arena *a = *state;
    char *p = arena_alloc(a, 100);

    assert_non_null(p);
    memset(p, 0xff, 100);
    arena_reset(a);
    p = arena_alloc(a, 100);
    assert_non_null(p);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(p[i], 0);
}

static void ceiling_gives_null_and_reset_gives_room(void **state)
{
    struct arena *a = *state;
    size_t n = 0;

    while (n < 2000 && arena_alloc(a, 1024))
        n++;
    assert_in_range(n, 900, 1024);
    assert_true(a->used_bytes <= a->max_bytes);
    arena_reset(a);
    assert_non_null(arena_alloc(a, 1 << 19));
}

static void huge_wishes_do_not_wrap_around(void **state)
{
    struct arena *a = *state;

    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_alloc(a, SIZE_MAX - 8));
    assert_null(arena_alloc(a, (1 << 20) + 1));
    assert_non_null(arena_alloc(a, 0));
}

static void large_memory_does_not_overlap_small(void **state)
{
    struct arena *a = *state;
    char *small = arena_alloc(a, 16), *large = arena_alloc(a, 100000);
    char *next = arena_alloc(a, 16);

    assert_non_null(small);
    assert_non_null(large);
    assert_non_null(next);
    memset(large, 1, 100000);
    assert_int_equal(small[0], 0);
    assert_int_equal(next[0], 0);
}

static void clean_ups_run_once_in_reverse_order(void **state)
{
    struct arena *a = *state;

    assert_int_equal(arena_defer(a, note, (char[]){'1'}), OK);
    assert_int_equal(arena_defer(a, note, (char[]){'2'}), OK);
    assert_int_equal(arena_defer(a, note, (char[]){'3'}), OK);
    assert_string_equal(order, "");
    arena_reset(a);
    assert_string_equal(order, "321");
    arena_reset(a);
    assert_string_equal(order, "321");
}

static void clean_up_without_memory_runs_at_once(void **state)
{
    struct arena *a = *state;
    char mark = 'x';

    arena_done(a);
    arena_init(a, 0);
    assert_int_equal(arena_defer(a, note, &mark), ERR_OVERLOADED);
    assert_string_equal(order, "x");
}

static void texts_are_copied_with_a_nul(void **state)
{
    struct arena *a = *state;
    str s = arena_str(a, STR("a\0b"));

    assert_true(str_eq(s, STR("a\0b")));
    assert_int_equal(s.p[3], 0);
    s = arena_str(a, STR_NONE);
    assert_non_null(s.p);
    assert_int_equal(s.n, 0);
    s = arena_strf(a, "%s-%d", "x", 7);
    assert_str(s, "x-7");
    assert_int_equal(s.p[s.n], 0);
}

#define IN_ARENA(test) cmocka_unit_test_setup_teardown(test, fresh, done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_ARENA(memory_is_zeroed_and_aligned),
        IN_ARENA(memory_is_zeroed_after_a_reset_too),
        IN_ARENA(ceiling_gives_null_and_reset_gives_room),
        IN_ARENA(huge_wishes_do_not_wrap_around),
        IN_ARENA(large_memory_does_not_overlap_small),
        IN_ARENA(clean_ups_run_once_in_reverse_order),
        IN_ARENA(clean_up_without_memory_runs_at_once),
        IN_ARENA(texts_are_copied_with_a_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
