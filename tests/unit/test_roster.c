/* test_roster - one program has a name; its row comes, goes and comes back */
#include "lib/coord/roster.h"

#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/version.h"
#include "lib/coord/view.h"
#include "lib/data/schema.h"
#include "tests/unit/coord.h"

static const struct roster_figures figures = {
    "cluster", true, false, 3, {7}, STR_INIT("bytes\0of metrics")};

static struct roster_life life_new(void)
{
    struct roster_life life = {.started_wall = clock_wall_ms(),
                               .pid = (int)getpid()};

    assert_int_equal(id_token(life.boot), OK);
    mongod.conf->cluster_instance_id = "me";
    return life;
}

static bool beat(struct ctx *c, struct roster_life *life)
{
    bool mine;
    enum err err = roster_beat(c, life, &figures, &mine);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return mine;
}

static str boot_of_row(struct ctx *c)
{
    const bson_t *row = mongod_find(c, "_instances", "me");
    bson_iter_t it;

    if (!row || !bson_iter_init_find(&it, row, "boot"))
        return STR("");
    return str_of(bson_iter_utf8(&it, NULL));
}

static ms date_of_row(struct ctx *c, const char *name)
{
    const bson_t *row = mongod_find(c, "_instances", "me");
    bson_iter_t it;

    assert_non_null(row);
    assert_true(bson_iter_init_find(&it, row, name));
    return bson_iter_date_time(&it);
}

static void beat_is_seen_in_a_view(void **state)
{
    struct ctx *c = *state;
    struct roster_life life = life_new();
    const struct view_instance *i;
    char digest[ROSTER_DIGEST_MAX];
    struct view v;

    assert_int_equal(schema_apply(c), OK);
    assert_false(life.claimed);
    assert_true(beat(c, &life));
    assert_true(life.claimed);
    assert_int_equal(view_read(c, STR("me"), &v), OK);
    i = view_find(&v, STR("me"));
    assert_non_null(i);
    roster_digest(mongod.conf, digest);
    assert_str(i->boot, life.boot);
    assert_str(i->digest, digest);
    assert_str(i->version, VERSION_NUMBER);
    assert_str(i->mode, "cluster");
    assert_int_equal(i->pid, getpid());
    assert_int_equal(i->processes, 3);
    assert_int_equal(i->slots[QUEUE_WEBHOOK], 7);
    assert_true(i->redis_ok && !i->draining);
    assert_true(i->started_wall == life.started_wall);
    assert_true(str_eq(i->metrics, figures.metrics));
    assert_true(i->host.n > 0);
}

static void claim_is_stamped_once(void **state)
{
    struct ctx *c = *state;
    struct roster_life life = life_new();
    ms claimed, seen;

    assert_true(beat(c, &life));
    claimed = date_of_row(c, "claimed");
    seen = date_of_row(c, "seen");
    assert_true(claimed == seen);
    while (date_of_row(c, "seen") == seen)
        assert_true(beat(c, &life));
    assert_true(date_of_row(c, "claimed") == claimed);
}

static void newer_program_has_the_name(void **state)
{
    struct ctx *c = *state;
    struct roster_life old = life_new(), new = life_new();

    assert_true(beat(c, &old));
    assert_true(beat(c, &new));
    assert_false(beat(c, &old));
    assert_str(boot_of_row(c), new.boot);
    assert_true(beat(c, &new));
    assert_int_equal(roster_leave(c, &old), OK);
    assert_str(boot_of_row(c), new.boot);
}

static void lost_reply_of_the_first_beat_is_no_loss(void **state)
{
    struct ctx *c = *state;
    struct roster_life life = life_new();

    assert_true(beat(c, &life));
    life.claimed = false; /* as if nobody had heard of it */
    assert_true(beat(c, &life));
    assert_true(life.claimed);
}

