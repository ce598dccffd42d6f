/* test_webhook_store - what a real mongod holds after each change */
#include "lib/base/clock.h"
#include "lib/base/text.h"
#include "tests/unit/webhooks.h"

static int64_t version(struct ctx *c)
{
    const bson_t *doc = mongod_find(c, "_cluster", "subs");
    bson_iter_t it;

    return doc && bson_iter_init_find(&it, doc, "ver") ? bson_iter_as_int64(&it)
                                                       : 0;
}

static const bson_t *insert(struct ctx *c, const char *body)
{
    struct webhook_faults faults;
    const bson_t *row = NULL;
    bson_t *set;

    assert_int_equal(
        webhook_judge(c, json(c, body), false, true, &set, &faults), OK);
    if (webhook_insert(c, set, &row) != OK)
        fail_msg("%s", c->reason);
    return row;
}

static const bson_t *change(struct ctx *c, str id, const char *body)
{
    struct webhook_faults faults;
    const bson_t *row = NULL;
    bson_t *set;

    assert_int_equal(
        webhook_judge(c, json(c, body), false, false, &set, &faults), OK);
    if (webhook_change(c, id, set, &row) != OK)
        fail_msg("%s", c->reason);
    return row;
}

/* Both ways to store: in one transaction, and one after the other. */
#define BOTH_WAYS(test)                                                        \
    {#test " (transactions)", test, with_transactions, NULL, NULL},            \
    {                                                                          \
#test " (without)", test, without_transactions, NULL, NULL             \
    }

static int with_transactions(void **state)
{
    mongo_set_transactions(mongod.pool, true);
    return mongod_fresh(state);
}

static int without_transactions(void **state)
{
    mongo_set_transactions(mongod.pool, false);
    return mongod_fresh(state);
}

static void each_change_raises_the_version(void **state)
{
    struct ctx *c = *state;
    struct webhook w = read_of(c, insert(c, "{" MINIMAL "}"));
    const bson_t *row;

    assert_int_equal(version(c), 1);
    (void)change(c, w.id, "{\"name\":\"m\"}");
    assert_int_equal(version(c), 2);
    assert_int_equal(webhook_rotate(c, w.id, 0, &row), OK);
    assert_int_equal(version(c), 3);
    assert_int_equal(webhook_mark_gone(c, w.id), OK);
    assert_int_equal(version(c), 4);
    assert_int_equal(webhook_mark_gone(c, w.id), OK);
    assert_int_equal(version(c), 4);
    assert_int_equal(webhook_remove(c, w.id), OK);
    assert_int_equal(version(c), 5);
    assert_int_equal(webhook_mark_gone(c, w.id), OK);
    assert_int_equal(version(c), 5);
}

static void what_is_stored_is_given(void **state)
{
    struct ctx *c = *state;
    const bson_t *row =
        insert(c, "{" BASE "\"events\":[\"update\"],\"filters\":{\"$or\":[{"
                  "\"a.b\":{\"$gt\":1}},{\"c\":null}]},\"headers\":{"
                  "\"$x\":\"1\",\"a.b\":\"2\"}}");
    struct webhook w = read_of(c, row);
    unsigned char key[64];
    const bson_t *stored;
    size_t n;

    assert_int_equal(webhook_get(c, w.id, &stored), OK);
    assert_true(bson_equal(stored, row));
    assert_int_equal(w.headers_n, 2);
    assert_true(text_base64_read(str_from(w.secret, 6), key, sizeof key, &n));
    assert_int_equal(n, 32);
    /* each has a secret of its own */
    assert_false(
        str_eq(read_of(c, insert(c, "{" MINIMAL "}")).secret, w.secret));
    assert_int_equal(webhook_list(c, &stored), OK);
    assert_int_equal(bson_count_keys(stored), 2);
}

static void change_leaves_what_was_not_sent(void **state)
{
    struct ctx *c = *state;
    struct webhook before =
        read_of(c, insert(c, "{" MINIMAL ",\"rateLimit\":{\"maxRetries\":7}}"));
    struct webhook w =
        read_of(c, change(c, before.id,
                          "{\"filters\":{\"$and\":[{\"a.b\":1}]},"
                          "\"headers\":{\"$x\":\"1\"}}"));

    assert_str(w.name, "n");
    assert_true(str_eq(w.secret, before.secret));
    assert_int_equal(w.max_retries, 7);
    assert_int_equal(bson_count_keys(w.filters), 1);
    w = read_of(c, change(c, w.id, "{\"rateLimit\":{\"baseDelayMs\":200}}"));
    assert_int_equal(w.max_retries, 3);
    assert_int_equal(w.backoff.base_ms, 200);
}

static void unknown_id_changes_nothing(void **state)
{
    struct ctx *c = *state;
    const bson_t *row;
    bson_t set = BSON_INITIALIZER;
    static const struct {
        const char *id;
        enum err err;
    } rows[] = {
        {ID, ERR_WEBHOOK_NOT_FOUND},
        {"x", ERR_BAD_ID},
        {"", ERR_BAD_ID},
        {ID "0", ERR_BAD_ID},
    };

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        str id = str_of(rows[i].id);

        assert_int_equal(webhook_get(c, id, &row), rows[i].err);
        ctx_forgive(c);
        assert_int_equal(webhook_change(c, id, &set, &row), rows[i].err);
        ctx_forgive(c);
        assert_int_equal(webhook_remove(c, id), rows[i].err);
        ctx_forgive(c);
        assert_int_equal(webhook_rotate(c, id, 0, &row), rows[i].err);
        ctx_forgive(c);
    }
    assert_int_equal(version(c), 0);
}

