/* test_leader_race - processes that want the same terms, each as often as it
 * can: no term has two holders, and none is skipped */
#include "lib/coord/leader.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "tests/unit/mongod.h"

enum {
    TTL = 60000, /* longer than a test */
    ROUNDS = 50,
    RACERS = 2
};

/* In a process of its own: takes and resigns, tells each term it had. */
static int race(const char *uri, const char *database, const char *instance)
{
    struct conf conf = {.mongodb_connection_string = uri,
                        .mongodb_database_name = database,
                        .cluster_instance_id = instance,
                        .db_query_timeout_ms = 30000,
                        .db_heartbeat_frequency_ms = 10000};
    struct mongo_limits limits = mongo_limits_brief(1, 30000);
    struct mongo_pool *pool = mongo_pool_new(&conf, &limits);
    struct ctx c;
    char token[ID_TOKEN_MAX];
    struct leader_claim claim = {0};

    ctx_init(&c, &conf, 1 << 20);
    c.mongo = mongo_client_new(pool);
    while (claim.term < ROUNDS) {
        struct leader_term t = {0};
        bool mine = false;

        ctx_reset(&c);
        c.deadline = clock_mono_ms() + 30000;
        if (!c.mongo || id_token(token) != OK ||
            leader_take(&c, LEADER_CRON, &(struct leader_try){token, TTL, 0},
                        &t, &mine) != OK)
            return 1;
        claim.term = t.term;
        memcpy(claim.token, token, sizeof token);
        if (!mine)
            continue;
        printf("%lld\n", (long long)t.term);
        if (leader_resign(&c, LEADER_CRON, &claim) != OK)
            return 1;
    }
    mongo_client_free(c.mongo);
    mongo_pool_free(pool);
    ctx_done(&c);
    return 0;
}

/* Gives the reading end of its output. */
static FILE *start_racer(pid_t *out_pid, const char *instance)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    *out_pid = fork();
    assert_true(*out_pid >= 0);
    if (*out_pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl("/proc/self/exe", "test_leader_race",
              mongod.conf->mongodb_connection_string,
              mongod.conf->mongodb_database_name, instance, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    return fdopen(ends[0], "r");
}

static void two_processes_never_have_one_term(void **state)
{
    static const char *const names[RACERS] = {"left", "right"};
    int winners[ROUNDS + RACERS + 1] = {0};
    pid_t pids[RACERS];
    FILE *told[RACERS];
    long long term;
    int status;

    (void)state;
    for (int i = 0; i < RACERS; i++)
        told[i] = start_racer(&pids[i], names[i]);
    for (int i = 0; i < RACERS; i++) {
        while (fscanf(told[i], "%lld", &term) == 1) {
            assert_true(term > 0 && term <= ROUNDS + RACERS);
            winners[term]++;
        }
        fclose(told[i]);
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
    for (int i = 1; i <= ROUNDS; i++)
        assert_int_equal(winners[i], 1);
    for (int i = ROUNDS + 1; i <= ROUNDS + RACERS; i++)
        assert_true(winners[i] <= 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_MONGOD(two_processes_never_have_one_term),
    };

    if (argc == 4)
        return race(argv[1], argv[2], argv[3]);
    return cmocka_run_group_tests_name("leader_race", tests, mongod_setup,
                                       mongod_teardown);
}
