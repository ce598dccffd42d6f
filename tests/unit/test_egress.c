/* test_egress - which addresses may be dialled, by the allow list and by what
 * is our own */
#include "lib/run/egress.h"

#include <ifaddrs.h>
#include <stdio.h>
#include <sys/socket.h>

#include "tests/unit/support.h"

enum {
    LOOK_UP_MS = 5000
};

static struct conf conf;
static struct egress egress;

static void set_up(struct ctx *c, const char *allow)
{
    ctx_reset(c);
    assert_true(
        addr_ranges_parse(str_of(allow), &c->arena, &conf.webhook_allow_cidrs));
    egress_init(&egress, &conf);
}

static bool allows(const char *text, uint16_t port)
{
    struct addr a;

    assert_true(addr_parse(str_of(text), &a));
    return egress_allows(&egress, &a, port);
}

static void deny(const char *host, uint16_t port)
{
    assert_true(egress_deny(&egress, host, port, LOOK_UP_MS));
}

static void without_a_list_only_global_addresses(void **state)
{
    set_up(*state, "");
    assert_true(allows("8.8.8.8", 80));
    assert_true(allows("2606:4700::1111", 443));
    assert_true(allows("64:ff9b::808:808", 443));
    assert_false(allows("127.0.0.1", 80));
    assert_false(allows("::1", 80));
    assert_false(allows("10.0.0.1", 80));
    assert_false(allows("fd00::1", 80));
    assert_false(allows("169.254.169.254", 80));
    assert_false(allows("64:ff9b::7f00:1", 80));
    assert_false(allows("2002:7f00:1::", 80));
    assert_false(allows("::ffff:127.0.0.1", 80));
}

static void list_opens_ranges_in_all_spellings(void **state)
{
    set_up(*state, "10.0.0.0/8, 127.0.0.1, fd12::/16, ::1");
    assert_true(allows("10.255.0.1", 80));
    assert_true(allows("::ffff:10.0.0.1", 80));
    assert_true(allows("64:ff9b::a00:1", 80));
    assert_true(allows("127.0.0.1", 80));
    assert_true(allows("fd12::1", 80));
    assert_true(allows("::1", 80));
    assert_false(allows("127.0.0.2", 80));
    assert_false(allows("fd13::1", 80));
    assert_false(allows("11.0.0.1", 80) && allows("192.168.0.1", 80));
    assert_true(allows("8.8.8.8", 80));
}

static void wrapped_addresses_are_not_opened_by_the_wrapping(void **state)
{
    set_up(*state, "2002::/16, 64:ff9b::/96");
    assert_false(allows("2002:7f00:1::", 80));
    assert_false(allows("64:ff9b::7f00:1", 80));
}

static void metadata_needs_an_entry_of_its_own(void **state)
{
    set_up(*state, "169.254.0.0/16, fd00::/8, 0.0.0.0/0, ::/0");
    assert_false(allows("169.254.169.254", 80));
    assert_false(allows("::ffff:169.254.169.254", 80));
    assert_false(allows("64:ff9b::a9fe:a9fe", 80));
    assert_false(allows("fd00:ec2::254", 80));
    assert_true(allows("169.254.169.253", 80));
    assert_true(allows("fd00:ec2::253", 80));
    set_up(*state, "169.254.169.254");
    assert_true(allows("169.254.169.254", 80));
    assert_false(allows("fd00:ec2::254", 80));
    set_up(*state, "fd00:ec2::254/128");
    assert_true(allows("fd00:ec2::254", 80));
    assert_false(allows("169.254.169.254", 80));
    set_up(*state, "169.254.169.254/31");
    assert_false(allows("169.254.169.254", 80));
}

static void own_places_stay_closed(void **state)
{
    set_up(*state, "0.0.0.0/0, ::/0");
    deny("10.1.2.3", 27017);
    deny("2001:db8::7", 6379);
    assert_false(allows("10.1.2.3", 27017));
    assert_false(allows("::ffff:10.1.2.3", 27017));
    assert_false(allows("64:ff9b::a01:203", 27017));
    assert_true(allows("10.1.2.3", 27018));
    assert_true(allows("10.1.2.4", 27017));
    assert_false(allows("2001:db8::7", 6379));
    assert_true(allows("2001:db8::7", 27017));
}

