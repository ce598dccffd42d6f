/* redis_queue - see redis_queue.h: the call of a script, its words, its reply
 */
#include "lib/coord/redis_queue.h"

#include <assert.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/coord/rds_script.h"

enum {
    CALL_MS = 1000,
    NUMBER_MAX = 21, /* digits and sign of any */
    KEY_MAX = 96,    /* REDIS_KEY_PREFIX has at most 64 bytes */
    HEAD_ARGS = 2,   /* data set, T */
    JOB_ARGS = 9,
    SMALL_ARGS = 16,
    RECENT_MAX = 100,
    REMOVE_MAX = 500
};

/* Scores: class and time of the event, below 2^53 */
#define CLASS_UNIT (INT64_C(1) << 41)
#define EPOCH_MS   INT64_C(1704067200000) /* 2024 */
#define ORD_END    (INT64_C(1) << 53)

/* One call: what it sends, in the arena. */
struct call {
    struct ctx *c;
    enum lua lua;
    struct buf text;
    str keys[2];
    str *args;
    size_t args_n, args_max;
};

static str texted(struct call *k, size_t from)
{
    assert(!k->text.err);
    return str_from(buf_str(&k->text), from);
}

/* T, and a key under it: P:q:webhook:meta */
static str key(struct call *k, enum job_queue q, str name)
{
    size_t from = k->text.n;

    buf_add(&k->text, str_of(k->c->conf->redis_key_prefix));
    buf_add(&k->text, STR(":q:"));
    buf_add(&k->text, str_of(job_queue_name(q)));
    buf_add(&k->text, name);
    return texted(k, from);
}

static void add(struct call *k, str word)
{
    assert(k->args_n < k->args_max);
    k->args[k->args_n++] = word;
}

static void add_flag(struct call *k, bool on)
{
    add(k, on ? STR("1") : STR("0"));
}

static void add_number(struct call *k, int64_t v)
{
    size_t from = k->text.n;

    buf_add_i64(&k->text, v);
    add(k, texted(k, from));
}

/* Room for so many arguments and numbers among them. */
static bool begin(struct call *k, struct ctx *c, enum job_queue q, enum lua lua,
                  size_t args_max)
{
    size_t bytes = 3 * KEY_MAX + args_max * NUMBER_MAX;
    char *room = arena_alloc(&c->arena, bytes);
    size_t from;

    *k = (struct call){.c = c, .lua = lua, .args_max = args_max};
    k->args = arena_alloc(&c->arena, args_max * sizeof *k->args);
    if (!room || !k->args)
        return false;
    k->text = buf_over(room, bytes);
    from = k->text.n;
    buf_add(&k->text, str_of(c->conf->redis_key_prefix));
    buf_add(&k->text, STR(":dataset"));
    k->keys[0] = texted(k, from);
    k->keys[1] = key(k, q, STR(":meta"));
    add(k, str_of(c->index));
    add(k, key(k, q, STR("")));
    return true;
}

/* ---- replies */

/* No memory is news of the server, told by who watches it. */
static enum index_result refused(const struct ctx *c)
{
    if (!rds_refused_with(c->rds, STR("OOM")) &&
        !rds_refused_with(c->rds, STR("MISCONF")))
        log_note(LOG_WARN, "queue.refused", "Redis refuses: %s",
                 rds_reason(c->rds));
    return INDEX_REFUSED;
}

/* What no script of ours replies. */
static enum index_result senseless(void)
{
    log_note(LOG_WARN, "queue.refused", "a reply of Redis makes no sense");
    return INDEX_REFUSED;
}

static enum index_result run(struct call *k, struct rds_reply *out)
{
    const struct rds_script s = {k->lua, k->keys, k->args, 2, k->args_n};
    ms deadline = clock_mono_ms() + CALL_MS;
    struct rds *r = rds_find(k->c);

    if (!r)
        return INDEX_AWAY;
    if (deadline > k->c->deadline)
        deadline = k->c->deadline;
    switch (rds_run(r, &s, deadline, &k->c->arena, out)) {
    case RDS_OK:
        break;
    case RDS_ERR:
        return refused(k->c);
    case RDS_UNKNOWN:
        return INDEX_UNKNOWN;
    case RDS_DOWN:
        return INDEX_AWAY;
    }
    return out->kind == RDS_TEXT && str_eq(out->text, STR("DATASET"))
               ? INDEX_STALE
               : INDEX_DONE;
}

static enum index_result run_number(struct call *k, int64_t *out)
{
    struct rds_reply reply;
    enum index_result result = run(k, &reply);

    if (result != INDEX_DONE)
        return result;
    if (reply.kind != RDS_INT)
        return senseless();
    *out = reply.number;
    return INDEX_DONE;
}

static bool are_numbers(const struct rds_reply *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (items[i].kind != RDS_INT)
            return false;
    return true;
}

static bool may_call(const struct ctx *c)
{
    return c->index && c->index[0];
}

/* ---- jobs come */

