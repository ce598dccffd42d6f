/* mongod - see mongod.h */
#include "tests/unit/mongod.h"

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <mongoc/mongoc.h>

#include "lib/base/clock.h"

enum {
    CLIENTS = 16,
    FIRST_PORT = 10000,
    PORTS = 5000,
    STARTS = 3, /* a free port may be taken by somebody else meanwhile */
    PATIENCE_MS = 60000,
    TEST_MS = 30000,
    ARENA_BYTES = 64 << 20,
    URI_MAX = 128
};

struct mongod mongod;
static pid_t pid;
static struct ctx ctx;
static mongoc_client_t *raw; /* for what is done past lib/data */

/* True: no other program of tests has it, as long as this one runs. */
static bool reserve(int port)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "sql-free test port %d",
             port);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return true;
    close(fd);
    return false;
}

static bool is_free(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool free = bind(fd, (struct sockaddr *)&a, sizeof a) == 0;

    close(fd);
    return free;
}

/* Not one of those that the kernel gives to connections and to others that
 * look for one, while the server starts. */
static int free_port(void)
{
    int port = FIRST_PORT + getpid() % PORTS;

    for (int i = 0; i < PORTS; i++) {
        port = port + 1 < FIRST_PORT + PORTS ? port + 1 : FIRST_PORT;
        if (reserve(port) && is_free(port))
            return port;
    }
    fail_msg("no port is free");
    return 0;
}

static void exec_server(const char *root, int port)
{
    char port_text[16];

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(port_text, sizeof port_text, "%d", port);
    if (!freopen("mongod.log", "w", stdout))
        _exit(126);
    execl("/bin/sh", "sh", "-c",
          "own=$(\"$0\"/conf/dev/mongod.sh) && exec \"$own\" \"$@\"", root,
          "--port", port_text, "--dbpath", "mongo", "--bind_ip", "127.0.0.1",
          "--replSet", "rs0", "--noscripting", "--nounixsocket", "--oplogSize",
          "32", "--wiredTigerCacheSizeGB", "0.25", "--setParameter",
          "diagnosticDataCollectionEnabled=false", "--setParameter",
          "enableTestCommands=1", (char *)NULL);
    _exit(127);
}

static void stop_server(void)
{
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    pid = 0;
}

static void nap(void)
{
    poll(NULL, 0, 20);
}

/* True when the command went well. The reply is not looked at. */
static bool succeeds(mongoc_client_t *client, bson_t *cmd)
{
    bson_error_t e;
    bool good =
        mongoc_client_command_simple(client, "admin", cmd, NULL, NULL, &e);

    bson_destroy(cmd);
    return good;
}

static bool is_primary(mongoc_client_t *client)
{
    bson_t *cmd = BCON_NEW("hello", BCON_INT32(1)), reply;
    bson_iter_t it;
    bool yes = mongoc_client_command_simple(client, "admin", cmd, NULL, &reply,
                                            NULL) &&
               bson_iter_init_find(&it, &reply, "isWritablePrimary") &&
               bson_iter_as_bool(&it);

    bson_destroy(&reply);
    bson_destroy(cmd);
    return yes;
}

static bool listens(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;

    close(fd);
    return yes;
}

/* False when it has ended: its port was not free any more. The driver would
 * not look again for 5 s, so it looks only once there is something to see. */
static bool await_server(int port)
{
    ms end = clock_mono_ms() + PATIENCE_MS;

    while (!listens(port)) {
        if (waitpid(pid, NULL, WNOHANG) == pid) {
            pid = 0;
            return false;
        }
        assert_true(clock_mono_ms() < end);
        nap();
    }
    return true;
}

static void make_primary(mongoc_client_t *client, const char *host)
{
    ms end = clock_mono_ms() + PATIENCE_MS;

    assert_true(succeeds(client, BCON_NEW("replSetInitiate", "{", "_id", "rs0",
                                          /* no test needs the disk */
                                          "writeConcernMajorityJournalDefault",
                                          BCON_BOOL(false), "members", "[", "{",
                                          "_id", BCON_INT32(0), "host",
                                          BCON_UTF8(host), "}", "]", "}")));
    while (!is_primary(client)) {
        assert_true(clock_mono_ms() < end);
        nap();
    }
}

static bool start_server(char host[URI_MAX])
{
    const char *root = getenv("ROOT"); /* of the source */
    mongoc_client_t *client;
    int port = free_port();
    char uri[URI_MAX];

    if (!root)
        fail_msg("ROOT is not set; tests/unit/run.sh does it");
    snprintf(host, URI_MAX, "127.0.0.1:%d", port);
    snprintf(uri, sizeof uri,
             "mongodb://127.0.0.1:%d/?directConnection=true"
             "&serverSelectionTimeoutMS=2000",
             port);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        exec_server(root, port);
    if (!await_server(port))
        return false;
    client = mongoc_client_new(uri);
    assert_non_null(client);
    make_primary(client, host);
    mongoc_client_destroy(client);
    return true;
}

static void stop_at_exit(void)
{
    stop_server();
}

