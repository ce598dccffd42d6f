/* test_cluster - what was seen last, and for how long it counts */
#include "fcgi-app/cluster.c"

#include "tests/unit/support.h"

enum {
    NOW = 100000,
    WALL = 1700000000
};

static struct conf conf;
static struct ctx *c;

static int fresh(void **state)
{
    static struct ctx ctx;

    (void)state;
    conf = (struct conf){.redis_url = "redis://localhost",
                         .cluster_instance_id = "a",
                         .cluster_enabled = true,
                         .cluster_enable_distributed_locking = true};
    ctx_init(&ctx, &conf, 1 << 20);
    c = &ctx;
    clock_set(NOW, WALL);
    memset(&past, 0, sizeof past);
    return 0;
}

static int done(void **state)
{
    (void)state;
    rds_free(c->rds);
    ctx_done(c);
    snap_clear(&looks);
    snap_clear(&sights);
    clock_unset();
    return 0;
}

static void publish_look(enum dataset_home home, const char *id)
{
    struct look *look = arena_alloc(&c->arena, sizeof *look);

    look->view.taken_boot = NOW;
    look->view.dataset.home = home;
    snprintf(look->view.dataset.id, DATASET_ID_MAX, "%s", id);
    look->collections = 3;
    look->locks_known = true;
    look->locks.held = 7;
    look->arena = c->arena;
    arena_init(&c->arena, 1 << 20);
    assert_int_equal(snap_publish(&looks, look, free_look), OK);
}

static void publish_sight(bool usable)
{
    struct sight *sight = sight_new();

    *sight = (struct sight){
        {.answers = true, .locks = 5, .locks_owned = 2}, usable, NOW};
    assert_int_equal(snap_publish(&sights, sight, free), OK);
}

static void nothing_is_known_at_first(void **state)
{
    const struct cluster *k = cluster_get(c);

    (void)state;
    assert_false(k->seen);
    assert_true(k->redis_on);
    assert_false(k->redis_seen);
    assert_false(k->locks_known);
    assert_int_equal(k->collections, -1);
    assert_false(cluster_has_workers(k, &conf));
}

static void look_counts_for_two_seconds(void **state)
{
    const struct cluster *k;

    (void)state;
    publish_look(DATASET_REDIS, "d");
    publish_sight(true);
    clock_set(NOW + CLUSTER_FRESH_MS, WALL);
    k = cluster_get(c);
    assert_true(k->seen && k->redis_seen && k->locks_known);
    assert_int_equal(k->collections, 3);
    assert_int_equal(k->locks.held, 5);
    assert_int_equal(k->locks.owned, 2);
    assert_int_equal(cluster_age_ms(k), CLUSTER_FRESH_MS);
    clock_set(NOW + CLUSTER_FRESH_MS + 1, WALL);
    k = cluster_get(c);
    assert_false(k->seen || k->redis_seen || k->locks_known);
    assert_int_equal(k->collections, -1);
}

static void locks_are_counted_at_home(void **state)
{
    (void)state;
    conf.redis_url = "none";
    publish_look(DATASET_MONGO, "d");
    publish_sight(true);
    assert_true(cluster_get(c)->locks_known);
    assert_int_equal(cluster_get(c)->locks.held, 7);
    conf.redis_url = "redis://localhost";
    publish_sight(false);
    assert_false(cluster_get(c)->locks_known);
}

static void one_who_reads_keeps_what_it_got(void **state)
{
    const struct cluster *k;

    (void)state;
    publish_look(DATASET_REDIS, "old");
    k = cluster_get(c);
    clock_set(NOW + 500, WALL);
    snap_clear(&looks);
    assert_string_equal(k->view.dataset.id, "old");
}

static void place_of(enum err want)
{
    struct lock_place place;

    ctx_reset(c);
    assert_int_equal(cluster_place(c, &place), want);
}

static void place_is_refused_where_there_is_no_use(void **state)
{
    (void)state;
    place_of(ERR_REDIS_UNAVAILABLE);
    publish_sight(true);
    place_of(OK);
    publish_look(DATASET_MONGO, "d");
    place_of(ERR_REDIS_UNAVAILABLE);
    publish_look(DATASET_REDIS, "");
    place_of(ERR_REDIS_UNAVAILABLE);
    publish_look(DATASET_REDIS, "d");
    place_of(OK);
    publish_sight(false);
    place_of(ERR_REDIS_UNAVAILABLE);
    conf.redis_url = "none";
    place_of(ERR_DB_UNAVAILABLE);
    publish_look(DATASET_MONGO, "d");
    place_of(OK);
    conf.cluster_enable_distributed_locking = false;
    place_of(ERR_LOCKING_DISABLED);
}

static const char *index_now(void)
{
    ctx_reset(c);
    cluster_use_index(c);
    return c->index;
}

static void index_is_used_while_redis_is_usable(void **state)
{
    (void)state;
    assert_string_equal(index_now(), "");
    publish_sight(true);
    assert_string_equal(index_now(), "");
    assert_null(c->rds);
    publish_look(DATASET_REDIS, "d");
    assert_string_equal(index_now(), "d");
    assert_non_null(c->rds);
    publish_look(DATASET_MONGO, "d");
    assert_string_equal(index_now(), "");
    publish_look(DATASET_REDIS, "e");
    assert_string_equal(index_now(), "e");
    publish_sight(false);
    assert_string_equal(index_now(), "");
    publish_sight(true);
    clock_set(NOW + CLUSTER_FRESH_MS + 1, WALL);
    assert_string_equal(index_now(), "");
    clock_set(NOW, WALL);
    conf.redis_url = "none";
    assert_string_equal(index_now(), "");
}

static void clock_offset_is_the_median_of_fast_looks(void **state)
{
    static const ms ahead[] = {-5000, 2000, 3000, 90000, 2500};
    struct look look = {.view = {.rtt_ms = 20, .server_wall = WALL}};

    (void)state;
    clock_set(0, WALL);
    cluster_meet(3600000);
    assert_int_equal(clock_server_ms(), WALL - 3600000);
    assert_false(look.clock_known);
    for (size_t i = 0; i < DRIFT_SAMPLES; i++) {
        note_clock(&look, WALL + 10 + ahead[i]);
        assert_true(look.clock_known);
        cluster_meet(3600000); /* a look knows better */
        assert_int_equal(clock_server_ms(), WALL - look.clock_offset_ms);
    }
    clock_unset();
    assert_int_equal(look.clock_offset_ms, 2500);
    look.view.rtt_ms = DRIFT_RTT_MS + 1;
    for (size_t i = 0; i < DRIFT_SAMPLES; i++)
        note_clock(&look, WALL + 777777);
    assert_int_equal(look.clock_offset_ms, 2500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_known_at_first, fresh, done),
        cmocka_unit_test_setup_teardown(look_counts_for_two_seconds, fresh,
                                        done),
        cmocka_unit_test_setup_teardown(locks_are_counted_at_home, fresh, done),
        cmocka_unit_test_setup_teardown(one_who_reads_keeps_what_it_got, fresh,
                                        done),
        cmocka_unit_test_setup_teardown(place_is_refused_where_there_is_no_use,
                                        fresh, done),
        cmocka_unit_test_setup_teardown(index_is_used_while_redis_is_usable,
                                        fresh, done),
        cmocka_unit_test_setup_teardown(
            clock_offset_is_the_median_of_fast_looks, fresh, done),
    };

    return cmocka_run_group_tests_name("cluster", tests, NULL, NULL);
}
