/* test_view - one look at all that is shared, whatever strangers put there */
#include "lib/coord/view.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "tests/unit/coord.h"

enum {
    AHEAD_MS = 3000, /* of rows, so that a slow test does not outlive them */
    MANY = VIEW_INSTANCES_MAX + 5
};

#define TOK_A "aaaaaaaaaaaaaaaaaaaaaaaa"

static struct view look(struct ctx *c)
{
    struct view v;
    enum err err = view_read(c, STR("me"), &v);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return v;
}

/* As roster_beat() writes it, seen at `seen`; without member `but`. */
static bson_t *row_but(const char *id, ms seen, const char *but)
{
    bson_t *full = BCON_NEW(
               "_id", BCON_UTF8(id), "boot", TOK_A, "host", "h", "pid",
               BCON_INT64(77), "version", "1.0.0", "started",
               BCON_DATE_TIME(1700000000000), "mode", "cluster", "redisOk",
               BCON_BOOL(true), "draining", BCON_BOOL(false), "digest",
               "0123456789abcdef", "processes", BCON_INT64(4), "slots", "{",
               "webhook", BCON_INT64(5), "}", "metrics",
               BCON_BIN(BSON_SUBTYPE_BINARY, (const uint8_t *)"figures", 7),
               "seen", BCON_DATE_TIME(seen)),
           *doc;

    if (!but)
        return full;
    doc = bson_new();
    bson_copy_to_excluding_noinit(full, doc, but, (char *)NULL);
    bson_destroy(full);
    return doc;
}

static void put_row(struct ctx *c, const char *id)
{
    coord_put(c, "_instances", row_but(id, clock_wall_ms() + AHEAD_MS, NULL));
}

static void empty_database_is_an_empty_view(void **state)
{
    struct ctx *c = *state;
    struct view v = look(c);

    assert_true(v.server_wall > 1700000000000);
    assert_true(v.taken_boot > 0 && v.rtt_ms >= 0);
    assert_int_equal(v.instances_n, 0);
    assert_int_equal(v.dataset.home, DATASET_NOWHERE);
    assert_string_equal(v.dataset.id, "");
    assert_int_equal(v.dataset.fence, 0);
    assert_true(v.dataset.read_boot == v.taken_boot);
    for (int s = 0; s < LEADER_N; s++) {
        assert_false(v.terms[s].known);
        assert_null(view_leader(&v, s));
    }
    assert_null(view_find(&v, STR("me")));
    assert_int_equal(v.subs_version, 0);
    assert_false(v.queues[QUEUE_WEBHOOK].known);
    assert_false(v.queues[QUEUE_WEBHOOK].paused);
    assert_false(v.queues[QUEUE_WEBHOOK].counted);
    assert_int_equal(view_slots(&v, QUEUE_WEBHOOK), 0);
    assert_int_equal(view_cap(&v, QUEUE_WEBHOOK), 1);
}

static void all_that_is_stored_is_read(void **state)
{
    struct ctx *c = *state;
    ms now = clock_wall_ms();
    const struct view_instance *i;
    struct view v;

    coord_put(c, "_cluster",
              BCON_NEW("_id", "redis", "home", "redis", "dataset",
                       "00112233445566ff", "term", BCON_INT64(6), "since",
                       BCON_DATE_TIME(now)));
    coord_put(c, "_cluster", BCON_NEW("_id", "fence", "v", BCON_INT64(99)));
    coord_put(c, "_cluster", BCON_NEW("_id", "subs", "v", BCON_INT64(1)));
    coord_put(c, "_leader",
              BCON_NEW("_id", "maintenance", "term", BCON_INT64(7), "holder",
                       "me", "tok", TOK_A, "until",
                       BCON_DATE_TIME(now + 60000)));
    coord_put(c, "_leader",
              BCON_NEW("_id", "cron", "term", BCON_INT64(3), "holder", "gone",
                       "until", BCON_DATE_TIME(now + 60000)));
    put_row(c, "me");
    v = look(c);
    assert_int_equal(v.dataset.home, DATASET_REDIS);
    assert_string_equal(v.dataset.id, "00112233445566ff");
    assert_int_equal(v.dataset_term, 6);
    assert_int_equal(v.dataset.fence, 99);
    assert_int_equal(v.terms[LEADER_MAINTENANCE].term, 7);
    assert_true(v.terms[LEADER_MAINTENANCE].left_ms > 0);
    assert_int_equal(v.terms[LEADER_CRON].term, 3);
    assert_null(view_leader(&v, LEADER_CRON));
    i = view_leader(&v, LEADER_MAINTENANCE);
    assert_non_null(i);
    assert_ptr_equal(i, view_find(&v, STR("me")));
    assert_str(i->id, "me");
    assert_str(i->boot, TOK_A);
    assert_str(i->host, "h");
    assert_str(i->version, "1.0.0");
    assert_str(i->mode, "cluster");
    assert_str(i->digest, "0123456789abcdef");
    assert_int_equal(i->pid, 77);
    assert_int_equal(i->processes, 4);
    assert_true(i->redis_ok && !i->draining);
    assert_true(i->started_wall == 1700000000000);
    assert_true(i->age_ms == 0);
    assert_int_equal(i->slots[QUEUE_WEBHOOK], 5);
}

