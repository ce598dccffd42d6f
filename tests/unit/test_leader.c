/* test_leader - terms on a real mongod: one holder each, whatever is stored */
#include "lib/coord/leader.h"

#include <poll.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/data/schema.h"
#include "tests/unit/coord.h"

enum {
    TTL = 60000 /* longer than a test */
};

#define TOK_A "aaaaaaaaaaaaaaaaaaaaaaaa"
#define TOK_B "bbbbbbbbbbbbbbbbbbbbbbbb"

static void i_am(const char *instance)
{
    mongod.conf->cluster_instance_id = instance;
}

/* Gives the term, or 0 when it is not ours; *out, when wanted: the document. */
static int64_t take_above(struct ctx *c, const char *token, int64_t above,
                          struct leader_term *out)
{
    struct leader_term t;
    bool mine;
    enum err err = leader_take(
        c, LEADER_CRON, &(struct leader_try){token, TTL, above}, &t, &mine);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    if (out)
        *out = t;
    return mine ? t.term : 0;
}

static int64_t take(struct ctx *c, const char *token)
{
    return take_above(c, token, 0, NULL);
}

static bool renew(struct ctx *c, int64_t term, const char *token)
{
    struct leader_claim claim = {.term = term};
    struct leader_term t;
    bool mine;

    (void)snprintf(claim.token, sizeof claim.token, "%s", token);
    assert_int_equal(leader_renew(c, LEADER_CRON, &claim, TTL, &t, &mine), OK);
    assert_true(t.known == mine);
    return mine;
}

static void resign(struct ctx *c, int64_t term, const char *token)
{
    struct leader_claim claim = {.term = term};

    (void)snprintf(claim.token, sizeof claim.token, "%s", token);
    assert_int_equal(leader_resign(c, LEADER_CRON, &claim), OK);
}

/* As it is stored, by the clock of this host: the server's is the same. */
static struct leader_term stored(struct ctx *c)
{
    const bson_t *doc = mongod_find(c, "_leader", "cron");
    struct leader_term t;

    assert_non_null(doc);
    leader_term_read(doc, clock_wall_ms(), &t);
    return t;
}

static void let_lapse(struct ctx *c)
{
    coord_change(c, "_leader", "cron",
                 BCON_NEW("$set", "{", "until", "{", "$subtract", "[", "$$NOW",
                          BCON_INT32(1), "]", "}", "}"));
}

static void services_have_names(void **state)
{
    (void)state;
    for (int s = 0; s < LEADER_N; s++)
        assert_int_equal(leader_find(str_of(leader_name(s))), s);
    assert_int_equal(leader_find(STR("cron-scheduler")), LEADER_CRON);
    assert_int_equal(leader_find(STR("Cron")), LEADER_N);
    assert_int_equal(leader_find(STR("")), LEADER_N);
    assert_int_equal(leader_find(STR("cro")), LEADER_N);
}

static void first_take_makes_the_document(void **state)
{
    struct ctx *c = *state;
    struct leader_term t;

    i_am("one");
    assert_int_equal(take_above(c, TOK_A, 0, &t), 1);
    assert_str(t.holder, "one");
    assert_str(t.token, TOK_A);
    assert_true(t.left_ms == TTL);
    assert_true(t.since_wall > 1700000000000);
    assert_int_equal(t.ask, LEADER_ASK_NONE);
    assert_int_equal(t.reserved.n, 0);
    t = stored(c);
    assert_int_equal(t.term, 1);
    assert_str(t.token, TOK_A);
}

static void take_works_on_what_schema_made(void **state)
{
    struct ctx *c = *state;

    assert_int_equal(schema_apply(c), OK);
    assert_int_equal(take(c, TOK_A), 1);
    assert_true(renew(c, 1, TOK_A));
    resign(c, 1, TOK_A);
    assert_int_equal(take(c, TOK_B), 2);
    assert_int_equal(leader_ask_force(c, LEADER_CRON, STR("x")), OK);
}

static void same_token_has_the_same_term(void **state)
{
    struct ctx *c = *state;

    assert_int_equal(take(c, TOK_A), 1);
    assert_int_equal(take(c, TOK_A), 1);
    let_lapse(c);
    assert_int_equal(take(c, TOK_A), 1);
    assert_true(stored(c).left_ms > 0);
}

