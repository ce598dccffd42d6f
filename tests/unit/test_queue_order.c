/* test_queue_order - groups in which order counts: one at a time, the oldest
 * first, whatever is retried, given back or replayed */
#include "lib/coord/queue.c"

#include <poll.h>
#include <pthread.h>

#include "tests/unit/queue_paths.h"

enum {
    WORKERS = 6,
    GROUPS = 4,
    EACH = 25 /* rows of a group */
};

static str put(struct ctx *c, const char *doc, int ord)
{
    return world_put(c, &(struct put){.hook = 1,
                                      .n = ord + 100 * doc[0],
                                      .doc = doc,
                                      .ord = ord,
                                      .tries_max = 10});
}

static void one_at_a_time_the_oldest_first(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    struct claim a, b;
    str id[2][2];

    world_hook(c, &(struct hook){.n = 1});
    for (int ord = 2; ord >= 1; ord--) {
        id[0][ord - 1] = put(c, "a", ord);
        id[1][ord - 1] = put(c, "b", ord);
    }
    a = world_got(c, &k);
    b = world_got(c, &k);
    assert_false(str_eq(a.job.group, b.job.group));
    assert_true(a.job.ordered && a.job.ord == 1 && b.job.ord == 1);
    world_none(c, &k);
    world_finish(c, &k, &a, &r);
    k.skips_n = 0;
    b = world_got(c, &k);
    assert_str(b.job.group, a.job.group.p);
    assert_int_equal(b.job.ord, 2);
    k.skips_n = 0;
    world_none(c, &k);
    (void)id;
}

static void failing_head_holds_its_group(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result again = world_failed(60000), dead = world_failed(0);
    struct claim cl;
    str first;

    dead.verdict = VERDICT_DEAD;
    dead.reason = "exhausted";
    world_hook(c, &(struct hook){.n = 1});
    first = put(c, "a", 1);
    (void)put(c, "a", 2);
    cl = world_got(c, &k);
    world_finish(c, &k, &cl, &again);
    world_none(c, &k);
    k.skips_n = 0;
    (void)put(c, "b", 1);
    cl = world_got(c, &k); /* others go on */
    assert_true(str_eq(cl.job.group, arena_strf(&c->arena, "%024x:b", 1u)));
    world_none(c, &k);
    k.skips_n = 0;
    world_due_now(c, first);
    cl = world_got(c, &k);
    assert_str(cl.job.id, first.p);
    world_finish(c, &k, &cl, &dead);
    assert_str(world_text(world_job(c, first), "reason"), "exhausted");
    assert_int_equal(world_got(c, &k).job.ord, 2);
}

/* The younger is found by who looked before the older was brought back. */
static void younger_row_does_not_start_beside_an_older_one(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl = {.token = "cccccccccccccccccccccccc"};
    struct turns t = {.path = &queue_by_rows, .k = &k, .out = &cl};
    struct candidate job = {.lim = world_hook_id(c, 1), .ordered = true};
    struct charge how = {.limit = 5, .window_ms = WINDOW_MS};
    const bson_t *row;

    world_hook(c, &(struct hook){.n = 1});
    (void)put(c, "a", 1);
    job.id = put(c, "a", 2);
    assert_int_equal(mongo_queue_charge(c, &k, &job, cl.token, &how),
                     CHARGE_GRANTED);
    assert_int_equal(start(c, &t, &job), TURN_NEXT);
    row = world_job(c, job.id);
    assert_str(world_text(row, "st"), "waiting");
    assert_int_equal(world_number(row, "starts", -1), 0);
    assert_int_equal(world_count(world_limits(c, 1), "fl"), 0);
    assert_int_equal(world_count(world_limits(c, 1), "grants"), 0);
    assert_int_equal(world_got(c, &k).job.ord, 1);
}