static void metrics_are_those_of_me(void **state)
{
    struct ctx *c = *state;
    struct view v;

    put_row(c, "me");
    put_row(c, "you");
    v = look(c);
    assert_int_equal(v.instances_n, 2);
    assert_str(view_find(&v, STR("me"))->metrics, "figures");
    assert_int_equal(view_find(&v, STR("you"))->metrics.n, 0);
}

static void who_is_not_seen_for_long_is_dead(void **state)
{
    struct ctx *c = *state;
    ms now = clock_wall_ms();
    struct view v;

    coord_put(c, "_instances", row_but("past", now - VIEW_ALIVE_MS, NULL));
    coord_put(c, "_instances", row_but("future", now + 600000, NULL));
    coord_put(c, "_instances", row_but("now", now + AHEAD_MS, NULL));
    v = look(c);
    assert_int_equal(v.instances_n, 1);
    assert_str(v.instances[0].id, "now");
}

static void leader_that_is_over_or_dead_is_none(void **state)
{
    struct ctx *c = *state;
    struct view v;

    put_row(c, "me");
    coord_put(c, "_leader",
              BCON_NEW("_id", "cron", "term", BCON_INT64(7), "holder", "me",
                       "until", BCON_DATE_TIME(clock_wall_ms() - 1)));
    v = look(c);
    assert_null(view_leader(&v, LEADER_CRON));
    assert_true(v.terms[LEADER_CRON].left_ms <= 0);
}

/* Many rows in one command: a slow machine must not outlive them. */
struct filling {
    bson_t *cmd, rows;
    int n;
};

static struct filling fill_begin(void)
{
    struct filling f = {.cmd = BCON_NEW("insert", "_instances")};

    BSON_APPEND_ARRAY_BEGIN(f.cmd, "documents", &f.rows);
    return f;
}

static void fill(struct filling *f, bson_t *row)
{
    char key[16];

    (void)snprintf(key, sizeof key, "%d", f->n++);
    BSON_APPEND_DOCUMENT(&f->rows, key, row);
    bson_destroy(row);
}

static void fill_end(struct ctx *c, struct filling *f)
{
    bson_append_array_end(f->cmd, &f->rows);
    (void)mongod_do(c, f->cmd);
}

static void rows_come_by_id_and_no_more_than_a_thousand(void **state)
{
    struct ctx *c = *state;
    struct filling f = fill_begin();
    ms seen = clock_wall_ms() + AHEAD_MS;
    struct view v;

    for (int i = 0; i < MANY; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "i-%d", i * 7919 % 10007);
        fill(&f, row_but(id, seen, NULL));
    }
    fill_end(c, &f);
    v = look(c);
    assert_int_equal(v.instances_n, VIEW_INSTANCES_MAX);
    for (size_t i = 0; i < v.instances_n; i++)
        assert_ptr_equal(view_find(&v, v.instances[i].id), &v.instances[i]);
    assert_null(view_find(&v, STR("i-")));
    assert_null(view_find(&v, STR("j")));
}

