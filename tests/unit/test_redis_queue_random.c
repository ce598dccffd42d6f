/*
 * test_redis_queue_random - whatever is done to the index of the queue, in
 * whatever order, its parts agree
 *
 * Thousands of random operations; after each the audit walks all keys. The
 * seed is printed when it fails; INDEX_SEED repeats it.
 */
#include <stdlib.h>

#include "lib/base/id.h"
#include "tests/unit/queue_redis.h"

enum {
    STEPS = 4000,
    HOOKS = 6,  /* odd ones are ordered too */
    DOCS = 3,   /* groups of each */
    IDS = 120,  /* jobs, used again when they ended */
    FLIGHTS = 8 /* workers */
};

static unsigned seed, state_of_chance;

static unsigned chance(unsigned n)
{
    state_of_chance = state_of_chance * 1103515245 + 12345;
    return (state_of_chance >> 16) % n;
}

static struct flight {
    char id[JOB_ID_MAX], token[ID_TOKEN_MAX];
} flights[FLIGHTS];
static char told_last[JOB_ID_MAX], token_last[ID_TOKEN_MAX];
static unsigned tokens;
static int64_t claimed, ended;

static const char *hook_name(unsigned n)
{
    static char name[16];

    snprintf(name, sizeof name, "w%u", n);
    return name;
}

static struct index_job random_job(void)
{
    unsigned n = chance(IDS), hook = n % HOOKS, doc = n / HOOKS % DOCS;
    bool ordered = hook % 2 == 1 && n % 5 != 0, once = hook == 4;
    str lim = arena_strf(&index_c->arena, "w%u", hook);
    str group = arena_strf(&index_c->arena, "w%u:d%u", hook, doc);

    return (struct index_job){
        .id = arena_strf(&index_c->arena, "w%u-1-%u", hook, n),
        .lim = lim,
        .group = ordered ? group : lim,
        .cls = (int)(n % 3),
        .ts = 1735689600000 + n,
        .ord = ordered ? 1000 + (int64_t)n : 0,
        .delay_ms = chance(4) == 0 ? (ms)chance(20) : 0,
        .once = once,
        .limit = hook == 2   ? 3
                 : hook == 3 ? 20
                             : 0,
        .window_ms = 30};
}

static void do_enqueue(void)
{
    struct index_job jobs[INDEX_ENQUEUE_MAX];
    enum index_seat seats[INDEX_ENQUEUE_MAX];
    enum index_source by = chance(3) ? INDEX_BY_FANOUT : INDEX_BY_SWEEP;
    size_t n = 1 + chance(chance(4) ? 3 : 20);

    for (size_t i = 0; i < n; i++)
        jobs[i] = random_job();
    for (unsigned i = chance(5) ? 1 : 2; i > 0; i--) /* its reply was lost */
        assert_int_equal(
            index_enqueue(index_c, QUEUE_WEBHOOK, by, jobs, n, seats),
            INDEX_DONE);
}

static struct index_told random_told(struct flight *f)
{
    static const ms delays[] = {0, 0, 1, 7};
    struct index_told t =
        index_told_of(f->id, f->token, (enum index_verdict)chance(4));

    t.delay_ms = delays[chance(4)];
    t.health = (enum job_health)chance(3);
    t.hold_ms = chance(8) ? 0 : (ms)chance(15);
    return t;
}

