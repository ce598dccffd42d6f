#pragma once
/*
 * metrics - counters that all processes of a program share
 *
 *   metrics_setup (supervisor, before the fork) -> metrics_join (child)
 *      -> metrics_add | metrics_observe ... ; metrics_write sums all slots
 *
 * One anonymous mapping, a slot for each child number and one for the
 * supervisor, 64-bit relaxed atomics. A slot outlives its process and is taken
 * over by the next child of that number, so sums never fall; only its gauges
 * start at zero. Without metrics_setup nothing is counted.
 *
 * The sums of a second program of the same instance (workers) are added:
 *
 *   there: metrics_export -> text -> here: metrics_import | metrics_import_end
 *
 * What was taken in lives in the mapping: it survives the death of whoever did
 * it, also of one killed half way, and any process may repeat it.
 */
#include "lib/base/buf.h"
#include "lib/base/metric_rows.h"

#define METRIC_ENUM(id, ...) METRIC_##id,
enum metric {
    METRIC_ROWS(METRIC_ENUM) METRIC_N
};
#undef METRIC_ENUM

enum metric_dim {
    METRIC_DIM_ONE,    /* no label */
    METRIC_DIM_ANSWER, /* method, route and status */
    METRIC_DIM_ROUTE,
    METRIC_DIM_OUTCOME,
    METRIC_DIM_VERSION,
    METRIC_DIM_LOCK,
    METRIC_DIM_SERVICE,
    METRIC_DIM_ATTEMPT,
    METRIC_DIM_DELIVERY,
    METRIC_DIM_N
};

/* of METRIC_DIM_OUTCOME */
enum metric_outcome {
    METRIC_OK,
    METRIC_REFUSED,     /* the server answered with an error */
    METRIC_TIMEOUT,     /* the time limit ended it */
    METRIC_UNAVAILABLE, /* no answer */
    METRIC_OUTCOME_N
};

/* of METRIC_DIM_LOCK: what came of an acquisition */
enum metric_lock_outcome {
    METRIC_LOCK_GRANTED,
    METRIC_LOCK_HELD, /* by another */
    METRIC_LOCK_UNAVAILABLE,
    METRIC_LOCK_OUTCOME_N
};

/* of METRIC_DIM_SERVICE: what has a leader */
enum metric_service {
    METRIC_SERVICE_CRON,
    METRIC_SERVICE_MAINTENANCE,
    METRIC_SERVICE_N
};

/* of METRIC_DIM_ATTEMPT: how one try of a delivery ended */
enum metric_attempt {
    METRIC_ATTEMPT_SUCCESS,
    METRIC_ATTEMPT_STATUS, /* an answer that is not 2xx */
    METRIC_ATTEMPT_TIMEOUT,
    METRIC_ATTEMPT_NETWORK, /* dns, connect, tls, cut off */
    METRIC_ATTEMPT_DENIED,  /* the address policy */
    METRIC_ATTEMPT_LATE,    /* the lease was lost: nothing was written */
    METRIC_ATTEMPT_N
};

/* of METRIC_DIM_DELIVERY: how a delivery ended */
enum metric_delivery {
    METRIC_DELIVERY_SUCCESS,
    METRIC_DELIVERY_DEAD,
    METRIC_DELIVERY_CANCELLED,
    METRIC_DELIVERY_N
};

enum {
    METRICS_LIFE_MAX = 32, /* bytes */
    METRICS_SERIES_MAX = 2000
};

/* The values of a dimension, as label text: `method="GET",route="/health"`. */
struct metric_labels {
    const char *const *text; /* borrowed for ever */
    size_t n;
};

/* answer and route are the program's own; n = 0 where it has none. */
MUST_CHECK enum err metrics_setup(int slots, struct metric_labels answer,
                                  struct metric_labels route);

/* Lines with a value that metrics_write() gives at most, whatever happens. */
size_t metrics_series_most(void);

/* In the child: from now on this process counts in this slot. */
void metrics_join(int slot);

/* series: the index in the first dimension times the size of the second, plus
 * the index in the second. n may be negative for a gauge. */
void metrics_add(enum metric m, size_t series, int64_t n);

/* One duration into a histogram. */
void metrics_observe(enum metric m, size_t series, int64_t us);

/* Sum over all slots and what was imported. */
int64_t metrics_sum(enum metric m, size_t series);

/*
 * Prometheus text format 0.0.4 of all families; now[] holds the values of the
 * NOW rows. Series by answer or route that were never counted are left out, and
 * rows OF_WORKERS while nothing of a live program is imported.
 */
void metrics_write(struct buf *b, const double now[METRIC_N]);

/*
 * The sums of this program as binary text of less than 1 KiB: all rows but
 * those by answer or route, and now[]. Each export has a higher number than
 * those before it in the life of the program.
 */
void metrics_export(struct buf *b, const double now[METRIC_N]);

/*
 * life names one life of the exporting program, 1 to METRICS_LIFE_MAX bytes.
 * Counters and histograms of former lives stay in the sums, their gauges end.
 * Of one life only a later export than the last changes anything. False, and
 * nothing changed, for a text that is malformed, holds impossible values or
 * comes from a program with other rows. While another process imports, this
 * does nothing: the next one comes soon.
 */
bool metrics_import(str text, str life);

/* The exporting program is gone: gauges end, counters stay. A later export
 * brings it back. */
void metrics_import_end(void);
