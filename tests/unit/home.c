/* home - see home.h */
#include "tests/unit/home.h"

#include <poll.h>
#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/coord/rds_script.h"
#include "lib/data/schema.h"

enum {
    PATIENCE_MS = 20000,
    NAP_MS = 10
};

struct home home;

void home_stop_clock(void)
{
    clock_unset();
    clock_set(clock_mono_ms(), clock_wall_ms());
}

void home_nap(ms span)
{
    poll(NULL, 0, (int)span);
}

void home_name(const char *where, const char *id)
{
    mongod_do(home.c, BCON_NEW("update", "_cluster", "updates", "[", "{", "q",
                               "{", "_id", "redis", "}", "u", "{", "$set", "{",
                               "home", BCON_UTF8(where), "dataset",
                               BCON_UTF8(id), "term", BCON_INT64(1), "}", "}",
                               "upsert", BCON_BOOL(true), "}", "]"));
}

/* What _cluster.fence is then, as text */
static void reserve(int64_t ahead_us, char out[24])
{
    int64_t v;

    assert_int_equal(dataset_reserve(home.c, 0, ahead_us, &v), OK);
    snprintf(out, 24, "%lld", (long long)v);
}

void home_open(const char *id)
{
    const str keys[] = {STR("t:dataset"), STR("t:l:fence"), STR("t:l:max"),
                        STR("t:l:ahead")};
    char fence[24], max[24];
    str args[] = {STR(""), str_of(id), STR_NONE, STR_NONE};
    const struct rds_script s = {LUA_DATASET_OPEN, keys, args, 4, 4};
    struct rds *r = rds_find(home.c);
    struct rds_reply reply;

    redis_await(r);
    redis_do(r, WORDS(STR("DEL"), STR("t:dataset")));
    reserve(0, fence);
    reserve(INT64_C(3600000000), max);
    args[2] = str_of(fence);
    args[3] = str_of(max);
    assert_int_equal(
        rds_run(r, &s, clock_mono_ms() + 5000, &home.c->arena, &reply), RDS_OK);
    assert_int_equal(reply.number, 1);
}

static void begin(void **state, const char *url)
{
    struct conf *conf = mongod.conf;

    mongod_fresh(state);
    home = (struct home){.c = *state};
    conf->redis_url = url;
    conf->redis_password = "s3cret";
    conf->redis_key_prefix = "t";
    conf->redis_connection_timeout = conf->redis_command_timeout = 5000;
    conf->redis_retry_delay = 20;
    conf->redis_ready_check = true;
    assert_int_equal(schema_apply_one(home.c, "_cluster"), OK);
    assert_int_equal(schema_apply_one(home.c, "_locks"), OK);
}

int home_redis(void **state)
{
    redis_begin(state);
    begin(state, redis.url);
    home.backend = &redis_lock;
    home_name("redis", HOME_ID);
    home_open(HOME_ID);
    return 0;
}

int home_mongo(void **state)
{
    begin(state, "none");
    home.backend = &mongo_lock;
    home_name("mongo", HOME_ID);
    return 0;
}

static int stand(int failed)
{
    mongod_let_take_time(home.c);
    home_stop_clock();
    return failed;
}

int home_redis_stands(void **state)
{
    return stand(home_redis(state));
}

int home_mongo_stands(void **state)
{
    return stand(home_mongo(state));
}

int home_end(void **state)
{
    clock_unset();
    rds_free(home.c->rds);
    home.c->rds = NULL;
    return redis.pid > 0 ? redis_end(state) : 0;
}

void home_join(struct ctx *c)
{
    mongod_open(c);
}

void home_leave(struct ctx *c)
{
    rds_free(c->rds);
    c->rds = NULL;
    mongod_close(c);
}

