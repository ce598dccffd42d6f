/* test_limit - the counts that the processes of an instance share */
#include "fcgi-app/limit.c"

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/support.h"

enum {
    WINDOW_MS = 1000
};

/* What limit.c asks of the program: no Redis, and the header lines. */
struct refresh_view refresh_view(void)
{
    return (struct refresh_view){.redis = REFRESH_REDIS_OFF};
}

void reply_header(struct reply *out, const char *fmt, ...)
{
    static char text[1024];
    size_t n = out->headers.n;
    va_list list;

    va_start(list, fmt);
    n += (size_t)vsnprintf(text + n, sizeof text - n, fmt, list);
    va_end(list);
    n += (size_t)snprintf(text + n, sizeof text - n, "\n");
    out->headers = (str){text, n};
}

static struct conf conf = {.redis_key_prefix = "P"};

static void set_limit(int64_t requests, bool skip_successful)
{
    conf.rate_limit_enabled = true;
    conf.rate_limit_max_requests = requests;
    conf.rate_limit_window_ms = WINDOW_MS;
    conf.rate_limit_skip_successful = skip_successful;
    if (limit.slots)
        munmap(limit.slots, sizeof(struct slot) * GROUPS_N * GROUP_N);
    limit.slots = NULL;
    assert_int_equal(limit_setup(&conf), OK);
}

static bool counts(str key, ms now)
{
    return count_here(key, TAKE, now).fits;
}

static int count_n(str key, int tries, ms now)
{
    int n = 0;

    while (tries-- > 0)
        n += counts(key, now);
    return n;
}

static void count_ends_at_the_limit_and_comes_back(void **state)
{
    (void)state;
    set_limit(10, false);
    assert_int_equal(count_n(STR("a"), 20, 5000), 10);
    assert_int_equal(count_n(STR("b"), 20, 5000), 10);
    /* weighs 10, 5 and 0 of 10 */
    assert_int_equal(count_n(STR("a"), 20, 6000), 0);
    assert_int_equal(count_n(STR("a"), 20, 6500), 5);
    assert_int_equal(count_n(STR("a"), 20, 9000), 10);
}

static void looking_counts_nothing(void **state)
{
    struct verdict v;

    (void)state;
    set_limit(1, false);
    for (int i = 0; i < 5; i++)
        assert_true(count_here(STR("a"), ASK, 5000).fits);
    assert_true(counts(STR("a"), 5000));
    v = count_here(STR("a"), ASK, 5000);
    assert_false(v.fits);
    assert_int_equal(v.state.count, 1);
}

/* What happened counts beyond the limit, and puts the next one off. */
static void added_ones_are_counted_past_the_limit(void **state)
{
    (void)state;
    set_limit(10, false);
    for (int i = 0; i < 20; i++)
        (void)count_here(STR("a"), ADD, 5000);
    /* weighs 20, 10 and 8 of 10 */
    assert_int_equal(count_n(STR("a"), 20, 6000), 0);
    assert_int_equal(count_n(STR("a"), 20, 6500), 0);
    assert_int_equal(count_n(STR("a"), 20, 6600), 2);
}

static void count_that_cannot_grow_stays(void **state)
{
    struct verdict v;

    (void)state;
    set_limit(1, false);
    v = count_here(STR("a"), TAKE, 5000);
    for (int i = 0; i < COUNT_MAX + 5; i++)
        v = count_here(STR("a"), ADD, 5000);
    assert_int_equal(v.state.count, COUNT_MAX);
    assert_int_equal(v.state.before, 0);
}

/* Its clock was read before the window ended that others are past. */
static void late_thread_counts_in_the_newer_window(void **state)
{
    (void)state;
    set_limit(10, false);
    assert_int_equal(count_n(STR("a"), 6, 6000), 6);
    assert_int_equal(count_n(STR("a"), 20, 5999), 4);
    assert_int_equal(count_n(STR("a"), 20, 6500), 0);
}

