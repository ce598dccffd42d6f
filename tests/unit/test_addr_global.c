/* test_addr_global - which addresses are global unicast: a table, with the
 * edges of each block of the special-purpose registries */
#include <netinet/in.h>

#include "lib/base/addr.h"
#include "tests/unit/support.h"

struct row {
    const char *text;
    bool global;
};

/* clang-format off */
static const struct row rows[] = {
    {"0.0.0.0", false},
    {"0.85.85.85", false},
    {"0.170.170.171", false},
    {"0.255.255.255", false},
    {"1.0.0.0", true},
    {"9.255.255.255", true},
    {"10.0.0.0", false},
    {"10.85.85.85", false},
    {"10.170.170.171", false},
    {"10.255.255.255", false},
    {"11.0.0.0", true},
    {"100.63.255.255", true},
    {"100.64.0.0", false},
    {"100.85.85.85", false},
    {"100.106.170.171", false},
    {"100.127.255.255", false},
    {"100.128.0.0", true},
    {"126.255.255.255", true},
    {"127.0.0.0", false},
    {"127.85.85.85", false},
    {"127.170.170.171", false},
    {"127.255.255.255", false},
    {"128.0.0.0", true},
    {"169.253.255.255", true},
    {"169.254.0.0", false},
    {"169.254.85.85", false},
    {"169.254.170.171", false},
    {"169.254.255.255", false},
    {"169.255.0.0", true},
    {"172.15.255.255", true},
    {"172.16.0.0", false},
    {"172.21.85.85", false},
    {"172.26.170.171", false},
    {"172.31.255.255", false},
    {"172.32.0.0", true},
    {"191.255.255.255", true},
    {"192.0.0.0", false},
    {"192.0.0.85", false},
    {"192.0.0.171", false},
    {"192.0.0.255", false},
    {"192.0.1.0", true},
    {"192.0.1.255", true},
    {"192.0.2.0", false},
    {"192.0.2.85", false},
    {"192.0.2.171", false},
    {"192.0.2.255", false},
    {"192.0.3.0", true},
    {"192.88.98.255", true},
    {"192.88.99.0", false},
    {"192.88.99.85", false},
    {"192.88.99.171", false},
    {"192.88.99.255", false},
    {"192.88.100.0", true},
    {"192.167.255.255", true},
    {"192.168.0.0", false},
    {"192.168.85.85", false},
    {"192.168.170.171", false},
    {"192.168.255.255", false},
    {"192.169.0.0", true},
    {"198.17.255.255", true},
    {"198.18.0.0", false},
    {"198.18.170.170", false},
    {"198.19.85.85", false},
    {"198.19.255.255", false},
    {"198.20.0.0", true},
    {"198.51.99.255", true},
    {"198.51.100.0", false},
    {"198.51.100.85", false},
    {"198.51.100.171", false},
    {"198.51.100.255", false},
    {"198.51.101.0", true},
    {"203.0.112.255", true},
    {"203.0.113.0", false},
    {"203.0.113.85", false},
    {"203.0.113.171", false},
    {"203.0.113.255", false},
    {"203.0.114.0", true},
    {"223.255.255.255", true},
    {"224.0.0.0", false},
    {"229.85.85.85", false},
    {"234.170.170.171", false},
    {"239.255.255.255", false},
    {"240.0.0.0", false},
    {"245.85.85.85", false},
    {"250.170.170.171", false},
    {"255.255.255.255", false},
    {"1.0.0.1", true},
    {"9.9.9.9", true},
    {"151.101.1.1", true},
    {"223.255.255.254", true},
    {"1.1.1.1", true},
    {"8.8.8.8", true},
    {"93.184.216.34", true},
    {"169.254.169.254", false},
    {"192.31.196.1", true},
    {"192.52.193.1", true},
    {"192.175.48.1", true},
    {"100.100.100.200", false},
    {"::", false},
    {"::1", false},
    {"::2", false},
    {"::ffff", false},
    {"::7f00:1", false},
    {"::7f00:0", false},
    {"::a00:1", false},
    {"::808:808", true},
    {"::ffff:0.0.0.0", false},
    {"::ffff:127.0.0.1", false},
    {"::ffff:10.0.0.1", false},
    {"::ffff:8.8.8.8", true},
    {"::ffff:169.254.169.254", false},
    {"::ffff:ffff:ffff", false},
    {"::fffe:808:808", false},
    {"::ffff:0:7f00:1", false},
    {"::1:0:0", false},
    {"64:ff9b::7f00:1", false},
    {"64:ff9b::a00:1", false},
    {"64:ff9b::808:808", true},
    {"64:ff9b::c0a8:101", false},
    {"64:ff9b::a9fe:a9fe", false},
    {"64:ff9b::1:0:0", false},
    {"64:ff9b:1::808:808", false},
    {"64:ff9b:1::", false},
    {"64:ff9a::808:808", false},
    {"2002:7f00:1::", false},
    {"2002:a00:1::1", false},
    {"2002:808:808::1", true},
    {"2002:c0a8:101::5", false},
    {"2002:a9fe:a9fe::", false},
    {"2002::", false},
    {"2002:ffff:ffff::", false},
    {"2002:e000:1::", false},
    {"2003::1", true},
    {"2001:fff:ffff:ffff:ffff:ffff:ffff:ffff", true},
    {"100::", false},
    {"100::1", false},
    {"100:0:0:1::", false},
    {"1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"2000::", true},
    {"2000::1", true},
    {"2001::", false},
    {"2001::1", false},
    {"2001:0:4136:e378:8000:63bf:3fff:fdd2", false},
    {"2001:1::1", false},
    {"2001:2::1", false},
    {"2001:3::1", false},
    {"2001:4:112::1", false},
    {"2001:10::1", false},
    {"2001:20::1", false},
    {"2001:30::1", false},
    {"2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"2001:200::", true},
    {"2001:4860:4860::8888", true},
    {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", true},
    {"2001:db8::", false},
    {"2001:db8::1", false},
    {"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"2001:db9::", true},
    {"2606:4700::1111", true},
    {"2620:4f:8000::1", true},
    {"2620:fe::fe", true},
    {"2a00:1450:4001::1", true},
    {"3ffe::", true},
    {"3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
    {"3fff::", false},
    {"3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"3fff:1000::", true},
    {"3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true},
    {"4000::", false},
    {"5f00::1", false},
    {"8000::1", false},
    {"c000::1", false},
    {"e000::1", false},
    {"f000::1", false},
    {"fbff::", false},
    {"fc00::", false},
    {"fc00::1", false},
    {"fd00:ec2::254", false},
    {"fd00::1", false},
    {"fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"fe00::1", false},
    {"fe80::", false},
    {"fe80::1", false},
    {"fe80::a9fe:a9fe", false},
    {"febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"fec0::", false},
    {"fec0::1", false},
    {"feff::1", false},
    {"ff00::", false},
    {"ff01::1", false},
    {"ff02::1", false},
    {"ff05::2", false},
    {"ff0e::1", false},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
    {"1::1", false},
    {"0:1::", false},
    {"10::1", false},
    {"400::1", false},
    {"200::1", false},
    {"4:5:6:7:8:9:a:b", false},
};
/* clang-format on */

static void table_is_obeyed(void **state)
{
    struct addr a;

    (void)state;
    assert_true(sizeof rows / sizeof *rows >= 200);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_true(addr_parse(str_of(rows[i].text), &a));
        if (addr_is_global(&a) != rows[i].global)
            fail_msg("%s", rows[i].text);
    }
}

static void ipv4_is_taken_out_of_ipv6(void **state)
{
    static const char *const pairs[][2] = {
        {"1.2.3.4", "1.2.3.4"},
        {"::ffff:1.2.3.4", "1.2.3.4"},
        {"::1.2.3.4", "1.2.3.4"},
        {"64:ff9b::1.2.3.4", "1.2.3.4"},
        {"2002:102:304:5::6", "1.2.3.4"},
        {"64:ff9b:1::1.2.3.4", "64:ff9b:1::1.2.3.4"},
        {"2001:db8::1.2.3.4", "2001:db8::1.2.3.4"},
        {"::1", "::1"},
        {"::", "::"},
        {"::2", "0.0.0.2"},
        /* only once: what is inside is an IPv4 address */
        {"2002:7f00:1::", "127.0.0.1"},
    };
    struct addr a, b;

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_true(addr_parse(str_of(pairs[i][0]), &a));
        assert_true(addr_parse(str_of(pairs[i][1]), &b));
        a = addr_unwrap(&a);
        assert_memory_equal(&a, &b, sizeof a);
    }
}

static void addresses_of_sockets_are_read(void **state)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(80)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
    struct sockaddr other = {.sa_family = AF_UNIX};
    struct addr a, want;
    uint16_t port;

    (void)state;
    v4.sin_addr.s_addr = htonl(0x01020304);
    assert_true(addr_of_sockaddr((struct sockaddr *)&v4, &a, &port));
    assert_true(addr_parse(STR("1.2.3.4"), &want));
    assert_memory_equal(&a, &want, sizeof a);
    assert_int_equal(port, 80);
    v6.sin6_addr = in6addr_loopback;
    assert_true(addr_of_sockaddr((struct sockaddr *)&v6, &a, &port));
    assert_true(addr_parse(STR("::1"), &want));
    assert_memory_equal(&a, &want, sizeof a);
    assert_int_equal(port, 443);
    assert_false(addr_of_sockaddr(&other, &a, &port));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_obeyed),
        cmocka_unit_test(ipv4_is_taken_out_of_ipv6),
        cmocka_unit_test(addresses_of_sockets_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
