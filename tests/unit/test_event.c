/* test_event - the row of a change: made, read back, its place and part */
#include "lib/data/event.h"

#include "tests/unit/support.h"

static struct event event_of(struct ctx *c, const char *id)
{
    struct event e = {.kind = EVENT_UPDATE,
                      .collection = STR("users"),
                      .ts = 1767225600123,
                      .ver = 5};
    bson_t *holder = mongo_bson(c);
    bson_iter_t it;

    bson_oid_init_from_string(&e.id, "665f1c2e9b1e8a0012ab34cd");
    BSON_APPEND_UTF8(holder, "_id", id);
    bson_iter_init_find(&it, holder, "_id");
    e.doc_id = *bson_iter_value(&it);
    return e;
}

static bson_t *filled(struct ctx *c, size_t n)
{
    char *text = ctx_alloc(c, n + 1);
    bson_t *doc = mongo_bson(c);

    memset(text, 'x', n);
    bson_append_utf8(doc, "t", 1, text, (int)n);
    return doc;
}

static int part(struct ctx *c, const struct event *e)
{
    bson_iter_t it;
    bson_t *row;

    assert_int_equal(event_row(c, e, &row), OK);
    assert_true(bson_iter_init_find(&it, row, "part"));
    assert_true(BSON_ITER_HOLDS_INT32(&it));
    return bson_iter_int32(&it);
}

static void what_is_written_is_read_back(void **state)
{
    struct ctx *c = *state;
    struct event e = event_of(c, "k1"), got;
    bson_t *row;

    e.doc = filled(c, 10);
    e.old = filled(c, 20);
    e.ord = 77;
    assert_int_equal(event_row(c, &e, &row), OK);
    assert_true(event_read(c, row, &got));
    assert_true(bson_oid_equal(&got.id, &e.id));
    assert_int_equal(got.kind, EVENT_UPDATE);
    assert_str(got.collection, "users");
    assert_string_equal(got.doc_id.value.v_utf8.str, "k1");
    assert_true(got.ts == e.ts && got.ord == 77 && got.ver == 5 && !got.cut);
    assert_true(bson_equal(got.doc, e.doc) && bson_equal(got.old, e.old));
}

static void what_is_not_there_is_left_out(void **state)
{
    struct ctx *c = *state;
    struct event e = event_of(c, "k1"), got;
    bson_t *row;

    assert_int_equal(event_row(c, &e, &row), OK);
    assert_false(bson_has_field(row, "doc") || bson_has_field(row, "old") ||
                 bson_has_field(row, "ord") || bson_has_field(row, "cut"));
    assert_true(event_read(c, row, &got));
    assert_true(!got.doc && !got.old && got.ord == 0);
}

static void both_documents_go_when_they_are_too_large(void **state)
{
    struct ctx *c = *state;
    struct event e = event_of(c, "k1"), got;
    bson_t *row;

    e.doc = filled(c, (4 << 20) - 100);
    e.old = filled(c, (4 << 20) - 100);
    assert_int_equal(event_row(c, &e, &row), OK);
    assert_true(event_read(c, row, &got));
    assert_true(got.doc && got.old && !got.cut);
    e.old = filled(c, (4 << 20) + 100);
    assert_int_equal(event_row(c, &e, &row), OK);
    assert_true(row->len < 1000);
    assert_true(event_read(c, row, &got));
    assert_true(!got.doc && !got.old && got.cut);
}

static void who_says_cut_is_heard(void **state)
{
    struct ctx *c = *state;
    struct event e = event_of(c, "k1"), got;
    bson_t *row;

    e.doc = filled(c, 10);
    e.cut = true;
    assert_int_equal(event_row(c, &e, &row), OK);
    assert_true(event_read(c, row, &got));
    assert_true(!got.doc && got.cut);
}

/* One document has one part; all parts are used, evenly enough. */
static void parts_are_of_the_document(void **state)
{
    static int used[EVENT_PARTS];
    struct ctx *c = *state;
    int n = 0, most = 0;

    for (int i = 0; i < 8 * EVENT_PARTS; i++) {
        char id[16];
        struct event e;
        int p;

        snprintf(id, sizeof id, "k%d", i);
        e = event_of(c, id);
        p = part(c, &e);
        e.kind = EVENT_CREATE;
        e.doc = filled(c, 10);
        assert_int_equal(part(c, &e), p);
        assert_in_range(p, 0, EVENT_PARTS - 1);
        n += used[p]++ == 0;
        if (used[p] > most)
            most = used[p];
    }
    assert_true(n > EVENT_PARTS * 99 / 100);
    assert_true(most < 8 * 4);
}

