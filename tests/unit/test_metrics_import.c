/* test_metrics_import - the figures of a second program: sums over its lives,
 * texts of strangers, importers that race or are killed */
#include "lib/base/metrics.c"

#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>

#include "tests/unit/support.h"

enum {
    TEXT_MAX = 1100,
    KILLS = 60,
    RACERS = 4,
    ROUNDS = 200
};

#define LIFE STR("life-1")

static const char *const answers[] = {
    "method=\"GET\",route=\"/a\",status=\"200\"",
    "method=\"GET\",route=\"/b\",status=\"404\""};
static const char *const routes[] = {"route=\"/a\"", "route=\"/b\""};

struct export
{
    char p[TEXT_MAX];
    size_t n;
};

static str export_str(const struct export *e)
{
    return (str){e->p, e->n};
}

static const char *text(void)
{
    static struct buf b;
    double now[METRIC_N] = {
        [METRIC_DB_UP] = 1, [METRIC_CPU] = 2.5, [METRIC_RSS] = 1000};

    if (!b.max)
        buf_init(&b, 1 << 20, ERR_INTERNAL);
    buf_clear(&b);
    metrics_write(&b, now);
    buf_add(&b, (str){"", 1});
    assert_int_equal(b.err, OK);
    return b.p;
}

static bool shows(const char *line)
{
    return strstr(text(), line) != NULL;
}

/* The program that exports: without routes, two children. */
static void exporter(void)
{
    struct metric_labels none = {NULL, 0};

    assert_int_equal(metrics_setup(2, none, none), OK);
}

static int importer(void **state)
{
    (void)state;
    return metrics_setup(3, (struct metric_labels){answers, 2},
                         (struct metric_labels){routes, 2}) == OK
               ? 0
               : -1;
}

static void export_now(struct export *out, double cpu, double rss)
{
    double now[METRIC_N] = {
        [METRIC_CPU] = cpu, [METRIC_RSS] = rss, [METRIC_DB_UP] = 1};
    struct buf b = buf_over(out->p, sizeof out->p);

    metrics_export(&b, now);
    assert_int_equal(b.err, OK);
    out->n = b.n;
}

/* One life of workers, of which two texts are taken. */
static void live(struct export out[2])
{
    exporter();
    metrics_add(METRIC_DB_OPERATIONS, METRIC_OK, 3);
    metrics_add(METRIC_LEADER, METRIC_SERVICE_MAINTENANCE, 1);
    metrics_add(METRIC_LEADER_CHANGES, METRIC_SERVICE_MAINTENANCE, 1);
    metrics_join(0);
    metrics_add(METRIC_DB_OPERATIONS, METRIC_OK, 4);
    metrics_observe(METRIC_LOCK_WAIT_SECONDS, 0, 2000000);
    export_now(&out[0], 10, 500);
    metrics_add(METRIC_DB_OPERATIONS, METRIC_OK, 1);
    export_now(&out[1], 11, 600);
    importer(NULL);
}

static int64_t operations(void)
{
    return metrics_sum(METRIC_DB_OPERATIONS, METRIC_OK);
}

static int64_t leads(void)
{
    return metrics_sum(METRIC_LEADER, METRIC_SERVICE_MAINTENANCE);
}

/* Where the first cell, or the value of now, of a row stands in the text. */
static size_t place_of(enum metric m)
{
    size_t at = 16;

    for (int i = 0; i < (int)m; i++)
        at += 8 * exported_n(&metrics_rows[i]) + 8 * is_now(&metrics_rows[i]);
    return at;
}

static void put_i64(struct export *e, enum metric m, int64_t v)
{
    memcpy(e->p + place_of(m), &v, sizeof v);
}

