/* test_http_faults - receivers that misbehave, and stops */
#include "lib/base/clock.h"
#include "tests/unit/http_world.h"

#include <sys/eventfd.h>

static bool cuts(int fd)
{
    peer_cut(fd);
    return false;
}

static bool closes(int fd)
{
    (void)fd;
    return false;
}

static bool says_garbage(int fd)
{
    peer_text(fd, "SSH-2.0-nothing of HTTP\r\n\r\n");
    return false;
}

static bool cuts_headers(int fd)
{
    peer_text(fd, "HTTP/1.1 200 OK\r\nX-Half: ");
    return false;
}

static void what_is_no_answer_is_a_lost_connection(void **state)
{
    static const peer_act acts[] = {cuts, closes, says_garbage, cuts_headers};

    (void)state;
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        assert_int_equal(post(acts[i]), HTTP_CONNECT);
        assert_int_equal(answer.status, 0);
        assert_int_equal(peer.requests, 1);
    }
}

/* Never less, and one of several no more: the machine may pause. */
static void takes_between(ms least, ms most, void (*once)(void))
{
    for (int i = 0; i < 10; i++) {
        once();
        if (answer.took_ms < least)
            break;
        if (answer.took_ms <= most)
            return;
    }
    fail_msg("took %lld ms", (long long)answer.took_ms);
}

static bool drips_headers(int fd)
{
    peer_text(fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 1000 && !atomic_load(&peer.ends); i++)
        if (!peer_text(fd, "X") || poll(NULL, 0, 20) != 0)
            break;
    return false;
}

static void silence(void)
{
    assert_int_equal(post(peer_hang), HTTP_TIMEOUT);
    class_is("timeout");
}

static void drips(void)
{
    assert_int_equal(post(drips_headers), HTTP_TIMEOUT);
}

static void silence_and_drips_end_in_time(void **state)
{
    static char large[8 << 20];

    (void)state;
    request.total_ms = 300;
    takes_between(290, 800, silence);
    takes_between(290, 800, drips);
    request.body = (str){large, sizeof large};
    takes_between(290, 800, silence);
}

static bool cuts_body(int fd)
{
    peer_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc");
    peer_cut(fd);
    return false;
}

static bool breaks_chunks(int fd)
{
    peer_text(fd,
              "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    return false;
}

static bool stalls_body(int fd)
{
    peer_text(fd, "HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\nabc");
    return peer_hang(fd);
}

static bool streams(int fd)
{
    static char piece[65536];

    memset(piece, 'x', sizeof piece);
    peer_text(fd, "HTTP/1.1 200 OK\r\n\r\n");
    while (peer_say(fd, piece, sizeof piece))
        ;
    return false;
}

static bool streams_an_error(int fd)
{
    static char piece[65536];

    peer_text(fd, "HTTP/1.1 500 No\r\n\r\n");
    while (peer_say(fd, piece, sizeof piece))
        ;
    return false;
}

static void stream(void)
{
    post(streams);
    status_is(200);
}

/* After a pause of the machine there may be no time for the status. */
static void stall(void)
{
    for (int i = 0; i < 10 && post(stalls_body) == HTTP_TIMEOUT; i++)
        ;
    status_is(202);
}

static void once_a_status_has_come_the_body_changes_nothing(void **state)
{
    (void)state;
    post(cuts_body);
    status_is(200);
    post(breaks_chunks);
    status_is(200);
    takes_between(0, 2000, stream);
    post(streams_an_error);
    status_is(500);
    request.total_ms = 300;
    takes_between(290, 800, stall);
}

static bool many_headers(int fd)
{
    char line[1024];

    memset(line, 'x', sizeof line);
    memcpy(line, "X-More: ", 8);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    peer_text(fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 102400; i++)
        if (!peer_say(fd, line, sizeof line))
            return false;
    return peer_text(fd, "Content-Length: 0\r\n\r\n");
}

static bool long_header(int fd)
{
    static char piece[65536];

    memset(piece, 'x', sizeof piece);
    peer_text(fd, "HTTP/1.1 200 OK\r\nX-Long: ");
    for (int i = 0; i < 1600; i++)
        if (!peer_say(fd, piece, sizeof piece))
            return false;
    return peer_text(fd, "\r\nContent-Length: 0\r\n\r\n");
}

static bool endless_continue(int fd)
{
    while (peer_text(fd, "HTTP/1.1 100 Continue\r\nX-More: and more\r\n\r\n"))
        ;
    return false;
}

static bool headers_of_60_kib(int fd)
{
    static char line[15000];

    peer_text(fd, "HTTP/1.1 200 OK\r\n");
    memset(line, 'x', sizeof line);
    for (int i = 0; i < 4; i++) {
        peer_text(fd, "X-More: ");
        peer_say(fd, line, sizeof line);
        peer_text(fd, "\r\n");
    }
    return peer_text(fd, "Content-Length: 0\r\n\r\n");
}

static void too_many(void)
{
    static const peer_act acts[] = {many_headers, long_header,
                                    endless_continue};
    ms most = 0;

    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        assert_int_equal(post(acts[i]), HTTP_TOO_LARGE);
        class_is("too-large");
        most = answer.took_ms > most ? answer.took_ms : most;
    }
    answer.took_ms = most;
}