static void row_comes_back(void **state)
{
    struct ctx *c = *state;
    struct roster_life life = life_new();

    assert_true(beat(c, &life));
    coord_drop(c, "_instances");
    assert_true(beat(c, &life));
    assert_str(boot_of_row(c), life.boot);
    assert_int_equal(roster_leave(c, &life), OK);
    assert_null(mongod_find(c, "_instances", "me"));
    assert_int_equal(roster_leave(c, &life), OK);
    assert_true(beat(c, &life));
}

static void dead_row_is_taken_over(void **state)
{
    static const ms away[] = {-VIEW_ALIVE_MS, 3600000};
    struct ctx *c = *state;
    struct roster_life life = life_new();

    assert_true(beat(c, &life));
    for (size_t i = 0; i < sizeof away / sizeof *away; i++) {
        coord_change(c, "_instances", "me",
                     BCON_NEW("$set", "{", "boot", "another", "seen", "{",
                              "$add", "[", "$$NOW", BCON_INT64(away[i]), "]",
                              "}", "}"));
        assert_true(beat(c, &life));
        assert_str(boot_of_row(c), life.boot);
    }
}

static void strangers_members_are_no_obstacle(void **state)
{
    static const char *const members[] = {"boot", "seen", "claimed", "host"};
    struct ctx *c = *state;
    struct roster_life life = life_new();

    assert_true(beat(c, &life));
    for (size_t m = 0; m < sizeof members / sizeof *members; m++)
        for (int i = 0; i < COORD_HOSTILE_N; i++) {
            bson_t *row = BCON_NEW("_id", "me");

            coord_hostile(row, members[m], i);
            coord_put(c, "_instances", row);
            assert_true(beat(c, &life));
            assert_str(boot_of_row(c), life.boot);
            assert_true(date_of_row(c, "claimed") > 1700000000000);
        }
}

static void digest_is_of_what_all_must_agree_on(void **state)
{
    struct conf base = {.redis_key_prefix = "p",
                        .redis_url = "redis://one",
                        .cluster_enabled = true,
                        .mongodb_database_name = "db",
                        .cluster_leader_ttl_ms = 4000,
                        .cluster_lock_ttl = 30000,
                        .cluster_instance_id = "me"},
                other = base;
    char want[ROSTER_DIGEST_MAX], got[ROSTER_DIGEST_MAX];

    (void)state;
    roster_digest(&base, want);
    assert_int_equal(strlen(want), ROSTER_DIGEST_MAX - 1);
    other.cluster_instance_id = "you";
    other.redis_url = "redis://two";
    other.redis_password = "secret";
    roster_digest(&other, got);
    assert_string_equal(got, want);
    for (int i = 0; i < 6; i++) {
        other = base;
        if (i == 0)
            other.redis_key_prefix = "q";
        if (i == 1)
            other.redis_url = "none";
        if (i == 2)
            other.mongodb_database_name = "bd";
        if (i == 3)
            other.cluster_leader_ttl_ms = 4001;
        if (i == 4)
            other.cluster_lock_ttl = 1;
        if (i == 5)
            other.cluster_enabled = false;
        roster_digest(&other, got);
        assert_string_not_equal(got, want);
    }
}

static void away_is_a_failure(void **state)
{
    struct roster_life life = life_new();
    bool mine;

    mongo_set_away(mongod.pool, true);
    assert_int_equal(roster_beat(*state, &life, &figures, &mine),
                     ERR_DB_UNAVAILABLE);
    mongo_set_away(mongod.pool, false);
    assert_false(life.claimed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MONGOD(beat_is_seen_in_a_view),
        WITH_MONGOD(claim_is_stamped_once),
        WITH_MONGOD(newer_program_has_the_name),
        WITH_MONGOD(lost_reply_of_the_first_beat_is_no_loss),
        WITH_MONGOD(row_comes_back),
        WITH_MONGOD(dead_row_is_taken_over),
        WITH_MONGOD(strangers_members_are_no_obstacle),
        cmocka_unit_test(digest_is_of_what_all_must_agree_on),
        WITH_MONGOD(away_is_a_failure),
    };

    return cmocka_run_group_tests_name("roster", tests, mongod_setup,
                                       mongod_teardown);
}