static void replayed_row_waits_for_a_younger_one_that_runs(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    struct claim cl, young;
    const bson_t *row;
    str old;

    world_hook(c, &(struct hook){.n = 1});
    old = put(c, "a", 1);
    (void)put(c, "a", 2);
    (void)put(c, "a", 3);
    cl = world_got(c, &k);
    world_finish(c, &k, &cl, &r);
    young = world_got(c, &k);
    assert_int_equal(young.job.ord, 2);
    assert_int_equal(queue_replay(c, old, &row), OK);
    world_none(c, &k);
    row = world_job(c, old);
    assert_str(world_text(row, "st"), "waiting");
    assert_int_equal(world_number(row, "starts", -1), 0);
    world_finish(c, &k, &young, &r);
    k.skips_n = 0;
    world_due_now(c, old);
    assert_str(world_got(c, &k).job.id, old.p);
    k.skips_n = 0;
    world_none(c, &k);
}

static void same_place_twice_is_no_stalemate(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct job_result r = world_done();
    struct claim cl;

    world_hook(c, &(struct hook){.n = 1});
    for (int n = 0; n < 2; n++)
        (void)world_put(c,
                        &(struct put){.hook = 1, .n = n, .doc = "a", .ord = 5});
    for (int n = 0; n < 2; n++) {
        cl = world_got(c, &k);
        world_finish(c, &k, &cl, &r);
    }
}

static void free_group_is_found_behind_many_that_wait(void **state)
{
    enum {
        WAITING = 150
    };
    struct ctx *c = *state;
    struct claimant k = world_worker();
    struct claim cl;
    char doc[16];
    int looks = 0;

    world_hook(c, &(struct hook){.n = 1});
    for (int i = 0; i < WAITING; i++) { /* the head later, the next due */
        snprintf(doc, sizeof doc, "d%03d", i);
        (void)world_put(
            c,
            &(struct put){
                .hook = 1, .n = 2 * i, .doc = doc, .ord = 1, .in_ms = 60000});
        (void)world_put(
            c, &(struct put){.hook = 1, .n = 2 * i + 1, .doc = doc, .ord = 2});
    }
    (void)world_put(c,
                    &(struct put){.hook = 1, .n = 899, .doc = "z", .ord = 1});
    while (world_claim(c, &k, &cl) != CLAIM_GOT) {
        assert_true(++looks < 4);
        k.skips_n = 0;
    }
    assert_true(str_eq(cl.job.group, arena_strf(&c->arena, "%024x:z", 1u)));
    k.skips_n = 0;
    while (k.group[0] == '\0') { /* the whole way around */
        world_none(c, &k);
        k.skips_n = 0;
        assert_true(++looks < 10);
    }
}

static void heads_are_found_without_their_rows(void **state)
{
    struct ctx *c = *state;
    const bson_t *reply;
    char *text;

    reply = mongod_do(c, BCON_NEW("explain", "{", "aggregate", QUEUE_JOBS,
                                  "pipeline", "[", "{", "$match", "{", "g", "{",
                                  "$gte", "a:", "$lt", "a;", "}", "open",
                                  BCON_BOOL(true), "}", "}", "{", "$sort", "{",
                                  "g", BCON_INT32(1), "ord", BCON_INT32(1), "}",
                                  "}", "{", "$group", "{", "_id", "$g", "id",
                                  "{", "$first", "$_id", "}", "}", "}", "]",
                                  "cursor", "{", "}", "hint", "group_1", "}"));
    text = bson_as_json(reply, NULL);
    assert_non_null(strstr(text, "DISTINCT_SCAN"));
    bson_free(text);
}

/* ---- many workers, whatever comes */

