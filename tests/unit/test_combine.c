/* test_combine - who leads, who is taken along, who waits no longer */
#include "lib/data/combine.h"

#include <sched.h>

#include "tests/unit/support.h"

enum {
    LONG_NS = 900000000, /* more than any step below takes */
};

struct other {
    struct combine_op op;
    struct combine *k;
    pthread_t thread;
    bool led;
};

static void *begin(void *arg)
{
    struct other *o = arg;

    o->led = combine_begin(o->k, &o->op);
    if (o->led)
        combine_end(o->k, &o->op);
    return NULL;
}

static int waiting(struct combine *k)
{
    int n = 0;

    pthread_mutex_lock(&k->lock);
    for (const struct combine_op *op = k->waiting; op; op = op->next)
        n++;
    pthread_mutex_unlock(&k->lock);
    return n;
}

/* Two operations that go on: from now on the others wait. */
struct busy {
    struct combine_op ops[2];
};

static void be_busy(struct combine *k, struct busy *b)
{
    combine_init(k, 1);
    k->wait_ns = LONG_NS;
    for (int i = 0; i < 2; i++) {
        b->ops[i] = (struct combine_op){.key = "a"};
        assert_true(combine_begin(k, &b->ops[i]));
        assert_null(b->ops[i].next);
    }
}

static void be_free(struct combine *k, struct busy *b)
{
    for (int i = 0; i < 2; i++)
        combine_end(k, &b->ops[i]);
}

static void check_empty(const struct combine *k)
{
    assert_int_equal(k->leaders, 0);
    assert_int_equal(k->under_way, 0);
    assert_null(k->waiting);
}

/* Starts a thread; comes back when its operation waits. */
static void start(struct other *o, struct combine *k, const char *key)
{
    int before = waiting(k);

    *o = (struct other){.op.key = key, .k = k};
    assert_int_equal(pthread_create(&o->thread, NULL, begin, o), 0);
    while (waiting(k) == before)
        sched_yield();
}

static void a_lone_operation_leads_at_once(void **state)
{
    struct combine_op op = {.key = "a"};
    struct combine k;

    (void)state;
    combine_init(&k, 1);
    for (int i = 0; i < 3; i++) {
        assert_true(combine_begin(&k, &op));
        assert_null(op.next);
        combine_end(&k, &op);
    }
    check_empty(&k);
}

static void those_that_wait_go_with_the_next_leader(void **state)
{
    struct other o[3];
    struct combine k;
    struct busy b;

    (void)state;
    be_busy(&k, &b);
    for (int i = 0; i < 3; i++)
        start(&o[i], &k, "a");
    be_free(&k, &b);
    for (int i = 0; i < 3; i++)
        pthread_join(o[i].thread, NULL);
    assert_true(o[0].led);
    assert_false(o[1].led);
    assert_false(o[2].led);
    check_empty(&k);
}

static void other_keys_are_not_taken_along(void **state)
{
    struct other o[4];
    struct combine k;
    struct busy b;

    (void)state;
    be_busy(&k, &b);
    start(&o[0], &k, "a");
    start(&o[1], &k, "b");
    start(&o[2], &k, "a");
    start(&o[3], &k, "b");
    be_free(&k, &b);
    for (int i = 0; i < 4; i++)
        pthread_join(o[i].thread, NULL);
    assert_true(o[0].led && o[1].led);
    assert_false(o[2].led || o[3].led);
    check_empty(&k);
}

static void who_waits_too_long_leads(void **state)
{
    struct combine_op late = {.key = "a"};
    struct combine k;
    struct busy b;

    (void)state;
    be_busy(&k, &b);
    k.wait_ns = 1000000;
    assert_true(combine_begin(&k, &late)); /* nobody ends meanwhile */
    assert_int_equal(k.leaders, 3);
    combine_end(&k, &late);
    be_free(&k, &b);
    check_empty(&k);
}

static void a_command_takes_a_bounded_number(void **state)
{
    struct other o[40];
    struct combine k;
    struct busy b;
    int led = 0;

    (void)state;
    be_busy(&k, &b);
    for (int i = 0; i < 40; i++)
        start(&o[i], &k, "a");
    be_free(&k, &b);
    for (int i = 0; i < 40; i++) {
        pthread_join(o[i].thread, NULL);
        led += o[i].led;
    }
    assert_int_equal(led, 2); /* 32 and the other 8 */
}

/* Every operation is run exactly once, by itself or by its leader. */
struct counted {
    struct combine_op op;
    int ran;
};

static void *run_many(void *arg)
{
    for (int i = 0; i < 2000; i++) {
        struct counted mine = {.op.key = i % 3 ? "a" : "b"};

        if (combine_begin(arg, &mine.op)) {
            for (struct combine_op *one = &mine.op; one; one = one->next)
                ((struct counted *)(void *)one)->ran++;
            combine_end(arg, &mine.op);
        }
        if (mine.ran != 1)
            return arg;
    }
    return NULL;
}

static void each_is_run_once_under_load(void **state)
{
    pthread_t threads[8];
    struct combine k;
    void *bad;

    (void)state;
    combine_init(&k, 2);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_many, &k), 0);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
    check_empty(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_operation_leads_at_once),
        cmocka_unit_test(those_that_wait_go_with_the_next_leader),
        cmocka_unit_test(other_keys_are_not_taken_along),
        cmocka_unit_test(who_waits_too_long_leads),
        cmocka_unit_test(a_command_takes_a_bounded_number),
        cmocka_unit_test(each_is_run_once_under_load),
    };

    return cmocka_run_group_tests_name("combine", tests, NULL, NULL);
}
