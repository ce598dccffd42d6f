/* measure - see measure.h */
#include "fcgi-app/measure.h"

#include <assert.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"

enum {
    METHODS_N = HTTP_OTHER + 1,
    LABELS_BYTES = 1 << 20,
    NONE = UINT16_MAX
};

static ms started_wall, started_mono;

/*
 * q->series: one for each method that no row serves, one for each row by its
 * own method, and one for each GET row by HEAD. With a status it is an answer:
 * only those that can be have a series in the metrics.
 */
static struct {
    size_t series_n;
    uint16_t *answer; /* of series and status; NONE: there is none */
    uint16_t *route;  /* of series */
} map;

static size_t heads_before(const struct route *r)
{
    size_t n = 0;

    for (const struct route *at = routes; at < r; at++)
        n += at->method == HTTP_GET;
    return n;
}

static size_t series_of(const struct route *r, enum http_method method)
{
    if (method == HTTP_HEAD)
        return METHODS_N + routes_n + heads_before(r);
    return METHODS_N + (size_t)(r - routes);
}

/* An alias counts as what it stands for. */
static const struct route *canonical(const struct route *r)
{
    const struct route *same = routes;

    if (!(r->flags & ROUTE_ALIAS))
        return r;
    while (same->handler != r->handler || same->method != r->method)
        same++;
    return same;
}

/* ---- which answers can be */

enum {
    NO_ROW = 1 << HTTP_OTHER, /* served it */
    GETS = 1 << HTTP_GET,
    POSTS = 1 << HTTP_POST,
    CHANGES = POSTS | 1 << HTTP_PUT | 1 << HTTP_DELETE,
    ROWS = GETS | CHANGES,
    ALL = ROWS | NO_ROW
};

/*
 * By the methods and flags of a row (HEAD is as GET). What is not foreseen
 * here is counted as the last status, so that the number of series holds.
 */
static const struct {
    int code;
    unsigned methods, flags;
} possible[] = {
    {200, ROWS, 0},
    {201, POSTS, ROUTE_IO},
    {202, POSTS, ROUTE_IO},
    {204, NO_ROW, 0},
    {304, GETS, 0},
    {400, ALL, 0},
    {401, ROWS, 0},
    {403, ROWS, 0},
    {404, ALL, 0},
    {405, NO_ROW, 0},
    {409, CHANGES, ROUTE_IO},
    {413, ROWS, ROUTE_IO},
    {414, NO_ROW, 0},
    {415, CHANGES, ROUTE_BODY},
    {429, ALL, 0},
    {431, NO_ROW, 0},
    {499, ALL, 0},
    {500, ALL, 0},
    {502, POSTS, ROUTE_IO},
    {503, ALL, 0},
    {504, ROWS, ROUTE_IO},
    {0, ALL, 0},
};

/* r is NULL where no row served it. */
static bool can_be(const struct route *r, size_t status)
{
    unsigned bit = r ? 1u << r->method : NO_ROW;

    return (possible[status].methods & bit) &&
           (!r ||
            (r->flags & possible[status].flags) == possible[status].flags);
}

/* ---- labels */

struct labels {
    struct arena *arena;
    const char **text;
    size_t n;
    bool failed;
};

static uint16_t add_label(struct labels *l, str text)
{
    l->failed = l->failed || !text.p || l->n >= NONE;
    if (l->failed)
        return NONE;
    l->text[l->n] = text.p;
    return (uint16_t)l->n++;
}

static void add_answers(struct labels *l, size_t series, enum http_method m,
                        const struct route *r)
{
    for (size_t i = 0; i < reply_statuses_n; i++)
        if (can_be(r, i))
            map.answer[series * reply_statuses_n + i] = add_label(
                l,
                arena_strf(l->arena, "method=\"%s\",route=\"%s\",status=\"%d\"",
                           router_method(m), r ? r->path : "none",
                           reply_statuses[i].code));
}

