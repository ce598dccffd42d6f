/* test_own - where our own servers are, out of the settings */
#include "lib/coord/own.h"

#include "lib/base/buf.h"
#include "tests/unit/support.h"

static char room[1024];
static struct buf found;

static void note(void *arg, const char *host, uint16_t port)
{
    assert_ptr_equal(arg, &found);
    buf_addf(&found, "%s %d\n", host, port);
}

static void places_are(const struct conf *conf, const char *want)
{
    found = buf_over(room, sizeof room);
    own_places(conf, note, &found);
    assert_false(found.err);
    support_assert_str(buf_str(&found), want, __FILE__, __LINE__);
}

static struct conf conf_of(const char *mongodb, const char *redis,
                           const char *listen)
{
    return (struct conf){
        .mongodb_connection_string = mongodb,
        .redis_url = redis,
        .fcgi_listen = listen,
        .cluster_enabled = true,
    };
}

static void hosts_of_all_settings_are_told(void **state)
{
    struct conf conf =
        conf_of("mongodb://u:p@a.example,b.example:27018,"
                "[2001:db8::7]:27019/db?replicaSet=r",
                "redis://:secret@r.example:6380/1", "tcp:10.0.0.7:9000");

    (void)state;
    places_are(&conf, "a.example 27017\nb.example 27018\n2001:db8::7 27019\n"
                      "r.example 6380\n10.0.0.7 9000\n");
}

static void default_ports_and_odd_hosts_are_known(void **state)
{
    struct conf conf =
        conf_of("mongodb://localhost", "redis://[::1]", "[::]:9000");

    (void)state;
    places_are(&conf, "localhost 27017\n::1 6379\n:: 9000\n");
    conf.fcgi_listen = ":9001";
    conf.redis_url = "none";
    places_are(&conf, "localhost 27017\n0.0.0.0 9001\n");
}

static void local_sockets_are_no_places(void **state)
{
    struct conf conf =
        conf_of("mongodb://%2Ftmp%2Fmongodb-27017.sock", "unix:/run/redis.sock",
                "unix:/run/sql-free/app.sock");

    (void)state;
    places_are(&conf, "");
    conf.fcgi_listen = "fd:0";
    places_are(&conf, "");
    conf.fcgi_listen = "unix:/run/a:80";
    places_are(&conf, "");
}

static void redis_that_is_never_asked_is_no_place(void **state)
{
    struct conf conf =
        conf_of("mongodb://localhost", "redis://r.example", "fd:0");

    (void)state;
    conf.cluster_enabled = false;
    places_are(&conf, "localhost 27017\n");
}

static void texts_that_cannot_be_read_name_no_place(void **state)
{
    struct conf conf = conf_of("nonsense", "http://r.example", "nonsense");

    (void)state;
    places_are(&conf, "");
    conf.fcgi_listen = "host:0";
    places_are(&conf, "");
    conf.fcgi_listen = "host:65536";
    places_are(&conf, "");
}

static void srv_name_itself_is_told(void **state)
{
    struct conf conf =
        conf_of("mongodb+srv://cluster.example.net/db", "none", "fd:0");

    (void)state;
    places_are(&conf, "cluster.example.net 27017\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_of_all_settings_are_told),
        cmocka_unit_test(default_ports_and_odd_hosts_are_known),
        cmocka_unit_test(local_sockets_are_no_places),
        cmocka_unit_test(redis_that_is_never_asked_is_no_place),
        cmocka_unit_test(texts_that_cannot_be_read_name_no_place),
        cmocka_unit_test(srv_name_itself_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