struct running {
    pthread_t thread;
    const struct ctx *like;
    int seed;
    ms end;
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int in_flight[GROUPS], last_done[GROUPS], ended;
static bool wrong;

static void note_start(const struct job *job)
{
    int g = job->group.p[job->group.n - 1] - 'a';

    pthread_mutex_lock(&lock);
    wrong = wrong || ++in_flight[g] != 1 || job->ord != last_done[g] + 1;
    pthread_mutex_unlock(&lock);
}

static void note_end(const struct job *job, bool done)
{
    int g = job->group.p[job->group.n - 1] - 'a';

    pthread_mutex_lock(&lock);
    in_flight[g]--;
    if (done) {
        last_done[g] = (int)job->ord;
        ended++;
    }
    pthread_mutex_unlock(&lock);
}

/* Finishes, fails or gives back what it gets. */
static void *work(void *arg)
{
    struct running *w = arg;
    struct claimant k = world_worker();
    unsigned chance = (unsigned)w->seed;
    struct claim cl;
    struct ctx c;

    world_join(&c, w->like);
    while (clock_mono_ms() < w->end && ended < GROUPS * EACH && !wrong) {
        struct job_result done = world_done(), again = world_failed(0);
        struct job job;

        world_reset(&c);
        k.skips_n = 0;
        again.health = HEALTH_SAME;
        if (world_claim(&c, &k, &cl) != CLAIM_GOT)
            continue;
        job = cl.job;
        note_start(&job);
        chance = chance * 1103515245 + 12345;
        switch (chance >> 16 & 7) {
        case 0:
            note_end(&job, false);
            (void)queue_give_back(&c, &k, &cl);
            break;
        case 1:
            note_end(&job, false);
            (void)queue_finish(&c, &k, &cl, &again);
            break;
        default:
            note_end(&job, true);
            (void)queue_finish(&c, &k, &cl, &done);
        }
    }
    world_leave(&c);
    return NULL;
}

static void order_holds_among_many_workers(void **state)
{
    struct ctx *c = *state;
    struct running w[WORKERS];
    char doc[2] = "a";

    memset(last_done, 0, sizeof last_done);
    ended = 0;
    world_hook(c, &(struct hook){.n = 1, .limit = 300});
    for (int ord = 1; ord <= EACH; ord++)
        for (int g = 0; g < GROUPS; g++) {
            doc[0] = (char)('a' + g);
            (void)put(c, doc, ord);
        }
    for (int i = 0; i < WORKERS; i++) {
        w[i].like = c;
        w[i].seed = i + 1;
        w[i].end = clock_mono_ms() + 25000;
        pthread_create(&w[i].thread, NULL, work, &w[i]);
    }
    for (int i = 0; i < WORKERS; i++)
        pthread_join(w[i].thread, NULL);
    assert_false(wrong);
    assert_int_equal(ended, GROUPS * EACH);
}

/* More of them than a worker can leave out. */
static void blocked_ones_of_a_class_do_not_hold_the_next_class_up(void **state)
{
    struct ctx *c = *state;
    struct claimant k = world_worker();
    int last = 2 * QUEUE_SKIPS_MAX + 1;
    enum claim_result got = CLAIM_NONE;
    struct claim cl;

    for (int i = 1; i <= last; i++) {
        bool blocked = i < last;

        world_hook(c, &(struct hook){.n = i});
        (void)world_put(c, &(struct put){.hook = i, .priority = blocked});
        if (blocked)
            coord_put(c, "_limits",
                      BCON_NEW("_id", BCON_UTF8(world_limits_id(c, i).p),
                               "hold",
                               BCON_DATE_TIME(clock_wall_ms() + 100000)));
        world_reset(c);
    }
    for (int i = 0; i < 8 && got == CLAIM_NONE; i++)
        got = world_claim(c, &k, &cl);
    assert_int_equal(got, CLAIM_GOT);
    assert_str(cl.job.lim, world_hook_id(c, last).p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BOTH(one_at_a_time_the_oldest_first),
        IN_BOTH(failing_head_holds_its_group),
        IN_MONGO(younger_row_does_not_start_beside_an_older_one),
        IN_BOTH(replayed_row_waits_for_a_younger_one_that_runs),
        IN_BOTH(same_place_twice_is_no_stalemate),
        IN_MONGO(free_group_is_found_behind_many_that_wait),
        IN_MONGO(heads_are_found_without_their_rows),
        IN_BOTH(order_holds_among_many_workers),
        IN_MONGO(blocked_ones_of_a_class_do_not_hold_the_next_class_up),
    };

    redis_setup();
    return cmocka_run_group_tests(tests, world_main_setup, mongod_teardown);
}
