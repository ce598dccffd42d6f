/* test_redis_watch - what is seen of a real Redis, and judged */
#include "lib/coord/redis_watch.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "tests/unit/redis.h"

enum {
    LOOK_MS = 10000
};

static char url[4096 + 32];
static struct conf conf = {.redis_url = url,
                           .redis_password = "s3cret",
                           .redis_username = "",
                           .redis_key_prefix = "unit",
                           .redis_connection_timeout = LOOK_MS,
                           .redis_command_timeout = LOOK_MS,
                           .redis_retry_delay = 20,
                           .redis_ready_check = true,
                           .cluster_instance_id = "me",
                           .cluster_enabled = true};

struct world {
    struct ctx c;
    struct redis_watch w;
    struct dataset d;
    struct rds *r; /* for what others do */
};

static void open_world(struct world *o)
{
    *o = (struct world){.d = {.home = DATASET_REDIS, .id = "aa"}};
    ctx_init(&o->c, &conf, 8 << 20);
    assert_true(redis_watch_init(&o->w, &conf));
    o->r = redis_open("s3cret");
    redis_await(o->r);
}

static void close_world(struct world *o)
{
    rds_free(o->r);
    redis_watch_done(&o->w);
    ctx_done(&o->c);
}

static const struct redis_sight *look_for(struct world *o, ms within)
{
    ctx_reset(&o->c);
    o->d.read_boot = clock_boot_ms();
    redis_watch_look(&o->w, &o->c, &o->d, within);
    return &o->w.sight;
}

static const struct redis_sight *look(struct world *o)
{
    return look_for(o, LOOK_MS);
}

static void keys_of_locks_are_counted(void **state)
{
    struct world o;
    const struct redis_sight *s;

    (void)state;
    open_world(&o);
    redis_do(o.r, WORDS(STR("SET"), STR("unit:dataset"), STR("aa")));
    redis_do(o.r, WORDS(STR("SET"), STR("unit:l:fence"), STR("41")));
    redis_do(o.r, WORDS(STR("SET"), STR("unit:l:max"), STR("42")));
    redis_do(o.r, WORDS(STR("HSET"), STR("unit:l:k:x"), STR("i"), STR("me")));
    redis_do(o.r, WORDS(STR("ZADD"), STR("unit:l:idx"), STR("9e15"), STR("x"),
                        STR("9e15"), STR("y"), STR("1"), STR("z")));
    s = look(&o);
    assert_true(s->answers && s->fit);
    assert_false(s->evicts);
    assert_string_equal(s->held, "aa");
    assert_int_equal(s->fence, 41);
    assert_int_equal(s->fence_max, 42);
    assert_int_equal(s->locks, 2);
    assert_int_equal(s->locks_owned, 1);
    assert_int_equal(s->locks_expired, 1);
    assert_in_range(s->time_us, (clock_wall_ms() - 60000) * 1000,
                    (clock_wall_ms() + 60000) * 1000);
    close_world(&o);
}

static void data_set_of_mongodb_becomes_usable(void **state)
{
    struct world o;
    ms end = clock_boot_ms() + 20000;

    (void)state;
    open_world(&o);
    redis_do(o.r, WORDS(STR("SET"), STR("unit:dataset"), STR("aa")));
    (void)look(&o);
    assert_false(o.w.state.usable);
    while (!o.w.state.usable) {
        assert_true(clock_boot_ms() < end);
        (void)poll(NULL, 0, 50);
        (void)look(&o);
    }
    redis_do(o.r, WORDS(STR("SET"), STR("unit:dataset"), STR("a longer name"),
                        STR("EX"), STR("100")));
    (void)look(&o);
    assert_false(o.w.state.usable);
    close_world(&o);
}

static void long_id_of_a_stranger_is_none_of_ours(void **state)
{
    struct world o;

    (void)state;
    open_world(&o);
    redis_do(o.r, WORDS(STR("SET"), STR("unit:dataset"),
                        STR("0123456789abcdef0123456789")));
    assert_string_equal(look(&o)->held, "?");
    close_world(&o);
}

static void evicting_policy_is_unfit_and_named(void **state)
{
    struct world o;

    (void)state;
    open_world(&o);
    assert_true(look(&o)->fit);
    redis_do(o.r, WORDS(STR("CONFIG"), STR("SET"), STR("maxmemory-policy"),
                        STR("allkeys-lru")));
    o.w.next_info = 0;
    assert_false(look(&o)->fit);
    assert_true(o.w.sight.answers && o.w.sight.evicts);
    assert_non_null(
        strstr(o.w.sight.reason, "maxmemory-policy is allkeys-lru"));
    redis_do(o.r, WORDS(STR("CONFIG"), STR("SET"), STR("maxmemory-policy"),
                        STR("noeviction")));
    o.w.next_info = 0;
    assert_true(look(&o)->fit);
    assert_string_equal(o.w.sight.reason, "");
    close_world(&o);
}

/* Another server behind the same address is looked at anew. */
static void restarted_server_is_asked_for_its_kind(void **state)
{
    struct world o;
    ms end = clock_boot_ms() + 10000;

    (void)state;
    open_world(&o);
    assert_true(look(&o)->fit);
    redis_stop();
    redis_start("--maxmemory-policy", "volatile-ttl");
    while (!look(&o)->answers) {
        assert_true(clock_boot_ms() < end);
        (void)poll(NULL, 0, 20);
    }
    assert_false(o.w.sight.fit);
    close_world(&o);
}

