/* test_conf - the settings engine: sources, types, ranges, rules, printing */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/base/conf_row.h"
#include "tests/unit/support.h"

enum {
    ENV_MAX = 32,
};

struct load {
    struct conf *conf;
    char *text; /* problems and warnings */
    int problems;
};

/* env is a blank-free list "A=1|B=2"; env_file as in conf_new. */
static struct load load_file(const char *env, const char *env_file)
{
    char copy[2048], *vars[ENV_MAX + 1], *rest = copy;
    struct load l = {NULL, NULL, 0};
    size_t n = 0, size;
    FILE *out = open_memstream(&l.text, &size);

    assert_true(snprintf(copy, sizeof copy, "%s", env) < (int)sizeof copy);
    for (char *v = strsep(&rest, "|"); v; v = strsep(&rest, "|"))
        vars[n++] = v;
    vars[n] = NULL;
    l.conf = conf_new(vars, env_file, out, &l.problems);
    fclose(out);
    assert_non_null(l.conf);
    return l;
}

static struct load load(const char *env)
{
    return load_file(env, "/dev/null");
}

static void unload(struct load *l)
{
    conf_free(l->conf);
    free(l->text);
}

static void is_silent(const char *env)
{
    struct load l = load(env);

    assert_string_equal(l.text, "");
    assert_int_equal(l.problems, 0);
    unload(&l);
}

/* One problem, whose line holds `part`. */
static void is_problem(const char *env, const char *part)
{
    struct load l = load(env);

    if (l.problems != 1 || strstr(l.text, part) == NULL)
        print_error("%s gave %d: %s\n", env, l.problems, l.text);
    assert_int_equal(l.problems, 1);
    assert_non_null(strstr(l.text, part));
    unload(&l);
}

static void is_warning(const char *env, const char *part)
{
    struct load l = load(env);

    if (strstr(l.text, part) == NULL)
        print_error("%s gave %s\n", env, l.text);
    assert_int_equal(l.problems, 0);
    assert_non_null(strstr(l.text, part));
    assert_non_null(strstr(l.text, "config: warning: "));
    unload(&l);
}

static char *printed(const struct conf *c)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    conf_print(c, out);
    fclose(out);
    return text;
}

static void prints(const char *env, const char *line)
{
    struct load l = load(env);
    char *text = printed(l.conf);

    if (strstr(text, line) == NULL)
        print_error("no %s in %s\n", line, text);
    assert_non_null(strstr(text, line));
    free(text);
    unload(&l);
}

static void defaults_are_the_promised_ones(void **state)
{
    struct load l = load("HOSTNAME=box");
    const struct conf *c = l.conf;

    (void)state;
    assert_string_equal(l.text, "");
    assert_string_equal(c->fcgi_listen, "unix:/run/sql-free/app.sock");
    assert_false(c->fcgi_listen_set);
    assert_int_equal(c->fcgi_socket_mode, 0660);
    assert_int_equal(c->json_limit, 10 << 20);
    assert_int_equal(c->db_max_pool_size, 18);
    assert_string_equal(c->mongodb_database_name, "crud_api");
    assert_string_equal(c->redis_url, "redis://localhost:6379");
    assert_int_equal(c->jwt_expiration, 86400000);
    assert_true(c->csv_quote_char == '"');
    assert_true(c->webhook_backoff_multiplier > 1.99);
    assert_string_equal(c->script_api_base_url, "http://localhost:3000");
    assert_string_equal(c->openapi_base_url, "http://localhost:3000");
    assert_int_equal(strlen(c->cluster_instance_id), 12);
    assert_memory_equal(c->cluster_instance_id, "box-", 4);
    assert_int_equal(c->leadership_renewal_interval, 0);
    assert_int_equal(c->trusted_proxies.n, 0);
    assert_string_equal(c->jwt_public_key, "");
    unload(&l);
}

