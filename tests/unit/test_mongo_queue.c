/* test_mongo_queue - who may run next: classes and turns, and at what cost the
 * next one is found */
#include "lib/coord/mongo_queue.c"

#include "tests/unit/queue_world.h"

enum {
    FLOOD = 20000,
    SUBSCRIBERS = 200
};

static int hook_of(const struct claim *cl)
{
    char text[ID_OBJECT_MAX];

    snprintf(text, sizeof text, STR_FMT, STR_ARG(cl->job.subscriber));
    return (int)strtoll(text, NULL, 16);
}

static int next(struct ctx *c, struct claimant *k)
{
    struct claim cl = world_got(c, k);

    return hook_of(&cl);
}

/* ---- order */

static void urgent_classes_are_first(void **state)
{
    static const int priorities[] = {0, 7, 1023, 1, 2};
    static const int want[] = {4, 5, 2, 3, 1};
    struct ctx *c = *state;
    struct claimant k = world_worker();

    for (int i = 0; i < 5; i++) {
        world_hook(c, &(struct hook){.n = i + 1, .priority = priorities[i]});
        for (int n = 0; n < 2; n++)
            (void)world_put(c, &(struct put){.hook = i + 1,
                                             .n = n,
                                             .priority = priorities[i]});
    }
    for (int i = 0; i < 10; i++)
        assert_int_equal(next(c, &k), want[i / 2]);
    world_none(c, &k);
}

static void more_urgent_ones_before_the_place_are_first(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct put test = {.hook = 2, .n = 50, .once = true};

    world_hook(c, &(struct hook){.n = 1, .priority = 5});
    world_hook(c, &(struct hook){.n = 2});
    world_hook(c, &(struct hook){.n = 3});
    for (int i = 2; i <= 3; i++)
        world_fill(c, (struct put){.hook = i}, 0, 4);
    assert_int_equal(next(c, &k), 2);
    (void)world_put(c, &(struct put){.hook = 1, .priority = 5});
    assert_int_equal(next(c, &k), 1);
    assert_int_equal(next(c, &k), 2);
    assert_int_equal(next(c, &k), 3);
    (void)world_put(c, &test);
    assert_true(world_got(c, &k).job.once);
    /* a class that no webhook has any more: when its turn comes */
    (void)world_put(c, &(struct put){.hook = 3, .n = 9, .priority = 2});
    for (int i = 0; i < 6; i++)
        (void)world_got(c, &k);
    world_none(c, &k);
}

static void subscribers_of_a_class_take_turns(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();

    for (int i = 1; i <= 3; i++) {
        world_hook(c, &(struct hook){.n = i});
        for (int n = 0; n < 3; n++)
            (void)world_put(c, &(struct put){.hook = i, .n = n});
    }
    for (int i = 0; i < 9; i++)
        assert_int_equal(next(c, &k), i % 3 + 1);
}

static void first_in_first_out_within_a_subscriber(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();

    world_hook(c, &(struct hook){.n = 1});
    for (int n = 9; n >= 0; n--)
        (void)world_put(c, &(struct put){.hook = 1, .n = 50 * n});
    for (int n = 0; n < 10; n++)
        assert_str(world_got(c, &k).job.id, world_job_id(c, 1, 50 * n).p);
}

/* ---- rivals */

static int place_of(str id)
{
    int64_t n = -1;

    assert_true(str_to_i64(str_from(id, id.n - 9), &n));
    return (int)n;
}

static void who_has_rivals_takes_what_chance_says(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct candidate job;
    bool seen[ROWS] = {false};
    int n = 0;

    for (int i = 1; i <= 2; i++) {
        world_hook(c, &(struct hook){.n = i});
        world_fill(c, (struct put){.hook = i}, 0, 40);
    }
    for (int i = 0; i < 100; i++) {
        int last;

        k.rivals = i < 50 ? QUEUE_RIVALS_MAX : 0;
        /* behind the place, and once around */
        (void)snprintf(k.served, sizeof k.served, "%s",
                       i % 2 ? "0" : world_hook_id(c, 2).p);
        assert_int_equal(mongo_queue_look(c, &k, &job), LOOK_FOUND);
        assert_str(job.lim, world_hook_id(c, 1).p);
        last = place_of(job.id);
        assert_in_range(last, 0, k.rivals);
        n += !seen[last];
        seen[last] = true;
        assert_true(job.others_n > 0 || last > ROWS - 1 - LEAP);
        for (size_t o = 0; o < job.others_n; o++) {
            assert_in_range(place_of(job.others[o]), last + 1, last + LEAP);
            last = place_of(job.others[o]);
            assert_true(str_starts(job.others[o], job.lim));
        }
        assert_true(last < ROWS);
        world_reset(c);
    }
    assert_true(n > 8);
}

