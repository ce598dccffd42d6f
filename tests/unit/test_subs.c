/* test_subs - who subscribes to what, and when that is read again */
#include "lib/data/subs.c"

#include "tests/unit/mongod.h"

enum {
    THREADS = 8
};

/* As a program begins: nothing loaded, nothing told. */
static int fresh(void **state)
{
    struct ctx *c = *state;

    clock_unset();
    (void)mongod_fresh(state);
    c = *state;
    mongo_set_away(mongod.pool, false);
    snap_clear(&snapshots);
    atomic_store(word, 0);
    atomic_store(&failing_since, 0);
    loader.again = 0;
    mongod_do(c, BCON_NEW("create", "_webhooks"));
    return 0;
}
#define SUBS(test) cmocka_unit_test_setup(test, fresh)

/* id: 24 hex digits; events: letters of create, update, delete */
static void add(struct ctx *c, const char *id, const char *collection,
                const char *events, const char *flag)
{
    bson_t row = BSON_INITIALIZER, list;
    bson_oid_t oid;
    char key[2] = "0";

    bson_oid_init_from_string(&oid, id);
    BSON_APPEND_OID(&row, "_id", &oid);
    BCON_APPEND(&row, "name", "n", "url", "http://127.0.0.1:1/", "collection",
                BCON_UTF8(collection), "enabled",
                BCON_BOOL(strcmp(flag, "disabled") != 0), "ordered",
                BCON_BOOL(strcmp(flag, "ordered") == 0));
    BSON_APPEND_ARRAY_BEGIN(&row, "events", &list);
    for (; *events; events++, key[0]++)
        BSON_APPEND_UTF8(&list, key,
                         *events == 'c'   ? "create"
                         : *events == 'u' ? "update"
                                          : "delete");
    bson_append_array_end(&row, &list);
    mongod_do(c, BCON_NEW("insert", "_webhooks", "documents", "[",
                          BCON_DOCUMENT(&row), "]"));
    bson_destroy(&row);
}

static void add_n(struct ctx *c, int n)
{
    char id[25];

    snprintf(id, sizeof id, "%024x", n);
    add(c, id, "users", "c", "");
}

static void set_version(struct ctx *c, int64_t ver)
{
    mongod_do(c, BCON_NEW("update", "_cluster", "updates", "[", "{", "q", "{",
                          "_id", "subs", "}", "u", "{", "$set", "{", "ver",
                          BCON_INT64(ver), "}", "}", "upsert", BCON_BOOL(true),
                          "}", "]"));
}

static const struct subs *get(struct ctx *c)
{
    const struct subs *s = NULL;

    if (subs_get(c, &s) != OK)
        fail_msg("%s", c->reason);
    assert_int_equal(c->err, OK);
    return s;
}

static void expect(const struct subs *s, const char *collection,
                   enum event_kind k, size_t n, bool ordered)
{
    struct subs_interest i = subs_interest(s, str_of(collection), k);
    size_t found;

    assert_int_equal(i.any, n > 0);
    assert_int_equal(i.ordered, ordered);
    (void)subs_find(s, str_of(collection), k, &found);
    assert_int_equal(found, n);
}

static void where_nobody_subscribes_nobody_is_found(void **state)
{
    const struct subs *s = get(*state);

    expect(s, "users", EVENT_CREATE, 0, false);
    assert_int_equal(subs_count(s), 0);
    assert_int_equal(subs_version(s), 0);
    assert_null(subs_by_id(s, STR("665f1c2e9b1e8a0012ab34cd")));
}

static void each_event_has_its_subscribers(void **state)
{
    struct ctx *c = *state;
    const struct subscription *const *found;
    const struct subs *s;
    size_t n;

    add(c, "0000000000000000000000b2", "users", "cu", "");
    add(c, "0000000000000000000000a1", "users", "c", "ordered");
    add(c, "0000000000000000000000c3", "users", "cud", "disabled");
    add(c, "0000000000000000000000d4", "orders", "d", "");
    add(c, "0000000000000000000000e5", "user", "d", "disabled");
    set_version(c, 9);
    s = get(c);
    expect(s, "users", EVENT_CREATE, 2, true);
    expect(s, "users", EVENT_UPDATE, 1, false);
    expect(s, "users", EVENT_DELETE, 0, false);
    expect(s, "orders", EVENT_DELETE, 1, false);
    expect(s, "orders", EVENT_CREATE, 0, false);
    expect(s, "user", EVENT_DELETE, 0, false);
    expect(s, "userss", EVENT_CREATE, 0, false);
    expect(s, "", EVENT_CREATE, 0, false);
    found = subs_find(s, STR("users"), EVENT_CREATE, &n);
    assert_str(found[0]->webhook.id, "0000000000000000000000a1");
    assert_str(found[1]->webhook.id, "0000000000000000000000b2");
    assert_non_null(found[0]->match);
    assert_int_equal(subs_count(s), 5);
    assert_int_equal(subs_version(s), 9);
}