static void values_of_each_type_are_read(void **state)
{
    struct load l =
        load("PORT= 8080 |JSON_LIMIT=512KB|BULK_MAX_FILE_SIZE=4096|"
             "JWT_EXPIRATION=7d|FCGI_SOCKET_MODE=0600|API_LEGACY_ALIAS=Off|"
             "WEBHOOK_BACKOFF_MULTIPLIER=1.5|CSV_DELIMITER=\t|LOG_FORMAT=tiny|"
             "LOG_LEVEL=warn|TRUSTED_PROXIES=10.0.0.0/8, ::1|DRAIN_DELAY_MS=0|"
             "CORS_ORIGIN=https://a.example, http://[::1]:81|REDIS_URL=none|"
             "FCGI_LISTEN=127.0.0.1:9000|OPENAPI_ADDITIONAL_SERVERS=[{}]");
    const struct conf *c = l.conf;

    (void)state;
    assert_string_equal(l.text, "");
    assert_int_equal(c->port, 8080);
    assert_int_equal(c->json_limit, 512 << 10);
    assert_int_equal(c->bulk_max_file_size, 4096);
    assert_int_equal(c->jwt_expiration, 7 * 86400000LL);
    assert_int_equal(c->fcgi_socket_mode, 0600);
    assert_false(c->api_legacy_alias);
    assert_true(c->webhook_backoff_multiplier < 1.6);
    assert_true(c->csv_delimiter == '\t');
    assert_int_equal(c->log_format, CONF_LOG_TEXT);
    assert_int_equal(c->log_level, 1);
    assert_int_equal(c->trusted_proxies.n, 2);
    assert_int_equal(c->drain_delay_ms, 0);
    assert_true(c->fcgi_listen_set);
    unload(&l);
}

static void bad_values_of_each_type_are_problems(void **state)
{
    (void)state;
    is_problem("PORT=80x", "config: PORT: \"80x\": expected int 1-65535\n");
    is_problem("PORT=0", "PORT: \"0\"");
    is_problem("PORT=1e3", "PORT");
    is_problem("PORT=99999999999999999999", "PORT");
    is_problem("REQUEST_TIMEOUT_MS=5s", "expected ms 1000-600000");
    is_problem("JSON_LIMIT=101mb", "expected size 1kb-100mb");
    is_problem("JSON_LIMIT=10 mb", "JSON_LIMIT");
    is_problem("JWT_EXPIRATION=24", "expected span 1m-365d");
    is_problem("JWT_EXPIRATION=366d", "JWT_EXPIRATION");
    is_problem("FCGI_SOCKET_MODE=0680", "expected octal 0600-0777");
    is_problem("FCGI_SOCKET_MODE=0400", "octal");
    is_problem("AUTH_ENABLED=maybe", "expected bool (true/false");
    is_problem("WEBHOOK_BACKOFF_MULTIPLIER=0.5", "expected float 1-10");
    is_problem("WEBHOOK_BACKOFF_MULTIPLIER=1e1", "float");
    is_problem("WEBHOOK_BACKOFF_MULTIPLIER=nan", "float");
    is_problem("LOG_LEVEL=loud", "expected enum error, warn, info, debug");
    is_problem("CSV_DELIMITER=;;", "expected char");
    is_problem("TRUSTED_PROXIES=10.0.0.0/40", "expected cidrs");
    is_problem("NODE_ENV=123456789012345678901234567890123", "1-32 bytes");
    is_problem("NODE_ENV=a\nb", "\"a\\nb\"");
    is_problem("REDIS_KEY_PREFIX=a b", "of A-Za-z0-9._:-");
    is_problem("MONGODB_CONNECTION_STRING=http://h", "mongodb://");
    is_problem("MONGODB_DATABASE_NAME=a.b", "without any of");
    is_problem("MONGODB_CONNECTION_STRING=mongodb://h/a$b", "DATABASE_NAME");
    is_problem("REDIS_URL=rediss://h", "there is no TLS");
    is_problem("REDIS_URL=redis://h:99999", "redis://");
    is_problem("SCRIPT_API_BASE_URL=ftp://h", "expected url http://");
    is_problem("MOUNT_PREFIX=/a/", "MOUNT_PREFIX");
    is_problem("HEALTH_ENDPOINT=health", "starting with /");
    is_problem("SCRIPT_CRON_TIMEZONE=../UTC", "time zone");
    is_problem("JWT_PUBLIC_KEY=x", "BEGIN PUBLIC KEY");
    is_problem("JWT_SECRET=short", "\"***\": expected secret, at least 32");
    is_problem("OPENAPI_ADDITIONAL_SERVERS={}", "JSON array");
    is_problem("DB_MIN_POOL_SIZE=x", "expected int\n");
}