static void other_collections_and_types_have_other_parts(void **state)
{
    struct ctx *c = *state;
    struct event e = event_of(c, "665f1c2e9b1e8a0012ab34cd"), f = e;
    int p = part(c, &e);

    f.collection = STR("users2");
    assert_int_not_equal(part(c, &f), p);
    e.doc_id.value_type = BSON_TYPE_OID;
    bson_oid_copy(&f.id, &e.doc_id.value.v_oid);
    assert_int_not_equal(part(c, &e), p);
}

static void strange_rows_are_not_read(void **state)
{
    static const char *const needed[] = {"_id", "event", "collection", "docId",
                                         "ts"};
    struct ctx *c = *state;
    struct event e = event_of(c, "k1"), got;
    bson_t *row;

    assert_int_equal(event_row(c, &e, &row), OK);
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
        bson_t less = BSON_INITIALIZER, odd = BSON_INITIALIZER;

        bson_copy_to_excluding_noinit(row, &less, needed[i], NULL);
        assert_false(event_read(c, &less, &got));
        if (strcmp(needed[i], "docId") != 0) {
            bson_concat(&odd, &less);
            BSON_APPEND_BOOL(&odd, needed[i], true);
            assert_false(event_read(c, &odd, &got));
        }
        bson_destroy(&less);
        bson_destroy(&odd);
    }
    assert_int_equal(event_find(STR("created")), EVENT_N);
}

static void the_place_is_the_order_or_the_time(void **state)
{
    struct ctx *c = *state;
    struct event e = event_of(c, "k1");

    assert_true(event_place(&e) == 1767225600123000);
    e.ord = 5;
    assert_true(event_place(&e) == 5);
}

static void long_and_odd_ids_stand_as_digests(void **state)
{
    struct ctx *c = *state;
    struct event e = event_of(c, "k1");
    bson_value_t number = {.value_type = BSON_TYPE_INT32, .value.v_int32 = 1};
    char text[66];
    str key, other;

    assert_int_equal(event_document_key(c, &e.doc_id, &key), OK);
    assert_str(key, "k1");
    memset(text, 'a', 65);
    text[65] = '\0';
    e = event_of(c, text + 1);
    assert_int_equal(event_document_key(c, &e.doc_id, &key), OK);
    assert_str(key, text + 1);
    e = event_of(c, text);
    assert_int_equal(event_document_key(c, &e.doc_id, &key), OK);
    assert_int_equal(key.n, 64);
    assert_false(str_eq(key, str_of(text + 1)));
    assert_true(key.n < EVENT_ORDER_MAX);
    e = event_of(c, "");
    assert_int_equal(event_document_key(c, &e.doc_id, &key), OK);
    assert_int_equal(key.n, 64);
    assert_int_equal(event_document_key(c, &number, &key), OK);
    number.value.v_int32 = 2;
    assert_int_equal(event_document_key(c, &number, &other), OK);
    assert_false(str_eq(key, other));
    number.value_type = BSON_TYPE_OID;
    bson_oid_init_from_string(&number.value.v_oid, "665f1c2e9b1e8a0012AB34cd");
    assert_int_equal(event_document_key(c, &number, &key), OK);
    assert_str(key, "665f1c2e9b1e8a0012ab34cd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(what_is_not_there_is_left_out),
        cmocka_unit_test(both_documents_go_when_they_are_too_large),
        cmocka_unit_test(who_says_cut_is_heard),
        cmocka_unit_test(parts_are_of_the_document),
        cmocka_unit_test(other_collections_and_types_have_other_parts),
        cmocka_unit_test(strange_rows_are_not_read),
        cmocka_unit_test(the_place_is_the_order_or_the_time),
        cmocka_unit_test(long_and_odd_ids_stand_as_digests),
    };

    return cmocka_run_group_tests_name("event", tests, support_setup,
                                       support_teardown);
}
