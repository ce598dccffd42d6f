/* test_redis_queue - the scripts of the queue on a real redis-server: turns,
 * order, limits, caps, holds */
#include "tests/unit/queue_redis.h"

static void job_is_claimed_once_and_ends(void **state)
{
    (void)state;
    assert_int_equal(PUT(.id = "a", .lim = "w"), INDEX_NEW);
    assert_int_equal(PUT(.id = "a", .lim = "w"), INDEX_KNOWN);
    ASSERT_GOT(index_claim("t1", NULL), "a");
    ASSERT_NONE(index_claim("t2", NULL));
    assert_int_equal(PUT(.id = "a", .lim = "w"), INDEX_KNOWN);
    ASSERT_NONE(index_claim("t2", NULL));
    assert_false(index_end_job("a", "t2"));
    assert_true(index_end_job("a", "t1"));
    assert_true(index_end_job("a", "t1"));
    ASSERT_NONE(index_claim("t2", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_INDEX(job_is_claimed_once_and_ends),
    };

    redis_setup();
    return cmocka_run_group_tests_name("redis_queue", tests, NULL, NULL);
}