static void origins_and_listen_addresses_are_checked(void **state)
{
    char path[128] = "FCGI_LISTEN=unix:/";

    (void)state;
    is_silent("FCGI_LISTEN=tcp:localhost:9000");
    is_silent("FCGI_LISTEN=[::1]:9000");
    is_silent("FCGI_LISTEN=fd:0");
    is_silent("FCGI_LISTEN=0.0.0.0:9000|FCGI_ALLOW_PUBLIC=yes");
    is_problem("FCGI_LISTEN=0.0.0.0:9000", "FCGI_ALLOW_PUBLIC");
    is_problem("FCGI_LISTEN=[::]:9000", "FCGI_ALLOW_PUBLIC");
    is_problem("FCGI_LISTEN=tcp:*:9000", "FCGI_ALLOW_PUBLIC");
    is_problem("FCGI_LISTEN=:9000", "FCGI_ALLOW_PUBLIC");
    is_problem("FCGI_LISTEN=0:9000", "FCGI_ALLOW_PUBLIC");
    is_problem("FCGI_LISTEN=::1:9000", "FCGI_LISTEN");
    is_problem("FCGI_LISTEN=host", "FCGI_LISTEN");
    is_problem("FCGI_LISTEN=unix:", "FCGI_LISTEN");
    is_problem("FCGI_LISTEN=fd:1", "FCGI_LISTEN");
    memset(path + 18, 'x', 106);
    path[18 + 106] = '\0';
    is_silent(path);
    path[18 + 106] = 'x';
    path[18 + 107] = '\0';
    is_problem(path, "107 bytes");
    is_problem("CORS_ORIGIN=a.example", "CORS_ORIGIN");
    is_problem("CORS_ORIGIN=http://a/", "CORS_ORIGIN");
    is_problem("CORS_ORIGIN=http://a,*", "CORS_ORIGIN");
    is_problem("CORS_ORIGIN=http://a\r\nX: y", "CORS_ORIGIN");
}

static void all_problems_are_reported_at_once(void **state)
{
    struct load l = load("PORT=x|LOG_LEVEL=y|JSON_LIMIT=z");

    (void)state;
    assert_int_equal(l.problems, 3);
    assert_non_null(strstr(l.text, "config: PORT: \"x\""));
    assert_non_null(strstr(l.text, "config: LOG_LEVEL: \"y\""));
    assert_non_null(strstr(l.text, "config: JSON_LIMIT: \"z\""));
    unload(&l);
}

static void aliases_set_the_setting(void **state)
{
    struct load l = load("SERVER_PORT=81|MONGO_URI=mongodb://h/x%5Fy?a=/b|"
                         "WEBHOOK_QUEUE_CONCURRENCY=7|SCRIPTS_MAX_DEPTH=4|"
                         "SCRIPT_TIMEOUT=9000|WEBHOOKS_TIMEOUT=4000");

    (void)state;
    assert_string_equal(l.text, "");
    assert_int_equal(l.conf->port, 81);
    assert_string_equal(l.conf->mongodb_database_name, "x_y");
    assert_int_equal(l.conf->webhooks_queue_concurrency, 7);
    assert_int_equal(l.conf->script_max_depth, 4);
    assert_int_equal(l.conf->scripts_execution_timeout, 9000);
    assert_int_equal(l.conf->webhook_timeout, 4000);
    unload(&l);
}