/* One hostile row for each member and type; none of them is seen. */
static void rows_of_strangers_are_absent(void **state)
{
    static const char *const members[] = {
        "boot",    "host", "pid",    "version",  "started",   "mode",
        "redisOk", "seen", "digest", "draining", "processes", "slots"};
    struct ctx *c = *state;
    struct filling f = fill_begin();
    ms seen = clock_wall_ms() + AHEAD_MS;
    struct view v;

    for (size_t m = 0; m < sizeof members / sizeof *members; m++)
        for (int i = 0; i < COORD_HOSTILE_N; i++) {
            char id[32];
            bson_t *row;

            (void)snprintf(id, sizeof id, "%s-%d", members[m], i);
            row = row_but(id, seen, members[m]);
            coord_hostile(row, members[m], i);
            fill(&f, row);
        }
    fill_end(c, &f);
    v = look(c);
    for (size_t i = 0; i < v.instances_n; i++) {
        const struct view_instance *x = &v.instances[i];

        /* what is stored is of the right type */
        assert_true(x->pid >= 0 && x->processes >= 0);
        assert_true(x->boot.n > 0 && x->host.n > 0 && x->digest.n > 0);
        assert_true(x->age_ms >= 0 && x->age_ms < VIEW_ALIVE_MS);
        assert_true(x->started_wall >= 0);
        assert_int_equal(x->slots[QUEUE_WEBHOOK],
                         str_starts(x->id, STR("slots")) ? 0 : 5);
    }
    /* texts: "9", "$$NOW" in five; true in two; a date and INT64_MAX */
    /* ... and whatever stands for slots: it counts as none */
    assert_int_equal(v.instances_n, 5 * 2 + 2 + 1 + 2 + COORD_HOSTILE_N);
}

static void slots_of_strangers_are_none(void **state)
{
    struct ctx *c = *state;
    struct view v;

    for (int i = 0; i < COORD_HOSTILE_N; i++) {
        bson_t *row = row_but("me", clock_wall_ms() + AHEAD_MS, "slots"), slots;

        BSON_APPEND_DOCUMENT_BEGIN(row, "slots", &slots);
        coord_hostile(&slots, "webhook", i);
        bson_append_document_end(row, &slots);
        coord_put(c, "_instances", row);
        v = look(c);
        assert_int_equal(v.instances_n, 1);
        assert_int_equal(view_slots(&v, QUEUE_WEBHOOK), 0);
    }
}

static void names_that_none_can_have_are_absent(void **state)
{
    struct ctx *c = *state;
    char longest[ID_INSTANCE_MAX + 1];
    struct view v;

    memset(longest, 'n', sizeof longest);
    longest[ID_INSTANCE_MAX] = '\0'; /* one too many */
    for (int i = 0; i < COORD_HOSTILE_N; i++) {
        bson_t *row = row_but("", clock_wall_ms() + AHEAD_MS, "_id"),
               *named = bson_new();

        if (i == 4 || i == 8 || i == 9) { /* no _id: regex, none, array */
            bson_destroy(row);
            bson_destroy(named);
            continue;
        }
        coord_hostile(named, "_id", i);
        bson_concat(named, row);
        bson_destroy(row);
        coord_put(c, "_instances", named);
    }
    put_row(c, longest);
    put_row(c, longest + 1);
    put_row(c, "\xff");
    v = look(c);
    assert_int_equal(v.instances_n, 3);
    assert_non_null(view_find(&v, STR("9")));
    assert_non_null(view_find(&v, STR("$$NOW")));
    assert_non_null(view_find(&v, str_of(longest + 1)));
}

static void large_rows_are_absent(void **state)
{
    struct ctx *c = *state;
    char *text = ctx_alloc(c, (1 << 20) + 1);
    struct view v;

    memset(text, 'x', 1 << 20);
    for (int i = 0; i < 20; i++) {
        char id[32];
        bson_t *row;

        (void)snprintf(id, sizeof id, "large-%d", i);
        row = row_but(id, clock_wall_ms() + AHEAD_MS, "host");
        bson_append_utf8(row, "host", -1, text, 1 << 20);
        coord_put(c, "_instances", row);
    }
    coord_put(c, "_leader",
              BCON_NEW("_id", "cron", "term", BCON_INT64(3), "ask", "{", "what",
                       BCON_UTF8(text), "}"));
    put_row(c, "small");
    v = look(c);
    assert_int_equal(v.instances_n, 1);
    assert_str(v.instances[0].id, "small");
    assert_false(v.terms[LEADER_CRON].known);
}

