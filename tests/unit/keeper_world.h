#pragma once
/*
 * keeper_world - what test_keeper.c works with: one maintenance leader on a
 * real MongoDB and Redis, its looks and slices, and what both stores hold
 */
#include "lib/coord/keeper.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/data/schema.h"
#include "tests/unit/mongod.h"
#include "tests/unit/redis.h"

enum {
    PATIENCE_MS = 20000,
    TURNS_MOST = 1000
};

static const int64_t hour_us = INT64_C(3600) * 1000000;
static char url[4096 + 32];

/* One maintenance leader. */
struct world {
    struct ctx *c;      /* of the keeper */
    struct ctx look;    /* of views */
    struct ctx watched; /* of looks at Redis */
    struct redis_watch w;
    struct view v;
    struct keeper k;
    int64_t term;
    struct rds *r; /* for what others do */
    int turns;
    bool changed;
};

static void open_world(struct world *o, struct ctx *c)
{
    *o = (struct world){.c = c, .term = 1};
    mongod.conf->redis_url = url;
    mongod.conf->redis_password = "s3cret";
    mongod.conf->redis_key_prefix = "unit";
    mongod_open(&o->look);
    ctx_init(&o->watched, mongod.conf, 8 << 20);
    assert_int_equal(schema_apply(c), OK);
    assert_true(redis_watch_init(&o->w, mongod.conf));
    o->r = redis_open("s3cret");
    redis_await(o->r);
}

static void close_world(struct world *o)
{
    rds_free(o->r);
    redis_watch_done(&o->w);
    ctx_done(&o->watched);
    mongod_close(&o->look);
}

static void renew_time(struct ctx *c)
{
    ctx_reset(c);
    c->deadline = clock_mono_ms() + 30000;
}

static void look(struct world *o)
{
    renew_time(&o->look);
    assert_int_equal(view_read(&o->look, STR("unit"), &o->v), OK);
    ctx_reset(&o->watched);
    redis_watch_look(&o->w, &o->watched, &o->v.dataset, 1000);
}

/* A slice, by looks that were taken. */
static enum keeper_verdict slice(struct world *o)
{
    bool single = dataset_home_of(mongod.conf) == DATASET_MONGO;

    renew_time(o->c);
    o->turns++;
    return keeper_turn(&o->k, o->c, single ? NULL : &o->w, &o->v, o->term,
                       &o->changed);
}

static enum keeper_verdict turn(struct world *o)
{
    look(o);
    return slice(o);
}

static str text_in_redis(struct world *o, const char *key)
{
    struct rds_reply reply;

    assert_int_equal(redis_ask(o->r, WORDS(STR("GET"), str_of(key)), &reply),
                     RDS_OK);
    return reply.kind == RDS_TEXT ? reply.text : STR("");
}

static int64_t number_in_redis(struct world *o, const char *key)
{
    int64_t n = 0;

    (void)str_to_i64(text_in_redis(o, key), &n);
    return n;
}

static int64_t count_in_redis(struct world *o, const char *command)
{
    struct rds_reply reply;

    assert_int_equal(redis_ask(o->r, WORDS(str_of(command)), &reply), RDS_OK);
    return reply.number;
}

static struct dataset stored(struct world *o)
{
    struct dataset d;

    renew_time(o->c);
    assert_int_equal(dataset_read(o->c, &d), OK);
    return d;
}

/* Redis may give no fence that MongoDB does not hold. */
static void check_reservation(struct world *o)
{
    assert_true(number_in_redis(o, "unit:l:max") <= stored(o).fence);
}

static bool is_open(struct world *o)
{
    return o->v.dataset.home == DATASET_REDIS && o->v.dataset.id[0] &&
           strcmp(o->v.dataset.id, o->w.sight.held) == 0 &&
           o->k.step == KEEPER_WATCH;
}

/* Turns until Redis holds what MongoDB names. */
static void settle(struct world *o)
{
    ms end = clock_mono_ms() + PATIENCE_MS;

    o->turns = 0;
    for (look(o); !is_open(o); look(o)) {
        enum keeper_verdict verdict = slice(o);

        assert_int_not_equal(verdict, KEEPER_LOST);
        assert_true(clock_mono_ms() < end && o->turns < TURNS_MOST);
        if (verdict == KEEPER_IDLE)
            (void)poll(NULL, 0, 10);
    }
    check_reservation(o);
}