static void fill_redis(const char *kind, int n, ms left_ms)
{
    static const char fill[] =
        "local t = redis.call('TIME') "
        "local now = t[1] * 1000 + math.floor(t[2] / 1000) "
        "for i = 1, tonumber(ARGV[2]) do "
        "  local name, left = ARGV[1] .. i, tonumber(ARGV[3]) "
        "  redis.call('ZADD', 't:l:idx', now + left, name) "
        "  if left > 0 then "
        "    redis.call('HSET', 't:l:k:' .. name, 't', 'x', 'f', i, 'a', now,"
        "               'i', 'filled', 'o', 'somebody') "
        "    redis.call('PEXPIRE', 't:l:k:' .. name, left) "
        "  end "
        "end return {}";
    char n_text[16], left_text[24];

    snprintf(n_text, sizeof n_text, "%d", n);
    snprintf(left_text, sizeof left_text, "%lld", (long long)left_ms);
    redis_do(rds_find(home.c),
             WORDS(STR("EVAL"), str_of(fill), STR("0"), str_of(kind),
                   str_of(n_text), str_of(left_text)));
}

static void fill_mongo(const char *kind, int n, ms left_ms)
{
    bson_t *cmd = BCON_NEW("insert", "_locks"), rows, row;
    ms now = clock_wall_ms(), at = left_ms < 0 ? now + left_ms - 5000 : now;
    char key[16], name[64];

    BSON_APPEND_ARRAY_BEGIN(cmd, "documents", &rows);
    for (int i = 1; i <= n; i++) {
        snprintf(key, sizeof key, "%d", i - 1);
        snprintf(name, sizeof name, "%s%d", kind, i);
        BSON_APPEND_DOCUMENT_BEGIN(&rows, key, &row);
        BCON_APPEND(&row, "_id", BCON_UTF8(name), "tok", "x", "fence",
                    BCON_INT64(i), "until", BCON_DATE_TIME(now + left_ms), "at",
                    BCON_DATE_TIME(at), "inst", "filled", "owner", "somebody",
                    "ds", HOME_ID);
        bson_append_document_end(&rows, &row);
    }
    bson_append_array_end(cmd, &rows);
    mongod_do(home.c, cmd);
}

void home_fill(const char *kind, int n, ms left_ms)
{
    if (home.backend == &redis_lock)
        fill_redis(kind, n, left_ms);
    else
        fill_mongo(kind, n, left_ms);
}

struct lock_ask home_ask(const char *name)
{
    return (struct lock_ask){.name = str_of(name),
                             .owner = STR("me"),
                             .instance = STR("here"),
                             .ttl_ms = 60000};
}

enum err home_acquire(const struct lock_ask *ask, struct lock *out,
                      struct lock_holder *holder)
{
    struct lock_place place = {0};
    enum err err = lock_acquire(home.c, &place, ask, out, holder);

    ctx_forgive(home.c);
    return err;
}

enum err home_renew(struct lock *l, ms ttl)
{
    enum err err = lock_renew(home.c, &home.place, l, ttl);

    ctx_forgive(home.c);
    return err;
}

enum err home_release(struct lock *l)
{
    enum err err = lock_release(home.c, &home.place, l);

    ctx_forgive(home.c);
    return err;
}

struct lock home_take(const char *name, ms ttl_ms)
{
    struct lock_ask ask = home_ask(name);
    struct lock_holder holder;
    struct lock l;
    enum err err;

    ask.ttl_ms = ttl_ms;
    err = lock_acquire(home.c, &home.place, &ask, &l, &holder);
    if (err)
        fail_msg("%s: %s", name, err_code(err));
    return l;
}

struct lock_row *home_row(const char *name)
{
    struct lock_row *rows;
    size_t n;

    assert_int_equal(lock_list(home.c, &home.place, &rows, &n), OK);
    for (size_t i = 0; i < n; i++)
        if (str_eq(rows[i].name, str_of(name)))
            return &rows[i];
    return NULL;
}

void home_await_end(const char *name)
{
    for (int naps = 0; home_row(name); naps++) {
        assert_true(naps < PATIENCE_MS / NAP_MS);
        home_nap(NAP_MS);
    }
}
