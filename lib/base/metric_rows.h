#pragma once
/*
 * metric_rows - THE list of metric families. A row: name in C, what becomes of
 * it when there is a program workers, family, kind, the one or two dimensions
 * of its labels, bounds of its buckets, help.
 *
 * COUNTER, GAUGE and HISTOGRAM are counted in the shared mapping by whoever
 * does the work; NOW_GAUGE and NOW_COUNTER are known only when somebody asks.
 * To what is counted here, what workers counted is added; to what is known now
 * only in a row that is SUMMED. Without workers a row OF_WORKERS is left out.
 */

/* clang-format off */
#define METRIC_ROWS(ROW)                                                       \
    ROW(HTTP_REQUESTS, PLAIN, "sqlfree_http_requests_total",                   \
        COUNTER, ANSWER, ONE, NONE,                                            \
        "Requests answered; route none: no row of the table served it.")       \
    ROW(HTTP_SECONDS, PLAIN, "sqlfree_http_request_duration_seconds",          \
        HISTOGRAM, ROUTE, ONE, HTTP,                                           \
        "From the first byte read to the reply handed over; any method.")      \
    ROW(HTTP_IN_FLIGHT, PLAIN, "sqlfree_http_requests_in_flight",              \
        GAUGE, ONE, ONE, NONE, "Requests being answered.")                     \
    ROW(RATE_LIMITED, PLAIN, "sqlfree_rate_limited_total",                     \
        COUNTER, ONE, ONE, NONE, "Requests refused by the rate limit.")        \
    ROW(SHED, PLAIN, "sqlfree_shed_requests_total",                            \
        COUNTER, ONE, ONE, NONE, "Requests refused as all threads were busy.") \
    ROW(CONNECTIONS, PLAIN, "sqlfree_connections",                             \
        GAUGE, ONE, ONE, NONE, "Open connections of web servers.")             \
    ROW(DB_UP, PLAIN, "sqlfree_db_up",                                         \
        NOW_GAUGE, ONE, ONE, NONE, "Does MongoDB answer.")                     \
    ROW(DB_OPERATIONS, PLAIN, "sqlfree_db_operations_total",                   \
        COUNTER, OUTCOME, ONE, NONE, "MongoDB commands sent; of an export its first.") \
    ROW(DB_SECONDS, PLAIN, "sqlfree_db_operation_duration_seconds",            \
        HISTOGRAM, ONE, ONE, DB, "Round trip of a MongoDB command.")           \
    ROW(REDIS_UP, PLAIN, "sqlfree_redis_up",                                   \
        NOW_GAUGE, ONE, ONE, NONE, "Does Redis answer; 0 when there is none.") \
    ROW(REDIS_ERRORS, PLAIN, "sqlfree_redis_errors_total",                     \
        COUNTER, ONE, ONE, NONE, "Redis calls without a usable answer.")       \
    ROW(REDIS_RECONNECTS, PLAIN, "sqlfree_redis_reconnects_total",             \
        COUNTER, ONE, ONE, NONE, "Connections made to Redis after a loss.")    \
    ROW(HINTS_LOST, PLAIN, "sqlfree_hints_lost_total",                         \
        COUNTER, ONE, ONE, NONE, "Hints of events not handed on, or nonsense.") \
    ROW(MODE, PLAIN, "sqlfree_mode",                                           \
        NOW_GAUGE, ONE, ONE, NONE, "0 single, 1 degraded, 2 cluster.")         \
    ROW(INSTANCES, PLAIN, "sqlfree_instances",                                 \
        NOW_GAUGE, ONE, ONE, NONE, "Live instances as last read.")             \
    ROW(LEADER, OF_WORKERS, "sqlfree_leader",                                  \
        GAUGE, SERVICE, ONE, NONE, "1 while this instance leads.")             \
    ROW(LEADER_CHANGES, OF_WORKERS, "sqlfree_leader_changes_total",            \
        COUNTER, SERVICE, ONE, NONE, "Terms begun by this instance.")          \
    ROW(LOCKS, PLAIN, "sqlfree_locks",                                         \
        NOW_GAUGE, ONE, ONE, NONE, "Locks held by anybody.")                   \
    ROW(LOCKS_HELD, PLAIN, "sqlfree_locks_held",                               \
        NOW_GAUGE, ONE, ONE, NONE,                                             \
        "Locks this instance granted, of the first 1,000.")                    \
    ROW(LOCK_ACQUISITIONS, PLAIN, "sqlfree_lock_acquisitions_total",           \
        COUNTER, LOCK, ONE, NONE, "Locks asked for.")                          \
    ROW(LOCK_WAIT_SECONDS, PLAIN, "sqlfree_lock_wait_seconds",                 \
        HISTOGRAM, ONE, ONE, LOCK, "Time a granted acquisition took.")         \
    ROW(LOCK_HELD_SECONDS, PLAIN, "sqlfree_lock_held_seconds",                 \
        HISTOGRAM, ONE, ONE, LOCK, "From the grant of a lock to its release.") \
    ROW(EVENTS, PLAIN, "sqlfree_events_total",                                 \
        COUNTER, ONE, ONE, NONE, "Changes recorded for subscribers.")          \
    ROW(EVENTS_LOST, PLAIN, "sqlfree_events_lost_total",                       \
        COUNTER, ONE, ONE, NONE,                                               \
        "Events that light mode could not record after their write.")          \
    ROW(EVENTS_FANNED_OUT, OF_WORKERS, "sqlfree_events_fanned_out_total",      \
        COUNTER, ONE, ONE, NONE, "Events turned into deliveries.")             \
    ROW(FILTER_OVERRUNS, OF_WORKERS, "sqlfree_filter_overruns_total",          \
        COUNTER, ONE, ONE, NONE,                                               \
        "Filters of webhooks, and patterns in them, that took too long.")      \
    ROW(WEBHOOK_ATTEMPTS, OF_WORKERS, "sqlfree_webhook_attempts_total",        \
        COUNTER, ATTEMPT, ONE, NONE, "Tries of deliveries.")                   \
    ROW(WEBHOOK_SECONDS, OF_WORKERS, "sqlfree_webhook_attempt_duration_seconds", \
        HISTOGRAM, ONE, ONE, LOCK, "One try, from the connection to its end.") \
    ROW(WEBHOOK_DELIVERIES, OF_WORKERS, "sqlfree_webhook_deliveries_total",    \
        COUNTER, DELIVERY, ONE, NONE, "Deliveries that ended.")                \
    ROW(WEBHOOK_LIMITED, OF_WORKERS, "sqlfree_webhook_rate_limited_total",     \
        COUNTER, ONE, ONE, NONE, "Claims refused by a limit of requests.")     \
    ROW(QUEUE_FOREIGN, OF_WORKERS, "sqlfree_queue_foreign_total",              \
        COUNTER, ONE, ONE, NONE,                                               \
        "Jobs of the index in Redis that did not agree with their rows.")      \
    ROW(SSRF_DENIED, OF_WORKERS, "sqlfree_ssrf_denied_total",                  \
        COUNTER, ONE, ONE, NONE, "Connections refused by the address policy.") \
    ROW(WEBHOOK_JOBS, PLAIN, "sqlfree_webhook_queue_jobs",                     \
        NOW_GAUGE, ONE, ONE, NONE,                                             \
        "Deliveries not ended, of the whole deployment.")                      \
    ROW(WEBHOOK_OLDEST, PLAIN, "sqlfree_webhook_queue_oldest_seconds",         \
        NOW_GAUGE, ONE, ONE, NONE, "Age of the oldest that waits and is due.") \
    ROW(WEBHOOK_DEAD, PLAIN, "sqlfree_webhook_dead_letters",                   \
        NOW_GAUGE, ONE, ONE, NONE, "Dead letters of the whole deployment.")    \
    ROW(WEBHOOK_BREAKERS, PLAIN, "sqlfree_webhook_breakers_open",              \
        NOW_GAUGE, ONE, ONE, NONE, "Webhooks slowed down after 10 failures.")  \
    ROW(BUILD_INFO, PLAIN, "sqlfree_build_info",                               \
        NOW_GAUGE, VERSION, ONE, NONE, "Always 1; its label tells the build.") \
    ROW(UPTIME, PLAIN, "sqlfree_uptime_seconds",                               \
        NOW_GAUGE, ONE, ONE, NONE, "Since the supervisor started.")            \
    ROW(WORKERS_UP, PLAIN, "sqlfree_workers_up",                               \
        NOW_GAUGE, ONE, ONE, NONE, "Is a workers program of this instance up.") \
    ROW(WORKER_RESTARTS, PLAIN, "sqlfree_worker_restarts_total",               \
        COUNTER, ONE, ONE, NONE, "Child processes that died and came again.")  \
    ROW(CPU, SUMMED, "process_cpu_seconds_total",                              \
        NOW_COUNTER, ONE, ONE, NONE, "User and system CPU time.")              \
    ROW(RSS, SUMMED, "process_resident_memory_bytes",                          \
        NOW_GAUGE, ONE, ONE, NONE, "Resident memory.")                         \
    ROW(OPEN_FDS, SUMMED, "process_open_fds",                                  \
        NOW_GAUGE, ONE, ONE, NONE, "Open file descriptors.")                   \
    ROW(MAX_FDS, SUMMED, "process_max_fds",                                    \
        NOW_GAUGE, ONE, ONE, NONE, "Most file descriptors that may be open.")  \
    ROW(START_TIME, PLAIN, "process_start_time_seconds",                       \
        NOW_GAUGE, ONE, ONE, NONE, "Start of the supervisor since the epoch.")
/* clang-format on */
