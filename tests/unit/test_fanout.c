/* test_fanout - events become deliveries: who gets one, and each once */
#include <pthread.h>

#include "lib/coord/fanout_filter.c"

#include "tests/unit/fanout_world.h"

enum {
    BUSY_EVENTS = 120
};

/* ---- shares */

static void shares_cover_each_part_once(void **state)
{
    (void)state;
    for (int n = 1; n <= 20; n++)
        for (int part = 0; part < EVENT_PARTS; part++) {
            int owners = 0;

            for (int i = 0; i < n; i++)
                if (part >= first_part(i, n) && part < first_part(i + 1, n)) {
                    owners++;
                    assert_int_equal(part * n / EVENT_PARTS, i);
                }
            assert_int_equal(owners, 1);
        }
}

static void share_of_another_is_taken_when_it_is_old(void **state)
{
    static const struct fanout_share first = {0, 2};
    struct ctx *c = *state;
    struct event mine = event_of(1), other = event_of(2), old = event_of(3);

    webhook(c, HOOK_A);
    old.ts -= FANOUT_OLD_MS + 100;
    other.ts += 60000; /* however long this takes */
    mine.ver = other.ver = old.ver = version;
    put_part(c, &mine, 511);
    put_part(c, &other, 512);
    put_part(c, &old, 1023);
    assert_int_equal(turn_of(c, &first).events, 2);
    assert_int_equal(jobs_of(c, 1), 1);
    assert_int_equal(jobs_of(c, 2), 0);
    assert_int_equal(jobs_of(c, 3), 1);
    assert_int_equal(turn_of(c, &(struct fanout_share){1, 2}).events, 1);
    assert_int_equal(jobs_of(c, 2), 1);
}

/* ---- one event */

static void event_is_a_delivery_for_each_webhook(void **state)
{
    struct ctx *c = *state;
    char id[JOB_ID_MAX], message[JOB_MESSAGE_ID_MAX], hex[25];
    struct fanout_batch out;
    struct event e;
    bson_iter_t it;
    bson_t *row;

    webhook_with(c, HOOK_A,
                 BCON_NEW("priority", BCON_INT32(7), "rateLimit", "{",
                          "maxRetries", BCON_INT32(2), "}"));
    webhook(c, HOOK_B);
    e = put_new(c, 5);
    out = turn(c);
    assert_int_equal(out.events, 1);
    assert_int_equal(out.jobs, 2);
    assert_false(out.more);
    assert_int_equal(waiting_events(c), 0);
    assert_int_equal(jobs(c), 2);
    row = job_at(c, 0);
    bson_oid_to_string(&e.id, hex);
    assert_int_equal(job_ids(c, str_of(hex), STR(HOOK_A), e.ts, id, message),
                     OK);
    assert_str(text(row, "_id"), id);
    assert_str(text(row, "msgId"), message);
    assert_str(text(row, "q"), "webhook");
    assert_str(text(row, "lim"), HOOK_A);
    assert_str(text(row, "g"), HOOK_A);
    assert_str(text(row, "sub"), HOOK_A);
    assert_str(text(row, "st"), "waiting");
    assert_str(text(row, "event"), "create");
    assert_str(text(row, "coll"), "users");
    assert_false(bson_has_field(row, "ord"));
    assert_int_equal(whole_number(row, "cls"), 6);
    assert_int_equal(whole_number(row, "max"), 3);
    assert_int_equal(whole_number(row, "docId"), 5);
    assert_true(bson_iter_init_find(&it, row, "runAt"));
    assert_true(bson_iter_date_time(&it) == e.ts);
    assert_true(holds(text(row, "body"), "\"n\":5"));
    assert_true(holds(text(row, "body"), id));
    assert_true(holds(text(row, "body"), message));
    assert_int_equal(whole_number(job_at(c, 1), "cls"), JOB_CLASS_LAST);
}

static void nobody_wants_it_and_it_is_done(void **state)
{
    struct ctx *c = *state;
    struct fanout_batch out;

    webhook_with(c, HOOK_A, BCON_NEW("enabled", BCON_BOOL(false)));
    webhook_with(c, HOOK_B, BCON_NEW("filters", "{", "n", BCON_INT32(6), "}"));
    webhook_with(c, "cccccccccccccccccccccccc",
                 BCON_NEW("collection", "others"));
    (void)put_new(c, 5);
    out = turn(c);
    assert_int_equal(out.events, 1);
    assert_int_equal(out.jobs, 0);
    assert_int_equal(jobs(c), 0);
    assert_int_equal(waiting_events(c), 0);
}