static void key_names_the_block_of_an_address(void **state)
{
    static const char *const rows[][2] = {
        {"192.0.2.1", "P:rate:192.0.2.1"},
        {"::ffff:192.0.2.1", "P:rate:192.0.2.1"},
        {"2001:DB8:1:2:3:4:5:6", "P:rate:2001:db8:1:2::/64"},
        {"2001:db8:1:2::1", "P:rate:2001:db8:1:2::/64"},
        {"::1", "P:rate:::/64"},
        {"", "P:rate:"},
        {"192.0.2.1:80", "P:rate:192.0.2.1:80"},
        {"key:64f0c2a1b3d4e5f6a7b8c9d0", "P:rate:key:64f0c2a1b3d4e5f6a7b8c9d0"},
    };
    char key[KEY_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_str(key_of(&conf, str_of(rows[i][0]), key), rows[i][1]);
}

static void long_callers_stay_apart_in_a_bounded_key(void **state)
{
    static char prefix[65];
    static char one[5000], two[5000];
    struct conf widest = {.redis_key_prefix = prefix};
    char key[KEY_MAX], other[KEY_MAX];
    str a, b, cut;

    (void)state;
    memset(prefix, 'p', sizeof prefix - 1);
    memset(one, 'x', sizeof one);
    memset(two, 'x', sizeof two);
    two[4999] = 'y';
    a = key_of(&widest, (str){one, sizeof one}, key);
    b = key_of(&widest, (str){two, sizeof two}, other);
    assert_in_range(a.n, 200, KEY_MAX);
    assert_false(str_eq(a, b));
    /* nobody can be called as a cut one is */
    cut = str_from(a, strlen(prefix) + strlen(":rate:"));
    b = key_of(&widest, cut, other);
    assert_false(str_eq(a, b));
    assert_true(key_of(&conf, STR("a\0b"), key).n == strlen("P:rate:") + 3);
}

/* The table has one size; who is near the limit is not what is forgotten. */
static void flood_of_callers_keeps_memory_and_the_heavy(void **state)
{
    const struct slot *before;
    char name[32];

    (void)state;
    set_limit(100, false);
    before = limit.slots;
    assert_int_equal(count_n(STR("heavy"), 99, 5000), 99);
    for (int i = 0; i < 200000; i++) {
        int n = snprintf(name, sizeof name, "caller-%d", i);

        assert_true(counts((str){name, (size_t)n}, 5000));
    }
    assert_ptr_equal(limit.slots, before);
    assert_int_equal(count_n(STR("heavy"), 20, 5000), 1);
    /* the table is full, and a new caller is counted all the same */
    assert_int_equal(count_n(STR("new"), 200, 5000), 100);
    /* in later windows the old ones make room */
    for (int i = 0; i < 1000; i++) {
        int n = snprintf(name, sizeof name, "later-%d", i);

        assert_int_equal(count_n((str){name, (size_t)n}, 101, 9000), 100);
    }
}

static void *count_in_a_thread(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, count_n(STR("a"), 5000, 5000));
    return NULL;
}

