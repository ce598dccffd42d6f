/* test_snap - a value replaced while others read it; none leaks, none dies */
#include "lib/base/snap.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "tests/unit/support.h"

enum {
    READERS = 4,
    VALUES = 20000,
    PARTS = 8
};

/* All parts are equal as long as it is whole. */
struct value {
    int parts[PARTS];
};

static struct snap snap = SNAP_INIT;
static atomic_int freed;
static atomic_bool over;

static struct value *value_new(int n)
{
    struct value *v = malloc(sizeof *v);

    assert_non_null(v);
    for (int i = 0; i < PARTS; i++)
        v->parts[i] = n;
    return v;
}

static void value_free(void *arg)
{
    struct value *v = arg;

    for (int i = 0; i < PARTS; i++)
        v->parts[i] = -1;
    free(v);
    atomic_fetch_add(&freed, 1);
}

static int fresh(void **state)
{
    (void)state;
    atomic_store(&freed, 0);
    atomic_store(&over, false);
    return 0;
}

static void nothing_is_there_before_the_first(void **state)
{
    (void)state;
    assert_null(snap_get(&snap));
    snap_put(NULL);
    snap_clear(&snap);
}

static void reader_keeps_what_it_got(void **state)
{
    struct snap_item *old;
    const struct value *v;

    (void)state;
    assert_int_equal(snap_publish(&snap, value_new(1), value_free), OK);
    old = snap_get(&snap);
    v = snap_value(old);
    assert_int_equal(snap_publish(&snap, value_new(2), value_free), OK);
    assert_int_equal(atomic_load(&freed), 0);
    assert_int_equal(v->parts[0], 1);
    snap_put(old);
    assert_int_equal(atomic_load(&freed), 1);
    snap_clear(&snap);
    assert_int_equal(atomic_load(&freed), 2);
}

static void last_reader_frees_it(void **state)
{
    struct snap_item *a, *b;

    (void)state;
    assert_int_equal(snap_publish(&snap, value_new(1), value_free), OK);
    a = snap_get(&snap);
    b = snap_get(&snap);
    snap_clear(&snap);
    snap_put(a);
    assert_int_equal(atomic_load(&freed), 0);
    snap_put(b);
    assert_int_equal(atomic_load(&freed), 1);
}

/* Gives how often a value was torn or went back. */
static void *read_on(void *arg)
{
    intptr_t faults = 0;
    int last = 0;

    (void)arg;
    while (!atomic_load(&over)) {
        struct snap_item *item = snap_get(&snap);
        const struct value *v = snap_value(item);
        int first = v->parts[0];

        for (int i = 1; i < PARTS; i++)
            faults += v->parts[i] != first;
        faults += first < last;
        last = first;
        snap_put(item);
    }
    return (void *)faults;
}

static void readers_see_whole_values_in_order(void **state)
{
    pthread_t threads[READERS];
    void *faults;

    (void)state;
    assert_int_equal(snap_publish(&snap, value_new(1), value_free), OK);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, NULL), 0);
    for (int n = 2; n <= VALUES; n++)
        assert_int_equal(snap_publish(&snap, value_new(n), value_free), OK);
    atomic_store(&over, true);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], &faults), 0);
        assert_null(faults);
    }
    assert_int_equal(atomic_load(&freed), VALUES - 1);
    snap_clear(&snap);
    assert_int_equal(atomic_load(&freed), VALUES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_is_there_before_the_first, fresh),
        cmocka_unit_test_setup(reader_keeps_what_it_got, fresh),
        cmocka_unit_test_setup(last_reader_frees_it, fresh),
        cmocka_unit_test_setup(readers_see_whole_values_in_order, fresh),
    };

    return cmocka_run_group_tests_name("snap", tests, NULL, NULL);
}