static void filter_is_about_the_new_document_or_the_deleted_one(void **state)
{
    struct ctx *c = *state;
    bson_t *five = BCON_NEW("n", BCON_INT32(5)),
           *six = BCON_NEW("n", BCON_INT32(6));
    struct event update, gone;

    webhook_with(c, HOOK_A, BCON_NEW("filters", "{", "n", BCON_INT32(6), "}"));
    for (int i = 0; i < 2; i++) {
        update = event_of(10 + i);
        update.kind = EVENT_UPDATE;
        update.old = i ? six : five;
        update.doc = i ? five : six;
        put(c, &update);
        gone = event_of(20 + i);
        gone.kind = EVENT_DELETE;
        gone.old = i ? five : six;
        put(c, &gone);
    }
    assert_int_equal(turn(c).jobs, 2);
    assert_int_equal(jobs_of(c, 10), 1);
    assert_int_equal(jobs_of(c, 11), 0);
    assert_int_equal(jobs_of(c, 20), 1);
    assert_int_equal(jobs_of(c, 21), 0);
    bson_destroy(five);
    bson_destroy(six);
}

/* What was too large for the outbox is told to all, and that it was. */
static void cut_event_matches_every_filter(void **state)
{
    struct ctx *c = *state;
    struct event e;

    webhook_with(c, HOOK_A, BCON_NEW("filters", "{", "n", BCON_INT32(6), "}"));
    e = event_of(5);
    e.cut = true;
    put(c, &e);
    e = event_of(6);
    e.kind = EVENT_DELETE;
    e.cut = true;
    put(c, &e);
    assert_int_equal(turn(c).jobs, 2);
    assert_true(holds(text(job_at(c, 0), "body"), "\"truncated\":true"));
    assert_true(holds(text(job_at(c, 1), "body"), "\"truncated\":true"));
}

/* ---- repeated, cut off, at once */

static void again_is_the_same(void **state)
{
    struct ctx *c = *state;
    struct event e[3];
    const bson_t *before;
    struct fanout_batch out;

    webhook(c, HOOK_A);
    ordered(c, HOOK_B);
    for (int i = 0; i < 3; i++) {
        e[i] = event_of(i);
        put(c, &e[i]);
    }
    assert_int_equal(turn(c).jobs, 6);
    before = all_jobs(c);
    for (int i = 0; i < 3; i++)
        put(c, &e[i]); /* as if it had died before it deleted them */
    out = turn(c);
    assert_int_equal(out.events, 3);
    assert_int_equal(out.jobs, 0);
    assert_true(bson_equal(all_jobs(c), before));
    assert_int_equal(waiting_events(c), 0);
}

/* It died in the middle of an insert; a delivery was made meanwhile. */
static void half_is_made_whole(void **state)
{
    struct ctx *c = *state;
    struct event e;
    str id;

    webhook(c, HOOK_A);
    webhook(c, HOOK_B);
    e = event_of(1);
    put(c, &e);
    assert_int_equal(turn(c).jobs, 2);
    id = text(job_at(c, 1), "_id");
    coord_change(c, "_jobs", text(job_at(c, 0), "_id").p,
                 BCON_NEW("$set", "{", "st", "done", "}"));
    (void)mongod_do(c, BCON_NEW("delete", "_jobs", "deletes", "[", "{", "q",
                                "{", "_id", BCON_UTF8(id.p), "}", "limit",
                                BCON_INT32(1), "}", "]"));
    put(c, &e);
    assert_int_equal(turn(c).jobs, 1);
    assert_int_equal(jobs(c), 2);
    assert_str(text(job_at(c, 0), "st"), "done");
    assert_str(text(job_at(c, 1), "_id"), id.p);
}

static void *work(void *arg)
{
    struct fanout_batch out;
    struct ctx c;

    (void)arg;
    mongod_open(&c);
    do {
        ctx_reset(&c);
        c.deadline = clock_mono_ms() + 30000;
        out = turn(&c);
    } while (out.events > 0 || out.more);
    mongod_close(&c);
    return NULL;
}

static void two_at_once_make_each_row_once(void **state)
{
    struct ctx *c = *state;
    pthread_t threads[2];

    webhook(c, HOOK_A);
    ordered(c, HOOK_B);
    for (int i = 0; i < BUSY_EVENTS; i++) {
        struct event e = event_of(i % 7);

        e.ord = i + 1;
        put(c, &e);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, NULL), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(jobs(c), 2 * BUSY_EVENTS);
    assert_int_equal(waiting_events(c), 0);
}

static void nothing_is_lost_while_mongodb_is_away(void **state)
{
    struct ctx *c = *state;
    struct fanout_batch out;

    webhook(c, HOOK_A);
    (void)put_new(c, 1);
    mongo_set_away(mongod.pool, true);
    assert_int_equal(fanout_turn(c, &(struct fanout_ask){.share = whole}, &out),
                     ERR_DB_UNAVAILABLE);
    mongo_set_away(mongod.pool, false);
    ctx_forgive(c);
    assert_int_equal(waiting_events(c), 1);
    assert_int_equal(turn(c).jobs, 1);
}