static void headers_have_a_limit(void **state)
{
    (void)state;
    takes_between(0, 1000, too_many);
    post(headers_of_60_kib);
    status_is(200);
}

static bool says_retry_after(int fd)
{
    char text[512];
    char *at = strstr(peer.head, "X-Say: ");

    snprintf(text, sizeof text,
             "HTTP/1.1 %.3s Later\r\nRetry-After: %.*s\r\n"
             "Content-Length: 0\r\n\r\n",
             at + 7, (int)(strstr(at, "\r\n") - at - 11), at + 11);
    return peer_text(fd, text);
}

static ms retry_after(const char *say)
{
    const struct http_header header = {STR("X-Say"), str_of(say)};

    request.headers = &header;
    request.headers_n = 1;
    post(says_retry_after);
    assert_int_equal(answer.outcome, HTTP_ANSWERED);
    request.headers_n = 0;
    return answer.retry_after_ms;
}

static void wait_that_is_asked_for_is_read(void **state)
{
    char say[128];
    time_t at = time(NULL) + 100;
    struct tm tm;

    (void)state;
    assert_int_equal(retry_after("429 7"), 7000);
    assert_int_equal(retry_after("503 120"), 120000);
    gmtime_r(&at, &tm);
    strftime(say, sizeof say, "429 %a, %d %b %Y %H:%M:%S GMT", &tm);
    assert_in_range(retry_after(say), 97000, 100000);
    clock_note_offset(-3600000); /* this machine is an hour behind */
    assert_int_equal(retry_after(say), -1);
    assert_int_equal(retry_after("429 7"), 7000);
    clock_note_offset(3600000);
    assert_in_range(retry_after(say), 3697000, 3700000);
    clock_note_offset(0);
    assert_int_equal(retry_after("429 9999999999"), 86400000);
    assert_int_equal(retry_after("429 0"), -1);
    assert_int_equal(retry_after("429 -5"), -1);
    assert_int_equal(retry_after("429 soon"), -1);
    assert_int_equal(retry_after("429 Thu, 01 Jan 1970 00:00:00 GMT"), -1);
    assert_int_equal(retry_after("200 7"), -1);
    assert_int_equal(retry_after("500 7"), -1);
    post(says_garbage);
    assert_int_equal(answer.retry_after_ms, -1);
}

static int asked;
static bool answer_of_the_stop;

static bool may_go_on(void *arg)
{
    (void)arg;
    asked++;
    return answer_of_the_stop;
}

/* From another thread, while the request is under way. */
static void *stop_soon(void *arg)
{
    poll(NULL, 0, 50);
    eventfd_write((int)(intptr_t)arg, 1);
    return NULL;
}

static enum http_outcome post_with_stop(peer_act act, bool goes_on)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum http_outcome outcome;
    pthread_t thread;

    asked = 0;
    answer_of_the_stop = true;
    request.may_go_on = may_go_on;
    request.stop_fd = fd;
    assert_int_equal(
        pthread_create(&thread, NULL, stop_soon, (void *)(intptr_t)fd), 0);
    if (!goes_on)
        request.may_go_on = NULL;
    outcome = post(act);
    pthread_join(thread, NULL);
    close(fd);
    return outcome;
}

/* Says no as soon as the descriptor can be read. */
static bool until_readable(void *arg)
{
    struct pollfd p = {*(int *)arg, POLLIN, 0};

    asked++;
    return poll(&p, 1, 0) == 0;
}

