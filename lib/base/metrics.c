/* metrics - see metrics.h */
#include "lib/base/metrics.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/base/metrics_inside.h"
#include "lib/base/version.h"

/* Nothing that is really counted comes near; sums of it do not overflow. */
#define CELL_MAX ((int64_t)1 << 53)
#define NOW_MAX  1e15

static const struct metrics_bounds bounds_none;
static const struct metrics_bounds bounds_http = {
    11,
    {5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000,
     5000000, 10000000}};
static const struct metrics_bounds bounds_db = {12,
                                                {1000, 2500, 5000, 10000, 25000,
                                                 50000, 100000, 250000, 500000,
                                                 1000000, 2500000, 5000000}};

static const struct metrics_bounds bounds_lock = {
    12,
    {1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, 5000000,
     10000000, 30000000}};

#define BOUNDS_NONE bounds_none
#define BOUNDS_HTTP bounds_http
#define BOUNDS_DB   bounds_db
#define BOUNDS_LOCK bounds_lock

const struct metrics_row metrics_rows[METRIC_N] = {
/* clang-format off */
#define METRIC_ROW(id, part, family, kind, dim1, dim2, bounds, help)           \
    [METRIC_##id] = {family, kind, part,                                       \
                     {METRIC_DIM_##dim1, METRIC_DIM_##dim2},                   \
                     &BOUNDS_##bounds, help},
    /* clang-format on */
    METRIC_ROWS(METRIC_ROW)};

static const char *const one[] = {""};
static const char *const outcomes[METRIC_OUTCOME_N] = {
    "outcome=\"ok\"", "outcome=\"refused\"", "outcome=\"timeout\"",
    "outcome=\"unavailable\""};
static const char *const lock_outcomes[METRIC_LOCK_OUTCOME_N] = {
    "outcome=\"granted\"", "outcome=\"held\"", "outcome=\"unavailable\""};
static const char *const services[METRIC_SERVICE_N] = {
    "service=\"cron\"", "service=\"maintenance\""};
static const char *const attempts[METRIC_ATTEMPT_N] = {
    "outcome=\"success\"", "outcome=\"status\"", "outcome=\"timeout\"",
    "outcome=\"network\"", "outcome=\"denied\"", "outcome=\"late\""};
static const char *const deliveries[METRIC_DELIVERY_N] = {
    "outcome=\"success\"", "outcome=\"dead\"", "outcome=\"cancelled\""};
static const char *const versions[] = {"version=\"" VERSION_NUMBER "\""};

static struct metric_labels dims[METRIC_DIM_N] = {
    [METRIC_DIM_ONE] = {one, 1},
    [METRIC_DIM_OUTCOME] = {outcomes, METRIC_OUTCOME_N},
    [METRIC_DIM_VERSION] = {versions, 1},
    [METRIC_DIM_LOCK] = {lock_outcomes, METRIC_LOCK_OUTCOME_N},
    [METRIC_DIM_SERVICE] = {services, METRIC_SERVICE_N},
    [METRIC_DIM_ATTEMPT] = {attempts, METRIC_ATTEMPT_N},
    [METRIC_DIM_DELIVERY] = {deliveries, METRIC_DELIVERY_N},
};

/*
 * At the head of the mapping. Readers look at `live`, `now` and the imported
 * cells only, each of which is always right by itself. A process killed
 * between any two stores leaves what the next import puts right: `seq` is
 * stored last, and `base` is what the cells show, as long as the old life
 * stands.
 */
struct import {
    _Atomic int64_t exports; /* of this program, by number */
    _Atomic pid_t holder;    /* who imports; 0: nobody */
    _Atomic bool live;
    _Atomic uint64_t seq; /* of the last export of that life; 0: none */
    size_t life_n;
    char life[METRICS_LIFE_MAX];
    double now_base[METRIC_N]; /* of former lives */
    _Atomic double now[METRIC_N];
};

/* What all processes of the program inherit by fork. */
static struct {
    struct import *import;
    _Atomic int64_t *imported; /* cells_n, what the sums get */
    _Atomic int64_t *base;     /* cells_n, of it that of former lives */
    _Atomic int64_t *cells;    /* slots_n times cells_n */
    _Atomic int64_t *own;      /* of this process's slot */
    size_t slots_n, cells_n;
    size_t first[METRIC_N]; /* cell of each row's first series */
} shared;

const struct metric_labels *metrics_labels(enum metric_dim dim)
{
    return &dims[dim];
}

size_t metrics_series_n(const struct metrics_row *r)
{
    return dims[r->dim[0]].n * dims[r->dim[1]].n;
}

size_t metrics_series_cells(const struct metrics_row *r)
{
    if (r->kind == HISTOGRAM)
        return r->bounds->n + 2;
    return r->kind == COUNTER || r->kind == GAUGE ? 1 : 0;
}

size_t metrics_cell(enum metric m, size_t series)
{
    return shared.first[m] + series * metrics_series_cells(&metrics_rows[m]);
}

size_t metrics_series_most(void)
{
    size_t n = 0;

    for (size_t i = 0; i < METRIC_N; i++)
        n += metrics_series_n(&metrics_rows[i]) *
             (metrics_rows[i].kind == HISTOGRAM ? metrics_rows[i].bounds->n + 3
                                                : 1);
    return n;
}

enum err metrics_setup(int slots, struct metric_labels answer,
                       struct metric_labels route)
{
    void *map;

    dims[METRIC_DIM_ANSWER] = answer;
    dims[METRIC_DIM_ROUTE] = route;
    shared.cells_n = 0;
    for (size_t i = 0; i < METRIC_N; i++) {
        shared.first[i] = shared.cells_n;
        shared.cells_n += metrics_series_n(&metrics_rows[i]) *
                          metrics_series_cells(&metrics_rows[i]);
    }
    shared.slots_n = (size_t)slots + 1;
    map = mmap(NULL,
               sizeof *shared.import +
                   (shared.slots_n + 2) * shared.cells_n * sizeof *shared.cells,
               PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return ERR_OVERLOADED;
    shared.import = map;
    shared.imported = (_Atomic int64_t *)(shared.import + 1);
    shared.base = shared.imported + shared.cells_n;
    shared.cells = shared.base + shared.cells_n;
    metrics_join(slots);
    return OK;
}

void metrics_join(int slot)
{
    pid_t self = getpid();

    if (!shared.cells)
        return;
    /* one that was killed had the same number */
    atomic_compare_exchange_strong(&shared.import->holder, &self, 0);
    shared.own = shared.cells + (size_t)slot * shared.cells_n;
    for (size_t i = 0; i < METRIC_N; i++)
        for (size_t k = 0; metrics_rows[i].kind == GAUGE &&
                           k < metrics_series_n(&metrics_rows[i]);
             k++)
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
    const struct metrics_bounds *b = metrics_rows[m].bounds;
    size_t first, bucket = 0;

    if (!shared.own)
        return;
    first = shared.first[m] + series * metrics_series_cells(&metrics_rows[m]);
    while (bucket < b->n && us > b->us[bucket])
        bucket++;
    add(first + bucket, 1);
    add(first + b->n + 1, us);
}

static int64_t get(_Atomic int64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}

static int64_t sum_own(size_t cell)
{
    int64_t total = 0;

    for (size_t s = 0; s < shared.slots_n; s++)
        total += get(&shared.cells[s * shared.cells_n + cell]);
    return total;
}

int64_t metrics_sum_cell(size_t cell)
{
    return sum_own(cell) + get(&shared.imported[cell]);
}

int64_t metrics_sum(enum metric m, size_t series)
{
    return shared.cells ? metrics_sum_cell(shared.first[m] + series) : 0;
}

bool metrics_are_set_up(void)
{
    return shared.cells != NULL;
}

bool metrics_is_shown(enum metric m)
{
    return metrics_rows[m].part != OF_WORKERS || shared.import->live;
}

double metrics_now(enum metric m, double own)
{
    bool summed = metrics_rows[m].part == SUMMED;

    return own + (summed ? shared.import->now[m] : 0);
}

bool metrics_is_of_program(const struct metrics_row *r)
{
    return r->dim[0] == METRIC_DIM_ANSWER || r->dim[0] == METRIC_DIM_ROUTE;
}

/* Cells of the row that travel. */
static size_t exported_n(const struct metrics_row *r)
{
    return metrics_is_of_program(r)
               ? 0
               : metrics_series_n(r) * metrics_series_cells(r);
}

static bool is_now(const struct metrics_row *r)
{
    return r->kind == NOW_GAUGE || r->kind == NOW_COUNTER;
}

/* FNV-1a: tells programs with other rows apart, no more. */
static uint64_t digest_add(uint64_t h, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;

    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static uint64_t layout_digest(void)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < METRIC_N; i++) {
        const struct metrics_row *r = &metrics_rows[i];
        uint64_t shape[] = {r->kind, r->part, exported_n(r)};

        h = digest_add(h, r->family, strlen(r->family) + 1);
        h = digest_add(h, shape, sizeof shape);
        h = digest_add(h, r->bounds->us, r->bounds->n * sizeof *r->bounds->us);
    }
    return h;
}

static void add_bytes(struct buf *b, const void *p, size_t n)
{
    buf_add(b, (str){p, n});
}

/*
 * The text: digest, number, for each row its cells or its value of now; each
 * of 8 bytes as they stand in memory.
 */
void metrics_export(struct buf *b, const double now[METRIC_N])
{
    uint64_t head[2] = {layout_digest()};

    if (!shared.cells)
        return;
    head[1] = (uint64_t)atomic_fetch_add(&shared.import->exports, 1) + 1;
    add_bytes(b, head, sizeof head);
    for (size_t i = 0; i < METRIC_N; i++) {
        for (size_t k = 0; k < exported_n(&metrics_rows[i]); k++) {
            int64_t v = sum_own(shared.first[i] + k);

            add_bytes(b, &v, sizeof v);
        }
        if (is_now(&metrics_rows[i]))
            add_bytes(b, &now[i], sizeof now[i]);
    }
}

/* Copies the next 8 bytes off the front; false at the end. */
static bool take(str *text, void *out)
{
    if (text->n < 8)
        return false;
    memcpy(out, text->p, 8);
    *text = str_from(*text, 8);
    return true;
}

static bool is_sound(str text)
{
    uint64_t head[2];
    int64_t v;
    double now;

    if (!take(&text, &head[0]) || !take(&text, &head[1]) ||
        head[0] != layout_digest() || head[1] == 0)
        return false;
    for (size_t i = 0; i < METRIC_N; i++) {
        const struct metrics_row *r = &metrics_rows[i];
        int64_t least = r->kind == GAUGE ? -CELL_MAX : 0;

        for (size_t k = 0; k < exported_n(r); k++)
            if (!take(&text, &v) || v < least || v > CELL_MAX)
                return false;
        /* a NaN is not in the range either */
        if (is_now(r) && !(take(&text, &now) && now >= 0 && now <= NOW_MAX))
            return false;
    }
    return text.n == 0;
}

/* Not while another live process has it; who holds it may have been killed. */
static bool import_begin(void)
{
    pid_t holder = 0;

    if (atomic_compare_exchange_strong(&shared.import->holder, &holder,
                                       getpid()))
        return true;
    return kill(holder, 0) != 0 && errno == ESRCH &&
           atomic_compare_exchange_strong(&shared.import->holder, &holder,
                                          getpid());
}

static void import_release(void)
{
    atomic_store(&shared.import->holder, 0);
}

/* What is shown is what former lives have left. */
static void begin_life(str life)
{
    struct import *im = shared.import;

    atomic_store(&im->seq, 0);
    for (size_t i = 0; i < METRIC_N; i++) {
        im->now_base[i] = metrics_rows[i].kind == NOW_COUNTER ? im->now[i] : 0;
        for (size_t k = 0; k < exported_n(&metrics_rows[i]); k++) {
            size_t cell = shared.first[i] + k;

            if (metrics_rows[i].kind != GAUGE)
                shared.base[cell] = get(&shared.imported[cell]);
        }
    }
    atomic_thread_fence(memory_order_seq_cst);
    memcpy(im->life, life.p, life.n);
    im->life_n = life.n;
    atomic_thread_fence(memory_order_seq_cst);
}

static void take_values(str text)
{
    for (size_t i = 0; i < METRIC_N; i++) {
        double now;
        int64_t v;

        for (size_t k = 0; k < exported_n(&metrics_rows[i]) && take(&text, &v);
             k++) {
            size_t cell = shared.first[i] + k;

            v += get(&shared.base[cell]);
            shared.imported[cell] = v < CELL_MAX ? v : CELL_MAX;
        }
        if (is_now(&metrics_rows[i]) && take(&text, &now))
            shared.import->now[i] = shared.import->now_base[i] + now;
    }
}

bool metrics_import(str text, str life)
{
    struct import *im = shared.import;
    uint64_t seq;

    if (!im || life.n == 0 || life.n > METRICS_LIFE_MAX || !is_sound(text))
        return false;
    if (!import_begin())
        return true;
    memcpy(&seq, text.p + 8, sizeof seq);
    if (!str_eq(life, (str){im->life, im->life_n}))
        begin_life(life);
    if (seq > im->seq) {
        take_values(str_from(text, 16));
        im->live = true;
        im->seq = seq;
    }
    import_release();
    return true;
}

void metrics_import_end(void)
{
    struct import *im = shared.import;

    if (!im || !im->live || !import_begin())
        return;
    im->live = false;
    for (size_t i = 0; i < METRIC_N; i++) {
        for (size_t k = 0; k < exported_n(&metrics_rows[i]); k++)
            if (metrics_rows[i].kind == GAUGE)
                shared.imported[shared.first[i] + k] = 0;
        if (metrics_rows[i].kind == NOW_GAUGE)
            im->now[i] = 0;
    }
    import_release();
}
