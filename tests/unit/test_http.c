/* test_http - what is sent, to whom, and to whom never */
#include "lib/run/http.h"

#include <dlfcn.h>
#include <netdb.h>

#include "lib/run/target.h"
#include "tests/unit/http_world.h"

/*
 * The resolver of the program, libcurl's too. rebind.test: a global address
 * at first, then loopback; mixed.test: both an inner and a loopback address.
 */
static atomic_int rebinds;

int getaddrinfo(const char *host, const char *service,
                const struct addrinfo *hints, struct addrinfo **out)
{
    typedef int resolver(const char *, const char *, const struct addrinfo *,
                         struct addrinfo **);
    void *next = dlsym(RTLD_NEXT, "getaddrinfo");
    resolver *real;
    int e;

    memcpy(&real, &next, sizeof real); /* no cast is allowed between them */
    if (host && strcmp(host, "rebind.test") == 0)
        return real(atomic_fetch_add(&rebinds, 1) ? "127.0.0.1" : "8.8.8.8",
                    service, hints, out);
    if (!host || strcmp(host, "mixed.test") != 0)
        return real(host, service, hints, out);
    e = real("10.9.9.9", service, hints, out);
    return e ? e : real("127.0.0.1", service, hints, &(*out)->ai_next);
}

static bool head_has(const char *text)
{
    return strstr(peer.head, text) != NULL;
}

static void request_arrives_as_given(void **state)
{
    const struct http_header headers[] = {
        {STR("Content-Type"), STR("application/json")},
        {STR("User-Agent"), STR("MongoCRUD-Webhook/1.0")},
        {STR("webhook-id"), STR("msg_1")},
        {STR("X-Empty"), STR("")},
    };

    (void)state;
    request.headers = headers;
    request.headers_n = 4;
    assert_int_equal(post(peer_ok), HTTP_ANSWERED);
    status_is(200);
    assert_null(http_error_class(&answer));
    assert_int_equal(answer.retry_after_ms, -1);
    assert_int_equal(strncmp(peer.head, "POST /hook HTTP/1.1\r\n", 21), 0);
    assert_true(head_has("\r\nContent-Type: application/json\r\n"));
    assert_true(head_has("\r\nUser-Agent: MongoCRUD-Webhook/1.0\r\n"));
    assert_true(head_has("\r\nwebhook-id: msg_1\r\n"));
    assert_true(head_has("\r\nX-Empty:\r\n"));
    assert_false(head_has("Expect") || head_has("Accept-Encoding") ||
                 head_has("Cookie") || head_has("Authorization"));
    assert_int_equal(peer.body_n, request.body.n);
    assert_memory_equal(peer.body, request.body.p, request.body.n);
}

static void bodies_of_any_bytes_arrive(void **state)
{
    static char large[3 << 20];

    (void)state;
    request.body = STR("a\0b\r\n\r\nc");
    assert_int_equal(post(peer_ok), HTTP_ANSWERED);
    assert_int_equal(peer.body_n, 8);
    assert_memory_equal(peer.body, "a\0b\r\n\r\nc", 8);
    request.body = STR_NONE;
    assert_int_equal(post(peer_ok), HTTP_ANSWERED);
    assert_int_equal(peer.body_n, 0);
    request.body = (str){large, sizeof large};
    assert_int_equal(post(peer_ok), HTTP_ANSWERED);
    assert_int_equal(peer.body_n, sizeof large);
    assert_false(head_has("Expect"));
}

static void headers_that_would_be_two_are_refused(void **state)
{
    static const struct http_header bad[] = {
        {STR_INIT("X"), STR_INIT("a\r\nHost: b")},
        {STR_INIT("X"), STR_INIT("a\nb")},
        {STR_INIT("X"), STR_INIT("a\0b")},
        {STR_INIT("X\r\nY"), STR_INIT("a")},
        {STR_INIT(""), STR_INIT("a")},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        request.headers = &bad[i];
        request.headers_n = 1;
        assert_int_equal(post(peer_ok), HTTP_FAILED);
        assert_int_equal(peer.connections, 0);
    }
}

static bool says_204(int fd)
{
    return peer_text(fd, "HTTP/1.1 204 No Content\r\n\r\n");
}

