/* metrics - see metrics.h */
#include "lib/base/metrics.h"

#include <stdatomic.h>
#include <sys/mman.h>

#include "lib/base/jwrite.h"
#include "lib/base/version.h"

enum kind {
    COUNTER,
    GAUGE,
    HISTOGRAM,
    NOW_GAUGE,
    NOW_COUNTER
};

enum {
    BOUNDS_MAX = 12
};

/* Upper bounds in microseconds. */
struct bounds {
    size_t n;
    int64_t us[BOUNDS_MAX];
};

static const struct bounds bounds_none;
static const struct bounds bounds_http = {11,
                                          {5000, 10000, 25000, 50000, 100000,
                                           250000, 500000, 1000000, 2500000,
                                           5000000, 10000000}};
static const struct bounds bounds_db = {12,
                                        {1000, 2500, 5000, 10000, 25000, 50000,
                                         100000, 250000, 500000, 1000000,
                                         2500000, 5000000}};

#define BOUNDS_NONE bounds_none
#define BOUNDS_HTTP bounds_http
#define BOUNDS_DB   bounds_db

static const struct row {
    const char *family;
    enum kind kind;
    enum metric_dim dim[2];
    const struct bounds *bounds;
    const char *help;
} rows[METRIC_N] = {
#define METRIC_ROW(id, family, kind, dim1, dim2, bounds, help)                 \
    [METRIC_##id] = {family,                                                   \
                     kind,                                                     \
                     {METRIC_DIM_##dim1, METRIC_DIM_##dim2},                   \
                     &BOUNDS_##bounds,                                         \
                     help},
    METRIC_ROWS(METRIC_ROW)};

static const char *const one[] = {""};
static const char *const outcomes[METRIC_OUTCOME_N] = {
    "outcome=\"ok\"", "outcome=\"refused\"", "outcome=\"timeout\"",
    "outcome=\"unavailable\""};
static const char *const versions[] = {"version=\"" VERSION_NUMBER "\""};

static struct metric_labels dims[METRIC_DIM_N] = {
    [METRIC_DIM_ONE] = {one, 1},
    [METRIC_DIM_OUTCOME] = {outcomes, METRIC_OUTCOME_N},
    [METRIC_DIM_VERSION] = {versions, 1},
};

/* What all processes of the program inherit by fork. */
static struct {
    _Atomic int64_t *cells; /* slots_n times cells_n */
    _Atomic int64_t *own;   /* of this process's slot */
    size_t slots_n, cells_n;
    size_t first[METRIC_N]; /* cell of each row's first series */
} shared;

static size_t series_n(const struct row *r)
{
    return dims[r->dim[0]].n * dims[r->dim[1]].n;
}

/* A histogram's series: a cell for each bucket, the open one, and the sum. */
static size_t series_cells(const struct row *r)
{
    if (r->kind == HISTOGRAM)
        return r->bounds->n + 2;
    return r->kind == COUNTER || r->kind == GAUGE ? 1 : 0;
}

enum err metrics_setup(int slots, struct metric_labels route,
                       struct metric_labels status)
{
    void *map;

    dims[METRIC_DIM_ROUTE] = route;
    dims[METRIC_DIM_STATUS] = status;
    shared.cells_n = 0;
    for (size_t i = 0; i < METRIC_N; i++) {
        shared.first[i] = shared.cells_n;
        shared.cells_n += series_n(&rows[i]) * series_cells(&rows[i]);
    }
    shared.slots_n = (size_t)slots + 1;
    map = mmap(NULL, shared.slots_n * shared.cells_n * sizeof *shared.cells,
               PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return ERR_OVERLOADED;
    shared.cells = map;
    metrics_join(slots);
    return OK;
}

void metrics_join(int slot)
{
    if (!shared.cells)
        return;
    shared.own = shared.cells + (size_t)slot * shared.cells_n;
    for (size_t i = 0; i < METRIC_N; i++)
        for (size_t k = 0; rows[i].kind == GAUGE && k < series_n(&rows[i]); k++)
            atomic_store_explicit(&shared.own[shared.first[i] + k], 0,
                                  memory_order_relaxed);
}

static void add(size_t cell, int64_t n)
{
    atomic_fetch_add_explicit(&shared.own[cell], n, memory_order_relaxed);
}

void metrics_add(enum metric m, size_t series, int64_t n)
{
    if (shared.own)
        add(shared.first[m] + series, n);
}

void metrics_observe(enum metric m, size_t series, int64_t us)
{
    const struct bounds *b = rows[m].bounds;
    size_t first, bucket = 0;

    if (!shared.own)
        return;
    first = shared.first[m] + series * series_cells(&rows[m]);
    while (bucket < b->n && us > b->us[bucket])
        bucket++;
    add(first + bucket, 1);
    add(first + b->n + 1, us);
}

static int64_t sum(size_t cell)
{
    int64_t total = 0;

    for (size_t s = 0; s < shared.slots_n; s++)
        total += atomic_load_explicit(&shared.cells[s * shared.cells_n + cell],
                                      memory_order_relaxed);
    return total;
}

int64_t metrics_sum(enum metric m, size_t series)
{
    return shared.cells ? sum(shared.first[m] + series) : 0;
}

/* `{a,b,c}` of those that are not empty; nothing without any. */
static void write_labels(struct buf *b, const struct row *r, size_t series,
                         const char *le)
{
    const struct metric_labels *second = &dims[r->dim[1]];
    const char *part[] = {dims[r->dim[0]].text[series / second->n],
                          second->text[series % second->n], le};
    char sep = '{';

    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        if (!*part[i])
            continue;
        buf_add_char(b, sep);
        buf_add(b, str_of(part[i]));
        sep = ',';
    }
    if (sep == ',')
        buf_add_char(b, '}');
}

static void write_line(struct buf *b, const struct row *r, const char *suffix,
                       size_t series, const char *le)
{
    buf_add(b, str_of(r->family));
    buf_add(b, str_of(suffix));
    write_labels(b, r, series, le);
    buf_add_char(b, ' ');
}

static void write_value(struct buf *b, double v)
{
    jwrite_double(b, v);
    buf_add_char(b, '\n');
}

static void write_histogram(struct buf *b, const struct row *r, size_t first,
                            size_t series)
{
    int64_t count = 0;
    char le[40];

    for (size_t i = 0; i <= r->bounds->n; i++) {
        struct buf text = buf_over(le, sizeof le);

        count += sum(first + i);
        buf_add(&text, STR("le=\""));
        if (i < r->bounds->n)
            jwrite_double(&text, (double)r->bounds->us[i] / 1e6);
        else
            buf_add(&text, STR("+Inf"));
        buf_add(&text, (str){"\"", 2});
        write_line(b, r, "_bucket", series, le);
        write_value(b, (double)count);
    }
    write_line(b, r, "_sum", series, "");
    write_value(b, (double)sum(first + r->bounds->n + 1) / 1e6);
    write_line(b, r, "_count", series, "");
    write_value(b, (double)count);
}

static bool was_counted(const struct row *r, size_t first)
{
    for (size_t i = 0; i < series_cells(r); i++)
        if (sum(first + i) != 0)
            return true;
    return false;
}

static void write_row(struct buf *b, enum metric m, double now)
{
    static const char *const types[] = {"counter", "gauge", "histogram",
                                        "gauge", "counter"};
    const struct row *r = &rows[m];

    buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", r->family, r->help, r->family,
             types[r->kind]);
    for (size_t i = 0; i < series_n(r); i++) {
        size_t first = shared.first[m] + i * series_cells(r);

        if (r->dim[0] == METRIC_DIM_ROUTE && !was_counted(r, first))
            continue;
        if (r->kind == HISTOGRAM) {
            write_histogram(b, r, first, i);
            continue;
        }
        write_line(b, r, "", i, "");
        write_value(b, series_cells(r) ? (double)sum(first) : now);
    }
}

void metrics_write(struct buf *b, const double now[METRIC_N])
{
    for (int i = 0; shared.cells && i < METRIC_N; i++)
        write_row(b, (enum metric)i, now[i]);
}