static void figures_are_added_to_own_ones(void **state)
{
    struct export e[2];

    (void)state;
    live(e);
    assert_true(e[0].n < 1024);
    metrics_add(METRIC_DB_OPERATIONS, METRIC_OK, 100);
    assert_true(metrics_import(export_str(&e[0]), LIFE));
    assert_int_equal(operations(), 107);
    assert_int_equal(leads(), 1);
    assert_true(shows("\nsqlfree_db_operations_total{outcome=\"ok\"} 107\n"));
    assert_true(shows("\nsqlfree_lock_wait_seconds_bucket{le=\"1\"} 0\n"));
    assert_true(shows("\nsqlfree_lock_wait_seconds_bucket{le=\"5\"} 1\n"));
    assert_true(shows("\nsqlfree_lock_wait_seconds_sum 2\n"));
    assert_true(metrics_import(export_str(&e[1]), LIFE));
    assert_int_equal(operations(), 108);
}

static void same_and_older_texts_change_nothing(void **state)
{
    struct export e[2];

    (void)state;
    live(e);
    for (int i = 0; i < 3; i++)
        assert_true(metrics_import(export_str(&e[1]), LIFE));
    assert_int_equal(operations(), 8);
    assert_true(metrics_import(export_str(&e[0]), LIFE));
    assert_int_equal(operations(), 8);
    assert_true(shows("\nprocess_resident_memory_bytes 1600\n"));
}

static void counters_of_former_lives_stay_and_gauges_end(void **state)
{
    struct export e[2];

    (void)state;
    live(e);
    assert_true(metrics_import(export_str(&e[1]), STR("1")));
    assert_true(metrics_import(export_str(&e[0]), STR("2")));
    assert_int_equal(operations(), 8 + 7);
    assert_int_equal(leads(), 1);
    assert_true(shows("\nsqlfree_lock_wait_seconds_count 2\n"));
    assert_true(metrics_import(export_str(&e[0]), STR("3")));
    assert_int_equal(operations(), 8 + 7 + 7);
    assert_int_equal(leads(), 1);
    assert_true(shows("\nprocess_cpu_seconds_total 33.5\n"));
    assert_true(shows("\nprocess_resident_memory_bytes 1500\n"));
}

static void values_of_now_are_added_where_the_row_says_so(void **state)
{
    struct export e[2];

    (void)state;
    live(e);
    assert_true(metrics_import(export_str(&e[0]), LIFE));
    assert_true(shows("\nsqlfree_db_up 1\n"));
    assert_true(shows("\nprocess_resident_memory_bytes 1500\n"));
    assert_true(shows("\nprocess_cpu_seconds_total 12.5\n"));
}

static void end_ends_gauges_until_a_later_text(void **state)
{
    struct export e[2];

    (void)state;
    live(e);
    metrics_import_end();
    assert_true(metrics_import(export_str(&e[0]), LIFE));
    metrics_import_end();
    assert_int_equal(operations(), 7);
    assert_int_equal(leads(), 0);
    assert_true(shows("\nprocess_resident_memory_bytes 1000\n"));
    assert_true(shows("\nprocess_cpu_seconds_total 12.5\n"));
    assert_true(metrics_import(export_str(&e[0]), LIFE)); /* no news */
    assert_int_equal(leads(), 0);
    assert_true(metrics_import(export_str(&e[1]), LIFE));
    assert_int_equal(operations(), 8);
    assert_int_equal(leads(), 1);
    assert_true(shows("\nprocess_cpu_seconds_total 13.5\n"));
}

static void rows_of_workers_are_shown_while_they_live(void **state)
{
    struct export e[2];

    (void)state;
    live(e);
    assert_false(shows("sqlfree_leader"));
    assert_true(shows("\nsqlfree_locks_held 0\n"));
    assert_true(metrics_import(export_str(&e[0]), LIFE));
    assert_true(shows("\nsqlfree_leader{service=\"cron\"} 0\n"
                      "sqlfree_leader{service=\"maintenance\"} 1\n"));
    assert_true(shows("# TYPE sqlfree_leader_changes_total counter\n"));
    metrics_import_end();
    assert_false(shows("sqlfree_leader"));
}