static bool says_410(int fd)
{
    return peer_text(fd, "HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n");
}

static bool says_302(int fd)
{
    return peer_text(fd, "HTTP/1.1 302 Found\r\nLocation: /other\r\n"
                         "Set-Cookie: a=b\r\nContent-Length: 0\r\n\r\n");
}

static void status_is_told(void **state)
{
    (void)state;
    post(says_204);
    status_is(204);
    assert_null(http_error_class(&answer));
    post(says_410);
    status_is(410);
    class_is("http-status");
}

static void redirects_are_not_followed_and_cookies_not_kept(void **state)
{
    (void)state;
    post(says_302);
    status_is(302);
    class_is("http-status");
    assert_int_equal(peer.requests, 1);
    post(peer_ok);
    status_is(200);
    assert_false(head_has("Cookie"));
}

static bool says_continue(int fd)
{
    return peer_text(fd, "HTTP/1.1 100 Continue\r\n\r\n"
                         "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
                         "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
}

static void provisional_answers_do_not_count(void **state)
{
    (void)state;
    post(says_continue);
    status_is(201);
}

static void connections_are_kept_for_their_key_only(void **state)
{
    static const str keys[] = {STR_INIT("a"), STR_INIT("b"), STR_INIT("c"),
                               STR_INIT("d"), STR_INIT("e"), STR_INIT("f"),
                               STR_INIT("g"), STR_INIT("h"), STR_INIT("i")};

    (void)state;
    for (int i = 0; i < 5; i++) {
        http_post(http, &request, &answer);
        status_is(200);
    }
    assert_int_equal(peer.connections, 1);
    assert_int_equal(peer.requests, 5);
    peer_script(peer_ok);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 8; i++) {
            request.key = keys[i];
            http_post(http, &request, &answer);
        }
    assert_int_equal(peer.requests, 16);
    assert_int_equal(peer.connections, 8);
    /* the ninth takes the place of the one that rested longest */
    request.key = keys[8];
    http_post(http, &request, &answer);
    request.key = keys[1];
    http_post(http, &request, &answer);
    assert_int_equal(peer.connections, 9);
    request.key = keys[0];
    http_post(http, &request, &answer);
    assert_int_equal(peer.connections, 10);
}

static bool closes_unsaid(int fd)
{
    peer_ok(fd);
    return false;
}

static void connection_that_was_closed_meanwhile_is_no_failure(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(post(closes_unsaid), HTTP_ANSWERED);
        status_is(200);
    }
}

static void keys_have_a_length(void **state)
{
    char long_key[HTTP_KEY_MAX + 1];

    (void)state;
    memset(long_key, 'k', sizeof long_key);
    request.key = (str){long_key, HTTP_KEY_MAX};
    assert_int_equal(post(peer_ok), HTTP_ANSWERED);
    request.key.n++;
    assert_int_equal(post(peer_ok), HTTP_FAILED);
    request.key.n = 0;
    assert_int_equal(post(peer_ok), HTTP_FAILED);
}

static void addresses_that_are_not_allowed_are_never_dialled(void **state)
{
    static const char *const inner[] = {
        "http://127.0.0.1",
        "http://127.1",
        "http://0x7f.1",
        "http://2130706433",
        "http://017700000001",
        "http://[::ffff:127.0.0.1]",
        "http://[::ffff:7f00:1]",
        "http://localhost",
        "http://[64:ff9b::7f00:1]",
        "http://0",
        "http://[::1]",
        "http://[::]",
        "http://%31%32%37.0.0.1",
        "http://10.0.0.1",
        "http://169.254.169.254",
        "https://127.0.0.1",
        "http://\xe2\x91\xa0\xe2\x91\xa1\xe2\x91\xa6.0.0.1",
    };

    (void)state;
    conf.webhook_allow_cidrs.n = 0;
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++) {
        post_to(inner[i]);
        if (answer.outcome != HTTP_DENIED)
            fail_msg("%s: %d", inner[i], (int)answer.outcome);
        class_is("target-not-allowed");
        assert_int_equal(answer.status, 0);
    }
    assert_int_equal(peer.connections, 0);
}

static void own_places_are_never_dialled(void **state)
{
    (void)state;
    assert_true(egress_deny(&egress, "localhost", peer.port, 5000));
    http_post(http, &request, &answer);
    assert_int_equal(answer.outcome, HTTP_DENIED);
    assert_int_equal(peer.connections, 0);
}