static void old_secret_is_valid_for_the_overlap(void **state)
{
    struct ctx *c = *state;
    struct webhook first = read_of(c, insert(c, "{" MINIMAL "}")), w;
    const bson_t *row;

    assert_int_equal(webhook_rotate(c, first.id, 3600000, &row), OK);
    w = read_of(c, row);
    assert_false(str_eq(w.secret, first.secret));
    assert_true(str_eq(w.previous_secret, first.secret));
    assert_in_range(w.previous_expires, clock_wall_ms() + 3600000 - 60000,
                    clock_wall_ms() + 3600000 + 60000);
    assert_int_equal(webhook_rotate(c, first.id, 0, &row), OK);
    w = read_of(c, row);
    assert_str(w.previous_secret, "");
    assert_in_range(w.previous_expires, clock_wall_ms() - 60000,
                    clock_wall_ms() + 60000);
}

/* What nobody verifies is not kept, whatever it is. */
static void first_secret_of_an_old_row_has_none_before_it(void **state)
{
    struct ctx *c = *state;

    for (int i = -1; i < COORD_HOSTILE_N; i++) {
        bson_t *stored = bson_new();
        const bson_t *row;
        struct webhook w;

        bson_concat(stored, row_of(c, "{" MINIMAL "}"));
        if (i >= 0)
            coord_hostile(stored, "secret", i);
        coord_put(c, "_webhooks", stored);
        assert_int_equal(webhook_rotate(c, STR(ID), 1000, &row), OK);
        w = read_of(c, row);
        assert_int_equal(w.secret.n, 50);
        assert_str(w.previous_secret, "");
        assert_int_equal(w.previous_expires, 0);
    }
}

static void gone_is_over_once_it_is_enabled(void **state)
{
    struct ctx *c = *state;
    struct webhook w = read_of(c, insert(c, "{" MINIMAL "}"));
    const bson_t *row;

    assert_int_equal(webhook_mark_gone(c, w.id), OK);
    assert_int_equal(webhook_get(c, w.id, &row), OK);
    w = read_of(c, row);
    assert_true(w.gone && !w.enabled);
    w = read_of(c, change(c, w.id, "{\"name\":\"m\",\"enabled\":false}"));
    assert_true(w.gone && !w.enabled);
    w = read_of(c, change(c, w.id, "{\"enabled\":true}"));
    assert_true(!w.gone && w.enabled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_WAYS(each_change_raises_the_version),
        BOTH_WAYS(what_is_stored_is_given),
        BOTH_WAYS(change_leaves_what_was_not_sent),
        BOTH_WAYS(unknown_id_changes_nothing),
        BOTH_WAYS(old_secret_is_valid_for_the_overlap),
        BOTH_WAYS(first_secret_of_an_old_row_has_none_before_it),
        BOTH_WAYS(gone_is_over_once_it_is_enabled),
    };

    return cmocka_run_group_tests(tests, mongod_setup, mongod_teardown);
}