static void live_term_is_not_taken(void **state)
{
    struct ctx *c = *state;
    struct leader_term t;

    i_am("one");
    assert_int_equal(take(c, TOK_A), 1);
    i_am("two");
    assert_int_equal(take_above(c, TOK_B, 9, &t), 0);
    assert_int_equal(t.term, 1);
    assert_str(t.holder, "one");
    assert_str(t.token, TOK_A);
    assert_true(t.left_ms > 0 && t.left_ms <= TTL);
    let_lapse(c);
    assert_int_equal(take(c, TOK_B), 2);
    assert_str(stored(c).holder, "two");
}

static void renewal_needs_term_and_token(void **state)
{
    struct ctx *c = *state;

    assert_int_equal(take(c, TOK_A), 1);
    assert_true(renew(c, 1, TOK_A));
    assert_false(renew(c, 1, TOK_B));
    assert_false(renew(c, 2, TOK_A));
    let_lapse(c);
    assert_true(renew(c, 1, TOK_A)); /* over, but nobody took */
    assert_true(stored(c).left_ms > 0);
    let_lapse(c);
    assert_int_equal(take(c, TOK_B), 2);
    assert_false(renew(c, 1, TOK_A));
    assert_str(stored(c).token, TOK_B);
}

static void resigned_term_is_free_at_once(void **state)
{
    struct ctx *c = *state;

    assert_int_equal(take(c, TOK_A), 1);
    resign(c, 1, TOK_B);
    resign(c, 2, TOK_A);
    assert_true(stored(c).left_ms > 0);
    resign(c, 1, TOK_A);
    assert_int_equal(stored(c).term, 1);
    assert_true(stored(c).left_ms <= 0);
    resign(c, 1, TOK_A);
    assert_false(renew(c, 1, TOK_A)); /* a late one revives nothing */
    assert_int_equal(take(c, TOK_B), 2);
    resign(c, 1, TOK_A);
    assert_true(stored(c).left_ms > 0);
}

static void clock_of_this_host_plays_no_part(void **state)
{
    static const ms walls[] = {0, 4102444800000, INT64_C(1) << 50};
    struct ctx *c = *state;
    ms mono = clock_mono_ms();

    for (size_t i = 0; i < sizeof walls / sizeof *walls; i++) {
        struct leader_term t;

        clock_set(mono, walls[i]);
        assert_true(take_above(c, TOK_A, 0, &t) > 0);
        assert_true(t.left_ms == TTL);
        assert_int_equal(take(c, TOK_B), 0);
        assert_true(renew(c, t.term, TOK_A));
        resign(c, t.term, TOK_A);
    }
    clock_unset();
}

static void term_is_above_what_was_seen(void **state)
{
    struct ctx *c = *state;

    assert_int_equal(take_above(c, TOK_A, 41, NULL), 42);
    coord_drop(c, "_leader");
    assert_false(renew(c, 42, TOK_A));
    assert_int_equal(take_above(c, TOK_B, 42, NULL), 43);
    resign(c, 43, TOK_B);
    assert_int_equal(take_above(c, TOK_A, 7, NULL), 44);
    /* what no term can be above is forgotten */
    resign(c, 44, TOK_A);
    assert_int_equal(take_above(c, TOK_B, LEADER_TERM_MAX, NULL), 45);
    resign(c, 45, TOK_B);
    assert_int_equal(take_above(c, TOK_A, INT64_MAX, NULL), 46);
}

static void last_term_of_all_is_no_end(void **state)
{
    struct ctx *c = *state;

    assert_int_equal(take_above(c, TOK_A, LEADER_TERM_MAX - 1, NULL),
                     LEADER_TERM_MAX);
    assert_true(renew(c, LEADER_TERM_MAX, TOK_A));
    resign(c, LEADER_TERM_MAX, TOK_A);
    assert_int_equal(take_above(c, TOK_B, LEADER_TERM_MAX, NULL), 1);
    resign(c, 1, TOK_B);
    assert_int_equal(take_above(c, TOK_A, LEADER_TERM_MAX, NULL), 2);
}

