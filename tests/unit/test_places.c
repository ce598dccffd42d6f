/* test_places - our own servers as they are found again and again */
#include "workers/places.c"

#include <stdio.h>

#include "tests/unit/mongod.h"

static struct egress egress;
static struct conf conf;

static bool allows(const char *text, int port)
{
    struct addr a;

    assert_true(addr_parse(str_of(text), &a));
    return egress_allows(&egress, &a, (uint16_t)port);
}

static struct places places_at(struct ctx *c, const char *redis)
{
    struct places p;

    conf = *mongod.conf;
    conf.cluster_enabled = true;
    conf.redis_url = redis;
    conf.fcgi_listen = "fd:0";
    assert_true(addr_ranges_parse(STR("0.0.0.0/0"), &c->arena,
                                  &conf.webhook_allow_cidrs));
    places_init(&p, &conf, c->mongo, &egress);
    return p;
}

static void one_that_is_lost_stays_denied_until_it_is_found(void **state)
{
    struct places p = places_at(*state, "redis://10.0.0.1:6379");
    ms now = clock_boot_ms();

    assert_false(allows("10.0.0.1", 6379));
    conf.redis_url = "redis://nowhere.invalid:6379";
    places_look(&p);
    assert_false(allows("10.0.0.1", 6379));
    assert_in_range(p.due_boot - now, 1, AGAIN_MS + LOOK_MS + 10000);
    conf.redis_url = "redis://10.0.0.2:6379";
    places_look(&p);
    assert_true(allows("10.0.0.1", 6379)); /* somebody else's by now */
    assert_false(allows("10.0.0.2", 6379));
    assert_true(p.due_boot - now >= EVERY_MS);
}

/* The connection string may name one of them only. */
static void members_that_the_driver_knows_are_denied(void **state)
{
    struct ctx *c = *state;
    struct places p;
    char uri[64], rest;
    int port;

    (void)mongod_do(c, BCON_NEW("ping", BCON_INT32(1)));
    assert_true(sscanf(mongod.conf->mongodb_connection_string,
                       "mongodb://127.0.0.1:%d%c", &port, &rest) >= 1);
    p = places_at(c, "none");
    assert_false(allows("127.0.0.1", port));
    snprintf(uri, sizeof uri, "mongodb://127.0.0.1:%d/", port == 9 ? 10 : 9);
    conf.mongodb_connection_string = uri;
    places_look(&p);
    assert_false(allows("127.0.0.1", port));
    assert_true(allows("127.0.0.1", 11));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MONGOD(one_that_is_lost_stays_denied_until_it_is_found),
        WITH_MONGOD(members_that_the_driver_knows_are_denied),
    };

    return cmocka_run_group_tests(tests, mongod_setup, mongod_teardown);
}
