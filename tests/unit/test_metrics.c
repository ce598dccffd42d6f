/* test_metrics - sums over slots, what a new process takes over, the text */
#include "lib/base/metrics.h"

#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/metrics_inside.h"
#include "tests/unit/support.h"

static const char *const answers[] = {
    "method=\"GET\",route=\"/a\",status=\"200\"",
    "method=\"GET\",route=\"/b\",status=\"404\""};
static const char *const routes[] = {"route=\"/a\"", "route=\"/b\""};

static const char *text(void)
{
    static struct buf b;
    double now[METRIC_N] = {[METRIC_DB_UP] = 1, [METRIC_CPU] = 2.5};

    if (!b.max)
        buf_init(&b, 1 << 20, ERR_INTERNAL);
    buf_clear(&b);
    metrics_write(&b, now);
    buf_add(&b, (str){"", 1});
    assert_int_equal(b.err, OK);
    return b.p;
}

static void nothing_is_counted_before_setup(void **state)
{
    (void)state;
    metrics_join(0);
    metrics_add(METRIC_SHED, 0, 1);
    metrics_observe(METRIC_DB_SECONDS, 0, 1);
    assert_int_equal(metrics_sum(METRIC_SHED, 0), 0);
    assert_string_equal(text(), "");
}

static void set_up(void)
{
    assert_int_equal(metrics_setup(2, (struct metric_labels){answers, 2},
                                   (struct metric_labels){routes, 2}),
                     OK);
}

/* As a supervisor's child does it. */
static void in_child(int slot, int64_t shed, int64_t connections)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        metrics_join(slot);
        metrics_add(METRIC_SHED, 0, shed);
        metrics_add(METRIC_CONNECTIONS, 0, connections);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void processes_are_summed(void **state)
{
    (void)state;
    set_up();
    in_child(0, 3, 5);
    in_child(1, 4, 6);
    metrics_add(METRIC_SHED, 0, 10);
    assert_int_equal(metrics_sum(METRIC_SHED, 0), 17);
    assert_int_equal(metrics_sum(METRIC_CONNECTIONS, 0), 11);
}

static void a_new_process_keeps_counters_and_clears_gauges(void **state)
{
    (void)state;
    set_up();
    in_child(0, 3, 5);
    in_child(0, 1, 2);
    assert_int_equal(metrics_sum(METRIC_SHED, 0), 4);
    assert_int_equal(metrics_sum(METRIC_CONNECTIONS, 0), 2);
}

static void buckets_are_cumulative_and_end_included(void **state)
{
    const char *z;

    (void)state;
    set_up();
    metrics_observe(METRIC_DB_SECONDS, 0, 1000);
    metrics_observe(METRIC_DB_SECONDS, 0, 1001);
    metrics_observe(METRIC_DB_SECONDS, 0, 60000000);
    z = text();
#define DB "sqlfree_db_operation_duration_seconds"
    assert_non_null(strstr(z, DB "_bucket{le=\"0.001\"} 1\n"));
    assert_non_null(strstr(z, DB "_bucket{le=\"0.0025\"} 2\n"));
    assert_non_null(strstr(z, DB "_bucket{le=\"5\"} 2\n"));
    assert_non_null(strstr(z, DB "_bucket{le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(z, DB "_sum 60.002001\n"));
    assert_non_null(strstr(z, DB "_count 3\n"));
}

static void what_was_never_counted_is_left_out(void **state)
{
    const char *z;

    (void)state;
    set_up();
    metrics_add(METRIC_HTTP_REQUESTS, 1, 7);
    z = text();
    assert_non_null(strstr(z, "\nsqlfree_http_requests_total{method=\"GET\","
                              "route=\"/b\",status=\"404\"} 7\n"));
    assert_null(strstr(z, "route=\"/a\"")); /* never counted */
}

static size_t values(const char *z)
{
    size_t n = 0;

    for (; *z; z = strchr(z, '\n') + 1)
        n += *z != '#';
    return n;
}

/* All that a program without workers can have, counted. */
static void no_text_has_more_lines_than_foretold(void **state)
{
    size_t of_workers = 0;

    (void)state;
    set_up();
    for (size_t i = 0; i < METRIC_N; i++) {
        const struct metrics_row *r = &metrics_rows[i];

        for (size_t k = 0; k < metrics_series_n(r); k++) {
            if (r->kind == HISTOGRAM)
                metrics_observe((enum metric)i, k, 1);
            else if (metrics_series_cells(r))
                metrics_add((enum metric)i, k, 1);
            if (r->part == OF_WORKERS)
                of_workers += r->kind == HISTOGRAM ? r->bounds->n + 3 : 1;
        }
    }
    assert_int_equal(values(text()) + of_workers, metrics_series_most());
    assert_in_range(metrics_series_most(), 100, METRICS_SERIES_MAX);
}

static void values_known_only_now_are_shown(void **state)
{
    (void)state;
    set_up();
    assert_non_null(strstr(text(), "\nsqlfree_db_up 1\n"));
    assert_non_null(strstr(text(), "\nprocess_cpu_seconds_total 2.5\n"));
    assert_non_null(strstr(text(), "\nsqlfree_workers_up 0\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_counted_before_setup),
        cmocka_unit_test(processes_are_summed),
        cmocka_unit_test(a_new_process_keeps_counters_and_clears_gauges),
        cmocka_unit_test(buckets_are_cumulative_and_end_included),
        cmocka_unit_test(what_was_never_counted_is_left_out),
        cmocka_unit_test(no_text_has_more_lines_than_foretold),
        cmocka_unit_test(values_known_only_now_are_shown),
    };

    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