static void holder_is_asked_to_resign(void **state)
{
    struct ctx *c = *state;
    bool asked;

    assert_int_equal(leader_ask_resign(c, LEADER_CRON, 1, &asked), OK);
    assert_false(asked);
    assert_int_equal(take(c, TOK_A), 1);
    assert_int_equal(leader_ask_resign(c, LEADER_CRON, 2, &asked), OK);
    assert_false(asked);
    assert_int_equal(leader_ask_resign(c, LEADER_CRON, 1, &asked), OK);
    assert_true(asked);
    assert_int_equal(stored(c).ask, LEADER_ASK_RESIGN);
    assert_int_equal(stored(c).ask_term, 1);
    assert_int_equal(take(c, TOK_A), 1); /* a repeat does not unask */
    assert_int_equal(stored(c).ask, LEADER_ASK_RESIGN);
    resign(c, 1, TOK_A);
    assert_int_equal(stored(c).ask, LEADER_ASK_NONE);
    assert_int_equal(leader_ask_resign(c, LEADER_CRON, 1, &asked), OK);
    assert_false(asked);
}

static void next_term_is_kept_for_who_forces(void **state)
{
    struct ctx *c = *state;
    struct leader_term t;

    i_am("one");
    assert_int_equal(take(c, TOK_A), 1);
    assert_int_equal(leader_ask_force(c, LEADER_CRON, STR("two")), OK);
    t = stored(c);
    assert_int_equal(t.ask, LEADER_ASK_FORCE);
    assert_int_equal(t.ask_term, 1);
    resign(c, 1, TOK_A);
    /* held open longer than this machine may sleep */
    coord_change(c, "_leader", "cron",
                 BCON_NEW("$set", "{", "reserve.until", "{", "$add", "[",
                          "$$NOW", BCON_INT32(9000), "]", "}", "}"));
    assert_int_equal(take_above(c, TOK_A, 0, &t), 0);
    assert_str(t.reserved, "two");
    assert_true(t.reserved_ms > 0 && t.left_ms <= 0);
    i_am("two");
    assert_int_equal(take_above(c, TOK_B, 0, &t), 2);
    assert_int_equal(t.reserved.n, 0);
    assert_int_equal(t.ask, LEADER_ASK_NONE);
}

static void reservation_ends_by_itself(void **state)
{
    struct ctx *c = *state;
    ms end = clock_mono_ms() + 20000;

    i_am("one");
    assert_int_equal(leader_ask_force(c, LEADER_CRON, STR("two")), OK);
    while (take(c, TOK_A) == 0) {
        assert_true(clock_mono_ms() < end);
        poll(NULL, 0, 50);
    }
    assert_str(stored(c).holder, "one");
}

static void holder_is_not_forced_for_itself(void **state)
{
    struct ctx *c = *state;

    i_am("one");
    assert_int_equal(take(c, TOK_A), 1);
    assert_int_equal(leader_ask_force(c, LEADER_CRON, STR("one")), OK);
    assert_int_equal(stored(c).ask, LEADER_ASK_NONE);
    assert_int_equal(stored(c).reserved.n, 0);
}

static void names_with_signs_are_names(void **state)
{
    struct ctx *c = *state;

    i_am("$holder");
    assert_int_equal(take(c, TOK_A), 1);
    assert_str(stored(c).holder, "$holder");
    assert_int_equal(leader_ask_force(c, LEADER_CRON, STR("$$ROOT")), OK);
    assert_str(stored(c).reserved, "$$ROOT");
}

/* A good document that is over, but for one member */
static bson_t *with_hostile(const char *member, const char *inside, int i)
{
    static const char *const all[] = {"term",  "until", "holder", "tok",
                                      "since", "ask",   "reserve"};
    bson_t *doc = BCON_NEW("_id", "cron"), inner;

    for (size_t m = 0; m < sizeof all / sizeof *all; m++) {
        if (strcmp(all[m], member) != 0) {
            if (m == 0)
                BSON_APPEND_INT64(doc, "term", 5);
            else if (m == 3)
                BSON_APPEND_UTF8(doc, "tok", TOK_B);
        } else if (inside) {
            BSON_APPEND_DOCUMENT_BEGIN(doc, member, &inner);
            coord_hostile(&inner, inside, i);
            BSON_APPEND_UTF8(&inner, "instance", "other");
            bson_append_document_end(doc, &inner);
        } else {
            coord_hostile(doc, member, i);
        }
    }
    return doc;
}

