/* test_view_queue - what a look tells of queues, slots and shares */
#include "lib/base/clock.h"
#include "lib/coord/view.h"
#include "tests/unit/coord.h"

static struct view look(struct ctx *c)
{
    struct view v;
    enum err err = view_read(c, STR("me"), &v);

    if (err)
        fail_msg("%s: %s", err_code(err), c->reason);
    return v;
}

/* As figures_store() leaves it, counted at `at`. */
static bson_t *queue_row(ms at, ms rest)
{
    return BCON_NEW("_id", "queue:webhook", "paused", BCON_BOOL(true),
                    "figures", "{", "waiting", BCON_INT64(1), "active",
                    BCON_INT64(2), "delayed", BCON_INT64(3), "completed",
                    BCON_INT64(4), "failed", BCON_INT64(5), "dead",
                    BCON_INT64(6), "limited", BCON_INT64(7), "breakers",
                    BCON_INT64(8), "oldest", BCON_INT64(9), "rest",
                    BCON_INT64(rest), "at", BCON_DATE_TIME(at), "}");
}

static void queue_is_read_with_its_figures(void **state)
{
    struct ctx *c = *state;
    const struct view_queue *q;
    const struct figures *f;
    struct view v;

    coord_put(c, "_cluster", BCON_NEW("_id", "subs", "ver", BCON_INT64(41)));
    coord_put(c, "_cluster",
              BCON_NEW("_id", "queue:other", "paused", BCON_BOOL(true)));
    v = look(c);
    assert_int_equal(v.subs_version, 41);
    assert_false(v.queues[QUEUE_WEBHOOK].known);
    coord_put(c, "_cluster", BCON_NEW("_id", "queue:webhook"));
    v = look(c);
    q = &v.queues[QUEUE_WEBHOOK];
    assert_true(q->known && !q->paused && !q->counted && !q->fresh);
    coord_put(c, "_cluster", queue_row(clock_wall_ms(), 1000));
    v = look(c);
    q = &v.queues[QUEUE_WEBHOOK];
    f = &q->figures;
    assert_true(q->known && q->paused && q->counted && q->fresh);
    assert_true(q->figures_age_ms >= 0 && q->figures_age_ms < 3000);
    assert_true(f->waiting == 1 && f->active == 2 && f->delayed == 3 &&
                f->completed == 4 && f->failed == 5 && f->dead == 6 &&
                f->limited == 7 && f->breakers == 8 && f->oldest_ms == 9 &&
                f->rest_ms == 1000);
}

static void figures_grow_old(void **state)
{
    struct ctx *c = *state;
    ms now = clock_wall_ms();
    struct view v;

    coord_put(c, "_cluster", queue_row(now - FIGURES_FRESH_MS - 1000, 9000));
    v = look(c);
    assert_true(v.queues[QUEUE_WEBHOOK].fresh);
    coord_put(c, "_cluster", queue_row(now - FIGURES_FRESH_MS - 1001, 1000));
    v = look(c);
    assert_true(v.queues[QUEUE_WEBHOOK].counted);
    assert_false(v.queues[QUEUE_WEBHOOK].fresh);
    assert_true(v.queues[QUEUE_WEBHOOK].figures_age_ms > FIGURES_FRESH_MS);
    coord_put(c, "_cluster", queue_row(now + 600000, 1000));
    v = look(c);
    assert_false(v.queues[QUEUE_WEBHOOK].counted);
}

static void slots_add_up_to_a_cap(void **state)
{
    static const int64_t caps[] = {1, 1, 1, 1, 1, 2, 2, 2};
    struct view_instance rows[3] = {
        {.id = STR_INIT("a")}, {.id = STR_INIT("b")}, {.id = STR_INIT("c")}};
    struct view v = {.instances = rows, .instances_n = 3};

    (void)state;
    for (int n = 0; n < 8; n++) {
        rows[1].slots[QUEUE_WEBHOOK] = n;
        assert_int_equal(view_slots(&v, QUEUE_WEBHOOK), n);
        assert_int_equal(view_cap(&v, QUEUE_WEBHOOK), caps[n]);
    }
    for (int i = 0; i < 3; i++)
        rows[i].slots[QUEUE_WEBHOOK] = 17;
    assert_int_equal(view_cap(&v, QUEUE_WEBHOOK), 20);
}

static void each_has_its_share(void **state)
{
    struct view_instance rows[3] = {
        {.id = STR_INIT("a")}, {.id = STR_INIT("b")}, {.id = STR_INIT("c")}};
    struct view v = {.instances = rows, .instances_n = 3};
    int index, n;

    (void)state;
    view_share(&v, STR("c"), &index, &n);
    assert_true(index == 2 && n == 3);
    rows[0].draining = true;
    view_share(&v, STR("c"), &index, &n);
    assert_true(index == 1 && n == 2);
    view_share(&v, STR("a"), &index, &n);
    assert_true(index == 0 && n == 1);
    view_share(&v, STR("unknown"), &index, &n);
    assert_true(index == 0 && n == 1);
    v.instances_n = 0;
    view_share(&v, STR("a"), &index, &n);
    assert_true(index == 0 && n == 1);
}

/* Each member of the figures in turn, and their place itself. */
static void figures_of_strangers_are_none(void **state)
{
    static const char *const members[] = {"waiting", "at", "rest"};
    struct ctx *c = *state;

    for (int i = 0; i < COORD_HOSTILE_N; i++)
        for (int m = 0; m < 4; m++) {
            bson_t *row = BCON_NEW("_id", "queue:webhook"),
                   *full = queue_row(clock_wall_ms(), 0), doc, figures;
            struct view v;

            coord_hostile(row, "paused", i);
            if (m == 3) {
                coord_hostile(row, "figures", i);
            } else {
                assert_true(mongo_reply_doc(full, "figures", &doc));
                BSON_APPEND_DOCUMENT_BEGIN(row, "figures", &figures);
                bson_copy_to_excluding_noinit(&doc, &figures, members[m],
                                              (char *)NULL);
                coord_hostile(&figures, members[m], i);
                bson_append_document_end(row, &figures);
            }
            bson_destroy(full);
            coord_put(c, "_cluster", row);
            v = look(c);
            assert_true(v.queues[QUEUE_WEBHOOK].known);
            /* it may hold true; a date of 1970 is one */
            assert_true(v.queues[QUEUE_WEBHOOK].paused == (i == 1));
            assert_true(!v.queues[QUEUE_WEBHOOK].counted ||
                        (m == 1 && i == 21));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MONGOD(queue_is_read_with_its_figures),
        WITH_MONGOD(figures_grow_old),
        cmocka_unit_test(slots_add_up_to_a_cap),
        cmocka_unit_test(each_has_its_share),
        WITH_MONGOD(figures_of_strangers_are_none),
    };

    return cmocka_run_group_tests_name("view_queue", tests, mongod_setup,
                                       mongod_teardown);
}
