/* conf_check - settings that follow from others, and rules between settings */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/conf_row.h"
#include "lib/base/hash.h"
#include "lib/base/id.h"
#include "lib/base/log.h"

#define AT(member) offsetof(struct conf, member)

static bool is_set(const struct conf_judge *j, size_t offset)
{
    return conf_origin_at(j->conf, offset)->source != NULL;
}

/* Puts a made text in place of a default, judged as if it was given. */
static void text_put(struct conf_judge *j, size_t offset, str text)
{
    const struct conf_row *row = conf_row_at(offset);
    struct buf b;

    if (text.p != NULL && conf_value_set(j->conf, row, text)) {
        j->conf->origins[row - conf_rows].text = "made";
        return;
    }
    buf_init(&b, CONF_TEXT_FREE, ERR_INTERNAL);
    conf_value_expect(row, &b);
    buf_add_char(&b, '\0');
    conf_problem(j, row, text.p ? text : STR(""), b.p ? b.p : "another");
    buf_done(&b);
}

static str percent_decode(struct arena *a, str v)
{
    static const char hex[] = "0123456789abcdef";
    char *p = arena_alloc(a, v.n + 1);
    size_t n = 0;

    for (size_t i = 0; p != NULL && i < v.n; i++) {
        if (v.p[i] == '%' && i + 2 < v.n && str_is_hex((str){v.p + i + 1, 2})) {
            const char *high = strchr(hex, v.p[i + 1] | 0x20);
            const char *low = strchr(hex, v.p[i + 2] | 0x20);

            /* digits have bit 5 set already */
            p[n++] = (char)((high - hex) * 16 + (low - hex));
            i += 2;
        } else {
            p[n++] = v.p[i];
        }
    }
    return (str){p, n};
}

static void derive_database(struct conf_judge *j)
{
    str uri = str_of(j->conf->mongodb_connection_string), path;
    size_t start = str_find_str(uri, STR("://")), slash;

    uri = str_from(uri, start + 3);
    uri = str_head(uri, str_find(uri, '?', 0));
    slash = str_find(uri, '/', 0);
    path = slash == SIZE_MAX ? STR("") : str_from(uri, slash + 1);
    text_put(j, AT(mongodb_database_name),
             path.n > 0 ? percent_decode(&j->conf->arena, path)
                        : STR("crud_api"));
}

static void derive_redis(struct conf_judge *j)
{
    struct conf *c = j->conf;
    bool is_v6 = strchr(c->redis_host, ':') != NULL;

    text_put(j, AT(redis_url),
             arena_strf(&c->arena, "redis://%s%s%s:%d", is_v6 ? "[" : "",
                        c->redis_host, is_v6 ? "]" : "", (int)c->redis_port));
}

static void derive_base_urls(struct conf_judge *j)
{
    struct conf *c = j->conf;
    str local = arena_strf(&c->arena, "http://localhost:%d", (int)c->port);
    str url = local;

    if (!is_set(j, AT(openapi_base_url)))
        text_put(j, AT(openapi_base_url),
                 arena_strf(&c->arena, STR_FMT "%s", STR_ARG(local),
                            c->mount_prefix));
    if (c->kubernetes_service_host[0])
        url = STR("http://crud-api-service");
    else if (c->nginx_host[0])
        url = arena_strf(&c->arena, "http://%s", c->nginx_host);
    else if (c->compose_project_name[0])
        url = STR("http://nginx");
    if (!is_set(j, AT(script_api_base_url)))
        text_put(j, AT(script_api_base_url), url);
}

/* The same in every program of one instance, another after a boot. */
static void derive_instance(struct conf_judge *j)
{
    struct conf *c = j->conf;
    char host[120] = "", name[ID_INSTANCE_MAX];
    str boot = STR("");

    if (c->hostname[0])
        (void)snprintf(host, sizeof host, "%s", c->hostname);
    else if (gethostname(host, sizeof host - 1) != 0)
        host[0] = '\0';
    if (host[0] == '\0')
        (void)snprintf(host, sizeof host, "localhost");
    if (conf_file_read(c, "/proc/sys/kernel/random/boot_id", 64, &boot))
        boot = str_trim(boot);
    id_instance(str_of(host), boot, str_of(c->fcgi_listen), name);
    text_put(j, AT(cluster_instance_id), arena_str(&c->arena, str_of(name)));
}

static void derive_pool(struct conf_judge *j)
{
    struct conf *c = j->conf;
    int64_t least = c->fcgi_threads + 2;

    if (c->db_max_pool_size >= least)
        return;
    if (is_set(j, AT(db_max_pool_size)))
        conf_warn(j,
                  "DB_MAX_POOL_SIZE: %d is below FCGI_THREADS + 2, %d "
                  "are used",
                  (int)c->db_max_pool_size, (int)least);
    c->db_max_pool_size = least;
}

static void derive_lease(struct conf_judge *j)
{
    struct conf *c = j->conf;
    int64_t lease = 2 * c->leadership_renewal_interval;

    if (c->leadership_renewal_interval > 0 &&
        !is_set(j, AT(cluster_leader_ttl_ms)))
        c->cluster_leader_ttl_ms = lease < 2000 ? 2000 : lease;
    if (c->leadership_renewal_interval > 15000)
        conf_warn(j, "LEADERSHIP_RENEWAL_INTERVAL: above 15000 a new leader "
                     "may take longer than 30 s");
}

void conf_derive(struct conf_judge *j)
{
    struct conf *c = j->conf;

    c->fcgi_listen_set = is_set(j, AT(fcgi_listen));
    if (c->dev_verbose)
        c->log_level = LOG_DEBUG;
    if (!is_set(j, AT(mongodb_database_name)))
        derive_database(j);
    if (!is_set(j, AT(redis_url)))
        derive_redis(j);
    if (!is_set(j, AT(cluster_instance_id)))
        derive_instance(j);
    derive_base_urls(j);
    derive_pool(j);
    derive_lease(j);
}