/* As the server's profiler has it. */
static void rows_are_kept_by_a_majority(void **state)
{
    struct ctx *c = *state;

    webhook(c, HOOK_A);
    (void)put_new(c, 1);
    (void)mongod_do(c, BCON_NEW("profile", BCON_INT32(2)));
    assert_int_equal(turn(c).jobs, 1);
    (void)mongod_do(c, BCON_NEW("profile", BCON_INT32(0)));
    assert_int_equal(count(c, "system.profile",
                           BCON_NEW("command.insert", "_jobs",
                                    "command.writeConcern.w", "majority")),
                     1);
}

/* ---- subscriptions */

static void webhook_of_a_later_version_is_met(void **state)
{
    struct ctx *c = *state;

    webhook(c, HOOK_A);
    (void)put_new(c, 1);
    assert_int_equal(turn(c).jobs, 1);
    webhook(c, HOOK_B); /* somewhere else: nobody has told us */
    (void)put_new(c, 2);
    assert_int_equal(turn(c).jobs, 2);
}

/* Who subscribes when it is fanned out gets it. */
static void webhook_after_the_event_gets_it_too(void **state)
{
    struct ctx *c = *state;

    webhook(c, HOOK_A);
    (void)put_new(c, 1);
    webhook(c, HOOK_B);
    subs_raise(version);
    assert_int_equal(turn(c).jobs, 2);
}

static void version_that_cannot_be_read_is_awaited(void **state)
{
    struct ctx *c = *state;
    struct event ahead, behind, old;
    struct fanout_batch out;

    webhook(c, HOOK_A);
    ahead = event_of(1);
    ahead.ver = version + 1000;
    ahead.ts += 20000;
    behind = event_of(2);
    behind.ts = ahead.ts + 1;
    old = event_of(3);
    old.ver = version + 1000;
    old.ts -= UNKNOWN_MS;
    put(c, &ahead);
    put(c, &behind);
    put(c, &old);
    out = turn(c);
    assert_int_equal(out.events, 1);
    assert_false(out.more);
    assert_int_equal(jobs_of(c, 3), 1);
    assert_int_equal(waiting_events(c), 2);
}

/* One that says it is of the far future is as if it were of long ago. */
static void version_of_nobody_holds_up_none(void **state)
{
    struct ctx *c = *state;
    struct event odd;

    webhook(c, HOOK_A);
    odd = event_of(1);
    odd.ver = version + 1000;
    odd.ord = 1;
    odd.ts = FANOUT_ASIDE_TS - 1;
    put(c, &odd);
    (void)put_new(c, 2);
    assert_int_equal(turn(c).events, 2);
    assert_int_equal(jobs_of(c, 2), 1);
}

/* A name like this is of whoever writes to MongoDB; each byte becomes six. */
static void delivery_that_cannot_be_made_holds_up_no_other(void **state)
{
    struct ctx *c = *state;
    size_t n = 3 << 20;
    char *text = calloc(1, n + 1);

    assert_non_null(text);
    memset(text, 1, n);
    webhook_with(c, HOOK_A, BCON_NEW("collection", "odd"));
    (void)mongod_do(c, BCON_NEW("update", "_webhooks", "updates", "[", "{", "q",
                                "{", "}", "u", "{", "$set", "{", "name",
                                BCON_UTF8(text), "}", "}", "}", "]"));
    webhook_with(c, HOOK_B, BCON_NEW("collection", "odd"));
    for (int i = 0; i < 2; i++) {
        struct event e = event_of(i);

        e.collection = STR("odd");
        put(c, &e);
        assert_int_equal(turn(c).events, 0);
        assert_int_equal(jobs(c), i + 1);
    }
    assert_int_equal(
        count(c, COLLECTION,
              BCON_NEW("aside", "{", "$exists", BCON_BOOL(true), "}")),
        2);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_cover_each_part_once),
        CASE(share_of_another_is_taken_when_it_is_old),
        CASE(event_is_a_delivery_for_each_webhook),
        CASE(nobody_wants_it_and_it_is_done),
        CASE(filter_is_about_the_new_document_or_the_deleted_one),
        CASE(cut_event_matches_every_filter),
        CASE(again_is_the_same),
        CASE(half_is_made_whole),
        CASE(two_at_once_make_each_row_once),
        CASE(nothing_is_lost_while_mongodb_is_away),
        CASE(rows_are_kept_by_a_majority),
        CASE(webhook_of_a_later_version_is_met),
        CASE(webhook_after_the_event_gets_it_too),
        CASE(version_that_cannot_be_read_is_awaited),
        CASE(version_of_nobody_holds_up_none),
        CASE(delivery_that_cannot_be_made_holds_up_no_other),
    };

    return cmocka_run_group_tests_name("fanout", tests, mongod_setup,
                                       mongod_teardown);
}
