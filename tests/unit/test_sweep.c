/* test_sweep - what deleted webhooks and dead letters leave behind goes, and
 * nothing else */
#include "lib/coord/sweep.c"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/data/json_out.h"
#include "lib/data/schema.h"
#include "tests/unit/coord.h"

#define HOOK_A "aaaaaaaaaaaaaaaaaaaaaaaa"
#define HOOK_B "bbbbbbbbbbbbbbbbbbbbbbbb"
#define GONE_A "000000000000000000000001"
#define GONE_B "abababababababababababab"
#define GONE_C "ffffffffffffffffffffffff"

enum {
    TURNS_MOST = 20
};

static int prepared(void **state)
{
    static const char *const hooks[] = {HOOK_A, HOOK_B};

    (void)mongod_fresh(state);
    if (schema_apply(*state) != OK)
        fail_msg("no schema");
    for (int i = 0; i < 2; i++) {
        bson_oid_t oid;

        bson_oid_init_from_string(&oid, hooks[i]);
        coord_put(*state, "_webhooks",
                  BCON_NEW("_id", BCON_OID(&oid), "url", "http://x/"));
    }
    return 0;
}

/* Many at once, `id` and a number each. */
static void jobs(struct ctx *c, const char *id, int n, const char *lim,
                 const char *sub)
{
    bson_t *cmd = BCON_NEW("insert", "_jobs"), list;
    char key[16];

    BSON_APPEND_ARRAY_BEGIN(cmd, "documents", &list);
    for (int i = 0; i < n; i++) {
        char name[32];

        (void)snprintf(key, sizeof key, "%d", i);
        (void)snprintf(name, sizeof name, "%s%d", id, i);
        BCON_APPEND(&list, key, "{", "_id", BCON_UTF8(name), "q", "webhook",
                    "lim", BCON_UTF8(lim), "g", BCON_UTF8(lim), "sub",
                    BCON_UTF8(sub), "cls", BCON_INT32(i % 3), "st", "waiting",
                    "open", BCON_BOOL(true), "runAt",
                    BCON_DATE_TIME(clock_wall_ms()), "}");
    }
    bson_append_array_end(cmd, &list);
    (void)mongod_do(c, cmd);
}

static void job(struct ctx *c, const char *id, const char *lim)
{
    jobs(c, id, 1, lim, lim);
}

static str state_of(struct ctx *c, const char *id)
{
    const bson_t *row = mongod_find(c, "_jobs", id);
    str v;

    if (!row || !json_out_text_member(row, "st", &v))
        return STR("");
    return v;
}

static int64_t swept(struct ctx *c)
{
    int64_t n = -1;
    enum err err = sweep_cancelled(c, QUEUE_WEBHOOK, &n);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return n;
}

static void nothing_is_there_to_sweep(void **state)
{
    struct ctx *c = *state;

    assert_int_equal(swept(c), 0);
    job(c, "a", HOOK_A);
    assert_int_equal(swept(c), 0);
    assert_str(state_of(c, "a0"), "waiting");
}

static void rows_of_deleted_webhooks_are_cancelled(void **state)
{
    struct ctx *c = *state;

    job(c, "a", HOOK_A);
    job(c, "b", HOOK_B);
    job(c, "1", GONE_A);
    job(c, "2", GONE_B);
    job(c, "3", GONE_C);
    job(c, "other", "somebody else's");
    jobs(c, "test", 1, "test:1", HOOK_A);
    assert_int_equal(swept(c), 3);
    assert_str(state_of(c, "a0"), "waiting");
    assert_str(state_of(c, "b0"), "waiting");
    assert_str(state_of(c, "10"), "cancelled");
    assert_str(state_of(c, "20"), "cancelled");
    assert_str(state_of(c, "30"), "cancelled");
    assert_str(state_of(c, "other0"), "waiting");
    assert_str(state_of(c, "test0"), "waiting");
    assert_int_equal(swept(c), 0);
}

static void what_runs_is_left_to_end(void **state)
{
    struct ctx *c = *state;

    job(c, "1", GONE_A);
    coord_change(c, "_jobs", "10",
                 BCON_NEW("$set", "{", "st", "leased", "lease", "{", "tok", "t",
                          "until", BCON_DATE_TIME(clock_wall_ms() + 60000), "}",
                          "}"));
    assert_int_equal(swept(c), 0);
    assert_str(state_of(c, "10"), "leased");
}