static void put_hostile_cluster(struct ctx *c, int i)
{
    bson_t *redis = BCON_NEW("_id", "redis"), *fence = BCON_NEW("_id", "fence"),
           *cron = BCON_NEW("_id", "cron"), *subs = BCON_NEW("_id", "subs");
    static const char *const members[] = {"term",  "holder", "tok",    "until",
                                          "since", "ask",    "reserve"};

    coord_hostile(redis, "home", i);
    coord_hostile(redis, "dataset", i);
    coord_hostile(redis, "term", i);
    coord_hostile(fence, "v", i);
    for (size_t m = 0; m < sizeof members / sizeof *members; m++)
        coord_hostile(cron, members[m], i);
    coord_put(c, "_cluster", redis);
    coord_hostile(subs, "ver", i);
    coord_put(c, "_cluster", fence);
    coord_put(c, "_cluster", subs);
    coord_put(c, "_leader", cron);
}

static void hostile_documents_say_nothing(void **state)
{
    struct ctx *c = *state;

    for (int i = 0; i < COORD_HOSTILE_N; i++) {
        struct view v;

        put_hostile_cluster(c, i);
        v = look(c);
        assert_int_equal(v.dataset.home, DATASET_NOWHERE);
        assert_string_equal(v.dataset.id, "");
        assert_int_equal(v.subs_version, 0);
        assert_true(v.dataset.fence >= 0 && v.dataset_term >= 0);
        assert_true(v.terms[LEADER_CRON].term == 0);
        assert_int_equal(v.terms[LEADER_CRON].ask, LEADER_ASK_NONE);
        assert_true(v.terms[LEADER_CRON].reserved_ms == 0);
    }
}

static void nonsense_about_the_data_set_is_nowhere(void **state)
{
    static const struct {
        const char *home, *dataset;
        enum dataset_home want;
    } rows[] = {
        {"redis", "0011223344556677", DATASET_REDIS},
        {"mongo", "0011223344556677", DATASET_MONGO},
        {"redis", "", DATASET_REDIS},
        {"", "", DATASET_NOWHERE},
        {"Redis", "0011223344556677", DATASET_NOWHERE},
        {"redis", "001122334455667", DATASET_NOWHERE},
        {"redis", "00112233445566778", DATASET_NOWHERE},
        {"redis", "001122334455667x", DATASET_NOWHERE},
    };
    struct ctx *c = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct view v;

        coord_put(c, "_cluster",
                  BCON_NEW("_id", "redis", "home", BCON_UTF8(rows[i].home),
                           "dataset", BCON_UTF8(rows[i].dataset)));
        v = look(c);
        assert_int_equal(v.dataset.home, rows[i].want);
        assert_string_equal(v.dataset.id, rows[i].want == DATASET_NOWHERE
                                              ? ""
                                              : rows[i].dataset);
    }
}

static void away_is_a_failure(void **state)
{
    struct view v;

    mongo_set_away(mongod.pool, true);
    assert_int_equal(view_read(*state, STR("me"), &v), ERR_DB_UNAVAILABLE);
    mongo_set_away(mongod.pool, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MONGOD(empty_database_is_an_empty_view),
        WITH_MONGOD(all_that_is_stored_is_read),
        WITH_MONGOD(metrics_are_those_of_me),
        WITH_MONGOD(who_is_not_seen_for_long_is_dead),
        WITH_MONGOD(leader_that_is_over_or_dead_is_none),
        WITH_MONGOD(rows_come_by_id_and_no_more_than_a_thousand),
        WITH_MONGOD(rows_of_strangers_are_absent),
        WITH_MONGOD(slots_of_strangers_are_none),
        WITH_MONGOD(names_that_none_can_have_are_absent),
        WITH_MONGOD(large_rows_are_absent),
        WITH_MONGOD(hostile_documents_say_nothing),
        WITH_MONGOD(nonsense_about_the_data_set_is_nowhere),
        WITH_MONGOD(away_is_a_failure),
    };

    return cmocka_run_group_tests_name("view", tests, mongod_setup,
                                       mongod_teardown);
}