#define ORDER(low, high, is_less)                                              \
    {                                                                          \
        AT(low), AT(high), is_less                                             \
    }

/* The first must not be above the second (below it, where is_less). */
static const struct order {
    size_t low, high;
    bool is_less;
} orders[] = {
    ORDER(default_page_size, max_page_size, false),
    ORDER(db_reconnect_initial_delay, db_reconnect_max_delay, false),
    ORDER(webhooks_retry_delay, webhooks_retry_max_delay, false),
    ORDER(script_base_delay_ms, script_max_delay_ms, false),
    ORDER(scripts_vm_timeout, scripts_execution_timeout, false),
    ORDER(scripts_execution_timeout, max_script_execution_time, false),
    ORDER(webhook_connect_timeout, webhook_timeout, false),
    ORDER(cluster_scaling_min_instances, cluster_scaling_max_instances, false),
    ORDER(drain_delay_ms, shutdown_grace_ms, true),
};

static int64_t number_at(const struct conf *c, size_t offset)
{
    const void *at = (const char *)c + offset;

    return *(const int64_t *)at;
}

static void check_order(struct conf_judge *j, const struct order *o)
{
    const struct conf_row *low = conf_row_at(o->low);
    const struct conf_row *high = conf_row_at(o->high);
    int64_t a = number_at(j->conf, o->low), b = number_at(j->conf, o->high);
    char expected[160], value[24];

    if (conf_origin_at(j->conf, o->low)->is_bad ||
        conf_origin_at(j->conf, o->high)->is_bad || a < b ||
        (a == b && !o->is_less))
        return;
    (void)snprintf(value, sizeof value, "%lld", (long long)a);
    (void)snprintf(expected, sizeof expected, "%s %s (%lld)",
                   o->is_less ? "less than" : "at most", high->name,
                   (long long)b);
    conf_problem(j, low, str_of(value), expected);
}

/* Also the older spellings of 0.0.0.0 that a resolver would take. */
static bool is_wildcard(str host)
{
    char z[256];
    struct in_addr old;
    struct addr a;

    if (host.n == 0 || str_eq(host, STR("*")))
        return true;
    if (addr_parse(host, &a))
        return addr_is_any(&a);
    (void)snprintf(z, sizeof z, STR_FMT, STR_ARG(host));
    return inet_aton(z, &old) && old.s_addr == 0;
}

static void check_listen(struct conf_judge *j)
{
    str listen = str_of(j->conf->fcgi_listen), host;
    int64_t port;

    if (j->conf->fcgi_allow_public || str_starts(listen, STR("unix:")) ||
        str_eq(listen, STR("fd:0")))
        return;
    if (conf_form_host_port(listen, &host, &port) && is_wildcard(host))
        conf_problem(j, conf_row_at(AT(fcgi_listen)), listen,
                     "one address, or FCGI_ALLOW_PUBLIC=true for all");
}

static void check_texts(struct conf_judge *j)
{
    const struct conf *c = j->conf;
    str health = str_of(c->health_endpoint);

    if (c->csv_delimiter == c->csv_quote_char ||
        c->csv_delimiter == c->csv_escape_char)
        conf_problem(j, conf_row_at(AT(csv_delimiter)),
                     (str){&c->csv_delimiter, 1},
                     "char other than CSV_QUOTE_CHAR and CSV_ESCAPE_CHAR");
    if (str_eq(health, STR("/api")) || str_starts(health, STR("/api/")))
        conf_problem(j, conf_row_at(AT(health_endpoint)), health,
                     "path not under /api");
}

/*
 * By a child that ends at once: a supervisor keeps no state of libcrypto. A
 * child that dies over the key has judged it as well.
 */
static enum hash_key judge_apart(str pem)
{
    unsigned char kind = HASH_KEY_NONE;
    int ends[2];
    pid_t child;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return HASH_KEY_NONE;
    child = fork();
    if (child == 0) {
        kind = (unsigned char)hash_key_judge(pem);
        _exit(write(ends[1], &kind, 1) != 1);
    }
    close(ends[1]);
    if (child > 0) {
        if (read(ends[0], &kind, 1) != 1)
            kind = HASH_KEY_NONE;
        (void)waitpid(child, NULL, 0);
    }
    close(ends[0]);
    return (enum hash_key)kind;
}

static void check_public_key(struct conf_judge *j)
{
    struct conf *c = j->conf;
    str pem = str_of(c->jwt_public_key);

    if (pem.n == 0)
        return;
    c->jwt_public_key_use = judge_apart(pem);
    if (c->jwt_public_key_use == HASH_KEY_NONE)
        conf_problem(j, conf_row_at(AT(jwt_public_key)), pem,
                     "a public key that can be read, RSA of 2048 bits or more "
                     "or EC on the curve P-256");
}

static void check_warned(struct conf_judge *j)
{
    const struct conf *c = j->conf;

    if (c->cors_credentials && strcmp(c->cors_origin, "*") == 0)
        conf_warn(j, "CORS_CREDENTIALS: browsers refuse credentials while "
                     "CORS_ORIGIN is *");
    if (c->fcgi_processes * c->db_max_pool_size > 1000)
        conf_warn(j,
                  "FCGI_PROCESSES: %d processes with %d connections each "
                  "are more than 1000 connections",
                  (int)c->fcgi_processes, (int)c->db_max_pool_size);
}

void conf_check(struct conf_judge *j)
{
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++)
        check_order(j, &orders[i]);
    check_listen(j);
    check_texts(j);
    check_public_key(j);
    check_warned(j);
}
