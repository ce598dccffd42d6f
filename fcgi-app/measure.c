/* measure - see measure.h */
#include "fcgi-app/measure.h"

#include "lib/base/clock.h"
#include "lib/base/metrics.h"

enum {
    METHODS_N = HTTP_OTHER + 1,
    LABELS_BYTES = 1 << 20
};

static ms started_wall, started_mono;

/*
 * Series of the route dimension: one for each method that no row serves, one
 * for each row by its own method, and one for each GET row by HEAD.
 */
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

static const char *label(struct arena *a, enum http_method method,
                         const char *path)
{
    return arena_strf(a, "method=\"%s\",route=\"%s\"", router_method(method),
                      path)
        .p;
}

static const char **label_routes(struct arena *a, size_t n)
{
    const char **text = arena_alloc(a, n * sizeof *text);
    const struct route *r;

    if (!text)
        return NULL;
    for (size_t i = 0; i < METHODS_N; i++)
        text[i] = label(a, (enum http_method)i, "none");
    for (r = routes; r < routes + routes_n; r++) {
        text[series_of(r, r->method)] = label(a, r->method, r->path);
        if (r->method == HTTP_GET)
            text[series_of(r, HTTP_HEAD)] = label(a, HTTP_HEAD, r->path);
    }
    for (size_t i = 0; i < n; i++)
        if (!text[i])
            return NULL;
    return text;
}

static const char **label_statuses(struct arena *a)
{
    const char **text = arena_alloc(a, reply_statuses_n * sizeof *text);

    for (size_t i = 0; text && i < reply_statuses_n; i++) {
        text[i] = arena_strf(a, "status=\"%d\"", reply_statuses[i].code).p;
        if (!text[i])
            return NULL;
    }
    return text;
}

enum err measure_setup(int processes)
{
    static struct arena arena; /* lives as long as the program */
    struct metric_labels route = {.n = METHODS_N + routes_n +
                                       heads_before(routes + routes_n)};
    struct metric_labels status = {.n = reply_statuses_n};

    arena_init(&arena, LABELS_BYTES);
    started_wall = clock_wall_ms();
    started_mono = clock_mono_ms();
    route.text = label_routes(&arena, route.n);
    status.text = label_statuses(&arena);
    if (!route.text || !status.text)
        return ERR_OVERLOADED;
    return metrics_setup(processes, route, status);
}

void measure_begin(struct request *q)
{
    q->series = q->method;
    metrics_add(METRIC_HTTP_IN_FLIGHT, 0, 1);
}

void measure_route(struct request *q, const struct route *route)
{
    q->series = series_of(canonical(route), q->method);
}

void measure_end(const struct request *q, const struct reply *out, int64_t us)
{
    size_t status = 0;

    while (status + 1 < reply_statuses_n &&
           reply_statuses[status].code != out->status)
        status++;
    metrics_add(METRIC_HTTP_REQUESTS, q->series * reply_statuses_n + status, 1);
    metrics_observe(METRIC_HTTP_SECONDS, q->series, us);
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
