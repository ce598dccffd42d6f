/*
 * test_redis_queue_foreign - keys of the queue that strangers wrote, of every
 * wrong type: nothing stops, what they held comes back from the rows
 */
#include "tests/unit/queue_redis.h"

enum {
    JOBS = 12
};

static const char *const kinds[] = {"SET",  "HSET", "RPUSH",
                                    "SADD", "ZADD", "XADD"};
enum {
    KINDS = sizeof kinds / sizeof *kinds
};

/* Another type than there was; a text is one for all. */
static void overwrite(str key, int kind)
{
    redis_do(index_c->rds, WORDS(STR("DEL"), key));
    switch (kind) {
    case 0:
        redis_do(index_c->rds, WORDS(STR("SET"), key, STR("x")));
        return;
    case 1:
        redis_do(index_c->rds, WORDS(STR("HSET"), key, STR("n"), STR("x")));
        return;
    case 2:
        redis_do(index_c->rds, WORDS(STR("RPUSH"), key, STR("x")));
        return;
    case 3:
        redis_do(index_c->rds, WORDS(STR("SADD"), key, STR("x")));
        return;
    case 4:
        redis_do(index_c->rds, WORDS(STR("ZADD"), key, STR("-5"), STR("x")));
        return;
    default:
        redis_do(index_c->rds,
                 WORDS(STR("XADD"), key, STR("*"), STR("a"), STR("b")));
    }
}

static struct index_put put_of(int i)
{
    const char *lim = i % 2 ? "v" : "w";
    struct index_put p = {.lim = lim, .ts = i, .limit = 1000};

    p.id = arena_strf(&index_c->arena, "%s-1-%d", lim, i).p;
    if (i % 3 == 0) {
        p.group = arena_strf(&index_c->arena, "%s:d", lim).p;
        p.ord = i + 1;
    }
    return p;
}

static void put_all(enum index_source by)
{
    for (int i = 0; i < JOBS; i++)
        (void)index_put_by(by, put_of(i));
}

/* All that may be asked; none is refused. */
static void ask_all(void)
{
    struct index_told t = index_told_of("w-1-8", "first", INDEX_RETRY);
    const str lim = STR("w");
    struct index_stats stats;
    int64_t n;

    t.health = HEALTH_FAILED;
    (void)index_tell(&t);
    assert_int_equal(index_recent(index_c, QUEUE_WEBHOOK, &lim, 1, &n),
                     INDEX_DONE);
    assert_int_equal(
        index_subscriber(index_c, QUEUE_WEBHOOK, lim, INDEX_HOLD, 1, 0, &n),
        INDEX_DONE);
    assert_int_equal(
        index_subscriber(index_c, QUEUE_WEBHOOK, lim, INDEX_UNHOLD, 0, 0, &n),
        INDEX_DONE);
    assert_int_equal(index_cancel(index_c, QUEUE_WEBHOOK, STR("w-1-2")),
                     INDEX_DONE);
    index_settings((struct index_meta){
        .cap = 1000, .max = 1000, .limit_all = 500, .window_ms = 60000});
    (void)index_claim("second", NULL);
    assert_int_equal(index_recover(index_c, QUEUE_WEBHOOK, STR("second"), &n),
                     INDEX_DONE);
    assert_int_equal(index_stats(index_c, QUEUE_WEBHOOK, &stats), INDEX_DONE);
}

/* All jobs run and end. */
static void drain(const char *name, int kind)
{
    for (int i = 0; i < JOBS;) {
        struct index_step step = index_claim("last", NULL);
        struct index_told t;

        if (!step.claimed)
            fail_msg("%s %s: %d of %d jobs came", kinds[kind], name, i, JOBS);
        t = index_told_of("", "last", INDEX_ENDED);
        memcpy(t.id, step.id.p, step.id.n);
        assert_true(index_tell(&t));
        i++;
    }
    ASSERT_NONE(index_claim("last", NULL));
}

/* How many there are is lost with meta. */
static void check_audit(const char *name, int kind)
{
    const char *but = strcmp(name, "meta") == 0 ? "len" : "";
    str wrong = index_audit_but("1000", "1000", but);

    if (wrong.n > 0)
        fail_msg("%s %s: " STR_FMT, kinds[kind], name, STR_ARG(wrong));
}

static void check_one(const char *name, int kind)
{
    int64_t n;

    index_open();
    put_all(INDEX_BY_FANOUT);
    ASSERT_GOT(index_claim("first", NULL), "v-1-1");
    assert_true(index_claim("first", NULL).claimed);
    overwrite(arena_strf(&index_c->arena, "p:q:webhook:%s", name), kind);
    ask_all();
    index_reset();
    /* what the rows bring; whoever ran has died, or its lease has ended */
    put_all(INDEX_BY_SWEEP);
    assert_int_equal(index_recover(index_c, QUEUE_WEBHOOK, STR("first"), &n),
                     INDEX_DONE);
    put_all(INDEX_BY_SWEEP);
    if (kind ==
        0) /* else it may be of the right type, and a member is strange */
        check_audit(name, kind);
    drain(name, kind);
    check_audit(name, kind);
    index_reset();
}

static void key_of_a_wrong_type_stops_nothing(void **state)
{
    static const char *const names[] = {
        "meta", "j:w-1-8", "w:w", "w:v:d", "e:w", "r", "hold",
        "dly",  "act",     "l:w", "rl:w",  "rl",  "mk"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (int kind = 0; kind < KINDS; kind++)
            check_one(names[i], kind);
}

static void flights_are_counted_when_their_number_is_lost(void **state)
{
    (void)state;
    index_settings((struct index_meta){.cap = 1, .max = 1000});
    PUT(.id = "a", .lim = "w");
    ASSERT_GOT(index_claim("1", NULL), "a");
    overwrite(STR("p:q:webhook:l:w"), 0);
    PUT(.id = "b", .lim = "w");
    ASSERT_NONE(index_claim("2", NULL));
    assert_true(index_end_job("a", "1"));
    ASSERT_GOT(index_claim("2", NULL), "b");
}

static int64_t foreign(void)
{
    struct index_stats stats;

    assert_int_equal(index_stats(index_c, QUEUE_WEBHOOK, &stats), INDEX_DONE);
    return stats.foreign;
}

static void what_made_no_sense_is_counted(void **state)
{
    (void)state;
    overwrite(STR("p:q:webhook:act"), 0);
    PUT(.id = "a", .lim = "w");
    ASSERT_GOT(index_claim("1", NULL), "a");
    assert_int_equal(foreign(), 1);
    redis_do(index_c->rds,
             WORDS(STR("ZADD"), STR("p:q:webhook:r"), STR("-7"), STR("?")));
    PUT(.id = "b", .lim = "w");
    ASSERT_GOT(index_claim("2", NULL), "b");
    assert_int_equal(foreign(), 2);
    redis_do(index_c->rds, WORDS(STR("HSET"), STR("p:q:webhook:l:w"), STR("n"),
                                 STR("many"), STR("ls"), STR("nan")));
    PUT(.id = "c", .lim = "w");
    ASSERT_GOT(index_claim("3", NULL), "c");
    assert_true(index_end_job("c", "3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_INDEX(key_of_a_wrong_type_stops_nothing),
        IN_INDEX(flights_are_counted_when_their_number_is_lost),
        IN_INDEX(what_made_no_sense_is_counted),
    };

    redis_setup();
    return cmocka_run_group_tests_name("redis_queue_foreign", tests, NULL,
                                       NULL);
}