static int64_t between(int64_t low, int64_t v, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static void add_job(struct call *k, const struct index_job *j)
{
    int64_t cls = between(0, j->cls, JOB_CLASS_LAST);

    add(k, j->id);
    add(k, j->lim);
    add(k, j->group);
    add_number(k,
               cls * CLASS_UNIT + between(0, j->ts - EPOCH_MS, CLASS_UNIT - 1));
    if (str_eq(j->group, j->lim))
        add(k, STR(""));
    else
        add_number(k, between(0, j->ord, ORD_END - 1));
    add_number(k, between(0, j->delay_ms, CLASS_UNIT));
    add(k, j->once ? STR("1") : STR(""));
    add_number(k, between(0, j->limit, ORD_END - 1));
    add_number(k, between(0, j->window_ms, CLASS_UNIT));
}

static bool read_seats(const struct rds_reply *reply, size_t n,
                       enum index_seat *seats)
{
    const struct rds_reply *r = reply->items;

    if (reply->kind != RDS_LIST || reply->items_n != 1 || r->kind != RDS_TEXT ||
        r->text.n != n)
        return false;
    for (size_t i = 0; i < n; i++)
        seats[i] = r->text.p[i] == 'N'   ? INDEX_NEW
                   : r->text.p[i] == 'K' ? INDEX_KNOWN
                                         : INDEX_FULL;
    return true;
}

enum index_result index_enqueue(struct ctx *c, enum job_queue q,
                                enum index_source by,
                                const struct index_job *jobs, size_t n,
                                enum index_seat *seats)
{
    static const char *const sources[] = {[INDEX_BY_FANOUT] = "fanout",
                                          [INDEX_BY_SWEEP] = "sweep",
                                          [INDEX_AT_ONCE] = "now"};
    struct call k;
    struct rds_reply reply;
    enum index_result result;

    assert(n <= INDEX_ENQUEUE_MAX);
    if (!may_call(c) ||
        !begin(&k, c, q, LUA_QUEUE_ENQUEUE, HEAD_ARGS + 1 + n * JOB_ARGS))
        return INDEX_AWAY;
    add(&k, str_of(sources[by]));
    for (size_t i = 0; i < n; i++)
        add_job(&k, &jobs[i]);
    result = run(&k, &reply);
    if (result != INDEX_DONE)
        return result;
    return read_seats(&reply, n, seats) ? INDEX_DONE : senseless();
}

/* ---- jobs are claimed and finished */

static void add_told(struct call *k, const struct index_told *t)
{
    static const char *const verdicts[] = {[INDEX_ENDED] = "done",
                                           [INDEX_GONE] = "gone",
                                           [INDEX_RETRY] = "retry",
                                           [INDEX_BACK] = "back"};
    static const char *const healths[] = {
        [HEALTH_SAME] = "same", [HEALTH_OK] = "ok", [HEALTH_FAILED] = "failed"};

    add(k, str_of(t->id));
    add(k, str_of(t->token));
    add(k, str_of(verdicts[t->verdict]));
    add_number(k, between(0, t->delay_ms, CLASS_UNIT));
    add(k, str_of(healths[t->health]));
    add_number(k, between(0, t->hold_ms, CLASS_UNIT));
}

/* told, due, limited; id, subscriber, group, once, limit, window */
static bool read_step(const struct rds_reply *reply, struct index_step *out)
{
    const struct rds_reply *r = reply->items;

    if (reply->kind != RDS_LIST ||
        (reply->items_n != 3 && reply->items_n != 9) || r[0].kind != RDS_TEXT ||
        !are_numbers(r + 1, 2))
        return false;
    *out = (struct index_step){.known = str_eq(r[0].text, STR("OK")) ||
                                        str_eq(r[0].text, STR("GONE")),
                               .due_ms = r[1].number,
                               .limited = r[2].number};
    if (reply->items_n == 3)
        return true;
    if (r[3].kind != RDS_TEXT || r[4].kind != RDS_TEXT ||
        r[5].kind != RDS_TEXT || !are_numbers(r + 6, 3))
        return false;
    out->claimed = true;
    out->id = r[3].text;
    out->lim = r[4].text;
    out->group = r[5].text;
    out->once = r[6].number != 0;
    out->limit = r[7].number;
    out->window_ms = r[8].number;
    return true;
}

enum index_result index_step(struct ctx *c, enum job_queue q,
                             const struct index_ask *ask,
                             const struct index_told *told,
                             struct index_step *out)
{
    struct call k;
    struct rds_reply reply;
    enum index_result result;

    if (!may_call(c) || !begin(&k, c, q, LUA_QUEUE_STEP, SMALL_ARGS))
        return INDEX_AWAY;
    add(&k, str_of(ask->token));
    add_number(&k, between(0, ask->lease_ms, CLASS_UNIT));
    add_flag(&k, ask->want);
    add_flag(&k, ask->woken);
    if (told && str_eq(str_of(told->dataset), str_of(c->index)))
        add_told(&k, told);
    result = run(&k, &reply);
    if (result != INDEX_DONE)
        return result;
    return read_step(&reply, out) ? INDEX_DONE : senseless();
}

static enum index_result recover(struct ctx *c, enum job_queue q, str token,
                                 bool ran, int64_t *out_n)
{
    struct call k;

    if (!may_call(c) || !begin(&k, c, q, LUA_QUEUE_RECOVER, SMALL_ARGS))
        return INDEX_AWAY;
    add(&k, token);
    add_flag(&k, ran);
    return run_number(&k, out_n);
}

enum index_result index_recover(struct ctx *c, enum job_queue q, str token,
                                int64_t *out_n)
{
    return recover(c, q, token, false, out_n);
}

enum index_result index_recover_ran(struct ctx *c, enum job_queue q, str token,
                                    int64_t *out_n)
{
    return recover(c, q, token, true, out_n);
}

/* ---- subscribers and settings */

enum index_result index_subscriber(struct ctx *c, enum job_queue q, str lim,
                                   enum index_action action, int64_t value,
                                   ms window, int64_t *out_left)
{
    static const char *const actions[] = {[INDEX_HOLD] = "hold",
                                          [INDEX_UNHOLD] = "unhold",
                                          [INDEX_LIMIT] = "limit",
                                          [INDEX_REMOVE] = "remove"};
    struct call k;

    if (!may_call(c) || !begin(&k, c, q, LUA_QUEUE_SUBSCRIBER, SMALL_ARGS))
        return INDEX_AWAY;
    add(&k, lim);
    add(&k, str_of(actions[action]));
    add_number(&k, action == INDEX_REMOVE ? REMOVE_MAX
                                          : between(0, value, CLASS_UNIT));
    add_number(&k, between(0, window, CLASS_UNIT));
    return run_number(&k, out_left);
}

enum index_result index_cancel(struct ctx *c, enum job_queue q, str id)
{
    struct call k;
    int64_t n;

    if (!may_call(c) || !begin(&k, c, q, LUA_QUEUE_CANCEL, SMALL_ARGS))
        return INDEX_AWAY;
    add(&k, id);
    return run_number(&k, &n);
}

enum index_result index_meta(struct ctx *c, enum job_queue q,
                             const struct index_meta *m)
{
    struct call k;
    int64_t n;

    if (!may_call(c) || !begin(&k, c, q, LUA_QUEUE_META, SMALL_ARGS))
        return INDEX_AWAY;
    add_number(&k, between(1, m->cap, CLASS_UNIT));
    add_number(&k, between(0, m->max, CLASS_UNIT));
    add_number(&k, between(0, m->limit_all, CLASS_UNIT));
    add_number(&k, between(0, m->window_ms, CLASS_UNIT));
    add_flag(&k, m->spill_over);
    return run_number(&k, &n);
}

enum index_result index_stats(struct ctx *c, enum job_queue q,
                              struct index_stats *out)
{
    struct call k;
    struct rds_reply reply;
    const struct rds_reply *r;
    enum index_result result;

    if (!may_call(c) || !begin(&k, c, q, LUA_QUEUE_STATS, SMALL_ARGS))
        return INDEX_AWAY;
    result = run(&k, &reply);
    if (result != INDEX_DONE)
        return result;
    r = reply.items;
    if (reply.kind != RDS_LIST || reply.items_n != 9 || !are_numbers(r, 9))
        return senseless();
    *out = (struct index_stats){.jobs = r[0].number,
                                .active = r[1].number,
                                .delayed = r[2].number,
                                .held = r[3].number,
                                .limited = r[4].number,
                                .breakers = r[5].number,
                                .foreign = r[6].number,
                                .spill = r[7].number != 0,
                                .complete = r[8].number != 0};
    return INDEX_DONE;
}

enum index_result index_recent(struct ctx *c, enum job_queue q, const str *lims,
                               size_t n, int64_t *out)
{
    struct call k;
    struct rds_reply reply;
    enum index_result result;

    assert(n <= RECENT_MAX);
    if (!may_call(c) || !begin(&k, c, q, LUA_QUEUE_RECENT, HEAD_ARGS + n))
        return INDEX_AWAY;
    for (size_t i = 0; i < n; i++)
        add(&k, lims[i]);
    result = run(&k, &reply);
    if (result != INDEX_DONE)
        return result;
    if (reply.kind != RDS_LIST || reply.items_n != n ||
        !are_numbers(reply.items, n))
        return senseless();
    for (size_t i = 0; i < n; i++)
        out[i] = reply.items[i].number;
    return INDEX_DONE;
}

const str *index_wait_words(struct ctx *c, enum job_queue q, int seconds,
                            size_t *out_n)
{
    str *words = arena_alloc(&c->arena, 3 * sizeof *words);

    if (!words)
        return NULL;
    words[0] = STR("BZPOPMIN");
    words[1] = arena_strf(&c->arena, "%s:q:%s:mk", c->conf->redis_key_prefix,
                          job_queue_name(q));
    words[2] = arena_strf(&c->arena, "%d", seconds);
    *out_n = 3;
    return words[1].p && words[2].p ? words : NULL;
}
