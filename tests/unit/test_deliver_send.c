/* test_deliver_send - headers and signature of one try */
#include "workers/deliver_send.c"

#include "tests/unit/support.h"

#define SECRET_A "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define SECRET_B "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

enum {
    BOOT = 50000
};
static const ms wall = 1614265330042;

static struct conf conf = {.cluster_instance_id = "api-1",
                           .webhook_connect_timeout = 2000,
                           .webhook_timeout = 5000};

/* What was sent last, instead of the real one. */
static struct {
    int calls;
    struct http_request q;
} sent;

void http_post(struct http *h, const struct http_request *q,
               struct http_answer *out)
{
    (void)h;
    sent.calls++;
    sent.q = *q;
    *out = (struct http_answer){.outcome = HTTP_ANSWERED, .status = 204};
}

struct fixture {
    struct ctx c;
    struct subscription target;
    struct claim claim;
    struct send_headers headers;
};

static int fresh(void **state)
{
    static struct fixture f;

    f = (struct fixture){.claim.granted_boot = BOOT, .claim.slack_ms = 1000};
    ctx_init(&f.c, &conf, 1 << 20);
    f.target.webhook = (struct webhook){
        .id = STR("665f1c2e9b1e8a0012ab34ce"),
        .name = STR("Gr\xc3\xb6\xc3\x9f"
                    "e 5%"),
        .url = STR("http://example.com/in"),
        .max_per_window = 60,
        .secret = STR(SECRET_A),
    };
    f.claim.target = &f.target;
    f.claim.job = (struct job){
        .id = STR("665f1c2e9b1e8a0012ab34ce-1767225600000-7a12znb5c"),
        .message_id = STR("msg_p5jXN8AQM9LWM0D4loKWxJek"),
        .body = STR("{\"test\": 2432232314}"),
        .tries = 1,
        .tries_max = 4,
    };
    memset(&sent, 0, sizeof sent);
    clock_set(BOOT, wall);
    *state = &f;
    return 0;
}

static int done(void **state)
{
    clock_unset();
    ctx_done(&((struct fixture *)*state)->c);
    return 0;
}

static str header(const struct fixture *f, const char *name)
{
    str found = STR_NONE;

    for (size_t i = 0; i < f->headers.n; i++) {
        if (!str_eq(f->headers.v[i].name, str_of(name)))
            continue;
        assert_null(found.p); /* once */
        found = f->headers.v[i].value;
    }
    return found;
}

static void make(struct fixture *f)
{
    assert_int_equal(send_headers_make(&f->c, &f->claim, wall, &f->headers),
                     OK);
}