static void disabled_ones_are_found_by_id(void **state)
{
    const struct subs *s;

    add(*state, "0000000000000000000000c3", "users", "c", "disabled");
    add(*state, "0000000000000000000000a1", "users", "c", "");
    s = get(*state);
    assert_false(
        subs_by_id(s, STR("0000000000000000000000c3"))->webhook.enabled);
    assert_true(
        subs_by_id(s, STR("0000000000000000000000a1"))->webhook.enabled);
    assert_null(subs_by_id(s, STR("0000000000000000000000a")));
}

static void rows_that_say_nothing_are_left_out(void **state)
{
    struct ctx *c = *state;

    mongod_do(c, BCON_NEW("insert", "_webhooks", "documents", "[", "{", "_id",
                          "text", "}", "{", "_id", BCON_INT32(4), "}", "{",
                          "url", "http://127.0.0.1:1/", "}", "]"));
    add_n(c, 1);
    assert_int_equal(subs_count(get(c)), 1);
}

static void more_than_a_page_are_read(void **state)
{
    struct ctx *c = *state;

    for (int i = 1; i <= 2 * PAGE_ROWS + 3; i++)
        add_n(c, i);
    assert_int_equal(subs_count(get(c)), 2 * PAGE_ROWS + 3);
}

static void a_new_version_is_loaded_before_the_next_use(void **state)
{
    struct ctx *c = *state;

    set_version(c, 1);
    expect(get(c), "users", EVENT_CREATE, 0, false);
    add_n(c, 1);
    set_version(c, 2);
    expect(get(c), "users", EVENT_CREATE, 0, false); /* nobody told */
    subs_raise(2);
    expect(get(c), "users", EVENT_CREATE, 1, false);
    assert_int_equal(subs_version(get(c)), 2);
    add_n(c, 2);
    subs_raise(1); /* late news */
    expect(get(c), "users", EVENT_CREATE, 1, false);
    set_version(c, 3);
    assert_int_equal(subs_get_since(c, 3, &(const struct subs *){NULL}), OK);
    expect(get(c), "users", EVENT_CREATE, 2, false);
}

static void what_was_borrowed_outlives_a_reload(void **state)
{
    struct ctx *c = *state;
    const struct subs *old;

    add_n(c, 1);
    old = get(c);
    add_n(c, 2);
    set_version(c, 1);
    subs_raise(1);
    assert_int_equal(subs_count(get(c)), 2);
    assert_int_equal(subs_count(old), 1);
    assert_non_null(subs_by_id(old, STR("000000000000000000000001")));
}

static void after_a_minute_it_is_read_again(void **state)
{
    struct ctx *c = *state;
    ms now = clock_mono_ms();

    expect(get(c), "users", EVENT_CREATE, 0, false);
    add_n(c, 1);
    c->deadline = now + 100000;
    clock_set(now + OLD_MS - 1000, 0);
    expect(get(c), "users", EVENT_CREATE, 0, false);
    clock_set(now + OLD_MS + 1000, 0);
    expect(get(c), "users", EVENT_CREATE, 1, false);
}

static void a_load_in_vain_keeps_what_was_there(void **state)
{
    struct ctx *c = *state;
    ms now = clock_mono_ms();

    add_n(c, 1);
    expect(get(c), "users", EVENT_CREATE, 1, false);
    set_version(c, 1);
    c->deadline = now + 100000;
    clock_set(now, 0);
    mongo_set_away(mongod.pool, true);
    subs_raise(1);
    expect(get(c), "users", EVENT_CREATE, 1, false);
    mongo_set_away(mongod.pool, false);
    add_n(c, 2);
    clock_set(now + AGAIN_MS - 1, 0);
    expect(get(c), "users", EVENT_CREATE, 1, false); /* not yet again */
    clock_set(now + AGAIN_MS, 0);
    expect(get(c), "users", EVENT_CREATE, 2, false);
    assert_false(subs_is_stale());
}