static void an_export_holds_own_figures_only(void **state)
{
    struct export e[2], again;
    int64_t v;

    (void)state;
    live(e);
    assert_true(metrics_import(export_str(&e[0]), LIFE));
    metrics_add(METRIC_SHED, 0, 5);
    export_now(&again, 0, 0);
    memcpy(&v, again.p + place_of(METRIC_DB_OPERATIONS), sizeof v);
    assert_int_equal(v, 0);
    memcpy(&v, again.p + place_of(METRIC_SHED), sizeof v);
    assert_int_equal(v, 5);
}

/* Nothing else may change: all is compared as text. */
static void refuses(str bad, str life)
{
    static char before[1 << 15];

    snprintf(before, sizeof before, "%s", text());
    assert_false(metrics_import(bad, life));
    assert_string_equal(text(), before);
}

static void malformed_texts_are_refused(void **state)
{
    struct export e[2];
    struct export longer;

    (void)state;
    live(e);
    assert_true(metrics_import(export_str(&e[0]), LIFE));
    for (size_t n = 0; n < e[1].n; n++)
        refuses((str){e[1].p, n}, LIFE);
    longer = e[1];
    longer.n += 8;
    refuses(export_str(&longer), LIFE);
    longer.n -= 7;
    refuses(export_str(&longer), LIFE);
    for (size_t i = 0; i < 64; i++) { /* of another layout */
        struct export other = e[1];

        other.p[i / 8] ^= (char)(1 << i % 8);
        refuses(export_str(&other), LIFE);
    }
    refuses(export_str(&e[1]), STR(""));
    refuses(export_str(&e[1]), STR_NONE);
    refuses(export_str(&e[1]), STR("123456789 123456789 123456789 123"));
    refuses(STR_NONE, LIFE);
    assert_true(metrics_import(export_str(&e[1]),
                               STR("123456789 123456789 123456789 12")));
}

static void impossible_values_are_refused(void **state)
{
    static const int64_t counts[] = {-1, INT64_MIN, INT64_MAX, CELL_MAX + 1};
    static const int64_t gauges[] = {INT64_MIN, INT64_MAX, -CELL_MAX - 1};
    const double nows[] = {NAN, INFINITY, -INFINITY, -0.5, 1e300};
    struct export e[2], bad;

    (void)state;
    live(e);
    assert_true(metrics_import(export_str(&e[0]), LIFE));
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        bad = e[1];
        put_i64(&bad, METRIC_DB_OPERATIONS, counts[i]);
        refuses(export_str(&bad), LIFE);
        bad = e[1];
        put_i64(&bad, METRIC_LOCK_HELD_SECONDS, counts[i]);
        refuses(export_str(&bad), LIFE);
    }
    for (size_t i = 0; i < sizeof gauges / sizeof *gauges; i++) {
        bad = e[1];
        put_i64(&bad, METRIC_LEADER, gauges[i]);
        refuses(export_str(&bad), LIFE);
    }
    for (size_t i = 0; i < sizeof nows / sizeof *nows; i++) {
        bad = e[1];
        memcpy(bad.p + place_of(METRIC_RSS), &nows[i], sizeof nows[i]);
        refuses(export_str(&bad), LIFE);
    }
    bad = e[1];
    memset(bad.p + 8, 0, 8); /* no number */
    refuses(export_str(&bad), LIFE);
}

static void greatest_values_of_many_lives_do_not_overflow(void **state)
{
    struct export e[2];
    char life[16];

    (void)state;
    live(e);
    for (int m = 0; m < METRIC_N; m++)
        for (size_t k = 0; k < exported_n(&metrics_rows[m]); k++) {
            int64_t v = CELL_MAX;

            memcpy(e[0].p + place_of((enum metric)m) + 8 * k, &v, sizeof v);
        }
    for (int i = 0; i < 3000; i++) {
        snprintf(life, sizeof life, "%d", i);
        assert_true(metrics_import(export_str(&e[0]), str_of(life)));
    }
    assert_int_equal(operations(), CELL_MAX);
    assert_true(shows("\nsqlfree_lock_wait_seconds_count "));
    assert_false(shows(" -"));
}