static void threads_count_together(void **state)
{
    pthread_t threads[4];
    atomic_int sum = 0;

    (void)state;
    set_limit(10000, false);
    for (int i = 0; i < 4; i++)
        assert_int_equal(
            pthread_create(&threads[i], NULL, count_in_a_thread, &sum), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_in_range(sum, 9990, 10010);
}

static void processes_count_together(void **state)
{
    int status;
    pid_t pid;

    (void)state;
    set_limit(10, false);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        _exit(count_n(STR("a"), 7, 5000));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_int_equal(count_n(STR("a"), 20, 5000), 3);
}

/* One request as serve.c asks; gives what the client would get. */
static enum err request(struct ctx *c, enum err outcome, int status,
                        struct reply *out)
{
    struct request q = {.caller = STR("192.0.2.1")};
    enum err err;

    ctx_reset(c);
    *out = (struct reply){.status = status};
    err = limit_caller(c, &q, out, true);
    if (err)
        return err;
    limit_outcome(c, &q, out, outcome, true);
    return outcome;
}

static struct ctx *start(void **state, int64_t requests, bool skip)
{
    struct ctx *c = *state;

    ctx_reset(c);
    c->conf = &conf;
    clock_set(5250, 0);
    set_limit(requests, skip);
    return c;
}

static void headers_tell_the_count(void **state)
{
    struct ctx *c = start(state, 2, false);
    struct reply out;

    assert_int_equal(request(c, OK, 200, &out), OK);
    assert_str(out.headers, "RateLimit-Limit: 2\r\nRateLimit-Remaining: 1\r\n"
                            "RateLimit-Reset: 1\r\nRateLimit-Policy: 2;w=1\n");
    assert_int_equal(request(c, ERR_BAD_JSON, 200, &out), ERR_BAD_JSON);
    assert_str(out.headers, "RateLimit-Limit: 2\r\nRateLimit-Remaining: 0\r\n"
                            "RateLimit-Reset: 2\r\nRateLimit-Policy: 2;w=1\n");
    assert_int_equal(request(c, OK, 200, &out), ERR_RATE_LIMITED);
    assert_str(out.headers, "RateLimit-Limit: 2\r\nRateLimit-Remaining: 0\r\n"
                            "RateLimit-Reset: 2\r\nRateLimit-Policy: 2;w=1\n"
                            "Retry-After: 2\n");
    assert_non_null(strstr(c->reason, "At most 2 requests in 1 s"));
}

static void refusal_replaces_an_earlier_failure(void **state)
{
    struct ctx *c = start(state, 1, false);
    struct request q = {.caller = STR("a")};
    struct reply out = {.err_members = STR(",\"x\":1")};

    assert_int_equal(limit_caller(c, &q, &out, true), OK);
    (void)ctx_fail(c, ERR_UNAUTHORIZED, "no token");
    assert_int_equal(limit_caller(c, &q, &out, true), ERR_RATE_LIMITED);
    assert_int_equal(c->err, ERR_RATE_LIMITED);
    assert_int_equal(out.err_members.n, 0);
}

static void answers_below_400_are_left_out(void **state)
{
    struct ctx *c = start(state, 2, true);
    struct reply out;

    for (int i = 0; i < 5; i++) {
        assert_int_equal(request(c, OK, 200, &out), OK);
        assert_int_equal(out.headers.n, 0);
    }
    assert_int_equal(request(c, OK, 404, &out), OK);
    assert_non_null(strstr(out.headers.p, "Remaining: 1"));
    assert_int_equal(request(c, ERR_CUT, 200, &out), ERR_CUT);
    assert_int_equal(request(c, ERR_BAD_JSON, 200, &out), ERR_BAD_JSON);
    assert_int_equal(request(c, OK, 200, &out), ERR_RATE_LIMITED);
    assert_non_null(strstr(c->reason, "2 failed requests"));
}

static void limit_0_is_off(void **state)
{
    struct ctx *c = start(state, 0, false);
    struct reply out;

    assert_null(limit.slots);
    for (int i = 0; i < 10; i++)
        assert_int_equal(request(c, OK, 200, &out), OK);
    assert_int_equal(out.headers.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(count_ends_at_the_limit_and_comes_back),
        cmocka_unit_test(looking_counts_nothing),
        cmocka_unit_test(added_ones_are_counted_past_the_limit),
        cmocka_unit_test(count_that_cannot_grow_stays),
        cmocka_unit_test(late_thread_counts_in_the_newer_window),
        cmocka_unit_test(key_names_the_block_of_an_address),
        cmocka_unit_test(long_callers_stay_apart_in_a_bounded_key),
        cmocka_unit_test(flood_of_callers_keeps_memory_and_the_heavy),
        cmocka_unit_test(threads_count_together),
        cmocka_unit_test(processes_count_together),
        cmocka_unit_test(headers_tell_the_count),
        cmocka_unit_test(refusal_replaces_an_earlier_failure),
        cmocka_unit_test(answers_below_400_are_left_out),
        cmocka_unit_test(limit_0_is_off),
    };

    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
