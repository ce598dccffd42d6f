/*
 * post - the product's outgoing requests by hand, for tests
 *
 *   post ALLOW TOTAL_MS URL [SECRET]...
 *
 * For each line on stdin one signed POST of that body under one key; prints
 * {class, status, ms, retryAfter, rssKb}, class null for a success. ALLOW as
 * WEBHOOK_ALLOW_CIDRS. Its environment is what the tests make of it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <sys/resource.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/run/http.h"
#include "lib/run/sign.h"

static long rss_kb(void)
{
    struct rusage u;

    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

static void post(struct http *http, str url, ms total_ms, str signature,
                 str timestamp, str body)
{
    const struct http_header headers[] = {
        {STR("Content-Type"), STR("application/json")},
        {STR("webhook-id"), STR("msg_1")},
        {STR("webhook-timestamp"), timestamp},
        {STR("webhook-signature"), signature},
    };
    const struct http_request q = {
        .url = url,
        .key = STR("one"),
        .headers = headers,
        .headers_n = signature.n ? 4 : 2,
        .body = body,
        .connect_ms = total_ms < 2000 ? total_ms : 2000,
        .total_ms = total_ms,
        .stop_fd = -1,
    };
    struct http_answer a;
    const char *class;

    http_post(http, &q, &a);
    class = http_error_class(&a);
    printf("{\"class\": %s%s%s, \"status\": %d, \"ms\": %lld, "
           "\"retryAfter\": %lld, \"rssKb\": %ld}\n",
           class ? "\"" : "", class ? class : "null", class ? "\"" : "",
           a.status, (long long)a.took_ms, (long long)a.retry_after_ms,
           rss_kb());
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static char line[1 << 20], signed_by[1024], stamp[32];
    struct arena arena;
    struct conf conf = {.webhook_timeout = 0};
    struct egress egress;
    struct http *http;
    int64_t total_ms;
    str secrets[8];
    size_t secrets_n = 0;

    signal(SIGPIPE, SIG_IGN);
    arena_init(&arena, 1 << 20);
    if (argc < 4 || argc > 12 || !str_to_i64(str_of(argv[2]), &total_ms) ||
        !addr_ranges_parse(str_of(argv[1]), &arena, &conf.webhook_allow_cidrs))
        return 2;
    for (int i = 4; i < argc; i++)
        secrets[secrets_n++] = str_of(argv[i]);
    egress_init(&egress, &conf);
    http = http_new(&egress, false);
    while (http && fgets(line, sizeof line, stdin)) {
        struct buf b = buf_over(signed_by, sizeof signed_by);
        str body = {line, strcspn(line, "\n")};
        int64_t now = clock_wall_ms() / 1000;

        snprintf(stamp, sizeof stamp, "%lld", (long long)now);
        (void)sign_write(&b, secrets, secrets_n, STR("msg_1"), now, body);
        post(http, str_of(argv[3]), total_ms, buf_str(&b), str_of(stamp), body);
    }
    http_free(http);
    arena_done(&arena);
    return 0;
}