/* The first address of an interface that is not loopback, or NULL. */
static struct addr *address_of_the_host(void)
{
    static struct addr found;
    struct ifaddrs *list;
    bool any = false;
    struct addr a;
    uint16_t port;

    assert_int_equal(getifaddrs(&list), 0);
    for (const struct ifaddrs *i = list; i && !any; i = i->ifa_next)
        if (i->ifa_addr && addr_of_sockaddr(i->ifa_addr, &a, &port) &&
            a.b[10] == 0xff && a.b[12] != 127) {
            found = a;
            any = true;
        }
    freeifaddrs(list);
    return any ? &found : NULL;
}

static void own_place_on_loopback_is_closed_by_all_names(void **state)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1", "0.0.0.0",
                                        "::1"};
    const struct addr *host = address_of_the_host();

    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        set_up(*state, "0.0.0.0/0, ::/0");
        deny(hosts[i], 27017);
        assert_false(allows("127.0.0.1", 27017));
        assert_false(allows("127.9.9.9", 27017));
        assert_false(allows("::1", 27017));
        assert_false(allows("0.0.0.0", 27017));
        assert_false(allows("::", 27017));
        assert_true(allows("127.0.0.1", 27018));
        assert_true(allows("198.51.100.77", 27017));
        if (host)
            assert_false(egress_allows(&egress, host, 27017));
    }
}

/* It may listen on all addresses of the host, whichever we use ourselves. */
static void own_place_on_this_host_is_closed_by_all_names(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "127.9.9.9", "::1",
                                        "0.0.0.0"};
    const struct addr *host = address_of_the_host();
    char text[32];

    if (!host)
        return;
    set_up(*state, "0.0.0.0/0, ::/0");
    snprintf(text, sizeof text, "%d.%d.%d.%d", host->b[12], host->b[13],
             host->b[14], host->b[15]);
    deny(text, 27017);
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        assert_false(allows(hosts[i], 27017));
        assert_true(allows(hosts[i], 27018));
    }
}

static void own_places_are_taken_over(void **state)
{
    struct egress before;

    set_up(*state, "0.0.0.0/0, ::/0");
    deny("10.1.2.3", 27017);
    before = egress;
    egress_init(&egress, &conf);
    deny("10.1.2.4", 27017);
    egress_deny_too(&egress, &before);
    assert_false(allows("10.1.2.3", 27017));
    assert_false(allows("10.1.2.4", 27017));
    assert_int_equal(egress.own_n, 2);
}

static void own_places_have_a_ceiling(void **state)
{
    char text[32];

    set_up(*state, "0.0.0.0/0");
    for (int i = 0; i < 2 * EGRESS_OWN_MAX; i++) {
        snprintf(text, sizeof text, "10.0.0.%d", i);
        deny(text, 1);
        deny(text, 1); /* twice takes no more room */
    }
    assert_int_equal(egress.own_n, EGRESS_OWN_MAX);
    assert_false(allows("10.0.0.63", 1));
}

static void host_that_does_not_resolve_denies_nothing(void **state)
{
    set_up(*state, "");
    assert_false(egress_deny(&egress, "nowhere.invalid", 27017, LOOK_UP_MS));
    assert_int_equal(egress.own_n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_list_only_global_addresses),
        cmocka_unit_test(list_opens_ranges_in_all_spellings),
        cmocka_unit_test(wrapped_addresses_are_not_opened_by_the_wrapping),
        cmocka_unit_test(metadata_needs_an_entry_of_its_own),
        cmocka_unit_test(own_places_stay_closed),
        cmocka_unit_test(own_place_on_loopback_is_closed_by_all_names),
        cmocka_unit_test(own_place_on_this_host_is_closed_by_all_names),
        cmocka_unit_test(own_places_are_taken_over),
        cmocka_unit_test(own_places_have_a_ceiling),
        cmocka_unit_test(host_that_does_not_resolve_denies_nothing),
    };

    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
