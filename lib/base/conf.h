#pragma once
/*
 * conf - the settings of a program, read once at start and then constant
 *
 *   conf_new -> { members | conf_print } -> conf_free
 *
 * One member per setting, named as the setting in lower case. The table in
 * conf_keys.c gives name, type, default and range of each. Times are in
 * milliseconds, sizes in bytes; texts are never NULL ("" when there is none).
 * Defaults that depend on other settings are resolved.
 */
#include <stdio.h>

#include "lib/base/addr.h"
#include "lib/base/arena.h"
#include "lib/base/str.h"

enum conf_log_format {
    CONF_LOG_JSON,
    CONF_LOG_TEXT
};

enum conf_role {
    CONF_ROLE_READ,
    CONF_ROLE_WRITE,
    CONF_ROLE_ADMIN
};

enum conf_misfire {
    CONF_MISFIRE_ONCE,
    CONF_MISFIRE_SKIP
};

struct conf_origin;

struct conf {
    /* fastcgi */
    const char *fcgi_listen;
    bool fcgi_listen_set; /* false: fcgi_listen is the default */
    int64_t fcgi_processes;
    int64_t fcgi_threads;
    int64_t fcgi_backlog;
    int64_t fcgi_socket_mode;
    bool fcgi_allow_public;
    const char *mount_prefix;
    struct addr_ranges trusted_proxies;
    int64_t request_timeout_ms;
    int64_t shutdown_grace_ms;
    int64_t drain_delay_ms;

    /* server */
    int64_t port;
    const char *host;
    const char *node_env;
    const char *cors_origin;
    bool cors_credentials;
    int64_t json_limit;
    bool api_legacy_alias;
    int64_t log_level;  /* enum log_level */
    int64_t log_format; /* enum conf_log_format */

    /* database */
    const char *mongodb_connection_string;
    const char *mongodb_database_name;
    int64_t db_max_pool_size;
    int64_t db_server_selection_timeout_ms;
    int64_t db_heartbeat_frequency_ms;
    int64_t db_socket_timeout_ms;
    int64_t db_query_timeout_ms;
    int64_t db_max_reconnect_attempts;
    int64_t db_reconnect_initial_delay;
    int64_t db_reconnect_max_delay;
    bool db_allow_system_collections;

    /* api */
    int64_t default_page_size;
    int64_t max_page_size;
    bool rate_limit_enabled;
    int64_t rate_limit_window_ms;
    int64_t rate_limit_max_requests;
    bool rate_limit_skip_successful;
    int64_t csv_max_export_records;
    char csv_delimiter;
    char csv_quote_char;
    char csv_escape_char;
    bool csv_escape_formulas;
    int64_t bulk_max_file_size;

    /* redis */
    const char *redis_url; /* made of the next two when unset */
    const char *redis_host;
    int64_t redis_port;
    const char *redis_username;
    const char *redis_password;
    const char *redis_key_prefix;
    int64_t redis_connection_timeout;
    int64_t redis_command_timeout;
    int64_t redis_max_retries;
    int64_t redis_retry_delay;
    bool redis_ready_check;

    /* cluster */
    const char *cluster_instance_id;
    bool cluster_enabled;
    bool cluster_enable_distributed_locking;
    bool cluster_require_redis;
    bool cluster_cron_leader_election;
    int64_t cluster_scaling_max_instances;
    int64_t cluster_scaling_min_instances;
    int64_t cluster_lock_ttl;
    int64_t cluster_lock_cleanup_interval;
    int64_t cluster_leader_ttl_ms;
    int64_t leadership_renewal_interval; /* 0: unset */

    /* webhooks */
    bool webhooks_enhanced_delivery;
    int64_t webhooks_queue_concurrency;
    int64_t webhooks_rate_limit_per_minute;
    int64_t webhooks_global_rate_limit_per_minute;
    int64_t webhook_rate_limit_window_ms;
    int64_t webhooks_retry_attempts;
    int64_t webhooks_retry_delay;
    int64_t webhooks_retry_max_delay;
    double webhook_backoff_multiplier;
    bool webhooks_retry_jitter;
    int64_t webhook_timeout;
    int64_t webhook_connect_timeout;
    struct addr_ranges webhook_allow_cidrs;
    bool webhook_https_only;
    int64_t webhook_max_payload_bytes;
    int64_t webhooks_delivery_retention_days;
    int64_t webhooks_dead_letter_retention_days;

    /* scripts */
    bool scripts_enable_enhanced_execution;
    int64_t scripts_max_concurrent_executions;
    int64_t scripts_execution_timeout;
    int64_t max_script_execution_time;
    int64_t scripts_vm_timeout;
    int64_t script_max_memory; /* MB */
    int64_t script_max_depth;
    int64_t script_max_api_calls;
    int64_t script_api_timeout;
    int64_t script_api_role; /* enum conf_role */
    const char *script_api_base_url;
    const char *kubernetes_service_host;
    const char *nginx_host;
    const char *compose_project_name;

    /* cluster */
    const char *hostname;

    /* scripts */
    bool script_sandboxed;
    int64_t script_default_rate_limit;
    int64_t script_max_retries;
    int64_t script_base_delay_ms;
    int64_t script_max_delay_ms;
    const char *script_cron_timezone;
    int64_t script_cron_misfire; /* enum conf_misfire */
    int64_t script_cron_misfire_grace_ms;
    int64_t script_execution_retention_days;

    /* security */
    bool auth_enabled;
    const char *jwt_secret;
    const char *jwt_public_key;
    int64_t jwt_public_key_use; /* enum hash_key; made, no setting */
    int64_t jwt_expiration;
    const char *jwt_issuer;
    const char *jwt_audience;
    const char *jwt_role_claim;
    bool security_csp;
    bool security_coep;
    bool metrics_public;

    /* openapi */
    const char *openapi_title;
    const char *openapi_version;
    const char *openapi_description;
    const char *openapi_contact_name;
    const char *openapi_contact_email;
    const char *openapi_contact_url;
    const char *openapi_license_name;
    const char *openapi_license_url;
    const char *openapi_base_url;
    const char *openapi_server_description;
    const char *openapi_additional_servers;
    const char *openapi_bearer_format;

    /* health */
    const char *health_endpoint;

    /* development */
    bool dev_verbose;
    bool dev_hot_reload;
    bool dev_mock_data;
    bool redis_lazy_connect;
    const char *start_time;
    int64_t db_min_pool_size;
    int64_t db_max_idle_time_ms;
    int64_t db_connection_monitor_interval;
    int64_t health_check_interval;
    int64_t health_check_timeout;

    /* of the engine */
    struct conf_origin *origins; /* one per row of the table */
    struct arena arena;
};

/*
 * Reads `env` ("NAME=value" texts up to NULL), then env_file: "" means .env
 * in the working directory when there is one; a named file must exist. All
 * problems and warnings go to `out`, one line each. *out_problems is their
 * number without warnings; the settings may be used only when it is 0. NULL
 * only without memory.
 */
struct conf *conf_new(char **env, const char *env_file, FILE *out,
                      int *out_problems);
void conf_free(struct conf *c);

/* "90s", "15m", "24h", "7d": the form of spans, also on a command line. */
bool conf_span(str v, ms *out);

/* NAME=value  # module, source: all rows in table order, secrets masked. */
void conf_print(const struct conf *c, FILE *out);
