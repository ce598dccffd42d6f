#pragma once
/*
 * deliver_world - a worker that delivers, as far as the ways it hears of work
 * go: a real redis-server, a board with one more idle worker, claims and
 * finishes by the test
 */
#include "workers/deliver.c"
#include "workers/waiter.c"

#include <poll.h>

#include "tests/unit/redis.h"

enum {
    PATIENCE_MS = 10000
};

#define MARKER  STR("p:q:webhook:mk")
#define DATASET "0123456789abcdef"

static struct conf conf;
static struct deliverer d;
static struct rds *other;

/* What the next claim gives, and what it was asked. */
static struct {
    enum claim_result result;
    void (*during)(void);
    int calls, settled, flushed;
    bool woken, has_told;
    ms wait_ms;
} world;

/* ---- what is not asked here */

ms queue_slack_ms(const struct conf *settings)
{
    (void)settings;
    return 1000;
}

enum claim_result queue_claim(struct ctx *c, struct claimant *k,
                              const char *token, struct claim *out)
{
    *out = (struct claim){.wait_ms = world.wait_ms};
    snprintf(out->dataset, sizeof out->dataset, "%s", c->index);
    snprintf(out->token, sizeof out->token, "%s", token);
    world.calls++;
    world.woken = k->woken;
    if (world.during)
        world.during();
    k->has_told = false;
    return world.result;
}

static inline enum finish_result told_later(struct claimant *k,
                                            const struct claim *cl)
{
    k->has_told = world.has_told;
    memcpy(k->told.token, cl->token, sizeof k->told.token);
    return FINISH_DONE;
}

enum finish_result queue_finish(struct ctx *c, struct claimant *k,
                                const struct claim *cl,
                                const struct job_result *r)
{
    (void)c, (void)r;
    return told_later(k, cl);
}

enum finish_result queue_give_back(struct ctx *c, struct claimant *k,
                                   const struct claim *cl)
{
    (void)c;
    return told_later(k, cl);
}

void queue_settle_up(struct ctx *c, struct claimant *k)
{
    (void)c;
    world.settled++;
    k->has_told = false;
}

enum err queue_recover(struct ctx *c, str token, bool died, int64_t *out_n)
{
    (void)c, (void)token, (void)died, (void)out_n;
    return OK;
}

struct tally *tally_new(void)
{
    return NULL;
}

void tally_flush(struct tally *t, struct ctx *c, bool now)
{
    (void)t, (void)c;
    world.flushed += now;
}

void deliver_judge(const struct job *j, const struct webhook *w,
                   const struct http_answer *a, uint32_t chance,
                   struct judgement *out)
{
    (void)j, (void)w, (void)a, (void)chance;
    *out = (struct judgement){.gone = false};
}

enum send_result deliver_send(struct ctx *c, const struct sending *s,
                              const struct claim *cl, struct http_answer *out)
{
    (void)c, (void)s, (void)cl, (void)out;
    return SEND_TOO_LATE;
}

bool places_are_due(const struct places *p)
{
    (void)p;
    return false;
}

void places_look(struct places *p)
{
    (void)p;
}

void places_init(struct places *p, const struct conf *settings, struct mongo *m,
                 struct egress *e)
{
    (void)p, (void)settings, (void)m, (void)e;
}

bool worker_open(struct worker *w, const struct roles_task *task, int slot)
{
    (void)w, (void)task, (void)slot;
    return false;
}

struct ctx *worker_begin(struct worker *w, ms most)
{
    ctx_reset(&w->ctx);
    w->ctx.deadline = clock_mono_ms() + most;
    w->ctx.index = w->words.dataset;
    return &w->ctx;
}

void worker_tidy(struct worker *w)
{
    (void)w;
}

unsigned worker_wait_for(struct worker *w, const int *fds, int n, ms wait)
{
    struct pollfd p[WORKER_FDS_MAX];
    unsigned ready = 0;

    (void)w;
    for (int i = 0; i < n; i++)
        p[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
    (void)poll(p, (nfds_t)n, (int)wait);
    for (int i = 0; i < n; i++)
        ready |= p[i].revents ? 1U << i : 0;
    return ready;
}

void worker_wait(struct worker *w, int fd, ms wait)
{
    (void)w, (void)fd, (void)wait;
}

bool worker_must_end(const struct worker *w)
{
    return w->stopping;
}

bool worker_must_abort(void *worker)
{
    (void)worker;
    return false;
}

void worker_deadline(const struct worker *w, ms boot)
{
    (void)w, (void)boot;
}

/* ---- the fixture */

static inline int begin(void **state)
{
    struct rds_target target = {.url = redis.url,
                                .password = "s3cret",
                                .connect_ms = PATIENCE_MS,
                                .command_ms = PATIENCE_MS,
                                .retry_ms = 20};

    (void)redis_begin(state);
    conf = (struct conf){.cluster_enabled = true,
                         .redis_url = redis.url,
                         .redis_password = "s3cret",
                         .redis_key_prefix = "p",
                         .redis_connection_timeout = PATIENCE_MS,
                         .redis_command_timeout = PATIENCE_MS,
                         .redis_retry_delay = 10,
                         .webhook_timeout = 5000};
    memset(&world, 0, sizeof world);
    memset(&d, 0, sizeof d);
    d.w.conf = &conf;
    d.w.board = board_new(2);
    d.w.words = (struct board_words){.open = true, .dataset = DATASET};
    d.k.queue = QUEUE_WEBHOOK;
    ctx_init(&d.w.ctx, &conf, 1 << 20);
    waiter_init(&d.marker, marker_words, 60);
    board_begin(d.w.board, 0);
    board_begin(d.w.board, 1); /* another idle worker */
    other = rds_new(&target);
    assert_true(d.w.board && other);
    redis_await(other);
    redis_await(rds_find(&d.w.ctx));
    return 0;
}

static inline int end(void **state)
{
    rds_free(d.marker.rds);
    rds_free(d.w.ctx.rds);
    ctx_done(&d.w.ctx);
    board_free(d.w.board);
    rds_free(other);
    return redis_end(state);
}

static inline int64_t number(const str *words, size_t n)
{
    struct rds_reply reply;

    assert_int_equal(rds_call(other, words, n, clock_mono_ms() + PATIENCE_MS,
                              &redis.arena, &reply),
                     RDS_OK);
    return reply.number;
}

static inline bool is_marked(void)
{
    return number(WORDS(STR("ZCARD"), MARKER)) == 1;
}

static inline void mark(void)
{
    (void)number(WORDS(STR("ZADD"), MARKER, STR("0"), STR("w")));
}

static inline bool info_says(const char *section, const char *text)
{
    struct rds_reply reply;

    assert_int_equal(rds_call(other, WORDS(STR("INFO"), str_of(section)),
                              clock_mono_ms() + PATIENCE_MS, &redis.arena,
                              &reply),
                     RDS_OK);
    return strstr(reply.text.p, text) != NULL;
}

/* It sleeps, and the server knows that it waits. */
static inline void fall_asleep(void)
{
    ms give_up = clock_mono_ms() + PATIENCE_MS;

    doze(&d, 0);
    assert_true(waiter_fd(&d.marker) >= 0);
    while (!info_says("clients", "blocked_clients:1\r"))
        assert_true(clock_mono_ms() < give_up);
}

static inline void mark_that_it_pops(void)
{
    mark();
    assert_false(is_marked());
}

static inline bool is_poked(void)
{
    return board_take(board_work_fd(d.w.board));
}