static void contract_names_every_header(void **state)
{
    struct fixture *f = *state;

    make(f);
    assert_str(header(f, "Content-Type"), "application/json");
    assert_str(header(f, "User-Agent"), "MongoCRUD-Webhook/1.0");
    assert_str(header(f, "X-Webhook-ID"), "665f1c2e9b1e8a0012ab34ce");
    assert_str(header(f, "X-Webhook-Name"), "Gr%C3%B6%C3%9Fe%205%25");
    assert_str(header(f, "X-Delivery-ID"),
               "665f1c2e9b1e8a0012ab34ce-1767225600000-7a12znb5c");
    assert_str(header(f, "X-Attempt-Number"), "2");
    assert_str(header(f, "X-Max-Retries"), "3");
    assert_str(header(f, "X-Rate-Limit"), "60/min");
    assert_str(header(f, "X-Instance-ID"), "api-1");
    assert_str(header(f, "X-Delivery-Timestamp"), "2021-02-25T15:02:10.042Z");
    assert_str(header(f, "webhook-id"), "msg_p5jXN8AQM9LWM0D4loKWxJek");
    assert_str(header(f, "webhook-timestamp"), "1614265330");
    /* the published vector */
    assert_str(header(f, "webhook-signature"),
               "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert_int_equal(f->headers.n, 13);
}

static void without_a_secret_it_is_not_signed(void **state)
{
    struct fixture *f = *state;

    f->target.webhook.secret = STR_NONE;
    make(f);
    assert_null(header(f, "webhook-signature").p);
    assert_int_equal(f->headers.n, 12);
}

static void old_secret_signs_until_it_expires(void **state)
{
    struct fixture *f = *state;
    struct webhook *w = &f->target.webhook;
    str both, one = STR("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");

    w->previous_secret = STR(SECRET_B);
    w->previous_expires = wall + 1;
    make(f);
    both = header(f, "webhook-signature");
    assert_int_equal(both.n, 2 * one.n + 1);
    assert_true(str_starts(both, one)); /* the new one first */
    w->previous_expires = wall;
    make(f);
    assert_true(str_eq(header(f, "webhook-signature"), one));
}

static void headers_of_the_webhook_are_added(void **state)
{
    static const struct webhook_header own[] = {
        {STR_INIT("X-Mine"), STR_INIT("a b")},
        {STR_INIT("X-Empty"), STR_INIT("")}};
    struct fixture *f = *state;

    f->target.webhook.headers = own;
    f->target.webhook.headers_n = 2;
    make(f);
    assert_str(header(f, "X-Mine"), "a b");
    assert_str(header(f, "X-Empty"), "");
}

static void longest_values_fit(void **state)
{
    static char name[WEBHOOK_NAME_MAX];
    static struct webhook_header own[WEBHOOK_HEADERS_MAX + 5];
    struct fixture *f = *state;
    struct webhook *w = &f->target.webhook;

    memset(name, 0xff, sizeof name);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        own[i] = (struct webhook_header){STR("X-Mine"), STR("v")};
    w->name = (str){name, sizeof name};
    w->previous_secret = STR(SECRET_B);
    w->previous_expires = wall + 1;
    w->max_per_window = INT64_MAX;
    w->headers = own;
    w->headers_n = sizeof own / sizeof *own;
    f->claim.job.tries = f->claim.job.tries_max = INT64_MAX - 1;
    make(f);
    assert_int_equal(f->headers.n, 13 + WEBHOOK_HEADERS_MAX);
}

static enum send_result go(struct fixture *f)
{
    struct sending s = {.stop_fd = -1};
    struct http_answer a;

    return deliver_send(&f->c, &s, &f->claim, &a);
}

static void stored_bytes_are_sent_under_the_key_of_the_webhook(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(go(f), SEND_ANSWERED);
    assert_int_equal(sent.calls, 1);
    assert_ptr_equal(sent.q.body.p, f->claim.job.body.p);
    assert_str(sent.q.key, "665f1c2e9b1e8a0012ab34ce");
    assert_str(sent.q.url, "http://example.com/in");
    assert_int_equal(sent.q.connect_ms, 2000);
    assert_int_equal(sent.q.total_ms, 5000);
    assert_int_equal(sent.q.headers_n, 13);
}

static void grant_that_is_over_is_not_used(void **state)
{
    struct fixture *f = *state;

    clock_set(BOOT + 1000, wall);
    assert_int_equal(go(f), SEND_ANSWERED);
    clock_set(BOOT + 1001, wall);
    assert_int_equal(go(f), SEND_TOO_LATE);
    assert_int_equal(sent.calls, 1);
}

#define SEND_CASE(test) cmocka_unit_test_setup_teardown(test, fresh, done)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEND_CASE(contract_names_every_header),
        SEND_CASE(without_a_secret_it_is_not_signed),
        SEND_CASE(old_secret_signs_until_it_expires),
        SEND_CASE(headers_of_the_webhook_are_added),
        SEND_CASE(longest_values_fit),
        SEND_CASE(stored_bytes_are_sent_under_the_key_of_the_webhook),
        SEND_CASE(grant_that_is_over_is_not_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