/* Rows of one path share a series of durations. */
static uint16_t route_label(struct labels *l, const struct route *r)
{
    for (const struct route *at = routes; at < r; at++)
        if (strcmp(at->path, r->path) == 0)
            return map.route[series_of(at, at->method)];
    return add_label(l, arena_strf(l->arena, "route=\"%s\"", r->path));
}

static void label_all(struct labels *answers, struct labels *paths)
{
    uint16_t none =
        add_label(paths, arena_strf(paths->arena, "route=\"%s\"", "none"));

    for (size_t i = 0; i < METHODS_N; i++) {
        add_answers(answers, i, (enum http_method)i, NULL);
        map.route[i] = none;
    }
    for (const struct route *r = routes; r < routes + routes_n; r++) {
        size_t series = series_of(r, r->method);

        if (r->flags & ROUTE_ALIAS)
            continue;
        add_answers(answers, series, r->method, r);
        map.route[series] = route_label(paths, r);
        if (r->method != HTTP_GET)
            continue;
        add_answers(answers, series_of(r, HTTP_HEAD), HTTP_HEAD, r);
        map.route[series_of(r, HTTP_HEAD)] = map.route[series];
    }
}

static bool make_map(struct arena *a, struct labels *answers,
                     struct labels *paths)
{
    size_t answers_n;

    map.series_n = METHODS_N + routes_n + heads_before(routes + routes_n);
    answers_n = map.series_n * reply_statuses_n;
    *answers = (struct labels){.arena = a};
    *paths = (struct labels){.arena = a};
    answers->text = arena_alloc(a, answers_n * sizeof *answers->text);
    paths->text = arena_alloc(a, (routes_n + 1) * sizeof *paths->text);
    map.answer = arena_alloc(a, answers_n * sizeof *map.answer);
    map.route = arena_alloc(a, map.series_n * sizeof *map.route);
    if (!answers->text || !paths->text || !map.answer || !map.route)
        return false;
    memset(map.answer, 0xff, answers_n * sizeof *map.answer);
    label_all(answers, paths);
    return !answers->failed && !paths->failed;
}

enum err measure_setup(int processes)
{
    static struct arena arena; /* lives as long as the program */
    struct labels answers, paths;
    enum err err;

    assert(reply_statuses_n == sizeof possible / sizeof *possible);
    for (size_t i = 0; i < reply_statuses_n; i++)
        assert(reply_statuses[i].code == possible[i].code);
    arena_init(&arena, LABELS_BYTES);
    started_wall = clock_wall_ms();
    started_mono = clock_mono_ms();
    if (!make_map(&arena, &answers, &paths))
        return ERR_OVERLOADED;
    err = metrics_setup(processes,
                        (struct metric_labels){answers.text, answers.n},
                        (struct metric_labels){paths.text, paths.n});
    assert(metrics_series_most() <= METRICS_SERIES_MAX);
    log_note(LOG_DEBUG, "metrics.ready", "at most %zu series",
             metrics_series_most());
    return err;
}

/* ---- counting */

void measure_begin(struct request *q)
{
    q->series = q->method;
    metrics_add(METRIC_HTTP_IN_FLIGHT, 0, 1);
}

void measure_route(struct request *q, const struct route *route)
{
    q->series = series_of(canonical(route), q->method);
}

static size_t answer_of(const struct request *q, int code)
{
    const uint16_t *answers = map.answer + q->series * reply_statuses_n;
    size_t status = 0, last = reply_statuses_n - 1;

    while (status < last && reply_statuses[status].code != code)
        status++;
    return answers[status] != NONE ? answers[status] : answers[last];
}

void measure_end(const struct request *q, const struct reply *out, int64_t us)
{
    metrics_add(METRIC_HTTP_REQUESTS, answer_of(q, out->status), 1);
    metrics_observe(METRIC_HTTP_SECONDS, map.route[q->series], us);
    metrics_add(METRIC_HTTP_IN_FLIGHT, 0, -1);
}

ms measure_started_wall(void)
{
    return started_wall;
}

double measure_uptime_s(void)
{
    return (double)(clock_mono_ms() - started_mono) / 1000;
}