static void five_seconds_in_vain_are_told(void **state)
{
    struct ctx *c = *state;
    ms now = clock_mono_ms();

    (void)get(c);
    c->deadline = now + 100000;
    clock_set(now, 0);
    mongo_set_away(mongod.pool, true);
    subs_raise(1);
    (void)get(c);
    assert_false(subs_is_stale());
    clock_set(now + STALE_MS, 0);
    (void)get(c);
    assert_false(subs_is_stale());
    clock_set(now + STALE_MS + 1, 0);
    assert_true(subs_is_stale());
    mongo_set_away(mongod.pool, false);
    set_version(c, 1);
    clock_set(now + STALE_MS + AGAIN_MS, 0);
    (void)get(c);
    assert_false(subs_is_stale());
}

/* A version that the database has not (restored, rolled back): it is looked
 * for now and then, not at each use. */
static void a_version_that_never_comes_costs_little(void **state)
{
    struct ctx *c = *state;
    ms now = clock_mono_ms();
    unsigned loads;

    (void)get(c);
    c->deadline = now + 100000;
    clock_set(now, 0);
    subs_raise(100);
    (void)get(c);
    loads = loader.loads;
    for (int i = 0; i < 10; i++)
        (void)get(c);
    assert_int_equal(loader.loads, loads);
    clock_set(now + AGAIN_MS, 0);
    (void)get(c);
    assert_int_equal(loader.loads, loads + 1);
    assert_false(subs_is_stale());
}

static void without_any_it_fails(void **state)
{
    struct ctx *c = *state;
    const struct subs *s = NULL;

    mongo_set_away(mongod.pool, true);
    assert_int_equal(subs_get(c, &s), ERR_DB_UNAVAILABLE);
    assert_null(s);
    ctx_forgive(c);
    mongo_set_away(mongod.pool, false);
    assert_int_equal(subs_count(get(c)), 0); /* and at once when it may */
}

static void the_rest_of_the_deadline_is_the_caller_s(void **state)
{
    struct ctx *c = *state;
    ms deadline = c->deadline;

    (void)get(c);
    subs_raise(1);
    (void)get(c);
    assert_true(c->deadline == deadline);
}

static void *get_in_thread(void *arg)
{
    struct ctx *c = arg;
    const struct subs *s;

    return subs_get(c, &s) == OK && subs_version(s) == 1 ? NULL : c;
}

static void one_thread_loads_for_all(void **state)
{
    static struct ctx c[THREADS];
    pthread_t threads[THREADS];
    unsigned loads;
    void *bad;

    (void)get(*state);
    add_n(*state, 1);
    set_version(*state, 1);
    loads = loader.loads;
    for (int i = 0; i < THREADS; i++)
        mongod_open(&c[i]);
    subs_raise(1);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, get_in_thread, &c[i]);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &bad);
        assert_null(bad);
    }
    assert_int_equal(loader.loads, loads + 1);
    for (int i = 0; i < THREADS; i++)
        mongod_close(&c[i]);
}

/* Who waits for another's load does not wait past its own deadline. */
static void who_waits_goes_on_at_its_deadline(void **state)
{
    struct ctx *c = *state;

    (void)get(c);
    loader.loading = true; /* and it never ends */
    subs_raise(1);
    c->deadline = clock_mono_ms() + 50;
    assert_int_equal(subs_version(get(c)), 0);
    assert_true(clock_mono_ms() >= c->deadline);
    loader.loading = false;
}

static void what_is_only_old_is_not_waited_for(void **state)
{
    struct ctx *c = *state;
    ms now = clock_mono_ms();

    (void)get(c);
    c->deadline = now + 100000;
    clock_set(now + OLD_MS + 1000, 0);
    loader.loading = true;
    (void)get(c); /* would never come back */
    loader.loading = false;
}

static int setup(void **state)
{
    return subs_setup() ? mongod_setup(state) : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SUBS(where_nobody_subscribes_nobody_is_found),
        SUBS(each_event_has_its_subscribers),
        SUBS(disabled_ones_are_found_by_id),
        SUBS(rows_that_say_nothing_are_left_out),
        SUBS(more_than_a_page_are_read),
        SUBS(a_new_version_is_loaded_before_the_next_use),
        SUBS(what_was_borrowed_outlives_a_reload),
        SUBS(after_a_minute_it_is_read_again),
        SUBS(a_load_in_vain_keeps_what_was_there),
        SUBS(five_seconds_in_vain_are_told),
        SUBS(a_version_that_never_comes_costs_little),
        SUBS(without_any_it_fails),
        SUBS(the_rest_of_the_deadline_is_the_caller_s),
        SUBS(one_thread_loads_for_all),
        SUBS(who_waits_goes_on_at_its_deadline),
        SUBS(what_is_only_old_is_not_waited_for),
    };

    return cmocka_run_group_tests_name("subs", tests, setup, mongod_teardown);
}