/* A worker tells of its job, if it has one, and claims another. */
static void do_step(void)
{
    struct flight *f = &flights[chance(FLIGHTS)];
    struct index_told t = {.dataset = INDEX_ID}, *told = NULL;
    struct index_ask ask = {.lease_ms = chance(3) ? 40 : 1 + (ms)chance(10),
                            .want = chance(6) != 0,
                            .woken = chance(2)};
    char token[ID_TOKEN_MAX];
    struct index_step step;

    snprintf(token, sizeof token, "t%u", ++tokens);
    ask.token = token;
    if (f->id[0]) {
        t = random_told(f);
        told = &t;
        memcpy(told_last, f->id, sizeof told_last);
        memcpy(token_last, f->token, sizeof token_last);
    }
    for (unsigned i = chance(8) ? 1 : 2; i > 0; i--)
        assert_int_equal(index_step(index_c, QUEUE_WEBHOOK, &ask, told, &step),
                         INDEX_DONE);
    ended += told && step.known;
    f->id[0] = '\0';
    if (!step.claimed)
        return;
    claimed++;
    snprintf(f->id, sizeof f->id, STR_FMT, STR_ARG(step.id));
    memcpy(f->token, token, sizeof token);
}

/* Who tells what was told, or under another's token */
static void do_stale(void)
{
    struct flight stale = {"", "nobody"};

    memcpy(stale.id, told_last, sizeof told_last);
    if (chance(2))
        memcpy(stale.token, token_last, sizeof token_last);
    if (stale.id[0]) {
        const struct index_told t = random_told(&stale);

        (void)index_tell(&t);
    }
}

static void do_recover(void)
{
    struct flight *f = &flights[chance(FLIGHTS)];
    int64_t n;

    if (!f->id[0])
        return;
    assert_int_equal((chance(2) ? index_recover : index_recover_ran)(
                         index_c, QUEUE_WEBHOOK, str_of(f->token), &n),
                     INDEX_DONE);
    f->id[0] = '\0';
}

static void do_subscriber(void)
{
    enum index_action action = (enum index_action)chance(4);
    int64_t left, value = action == INDEX_LIMIT ? chance(5) : chance(20);

    assert_int_equal(index_subscriber(index_c, QUEUE_WEBHOOK,
                                      str_of(hook_name(chance(HOOKS))), action,
                                      value, 30, &left),
                     INDEX_DONE);
}

static void do_cancel(void)
{
    struct index_job j = random_job();

    assert_int_equal(index_cancel(index_c, QUEUE_WEBHOOK, j.id), INDEX_DONE);
}

static void do_meta(void)
{
    index_settings((struct index_meta){.cap = 2 + chance(2),
                                       .max = chance(3) ? 60 : 30,
                                       .limit_all = chance(3) ? 0 : 5,
                                       .window_ms = 20,
                                       .spill_over = chance(2)});
}

static const struct {
    void (*run)(void);
    unsigned weight;
} operations[] = {{do_enqueue, 30}, {do_step, 60},      {do_stale, 4},
                  {do_recover, 4},  {do_subscriber, 4}, {do_cancel, 3},
                  {do_meta, 3}};

static int do_one(void)
{
    unsigned at = chance(108);

    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        if (at < operations[i].weight) {
            operations[i].run();
            return (int)i;
        }
        at -= operations[i].weight;
    }
    return -1;
}

static void audit(int step, int what)
{
    str wrong = index_audit("2", "3");

    if (wrong.n > 0)
        fail_msg("INDEX_SEED=%u, step %d (%d): " STR_FMT, seed, step, what,
                 STR_ARG(wrong));
}

static void start(void)
{
    const char *text = getenv("INDEX_SEED");
    int64_t v;

    seed = text && str_to_i64(str_of(text), &v) ? (unsigned)v : id_chance();
    state_of_chance = seed;
    index_settings((struct index_meta){.cap = 2, .max = 60, .window_ms = 20});
    memset(flights, 0, sizeof flights);
    claimed = ended = 0;
}

static void parts_agree_after_each_operation(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < STEPS; i++) {
        int what = do_one();

        audit(i, what);
        index_reset();
    }
    assert_true(claimed > STEPS / 20);
    assert_true(ended > STEPS / 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_INDEX(parts_agree_after_each_operation),
    };

    redis_setup();
    return cmocka_run_group_tests_name("redis_queue_random", tests, NULL, NULL);
}