static void importer_that_lives_is_not_disturbed(void **state)
{
    struct export e[2];
    int status;
    pid_t pid;

    (void)state;
    live(e);
    pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    shared.import->holder = pid;
    assert_true(metrics_import(export_str(&e[0]), LIFE));
    metrics_import_end();
    assert_int_equal(operations(), 0);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(metrics_import(export_str(&e[0]), LIFE)); /* it is gone */
    assert_int_equal(operations(), 7);
    shared.import->holder = getpid();
    metrics_join(0); /* a new process of the same number */
    assert_true(metrics_import(export_str(&e[1]), LIFE));
    assert_int_equal(operations(), 8);
}

static void importers_at_once_count_once(void **state)
{
    struct export e[2];
    pid_t pids[RACERS];
    int status;

    (void)state;
    live(e);
    for (int i = 0; i < RACERS; i++) {
        pids[i] = fork();
        for (int n = 0; pids[i] == 0 && n < ROUNDS; n++)
            if (!metrics_import(export_str(&e[n % 2]), LIFE))
                _exit(1);
        if (pids[i] == 0)
            _exit(0);
    }
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    assert_true(metrics_import(export_str(&e[1]), LIFE));
    assert_int_equal(operations(), 8);
    assert_int_equal(leads(), 1);
}

/* Life after life, each with both texts, until it is killed. */
static void import_lives(struct export e[2], volatile int *life)
{
    char name[16];

    for (;;) {
        snprintf(name, sizeof name, "%d", *life);
        (void)!metrics_import(export_str(&e[0]), str_of(name));
        (void)!metrics_import(export_str(&e[1]), str_of(name));
        (*life)++;
    }
}

static void importer_killed_half_way_does_no_harm(void **state)
{
    volatile int *life = mmap(NULL, sizeof *life, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct export e[2];
    char name[16];

    (void)state;
    live(e);
    assert_true(life != MAP_FAILED);
    for (int i = 0; i < KILLS; i++) {
        int status;
        pid_t pid = fork();

        if (pid == 0)
            import_lives(e, life);
        poll(NULL, 0, i % 3);
        kill(pid, SIGKILL);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        snprintf(name, sizeof name, "%d", *life);
        assert_true(metrics_import(export_str(&e[1]), str_of(name)));
        assert_int_equal(operations(), 8 * (*life + 1));
        assert_true(metrics_now(METRIC_CPU, 0) == 11.0 * (*life + 1));
        assert_int_equal(leads(), 1);
        (*life)++;
    }
}

static void without_setup_nothing_happens(void **state)
{
    struct export e = {.n = 0};

    (void)state;
    assert_false(metrics_import(STR("x"), LIFE));
    metrics_import_end();
    export_now(&e, 1, 1);
    assert_int_equal(e.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_setup_nothing_happens),
        cmocka_unit_test(figures_are_added_to_own_ones),
        cmocka_unit_test(same_and_older_texts_change_nothing),
        cmocka_unit_test(counters_of_former_lives_stay_and_gauges_end),
        cmocka_unit_test(values_of_now_are_added_where_the_row_says_so),
        cmocka_unit_test(end_ends_gauges_until_a_later_text),
        cmocka_unit_test(rows_of_workers_are_shown_while_they_live),
        cmocka_unit_test(an_export_holds_own_figures_only),
        cmocka_unit_test(malformed_texts_are_refused),
        cmocka_unit_test(impossible_values_are_refused),
        cmocka_unit_test(greatest_values_of_many_lives_do_not_overflow),
        cmocka_unit_test(importer_that_lives_is_not_disturbed),
        cmocka_unit_test(importers_at_once_count_once),
        cmocka_unit_test(importer_killed_half_way_does_no_harm),
    };

    return cmocka_run_group_tests_name("metrics_import", tests, NULL, NULL);
}