static void only_rows_without_order_stand_for_one_another(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct candidate job;

    world_hook(c, &(struct hook){.n = 1});
    (void)world_put(c, &(struct put){.hook = 1, .n = 0});
    (void)world_put(c, &(struct put){.hook = 1, .n = 1, .doc = "d", .ord = 1});
    (void)world_put(c, &(struct put){.hook = 1, .n = 2, .priority = 9});
    (void)world_put(c, &(struct put){.hook = 1, .n = 3, .in_ms = 30000});
    assert_int_equal(mongo_queue_look(c, &k, &job), LOOK_FOUND);
    assert_int_equal(place_of(job.id), 2);
    assert_int_equal(job.others_n, 0);
    coord_change(c, "_jobs", job.id.p,
                 BCON_NEW("$set", "{", "runAt", "{", "$add", "[", "$$NOW",
                          BCON_INT64(30000), "]", "}", "}"));
    for (int i = 0; i < 30; i++) {
        assert_int_equal(mongo_queue_look(c, &k, &job), LOOK_FOUND);
        assert_int_equal(place_of(job.id), 0);
        assert_int_equal(job.others_n, 0);
    }
}

/* ---- cost */

static int64_t examined(const bson_t *explained, const char *what)
{
    bson_iter_t it, child;
    int64_t sum = 0;

    assert_true(bson_iter_init(&it, explained));
    while (bson_iter_next(&it)) {
        if (strcmp(bson_iter_key(&it), what) == 0)
            sum += bson_iter_as_int64(&it);
        else if ((BSON_ITER_HOLDS_DOCUMENT(&it) ||
                  BSON_ITER_HOLDS_ARRAY(&it)) &&
                 bson_iter_recurse(&it, &child)) {
            const uint8_t *data;
            uint32_t n;
            bson_t inner;

            if (BSON_ITER_HOLDS_DOCUMENT(&it))
                bson_iter_document(&it, &n, &data);
            else
                bson_iter_array(&it, &n, &data);
            assert_true(bson_init_static(&inner, data, n));
            sum += examined(&inner, what);
        }
    }
    return sum;
}

static const bson_t *explain_look(struct ctx *c, const struct claimant *k,
                                  bool behind)
{
    bson_t *cmd = look_command(c, k, clock_server_ms() + AHEAD_MS, behind);

    return mongod_do(c, BCON_NEW("explain", BCON_DOCUMENT(cmd), "verbosity",
                                 "executionStats"));
}

static void flood_of_one_delays_nobody(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    const bson_t *explained;
    char *text;

    for (int i = 1; i <= SUBSCRIBERS; i++)
        world_hook(c, &(struct hook){.n = i});
    world_fill(c, (struct put){.hook = 1}, 0, FLOOD);
    for (int i = 2; i <= SUBSCRIBERS; i++)
        world_fill(c, (struct put){.hook = i, .in_ms = i < 150 ? 60000 : 0}, 0,
                   2);
    assert_int_equal(next(c, &k), 1);
    assert_int_equal(next(c, &k), 150);
    for (int i = 151; i <= SUBSCRIBERS; i++)
        assert_int_equal(next(c, &k), i);
    assert_int_equal(next(c, &k), 1);
    for (; k.skips_n < 40; k.skips_n++)
        k.skips[k.skips_n] = (struct queue_skip){.until_boot = INT64_MAX};
    for (size_t i = 0; i < k.skips_n; i++)
        snprintf(k.skips[i].lim, sizeof k.skips[i].lim, "%024x",
                 1 + 4 * (unsigned)i);
    for (int behind = 0; behind < 2; behind++) {
        explained = explain_look(c, &k, behind);
        assert_in_range(examined(explained, "totalKeysExamined"), 1,
                        3 * SUBSCRIBERS);
        assert_in_range(examined(explained, "totalDocsExamined"), 1, 100);
        text = bson_as_json(explained, NULL);
        /* no choice of plans, nothing is sorted */
        assert_null(strstr(text, "group_1"));
        assert_null(strstr(text, "\"SORT\""));
        bson_free(text);
    }
}

static void refused_subscribers_do_not_delay_others(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;
    int turns = 0;

    /* more of them than a worker can leave out, and than it tries in a claim */
    for (int i = 1; i <= 100; i++) {
        world_hook(c, &(struct hook){.n = i, .disabled = i < 100});
        (void)world_put(c, &(struct put){.hook = i});
    }
    while (world_claim(c, &k, &cl) != CLAIM_GOT)
        assert_true(++turns < 10);
    assert_int_equal(hook_of(&cl), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_QUEUE(urgent_classes_are_first),
        IN_QUEUE(more_urgent_ones_before_the_place_are_first),
        IN_QUEUE(subscribers_of_a_class_take_turns),
        IN_QUEUE(first_in_first_out_within_a_subscriber),
        IN_QUEUE(who_has_rivals_takes_what_chance_says),
        IN_QUEUE(only_rows_without_order_stand_for_one_another),
        IN_QUEUE(flood_of_one_delays_nobody),
        IN_QUEUE(refused_subscribers_do_not_delay_others),
    };

    return cmocka_run_group_tests(tests, world_main_setup, mongod_teardown);
}
