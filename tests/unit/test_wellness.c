/* test_wellness - ready or not, and what an operator should mend */
#include "fcgi-app/wellness.c"

#include "tests/unit/support.h"

/* What wellness.c asks of the program. */
static struct refresh_view refresh;
static struct cluster cluster;
static bool own_workers;

struct refresh_view refresh_view(void)
{
    return refresh;
}

enum refresh_mode refresh_mode(const struct refresh_view *v)
{
    if (v->redis == REFRESH_REDIS_OFF)
        return REFRESH_SINGLE;
    return v->redis_usable ? REFRESH_CLUSTER : REFRESH_DEGRADED;
}

const char *refresh_mode_text(const struct refresh_view *v)
{
    return v->redis == REFRESH_REDIS_OFF ? "single" : "other";
}

const struct cluster *cluster_get(struct ctx *c)
{
    (void)c;
    return &cluster;
}

bool cluster_has_workers(const struct cluster *k, const struct conf *c)
{
    (void)k, (void)c;
    return own_workers;
}

static struct conf conf;
static char digest[ROSTER_DIGEST_MAX];
static struct view_instance rows[12];
static char text[8192];

static struct scene scene(void)
{
    struct ctx c = {.conf = &conf};
    struct scene s;

    scene_take(&c, &s);
    return s;
}

/* All is well: two instances with workers, Redis in use. */
static int fresh(void **state)
{
    (void)state;
    conf = (struct conf){.redis_url = "redis://localhost",
                         .redis_key_prefix = "P",
                         .mongodb_database_name = "d",
                         .cluster_instance_id = "a",
                         .cluster_enabled = true};
    roster_digest(&conf, digest);
    for (size_t i = 0; i < 12; i++)
        rows[i] = (struct view_instance){.id = {&"abcdefghijkl"[i], 1},
                                         .digest = str_of(digest)};
    refresh = (struct refresh_view){.started = true,
                                    .db_up = true,
                                    .redis = REFRESH_REDIS_UP,
                                    .redis_fit = true,
                                    .redis_usable = true};
    cluster = (struct cluster){
        .seen = true,
        .view = {.instances = rows, .instances_n = 2},
        .redis_on = true,
        .redis_seen = true,
        .redis = {.answers = true, .fit = true},
        .usable = true,
    };
    own_workers = true;
    return 0;
}

static const char *warned(void)
{
    struct buf b = buf_over(text, sizeof text - 1);
    struct scene s = scene();

    wellness_write_warnings(&b, &s);
    assert_int_equal(b.err, OK);
    text[b.n] = '\0';
    return text;
}

#define assert_warned(part) assert_non_null(strstr(warned(), (part)))
#define assert_well()       assert_string_equal(warned(), "\"warnings\":[]")

static void nothing_to_mend(void **state)
{
    (void)state;
    assert_well();
    cluster.clock_known = true;
    cluster.clock_offset_ms = -1000;
    assert_well();
}

static void stores_are_warned_of(void **state)
{
    (void)state;
    refresh.standalone = true;
    assert_warned("MongoDB is standalone");
    refresh.locked_out = true;
    cluster.redis.evicts = true;
    assert_warned("\",\"Access is on");
    assert_warned("\",\"Redis may evict");
    cluster.redis.fit = false;
    snprintf(cluster.redis.reason, sizeof cluster.redis.reason, "too \"old\"");
    assert_warned("Redis cannot be used: too \\\"old\\\"");
    cluster.redis.answers = false;
    snprintf(cluster.redis.reason, sizeof cluster.redis.reason, "refused");
    assert_warned("Redis does not answer: refused");
    cluster.redis_seen = false;
    assert_null(strstr(warned(), "Redis"));
}

static void missing_workers_are_warned_of(void **state)
{
    (void)state;
    own_workers = false;
    assert_warned("This instance has no live workers");
    cluster.view.instances_n = 0;
    assert_warned("No instance has live workers");
    cluster.seen = false;
    assert_well();
}

static void clock_is_warned_of(void **state)
{
    (void)state;
    cluster.clock_known = true;
    cluster.clock_offset_ms = 1001;
    assert_warned("1001 ms ahead of");
    cluster.clock_offset_ms = -2500;
    assert_warned("2500 ms behind");
    cluster.clock_known = false;
    assert_well();
}

static void differing_settings_are_named(void **state)
{
    (void)state;
    rows[1].digest = STR("0123456789abcdef");
    assert_warned("of this instance on: b\"");
    cluster.view.instances_n = 12;
    for (size_t i = 0; i < 12; i++)
        rows[i].digest = STR("");
    assert_warned("on: a, b, c, d, e, f, g, h, i, j, and more\"");
    cluster.seen = false;
    assert_well();
}

static void overall(enum wellness want, const char *why)
{
    struct scene s = scene();
    const char *got = wellness_why_not_ready(&s);

    assert_int_equal(wellness_overall(&s), want);
    if (why) {
        assert_non_null(got);
        assert_non_null(strstr(got, why));
    } else {
        assert_null(got);
    }
}

static void lost_redis_degrades_or_stops(void **state)
{
    (void)state;
    overall(WELLNESS_HEALTHY, NULL);
    refresh.redis_usable = false;
    overall(WELLNESS_DEGRADED, NULL);
    refresh.redis = REFRESH_REDIS_DOWN;
    refresh.redis_fit = false;
    overall(WELLNESS_DEGRADED, NULL);
    conf.cluster_require_redis = true;
    overall(WELLNESS_UNHEALTHY, "does not answer");
    refresh.redis = REFRESH_REDIS_UP;
    overall(WELLNESS_UNHEALTHY, "cannot be used");
    refresh.redis = REFRESH_REDIS_OFF;
    overall(WELLNESS_HEALTHY, NULL);
}

static void lost_mongodb_degrades_then_stops(void **state)
{
    (void)state;
    cluster.seen = false;
    overall(WELLNESS_DEGRADED, NULL);
    refresh.db_lost = true;
    overall(WELLNESS_UNHEALTHY, "MongoDB");
    refresh.db_lost = false;
    refresh.started = false;
    overall(WELLNESS_UNHEALTHY, "start");
    refresh.stopping = true;
    overall(WELLNESS_UNHEALTHY, "stopping");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nothing_to_mend, fresh),
        cmocka_unit_test_setup(stores_are_warned_of, fresh),
        cmocka_unit_test_setup(missing_workers_are_warned_of, fresh),
        cmocka_unit_test_setup(clock_is_warned_of, fresh),
        cmocka_unit_test_setup(differing_settings_are_named, fresh),
        cmocka_unit_test_setup(lost_redis_degrades_or_stops, fresh),
        cmocka_unit_test_setup(lost_mongodb_degrades_then_stops, fresh),
    };

    return cmocka_run_group_tests_name("wellness", tests, NULL, NULL);
}