static void first_name_wins_over_aliases(void **state)
{
    struct load l = load("SERVER_PORT=81|PORT=82");

    (void)state;
    assert_int_equal(l.conf->port, 82);
    assert_string_equal(l.text, "config: warning: SERVER_PORT: has another "
                                "value and is ignored, PORT wins\n");
    unload(&l);
    is_silent("SERVER_PORT=81|PORT=81");
    is_silent("SERVER_PORT=|PORT=81");
    l = load("WEBHOOK_ATTEMPTS=1|WEBHOOK_MAX_RETRIES=2");
    assert_int_equal(l.conf->webhooks_retry_attempts, 2);
    unload(&l);
}

static void no_name_sets_two_rows(void **state)
{
    char a[CONF_NAME_MAX], b[CONF_NAME_MAX];

    (void)state;
    for (size_t i = 0; i < conf_rows_n; i++)
        for (int k = 0; conf_row_name(&conf_rows[i], k, a); k++)
            for (size_t o = i + 1; o < conf_rows_n; o++)
                for (int m = 0; conf_row_name(&conf_rows[o], m, b); m++)
                    assert_string_not_equal(a, b);
}

static void file_write(char path[], const char *text)
{
    int fd;

    memcpy(path, "/tmp/conf-XXXXXX", 17);
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void env_files_are_read_after_the_environment(void **state)
{
    char path[32];
    struct load l;

    (void)state;
    file_write(path, "# text\r\n\nPORT=81\nexport NODE_ENV = 'a # b' # c\n"
                     "HOST=h # comment\nJWT_ISSUER=\"x\"\nLOG_LEVEL=warn\n"
                     "CSV_DELIMITER=\";\"");
    l = load_file("PORT=82|LOG_LEVEL=", path);
    unlink(path);
    assert_string_equal(l.text, "");
    assert_int_equal(l.conf->port, 82);
    assert_int_equal(l.conf->log_level, 1);
    assert_string_equal(l.conf->node_env, "a # b");
    assert_string_equal(l.conf->host, "h");
    assert_string_equal(l.conf->jwt_issuer, "x");
    assert_true(l.conf->csv_delimiter == ';');
    unload(&l);
}

static void bad_env_files_are_problems(void **state)
{
    char path[32];
    struct load l;

    (void)state;
    file_write(path, "PORT=81\nsecret words\nHOST='x\n");
    l = load_file("", path);
    unlink(path);
    assert_int_equal(l.problems, 2);
    assert_non_null(strstr(l.text, "line 2: expected NAME=value"));
    assert_null(strstr(l.text, "secret words"));
    unload(&l);
    l = load_file("", path);
    assert_int_equal(l.problems, 1);
    unload(&l);
}

static void five_settings_come_from_named_files(void **state)
{
    char path[32], env[64];
    struct load l;

    (void)state;
    file_write(path, "0123456789012345678901234567890123\n");
    (void)snprintf(env, sizeof env, "JWT_SECRET_FILE=%s", path);
    l = load(env);
    assert_string_equal(l.text, "");
    assert_string_equal(l.conf->jwt_secret,
                        "0123456789012345678901234567890123");
    unload(&l);
    (void)snprintf(env, sizeof env, "JWT_ISSUER_FILE=%s", path);
    is_warning(env, "JWT_ISSUER_FILE: unknown name");
    unlink(path);
    is_problem("REDIS_PASSWORD_FILE=/nonexistent/x", "REDIS_PASSWORD_FILE");
}

static void unknown_names_are_warnings(void **state)
{
    (void)state;
    is_warning("DB_POOL_SIZE=5", "DB_POOL_SIZE: unknown name, the nearest "
                                 "known is DB_MAX_POOL_SIZE");
    is_warning("REDIS_URI=x", "REDIS_URL");
    is_silent("PATH=/bin|HOME=/|OTHER=1");
    is_silent("REDIS_PORT=tcp://10.0.0.1:6379|REDIS_PORT_6379_TCP=tcp://x|"
              "REDIS_SERVICE_HOST=10.0.0.1|REDIS_SERVICE_PORT_MAIN=1|"
              "WEBHOOK_SINK_PORT=tcp://1.2.3.4:5");
    prints("REDIS_PORT=tcp://10.0.0.1:6379", "REDIS_PORT=6379  # redis, def");
}

static void rules_between_settings_hold(void **state)
{
    (void)state;
    is_problem("DEFAULT_PAGE_SIZE=101", "config: DEFAULT_PAGE_SIZE: \"101\": "
                                        "expected at most MAX_PAGE_SIZE (100)");
    is_problem("DB_RECONNECT_MAX_DELAY=10", "DB_RECONNECT_INITIAL_DELAY");
    is_problem("WEBHOOKS_RETRY_DELAY=9000|WEBHOOKS_RETRY_MAX_DELAY=8000",
               "WEBHOOKS_RETRY_DELAY");
    is_problem("SCRIPT_BASE_DELAY_MS=9000|SCRIPT_MAX_DELAY_MS=8000",
               "SCRIPT_BASE_DELAY_MS");
    is_problem("SCRIPTS_VM_TIMEOUT=30001", "SCRIPTS_VM_TIMEOUT");
    is_problem("MAX_SCRIPT_EXECUTION_TIME=20000", "SCRIPTS_EXECUTION_TIMEOUT");
    is_problem("WEBHOOK_TIMEOUT=1000", "WEBHOOK_CONNECT_TIMEOUT");
    is_problem("CLUSTER_SCALING_MAX_INSTANCES=1", "SCALING_MIN_INSTANCES");
    is_problem("SHUTDOWN_GRACE_MS=5000", "DRAIN_DELAY_MS");
    is_silent("SHUTDOWN_GRACE_MS=5001");
    is_problem("CSV_DELIMITER=\"", "CSV_DELIMITER");
    is_problem("CSV_ESCAPE_CHAR=,", "CSV_DELIMITER");
    is_problem("HEALTH_ENDPOINT=/api/health", "not under /api");
    is_problem("HEALTH_ENDPOINT=/api", "not under /api");
    is_silent("HEALTH_ENDPOINT=/apix");
}

static void doubtful_settings_are_warnings(void **state)
{
    (void)state;
    is_warning("CORS_CREDENTIALS=true", "CORS_CREDENTIALS");
    is_warning("LEADERSHIP_RENEWAL_INTERVAL=15001", "LEADERSHIP_RENEWAL");
    is_warning("DB_MAX_POOL_SIZE=17", "18 are used");
    is_warning("FCGI_PROCESSES=100", "FCGI_PROCESSES");
    prints("DB_MAX_POOL_SIZE=17", "DB_MAX_POOL_SIZE=18  # database, envir");
}

static void defaults_follow_other_settings(void **state)
{
    (void)state;
    prints("REDIS_HOST=::1|REDIS_PORT=7", "REDIS_URL=redis://[::1]:7  # ");
    prints("KUBERNETES_SERVICE_HOST=x|NGINX_HOST=y",
           "SCRIPT_API_BASE_URL=http://crud-api-service  #");
    prints("NGINX_HOST=y", "SCRIPT_API_BASE_URL=http://y  #");
    prints("COMPOSE_PROJECT_NAME=y", "SCRIPT_API_BASE_URL=http://nginx  #");
    prints("PORT=81|MOUNT_PREFIX=/a", "\nOPENAPI_BASE_URL=http://localhost:81"
                                      "/a  # openapi, default\n");
    prints("MONGODB_URI=mongodb://u:p@h/db1", "DATABASE_NAME=db1  #");
    prints("MONGODB_URI=mongodb://h", "DATABASE_NAME=crud_api  #");
    prints("LEADERSHIP_RENEWAL_INTERVAL=500", "LEADER_TTL_MS=2000  #");
    prints("LEADERSHIP_RENEWAL_INTERVAL=5000", "LEADER_TTL_MS=10000  #");
    prints("DEV_VERBOSE=1", "LOG_LEVEL=debug  #");
    prints("HOSTNAME=a b", "CLUSTER_INSTANCE_ID=a-b-");
}

static void settings_are_printed_with_module_and_source(void **state)
{
    (void)state;
    prints("", "FCGI_LISTEN=unix:/run/sql-free/app.sock  # fastcgi, default\n"
               "FCGI_PROCESSES=1  # fastcgi, default\n");
    prints("SERVER_PORT=81", "\nPORT=81  # server, environment as SERVER_PORT");
    prints("JSON_LIMIT=2097152", "JSON_LIMIT=2mb  # server, environment\n");
    prints("JWT_EXPIRATION=60m", "JWT_EXPIRATION=1h  #");
    prints("FCGI_SOCKET_MODE=660", "FCGI_SOCKET_MODE=0660  #");
    prints("AUTH_ENABLED=on", "AUTH_ENABLED=true  #");
    prints("LOG_FORMAT=dev", "LOG_FORMAT=text  #");
    prints("WEBHOOK_BACKOFF_MULTIPLIER=1.5", "MULTIPLIER=1.5  #");
    prints("", "LEADERSHIP_RENEWAL_INTERVAL=  # cluster, default");
    prints("TRUSTED_PROXIES=::1", "TRUSTED_PROXIES=::1  #");
    prints("JWT_PUBLIC_KEY=-----BEGIN PUBLIC KEY-----\\nab",
           "JWT_PUBLIC_KEY=-----BEGIN PUBLIC KEY-----\\nab  # security");
}

static void is_masked(const char *env, const char *secret)
{
    struct load l = load(env);
    char *text = printed(l.conf);

    assert_null(strstr(text, secret));
    assert_null(strstr(l.text, secret));
    free(text);
    unload(&l);
}

static void secrets_are_never_shown(void **state)
{
    (void)state;
    is_masked("REDIS_PASSWORD=hunter2", "hunter2");
    is_masked("JWT_SECRET=hunter2", "hunter2");
    is_masked("JWT_PUBLIC_KEY=-----BEGIN PRIVATE KEY-----hunter2", "hunter2");
    is_masked("JWT_PUBLIC_KEY=hunter2", "hunter2");
    is_masked("REDIS_URL=redis://u:hunter2@h", "hunter2");
    is_masked("REDIS_URL=redis://u:a/hunter2@b@h:x", "hunter2");
    is_masked("REDIS_URL=rediss://:hunter2@h", "hunter2");
    is_masked("REDIS_URL=unix:/r.sock?db=1&password=hunter2", "hunter2");
    is_masked("REDIS_URL=unix:///r?Password=hunter2:x@y&db=1", "hunter2");
    is_masked("REDIS_URL=u:hunter2@h", "hunter2");
    is_masked("MONGODB_URI=mongodb:u:hunter2@h", "hunter2");
    is_masked("MONGODB_URI=mongodb://h/?tlsCertificateKeyFilePassword=hunter2",
              "hunter2");
    prints("MONGODB_URI=mongodb://u:p@h/d?w=1",
           "STRING=mongodb://u:***@h/d?w=1  # database");
    prints("REDIS_PASSWORD=x", "REDIS_PASSWORD=***  # redis");
    prints("", "REDIS_PASSWORD=  # redis");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_the_promised_ones),
        cmocka_unit_test(values_of_each_type_are_read),
        cmocka_unit_test(bad_values_of_each_type_are_problems),
        cmocka_unit_test(origins_and_listen_addresses_are_checked),
        cmocka_unit_test(all_problems_are_reported_at_once),
        cmocka_unit_test(aliases_set_the_setting),
        cmocka_unit_test(first_name_wins_over_aliases),
        cmocka_unit_test(no_name_sets_two_rows),
        cmocka_unit_test(env_files_are_read_after_the_environment),
        cmocka_unit_test(bad_env_files_are_problems),
        cmocka_unit_test(five_settings_come_from_named_files),
        cmocka_unit_test(unknown_names_are_warnings),
        cmocka_unit_test(rules_between_settings_hold),
        cmocka_unit_test(doubtful_settings_are_warnings),
        cmocka_unit_test(defaults_follow_other_settings),
        cmocka_unit_test(settings_are_printed_with_module_and_source),
        cmocka_unit_test(secrets_are_never_shown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