static void many_are_swept_slice_by_slice(void **state)
{
    struct ctx *c = *state;
    int64_t n, all = 0;
    int turns = 0;

    jobs(c, "x", 1200, GONE_A, GONE_A);
    jobs(c, "y", 100, GONE_B, GONE_B);
    do {
        ms start = clock_mono_ms();

        n = swept(c);
        all += n;
        assert_true(n <= 2 * SLICE_ROWS && ++turns < TURNS_MOST);
        assert_true(clock_mono_ms() - start < 10000);
    } while (n > 0);
    assert_int_equal(all, 1300);
}

static void counts_of_deleted_webhooks_go(void **state)
{
    struct ctx *c = *state;

    coord_put(c, "_limits", BCON_NEW("_id", "webhook:" HOOK_A));
    coord_put(c, "_limits", BCON_NEW("_id", "webhook:" GONE_A));
    coord_put(c, "_limits", BCON_NEW("_id", "webhook:*"));
    coord_put(c, "_limits", BCON_NEW("_id", "script:" GONE_A));
    assert_int_equal(swept(c), 0);
    assert_non_null(mongod_find(c, "_limits", "webhook:" HOOK_A));
    assert_null(mongod_find(c, "_limits", "webhook:" GONE_A));
    assert_non_null(mongod_find(c, "_limits", "webhook:*"));
    assert_non_null(mongod_find(c, "_limits", "script:" GONE_A));
}

static void subscribers_are_found_from_keys_alone(void **state)
{
    struct ctx *c = *state;
    const bson_t *reply;
    bson_iter_t it;

    jobs(c, "x", 300, HOOK_A, HOOK_A);
    (void)mongod_do(c, BCON_NEW("profile", BCON_INT32(2)));
    assert_int_equal(swept(c), 0);
    (void)mongod_do(c, BCON_NEW("profile", BCON_INT32(0)));
    reply = mongod_do(c, BCON_NEW("count", "system.profile", "query", "{",
                                  "command.distinct", "_jobs", "docsExamined",
                                  BCON_INT32(0), "keysExamined", "{", "$lte",
                                  BCON_INT32(8), "}", "}"));
    assert_true(bson_iter_init_find(&it, reply, "n"));
    assert_int_equal(bson_iter_as_int64(&it), 1);
}

/* ---- dead letters */

static void dead(struct ctx *c, int i)
{
    char id[16];

    (void)snprintf(id, sizeof id, "d%d", i);
    coord_put(c, "_jobs",
              BCON_NEW("_id", BCON_UTF8(id), "q", "webhook", "lim", HOOK_A, "g",
                       HOOK_A, "cls", BCON_INT32(0), "st", "dead", "runAt",
                       BCON_DATE_TIME(0), "endAt", BCON_DATE_TIME(1000 + i)));
}

static int64_t trimmed(struct ctx *c, int64_t most)
{
    int64_t n = -1;
    enum err err = sweep_dead(c, QUEUE_WEBHOOK, most, &n);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return n;
}

static void oldest_dead_letters_go_first(void **state)
{
    struct ctx *c = *state;

    for (int i = 9; i >= 0; i--)
        dead(c, i);
    job(c, "a", HOOK_A);
    assert_int_equal(trimmed(c, 10), 0);
    assert_int_equal(trimmed(c, 7), 3);
    for (int i = 0; i < 10; i++) {
        char id[16];

        (void)snprintf(id, sizeof id, "d%d", i);
        assert_str(state_of(c, id), i < 3 ? "" : "dead");
    }
    assert_int_equal(trimmed(c, 7), 0);
    assert_str(state_of(c, "a0"), "waiting");
}

static void replayed_meanwhile_stays(void **state)
{
    struct ctx *c = *state;
    bson_t *ids = mongo_bson(c);
    int64_t n = 0;

    dead(c, 1);
    dead(c, 2);
    assert_int_equal(oldest_dead(c, QUEUE_WEBHOOK, 2, ids), OK);
    coord_change(c, "_jobs", "d1", BCON_NEW("$set", "{", "st", "waiting", "}"));
    assert_int_equal(delete_dead(c, ids, &n), OK);
    assert_int_equal(n, 1);
    assert_str(state_of(c, "d1"), "waiting");
    assert_str(state_of(c, "d2"), "");
}

#define CASE(test) cmocka_unit_test_setup(test, prepared)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_is_there_to_sweep),
        CASE(rows_of_deleted_webhooks_are_cancelled),
        CASE(what_runs_is_left_to_end),
        CASE(many_are_swept_slice_by_slice),
        CASE(counts_of_deleted_webhooks_go),
        CASE(subscribers_are_found_from_keys_alone),
        CASE(oldest_dead_letters_go_first),
        CASE(replayed_meanwhile_stays),
    };

    return cmocka_run_group_tests_name("sweep", tests, mongod_setup,
                                       mongod_teardown);
}
