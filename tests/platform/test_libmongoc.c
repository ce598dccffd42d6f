/* test_libmongoc - server selection and pools, where no server answers */
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mongoc/mongoc.h>

#include "lib/base/clock.h"
#include "tests/unit/support.h"

enum {
    SELECTION_MS = 700,
    BLOCKED_MS = 300,
    PATIENCE_MS = 10000
};

static int closed_fd = -1;
static char address[32];

/* A port that is bound but never listens: each connect is refused. */
static int setup(void **state)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;

    (void)state;
    mongoc_init();
    mongoc_log_set_handler(NULL, NULL);
    closed_fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(closed_fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        getsockname(closed_fd, (struct sockaddr *)&a, &n) != 0)
        return -1;
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(a.sin_port));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close(closed_fd);
    mongoc_cleanup();
    return 0;
}

static mongoc_uri_t *uri_of(const char *options)
{
    char text[256];
    mongoc_uri_t *uri;

    snprintf(text, sizeof text, "mongodb://%s/?%s", address, options);
    uri = mongoc_uri_new(text);
    assert_non_null(uri);
    return uri;
}

static mongoc_client_pool_t *pool_of(const char *options)
{
    mongoc_uri_t *uri = uri_of(options);
    mongoc_client_pool_t *pool = mongoc_client_pool_new(uri);

    mongoc_uri_destroy(uri);
    assert_non_null(pool);
    return pool;
}

static int threads_n(void)
{
    DIR *d = opendir("/proc/self/task");
    int n = 0;

    assert_non_null(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* How long a ping takes to fail. */
static ms failing_once(mongoc_client_t *client)
{
    bson_t *ping = BCON_NEW("ping", BCON_INT32(1));
    ms start = clock_mono_ms();
    bson_error_t e;

    assert_false(
        mongoc_client_command_simple(client, "admin", ping, NULL, NULL, &e));
    assert_int_equal(e.domain, MONGOC_ERROR_SERVER_SELECTION);
    bson_destroy(ping);
    return clock_mono_ms() - start;
}

/* At best: the machine may pause. */
static ms failing_ping(mongoc_client_t *client, ms enough)
{
    ms best = PATIENCE_MS;

    for (int i = 0; i < 5 && best >= enough; i++) {
        ms took = failing_once(client);

        best = took < best ? took : best;
    }
    return best;
}

static void p23_single_client_tries_once(void **state)
{
    mongoc_uri_t *uri = uri_of("serverSelectionTimeoutMS=20000");
    mongoc_client_t *client = mongoc_client_new_from_uri(uri);

    (void)state;
    assert_true(failing_ping(client, SELECTION_MS) < SELECTION_MS);
    mongoc_client_destroy(client);
    mongoc_uri_destroy(uri);
}

static void p23_pooled_client_tries_up_to_the_selection_timeout(void **state)
{
    mongoc_client_pool_t *pool = pool_of("serverSelectionTimeoutMS=700");
    mongoc_client_t *client = mongoc_client_pool_pop(pool);
    ms took = failing_ping(client, 2 * SELECTION_MS);

    (void)state;
    assert_true(took >= SELECTION_MS - 50 && took < 2 * SELECTION_MS);
    mongoc_client_pool_push(pool, client);
    mongoc_client_pool_destroy(pool);
}

static void p24_pool_starts_a_monitor_thread(void **state)
{
    int before = threads_n();
    mongoc_client_pool_t *pool = pool_of("serverSelectionTimeoutMS=700");
    mongoc_client_t *client = mongoc_client_pool_pop(pool);

    (void)state;
    assert_true(threads_n() > before);
    mongoc_client_pool_push(pool, client);
    mongoc_client_pool_destroy(pool);
}

struct popping {
    mongoc_client_pool_t *pool;
    int done[2]; /* a pipe that gets a byte after the pop */
};

static void *pop_and_push(void *arg)
{
    struct popping *p = arg;
    mongoc_client_t *client = mongoc_client_pool_pop(p->pool);

    mongoc_client_pool_push(p->pool, client);
    return write(p->done[1], "", 1) == 1 ? arg : NULL;
}

static void p24_pop_of_an_empty_pool_blocks(void **state)
{
    struct popping p = {.pool = pool_of("maxPoolSize=1")};
    mongoc_client_t *client = mongoc_client_pool_pop(p.pool);
    struct pollfd ended = {.events = POLLIN};
    pthread_t t;

    (void)state;
    assert_int_equal(pipe(p.done), 0);
    ended.fd = p.done[0];
    assert_null(mongoc_client_pool_try_pop(p.pool));
    assert_int_equal(pthread_create(&t, NULL, pop_and_push, &p), 0);
    assert_int_equal(poll(&ended, 1, BLOCKED_MS), 0);
    mongoc_client_pool_push(p.pool, client);
    assert_int_equal(poll(&ended, 1, PATIENCE_MS), 1);
    pthread_join(t, NULL);
    close(p.done[0]);
    close(p.done[1]);
    mongoc_client_pool_destroy(p.pool);
}

static void p24_wait_queue_timeout_ends_a_pop(void **state)
{
    mongoc_client_pool_t *pool = pool_of("maxPoolSize=1&waitQueueTimeoutMS=50");
    mongoc_client_t *client = mongoc_client_pool_pop(pool);

    (void)state;
    assert_null(mongoc_client_pool_pop(pool));
    mongoc_client_pool_push(pool, client);
    mongoc_client_pool_destroy(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(p23_single_client_tries_once),
        cmocka_unit_test(p23_pooled_client_tries_up_to_the_selection_timeout),
        cmocka_unit_test(p24_pool_starts_a_monitor_thread),
        cmocka_unit_test(p24_pop_of_an_empty_pool_blocks),
        cmocka_unit_test(p24_wait_queue_timeout_ends_a_pop),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