static void assert_usable(struct ctx *c, const char *what, int i)
{
    int64_t term;
    bool asked;

    assert_int_equal(leader_ask_resign(c, LEADER_CRON, 5, &asked), OK);
    (void)renew(c, 5, TOK_A);
    resign(c, 5, TOK_A);
    term = take_above(c, TOK_A, 5, NULL);
    if (term == 0) { /* the end was too far ahead, and is cut now */
        assert_true(stored(c).left_ms <= TTL);
        let_lapse(c);
        term = take_above(c, TOK_A, 5, NULL);
    }
    if (term != 6)
        fail_msg("%s %d: term %lld", what, i, (long long)term);
    assert_true(renew(c, 6, TOK_A));
    assert_int_equal(leader_ask_force(c, LEADER_CRON, STR("x")), OK);
    assert_int_equal(stored(c).ask_term, 6);
}

static void strangers_documents_are_no_obstacle(void **state)
{
    static const struct {
        const char *member, *inside;
    } rows[] = {
        {"term", NULL},    {"until", NULL},      {"holder", NULL},
        {"tok", NULL},     {"since", NULL},      {"ask", NULL},
        {"reserve", NULL}, {"reserve", "until"}, {"ask", "term"},
        {"ask", "what"},
    };
    struct ctx *c = *state;

    i_am("one");
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (int i = 0; i < COORD_HOSTILE_N; i++) {
            coord_put(c, "_leader",
                      with_hostile(rows[r].member, rows[r].inside, i));
            assert_usable(c, rows[r].inside ? rows[r].inside : rows[r].member,
                          i);
            ctx_reset(c);
            c->deadline = clock_mono_ms() + 30000;
        }
}

static void terms_of_shells_are_terms(void **state)
{
    struct ctx *c = *state;

    coord_put(c, "_leader",
              BCON_NEW("_id", "cron", "term", BCON_DOUBLE(7.0), "tok", TOK_A));
    assert_true(renew(c, 7, TOK_A));
    resign(c, 7, TOK_A);
    assert_int_equal(take(c, TOK_B), 8);
}

static void large_document_is_replaced(void **state)
{
    struct ctx *c = *state;
    bson_t *doc = BCON_NEW("_id", "cron", "term", BCON_INT64(3), "tok", TOK_A,
                           "until", BCON_DATE_TIME(INT64_MAX));
    char *text = ctx_alloc(c, 15 << 20);

    memset(text, 'x', 15 << 20);
    bson_append_utf8(doc, "junk", -1, text, 15 << 20);
    coord_put(c, "_leader", doc);
    assert_int_equal(take_above(c, TOK_A, 3, NULL), 4);
    assert_true(mongod_find(c, "_leader", "cron")->len < LEADER_DOC_BYTES);
}

static void away_is_a_failure(void **state)
{
    struct ctx *c = *state;
    struct leader_term t;
    bool mine;

    mongo_set_away(mongod.pool, true);
    assert_int_equal(leader_take(c, LEADER_CRON,
                                 &(struct leader_try){TOK_A, TTL, 0}, &t,
                                 &mine),
                     ERR_DB_UNAVAILABLE);
    mongo_set_away(mongod.pool, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_have_names),
        WITH_MONGOD(first_take_makes_the_document),
        WITH_MONGOD(take_works_on_what_schema_made),
        WITH_MONGOD(same_token_has_the_same_term),
        WITH_MONGOD(live_term_is_not_taken),
        WITH_MONGOD(renewal_needs_term_and_token),
        WITH_MONGOD(resigned_term_is_free_at_once),
        WITH_MONGOD(clock_of_this_host_plays_no_part),
        WITH_MONGOD(term_is_above_what_was_seen),
        WITH_MONGOD(last_term_of_all_is_no_end),
        WITH_MONGOD(holder_is_asked_to_resign),
        WITH_MONGOD(next_term_is_kept_for_who_forces),
        WITH_MONGOD(reservation_ends_by_itself),
        WITH_MONGOD(holder_is_not_forced_for_itself),
        WITH_MONGOD(names_with_signs_are_names),
        WITH_MONGOD(strangers_documents_are_no_obstacle),
        WITH_MONGOD(terms_of_shells_are_terms),
        WITH_MONGOD(large_document_is_replaced),
        WITH_MONGOD(away_is_a_failure),
    };

    return cmocka_run_group_tests_name("leader", tests, mongod_setup,
                                       mongod_teardown);
}
