#pragma once
/*
 * metrics_inside - inside of metrics: the rows as a table, and the sums that
 * metrics_write.c makes a text of
 */
#include "lib/base/metrics.h"

enum metrics_kind {
    COUNTER,
    GAUGE,
    HISTOGRAM,
    NOW_GAUGE,
    NOW_COUNTER
};

/* What becomes of a row when there is a program workers. */
enum metrics_part {
    PLAIN,
    SUMMED,
    OF_WORKERS
};

enum {
    METRICS_BOUNDS_MAX = 12
};

/* Upper bounds in microseconds. */
struct metrics_bounds {
    size_t n;
    int64_t us[METRICS_BOUNDS_MAX];
};

struct metrics_row {
    const char *family;
    enum metrics_kind kind;
    enum metrics_part part;
    enum metric_dim dim[2];
    const struct metrics_bounds *bounds;
    const char *help;
};

extern const struct metrics_row metrics_rows[METRIC_N];

const struct metric_labels *metrics_labels(enum metric_dim dim);
size_t metrics_series_n(const struct metrics_row *r);

/* Its first dimension is the program's own. */
bool metrics_is_of_program(const struct metrics_row *r);

/* A histogram's series: a cell for each bucket, the open one, and the sum. */
size_t metrics_series_cells(const struct metrics_row *r);

/* The first cell of a series, and what it holds in all. */
size_t metrics_cell(enum metric m, size_t series);
int64_t metrics_sum_cell(size_t cell);

/* Is there anything to write; is this row written; its value of now. */
bool metrics_are_set_up(void);
bool metrics_is_shown(enum metric m);
double metrics_now(enum metric m, double own);