static void name_that_turns_inward_is_not_dialled(void **state)
{
    struct ctx *c = *state;

    conf.webhook_allow_cidrs.n = 0;
    atomic_store(&rebinds, 0);
    assert_int_equal(target_judge(c, &egress, STR("http://rebind.test/"), 3000),
                     OK);
    assert_int_equal(atomic_load(&rebinds), 1);
    post_to("http://rebind.test");
    assert_int_equal(answer.outcome, HTTP_DENIED);
    assert_int_equal(atomic_load(&rebinds), 2);
    assert_int_equal(peer.connections, 0);
}

static void allowed_address_of_a_mixed_name_is_dialled(void **state)
{
    (void)state;
    post_to("http://mixed.test");
    status_is(200);
    assert_int_equal(
        target_judge(*state, &egress, STR("http://mixed.test/"), 3000),
        ERR_TARGET_NOT_ALLOWED);
}

/* Nobody is punished for a record too many while a receiver is down. */
static void allowed_address_that_is_down_is_tried_again(void **state)
{
    (void)state;
    request.url = STR("http://mixed.test:1/");
    http_post(http, &request, &answer);
    assert_int_equal(answer.outcome, HTTP_CONNECT);
}

static void what_cannot_be_reached_has_a_class(void **state)
{
    (void)state;
    request.url = STR("http://127.0.0.1:1/");
    http_post(http, &request, &answer);
    assert_int_equal(answer.outcome, HTTP_CONNECT);
    class_is("connect");
    post_to("http://nowhere.invalid");
    assert_int_equal(answer.outcome, HTTP_DNS);
    class_is("dns");
    post_to("https://127.0.0.1");
    assert_int_equal(answer.outcome, HTTP_TLS);
    class_is("tls");
}

static void odd_urls_are_our_failure(void **state)
{
    static const char *const bad[] = {"ftp://127.0.0.1", "127.0.0.1",
                                      "http://u:p@127.0.0.1",
                                      "file:///etc/passwd?"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        post_to(bad[i]);
        assert_int_equal(answer.outcome, HTTP_FAILED);
    }
    assert_int_equal(peer.connections, 0);
}

static void plain_http_is_refused_where_https_is_asked_for(void **state)
{
    (void)state;
    http_free(http);
    http = http_new(&egress, true);
    http_post(http, &request, &answer);
    assert_int_equal(answer.outcome, HTTP_DENIED);
    assert_int_equal(peer.connections, 0);
    post_to("https://127.0.0.1");
    assert_int_equal(answer.outcome, HTTP_TLS);
}

static void proxies_of_the_environment_are_not_asked(void **state)
{
    static const char *const names[] = {
        "http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(setenv(names[i], "http://127.0.0.1:1", 1), 0);
    http_post(http, &request, &answer);
    status_is(200);
    /* by a proxy the address of the receiver would not be seen */
    conf.webhook_allow_cidrs.n = 0;
    request.key = STR("another");
    http_post(http, &request, &answer);
    assert_int_equal(answer.outcome, HTTP_DENIED);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(request_arrives_as_given),
        CASE(bodies_of_any_bytes_arrive),
        CASE(headers_that_would_be_two_are_refused),
        CASE(status_is_told),
        CASE(redirects_are_not_followed_and_cookies_not_kept),
        CASE(provisional_answers_do_not_count),
        CASE(connections_are_kept_for_their_key_only),
        CASE(connection_that_was_closed_meanwhile_is_no_failure),
        CASE(keys_have_a_length),
        CASE(addresses_that_are_not_allowed_are_never_dialled),
        CASE(own_places_are_never_dialled),
        CASE(name_that_turns_inward_is_not_dialled),
        CASE(allowed_address_of_a_mixed_name_is_dialled),
        CASE(allowed_address_that_is_down_is_tried_again),
        CASE(what_cannot_be_reached_has_a_class),
        CASE(odd_urls_are_our_failure),
        CASE(plain_http_is_refused_where_https_is_asked_for),
        CASE(proxies_of_the_environment_are_not_asked),
    };

    return cmocka_run_group_tests(tests, start, end);
}