static void refused_info_is_unfit_and_named(void **state)
{
    struct world o;

    (void)state;
    open_world(&o);
    assert_true(look(&o)->fit);
    redis_do(o.r,
             WORDS(STR("ACL"), STR("SETUSER"), STR("default"), STR("-info")));
    o.w.next_info = 0;
    assert_true(look(&o)->answers);
    assert_false(o.w.sight.fit);
    assert_non_null(strstr(o.w.sight.reason, "INFO: NOPERM"));
    assert_non_null(strstr(o.w.sight.reason, "REDIS_USERNAME"));
    conf.redis_ready_check = false;
    assert_true(look(&o)->fit);
    conf.redis_ready_check = true;
    close_world(&o);
}

/* Else Redis would be of no use, to locks and to the queue. */
static void strangers_index_of_locks_goes(void **state)
{
    struct world o;

    (void)state;
    open_world(&o);
    redis_do(o.r, WORDS(STR("SET"), STR("unit:l:idx"), STR("x")));
    redis_do(o.r, WORDS(STR("SET"), STR("unit:dataset"), STR("aa")));
    assert_true(look(&o)->fit);
    assert_int_equal(o.w.sight.locks, 0);
    assert_string_equal(o.w.sight.held, "aa");
    close_world(&o);
}

/* It was away for another reason before. */
static void reason_that_changes_is_told(void **state)
{
    struct world o;
    ms end = clock_boot_ms() + 10000;

    (void)state;
    open_world(&o);
    assert_true(look(&o)->fit);
    kill(redis.pid, SIGSTOP);
    assert_false(look(&o)->answers);
    assert_non_null(strstr(o.w.told, "in time"));
    kill(redis.pid, SIGCONT);
    redis_await(o.r);
    redis_do(o.r, WORDS(STR("CONFIG"), STR("SET"), STR("requirepass"),
                        STR("other")));
    while (!strstr(o.w.told, "WRONGPASS")) {
        assert_true(clock_boot_ms() < end);
        assert_false(look(&o)->answers);
        (void)poll(NULL, 0, 20);
    }
    close_world(&o);
}

static void replica_is_unfit(void **state)
{
    struct world o;

    (void)state;
    open_world(&o);
    redis_do(o.r, WORDS(STR("REPLICAOF"), STR("127.0.0.1"), STR("1")));
    assert_false(look(&o)->fit);
    assert_non_null(strstr(o.w.sight.reason, "replica"));
    close_world(&o);
}

static void server_without_memory_is_unfit(void **state)
{
    struct world o;

    (void)state;
    open_world(&o);
    assert_true(look(&o)->fit);
    redis_do(o.r, WORDS(STR("CONFIG"), STR("SET"), STR("maxmemory"), STR("1")));
    assert_true(look(&o)->answers);
    assert_false(o.w.sight.fit);
    assert_non_null(strstr(o.w.sight.reason, "OOM"));
    close_world(&o);
}

static void hung_server_takes_no_longer_than_the_look(void **state)
{
    struct world o;
    ms best = LOOK_MS;

    (void)state;
    open_world(&o);
    assert_true(look(&o)->answers);
    kill(redis.pid, SIGSTOP);
    /* the best: the machine may pause */
    for (int i = 0; i < 10 && best > 1000; i++) {
        ms start = clock_mono_ms(), took;

        assert_false(look_for(&o, 500)->answers);
        took = clock_mono_ms() - start;
        best = took < best ? took : best;
    }
    assert_true(best <= 1000);
    assert_true(o.w.sight.reason[0] != '\0');
    kill(redis.pid, SIGCONT);
    close_world(&o);
}

static void there_is_nothing_to_watch_in_mode_single(void **state)
{
    struct redis_watch w;

    (void)state;
    conf.redis_url = "none";
    assert_false(redis_watch_init(&w, &conf));
    redis_watch_done(&w);
    conf.redis_url = url;
}

int main(void)
{
    char folder[4096];
    const struct CMUnitTest tests[] = {
        WITH_SERVER(keys_of_locks_are_counted),
        WITH_SERVER(data_set_of_mongodb_becomes_usable),
        WITH_SERVER(long_id_of_a_stranger_is_none_of_ours),
        WITH_SERVER(evicting_policy_is_unfit_and_named),
        WITH_SERVER(restarted_server_is_asked_for_its_kind),
        WITH_SERVER(refused_info_is_unfit_and_named),
        WITH_SERVER(reason_that_changes_is_told),
        WITH_SERVER(strangers_index_of_locks_goes),
        WITH_SERVER(replica_is_unfit),
        WITH_SERVER(server_without_memory_is_unfit),
        WITH_SERVER(hung_server_takes_no_longer_than_the_look),
        cmocka_unit_test(there_is_nothing_to_watch_in_mode_single),
    };

    redis_setup();
    if (!getcwd(folder, sizeof folder))
        return 1;
    snprintf(url, sizeof url, "unix:%s/redis.sock?db=2", folder);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