int mongod_setup(void **state)
{
    char host[URI_MAX], uri[2 * URI_MAX];
    char *env[] = {uri, (char[]){"MONGODB_DATABASE_NAME=unit"}, NULL};
    struct mongo_limits limits;
    int tries = 0, problems;

    mongoc_init();
    mongoc_log_set_handler(NULL, NULL);
    atexit(stop_at_exit);
    mkdir("mongo", 0700);
    while (!start_server(host))
        assert_true(++tries < STARTS);
    snprintf(uri, sizeof uri, "MONGODB_URI=mongodb://%s/?replicaSet=rs0", host);
    mongod.conf = conf_new(env, "", stderr, &problems);
    assert_non_null(mongod.conf);
    assert_int_equal(problems, 0);
    mongod.conf->db_max_pool_size = CLIENTS;
    limits = mongo_limits_of(mongod.conf, CLIENTS);
    mongod.pool = mongo_pool_new(mongod.conf, &limits);
    assert_non_null(mongod.pool);
    raw = mongoc_client_new(mongod.conf->mongodb_connection_string);
    assert_non_null(raw);
    mongoc_client_set_error_api(raw, MONGOC_ERROR_API_VERSION_2);
    mongod_open(&ctx);
    *state = &ctx;
    return 0;
}

int mongod_teardown(void **state)
{
    (void)state;
    mongod_close(&ctx);
    mongoc_client_destroy(raw);
    mongo_pool_free(mongod.pool);
    conf_free(mongod.conf);
    stop_server();
    mongoc_cleanup();
    return 0;
}

void mongod_open(struct ctx *c)
{
    ctx_init(c, mongod.conf, ARENA_BYTES);
    c->deadline = clock_mono_ms() + TEST_MS;
    c->mongo = mongo_client_new(mongod.pool);
    assert_non_null(c->mongo);
}

void mongod_close(struct ctx *c)
{
    mongo_client_free(c->mongo);
    ctx_done(c);
}

static void drop_all(void)
{
    mongoc_database_t *db =
        mongoc_client_get_database(raw, mongod.conf->mongodb_database_name);
    bson_error_t e = {0};
    char **names = mongoc_database_get_collection_names_with_opts(db, NULL, &e);

    if (!names)
        fail_msg("%s", e.message);
    for (char **name = names; name && *name; name++) {
        mongoc_collection_t *one = mongoc_database_get_collection(db, *name);

        if (!mongoc_collection_drop(one, &e) && e.code != 26)
            fail_msg("%s", e.message);
        mongoc_collection_destroy(one);
    }
    bson_strfreev(names);
    mongoc_database_destroy(db);
}

int mongod_fresh(void **state)
{
    drop_all();
    ctx_reset(&ctx);
    ctx.deadline = clock_mono_ms() + TEST_MS;
    *state = &ctx;
    return 0;
}

static const bson_t *do_on(struct ctx *c, const char *db, bson_t *cmd)
{
    bson_t *kept = mongo_bson(c), reply;
    bson_error_t e = {0};

    assert_non_null(kept);
    if (!mongoc_client_command_simple(raw, db, cmd, NULL, &reply, &e))
        fail_msg("%s", e.message);
    bson_concat(kept, &reply);
    bson_destroy(&reply);
    bson_destroy(cmd);
    return kept;
}

const bson_t *mongod_do(struct ctx *c, bson_t *cmd)
{
    return do_on(c, mongod.conf->mongodb_database_name, cmd);
}

void mongod_fail(struct ctx *c, const char *command, int times, int code,
                 const char *label)
{
    bson_t data = BSON_INITIALIZER;

    BCON_APPEND(&data, "failCommands", "[", BCON_UTF8(command), "]");
    if (code)
        BSON_APPEND_INT32(&data, "errorCode", code);
    else
        BSON_APPEND_BOOL(&data, "closeConnection", true);
    if (label)
        BCON_APPEND(&data, "errorLabels", "[", BCON_UTF8(label), "]");
    (void)do_on(c, "admin",
                BCON_NEW("configureFailPoint", "failCommand", "mode", "{",
                         "times", BCON_INT32(times), "}", "data",
                         BCON_DOCUMENT(&data)));
    bson_destroy(&data);
}

void mongod_let_take_time(struct ctx *c)
{
    (void)do_on(c, "admin",
                BCON_NEW("configureFailPoint", "maxTimeNeverTimeOut", "mode",
                         "alwaysOn"));
}

const bson_t *mongod_find(struct ctx *c, const char *collection, const char *id)
{
    const bson_t *reply =
        mongod_do(c, BCON_NEW("find", BCON_UTF8(collection), "filter", "{",
                              "_id", BCON_UTF8(id), "}"));
    bson_t *kept = mongo_bson(c), cursor, batch, doc;

    assert_non_null(kept);
    assert_true(mongo_reply_doc(reply, "cursor", &cursor));
    assert_true(mongo_reply_doc(&cursor, "firstBatch", &batch));
    if (!mongo_reply_doc(&batch, "0", &doc))
        return NULL;
    bson_concat(kept, &doc);
    return kept;
}
