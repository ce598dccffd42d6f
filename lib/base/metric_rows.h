#pragma once
/*
 * metric_rows - THE list of metric families. A row: name in C, family, kind,
 * the one or two dimensions of its labels, bounds of its buckets, help.
 *
 * COUNTER, GAUGE and HISTOGRAM are counted in the shared mapping by whoever
 * does the work; NOW_GAUGE and NOW_COUNTER are known only when somebody asks.
 */

/* clang-format off */
#define METRIC_ROWS(ROW)                                                       \
    ROW(HTTP_REQUESTS, "sqlfree_http_requests_total",                          \
        COUNTER, ROUTE, STATUS, NONE,                                          \
        "Requests answered; route none: no row of the table served it.")       \
    ROW(HTTP_SECONDS, "sqlfree_http_request_duration_seconds",                 \
        HISTOGRAM, ROUTE, ONE, HTTP,                                           \
        "From the first byte read to the reply handed over.")                  \
    ROW(HTTP_IN_FLIGHT, "sqlfree_http_requests_in_flight",                     \
        GAUGE, ONE, ONE, NONE, "Requests being answered.")                     \
    ROW(RATE_LIMITED, "sqlfree_rate_limited_total",                            \
        COUNTER, ONE, ONE, NONE, "Requests refused by the rate limit.")        \
    ROW(SHED, "sqlfree_shed_requests_total",                                   \
        COUNTER, ONE, ONE, NONE, "Requests refused as all threads were busy.") \
    ROW(CONNECTIONS, "sqlfree_connections",                                    \
        GAUGE, ONE, ONE, NONE, "Open connections of web servers.")             \
    ROW(DB_UP, "sqlfree_db_up",                                                \
        NOW_GAUGE, ONE, ONE, NONE, "Does MongoDB answer.")                     \
    ROW(DB_OPERATIONS, "sqlfree_db_operations_total",                          \
        COUNTER, OUTCOME, ONE, NONE, "MongoDB commands sent; of an export its first.")                 \
    ROW(DB_SECONDS, "sqlfree_db_operation_duration_seconds",                   \
        HISTOGRAM, ONE, ONE, DB, "Round trip of a MongoDB command.")           \
    ROW(REDIS_UP, "sqlfree_redis_up",                                          \
        NOW_GAUGE, ONE, ONE, NONE, "Does Redis answer; 0 when there is none.") \
    ROW(REDIS_ERRORS, "sqlfree_redis_errors_total",                            \
        COUNTER, ONE, ONE, NONE, "Redis calls without a usable answer.")       \
    ROW(REDIS_RECONNECTS, "sqlfree_redis_reconnects_total",                    \
        COUNTER, ONE, ONE, NONE, "Connections made to Redis after a loss.")    \
    ROW(MODE, "sqlfree_mode",                                                  \
        NOW_GAUGE, ONE, ONE, NONE, "0 single, 1 degraded, 2 cluster.")         \
    ROW(BUILD_INFO, "sqlfree_build_info",                                      \
        NOW_GAUGE, VERSION, ONE, NONE, "Always 1; its label tells the build.") \
    ROW(UPTIME, "sqlfree_uptime_seconds",                                      \
        NOW_GAUGE, ONE, ONE, NONE, "Since the supervisor started.")            \
    ROW(WORKERS_UP, "sqlfree_workers_up",                                      \
        NOW_GAUGE, ONE, ONE, NONE, "Is a workers program of this instance up.") \
    ROW(WORKER_RESTARTS, "sqlfree_worker_restarts_total",                      \
        COUNTER, ONE, ONE, NONE, "Child processes that died and came again.")  \
    ROW(CPU, "process_cpu_seconds_total",                                      \
        NOW_COUNTER, ONE, ONE, NONE, "User and system CPU time.")              \
    ROW(RSS, "process_resident_memory_bytes",                                  \
        NOW_GAUGE, ONE, ONE, NONE, "Resident memory.")                         \
    ROW(OPEN_FDS, "process_open_fds",                                          \
        NOW_GAUGE, ONE, ONE, NONE, "Open file descriptors.")                   \
    ROW(MAX_FDS, "process_max_fds",                                            \
        NOW_GAUGE, ONE, ONE, NONE, "Most file descriptors that may be open.")  \
    ROW(START_TIME, "process_start_time_seconds",                              \
        NOW_GAUGE, ONE, ONE, NONE, "Start of the supervisor since the epoch.")
/* clang-format on */