/* How long the request went on after 50 ms. */
static ms time_to_stop(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_t thread;

    request.total_ms = 20000;
    request.stop_fd = fd;
    request.may_go_on = until_readable;
    request.arg = &fd;
    assert_int_equal(
        pthread_create(&thread, NULL, stop_soon, (void *)(intptr_t)fd), 0);
    assert_int_equal(post(peer_hang), HTTP_STOPPED);
    pthread_join(thread, NULL);
    close(fd);
    return answer.took_ms;
}

/* Sooner than it would be asked without the descriptor. */
static void stop_is_seen_at_once(void **state)
{
    ms best = 20000;

    (void)state;
    for (int i = 0; i < 20 && best > 120; i++) {
        ms took = time_to_stop();

        /* less: the thread was ahead, which shows nothing */
        if (took >= 40 && took < best)
            best = took;
    }
    assert_true(best <= 120);
}

static void stop_at_once(void)
{
    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

    request.stop_fd = fd;
    request.may_go_on = until_readable;
    request.arg = &fd;
    assert_int_equal(post(peer_hang), HTTP_STOPPED);
    assert_int_equal(peer.connections, 0);
    close(fd);
}

static void stop_before_the_request_sends_nothing(void **state)
{
    (void)state;
    takes_between(0, 500, stop_at_once);
}

static bool until_time(void *arg)
{
    asked++;
    return clock_mono_ms() < *(ms *)arg;
}

static void stop_at_time(void)
{
    ms end = clock_mono_ms() + 300;

    request.total_ms = 20000;
    request.may_go_on = until_time;
    request.arg = &end;
    assert_int_equal(post(peer_hang), HTTP_STOPPED);
    assert_true(clock_mono_ms() >= end);
}

static void without_a_descriptor_it_is_asked_now_and_then(void **state)
{
    (void)state;
    takes_between(0, 800, stop_at_time);
}

static void never_stop(void)
{
    assert_int_equal(post_with_stop(peer_hang, true), HTTP_TIMEOUT);
}

static void stop_that_may_wait_does_not_spin(void **state)
{
    (void)state;
    request.total_ms = 600;
    takes_between(590, 1200, never_stop);
    assert_in_range(asked, 2, 100);
}

static void stop_without_a_question(void)
{
    assert_int_equal(post_with_stop(peer_hang, false), HTTP_TIMEOUT);
}

static void descriptor_without_a_question_changes_nothing(void **state)
{
    (void)state;
    request.total_ms = 400;
    takes_between(390, 1000, stop_without_a_question);
}

static void stop_behind_a_status(void)
{
    ms end = clock_mono_ms() + 300;

    request.may_go_on = until_time;
    request.arg = &end;
    post(stalls_body);
    status_is(202);
    assert_true(clock_mono_ms() >= end);
}

static void stop_behind_a_status_keeps_it(void **state)
{
    (void)state;
    takes_between(0, 800, stop_behind_a_status);
}

static void after_each_fault_the_next_request_is_fine(void **state)
{
    static const peer_act acts[] = {cuts,         cuts_headers, cuts_body,
                                    many_headers, peer_hang,    stalls_body,
                                    streams};

    (void)state;
    request.total_ms = 300;
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        post(acts[i]);
        request.total_ms = 10000;
        post(peer_ok);
        status_is(200);
        request.total_ms = 300;
    }
}

static void without_time_nothing_is_sent(void **state)
{
    (void)state;
    request.total_ms = 0;
    assert_int_equal(post(peer_ok), HTTP_FAILED);
    assert_int_equal(peer.connections, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_no_answer_is_a_lost_connection),
        CASE(silence_and_drips_end_in_time),
        CASE(once_a_status_has_come_the_body_changes_nothing),
        CASE(headers_have_a_limit),
        CASE(wait_that_is_asked_for_is_read),
        CASE(stop_is_seen_at_once),
        CASE(stop_before_the_request_sends_nothing),
        CASE(without_a_descriptor_it_is_asked_now_and_then),
        CASE(stop_that_may_wait_does_not_spin),
        CASE(descriptor_without_a_question_changes_nothing),
        CASE(stop_behind_a_status_keeps_it),
        CASE(after_each_fault_the_next_request_is_fine),
        CASE(without_time_nothing_is_sent),
    };

    return cmocka_run_group_tests(tests, start, end);
}
