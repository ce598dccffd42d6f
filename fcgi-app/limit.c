/* limit - see limit.h */
#include "fcgi-app/limit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

#include "fcgi-app/refresh.h"
#include "lib/base/addr.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/id.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/base/rate.h"
#include "lib/coord/rds_script.h"

enum {
    REDIS_MS = 50,
    CALLER_MAX = 200, /* bytes of it in a key, a hash stands for the rest */
    KEY_MAX = 320,
    NUMBER_MAX = 24,
    GROUP_N = 8, /* slots looked at for one caller: two cache lines */
    GROUPS_N = 1 << 13,
    COUNT_BITS = 20, /* RATE_LIMIT_MAX_REQUESTS is at most 1,000,000 */
    COUNT_MAX = (1 << COUNT_BITS) - 1,
    INDEX_BITS = 64 - 2 * COUNT_BITS,
    NOTE_EVERY_MS = 10000,
};

/* The number of the window, the count before and the count, in one word. */
struct slot {
    _Atomic uint64_t key; /* hash of the caller, 0: never used */
    _Atomic uint64_t word;
};

static struct {
    struct rate_rule rule;
    bool skip_successful;
    char window_text[NUMBER_MAX], limit_text[NUMBER_MAX];
    uint64_t seed;      /* nobody can choose callers that meet in a group */
    struct slot *slots; /* shared with the other processes; NULL: no limit */
} limit;

static _Atomic ms next_note;

/* A time as windows see it. */
struct point {
    uint64_t index;
    ms into_ms;
};

enum how {
    ASK,
    TAKE, /* count it if it fits */
    ADD   /* count it, since it has happened */
};

struct verdict {
    bool fits;               /* before it was counted */
    struct rate_state state; /* after it was counted, if it was */
};

enum err limit_setup(const struct conf *conf)
{
    void *shared;

    if (!conf->rate_limit_enabled || conf->rate_limit_max_requests == 0)
        return OK;
    limit.rule = (struct rate_rule){conf->rate_limit_max_requests,
                                    conf->rate_limit_window_ms};
    limit.skip_successful = conf->rate_limit_skip_successful;
    snprintf(limit.window_text, NUMBER_MAX, "%lld",
             (long long)limit.rule.window_ms);
    snprintf(limit.limit_text, NUMBER_MAX, "%lld", (long long)limit.rule.limit);
    if (id_random(&limit.seed, sizeof limit.seed) != OK)
        return ERR_INTERNAL;
    shared = mmap(NULL, sizeof(struct slot) * GROUPS_N * GROUP_N,
                  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return ERR_OVERLOADED;
    limit.slots = shared;
    return OK;
}

/* ---- who */

/* FNV-1a, its bits spread once more */
static uint64_t hash(uint64_t seed, str s)
{
    uint64_t h = seed ^ 0xcbf29ce484222325u;

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 0x100000001b3u;
    h = (h ^ (h >> 33)) * 0xff51afd7ed558ccdu;
    h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53u;
    return h ^ (h >> 33);
}

/* P:rate:<caller>; a cut caller is longer than any whole one. */
static str key_of(const struct conf *conf, str caller, char key[KEY_MAX])
{
    struct buf b = buf_over(key, KEY_MAX);
    char block[ADDR_TEXT_MAX];
    struct addr addr;

    buf_addf(&b, "%s:rate:", conf->redis_key_prefix);
    if (addr_parse(caller, &addr)) {
        buf_add(&b, (str){block, addr_block(&addr, block)});
    } else {
        buf_add(&b, str_head(caller, CALLER_MAX));
        if (caller.n > CALLER_MAX)
            buf_addf(&b, "#%016llx", (unsigned long long)hash(0, caller));
    }
    return buf_str(&b);
}

/* ---- counts of this instance */

static uint64_t low_bits(uint64_t v, int bits)
{
    return v & ((1ull << bits) - 1);
}

static uint64_t pack(uint64_t index, const struct rate_state *s)
{
    return index << 2 * COUNT_BITS | (uint64_t)s->before << COUNT_BITS |
           (uint64_t)s->count;
}

/* How many windows ago; of a slot that another thread moved on, 0. */
static uint64_t age_of(uint64_t word, uint64_t index)
{
    uint64_t age = low_bits(index - (word >> 2 * COUNT_BITS), INDEX_BITS);

    return age == low_bits(UINT64_MAX, INDEX_BITS) ? 0 : age;
}

/* Never before the slot's window: a thread may have read the clock earlier. */
static struct point not_before(struct point now, uint64_t word)
{
    uint64_t next = low_bits(now.index + 1, INDEX_BITS);

    return word >> 2 * COUNT_BITS == next ? (struct point){now.index + 1, 0}
                                          : now;
}

static struct rate_state unpack(uint64_t word, struct point now)
{
    int64_t count = (int64_t)low_bits(word, COUNT_BITS);
    int64_t before = (int64_t)low_bits(word >> COUNT_BITS, COUNT_BITS);
    uint64_t age = age_of(word, now.index);

    if (age == 0)
        return (struct rate_state){before, count, now.into_ms};
    return (struct rate_state){age == 1 ? count : 0, 0, now.into_ms};
}

/* The greater, the less is lost by forgetting it. */
static uint64_t staleness(struct slot *s, uint64_t index)
{
    uint64_t word = atomic_load_explicit(&s->word, memory_order_relaxed);
    uint64_t counts =
        low_bits(word, COUNT_BITS) + low_bits(word >> COUNT_BITS, COUNT_BITS);

    if (atomic_load_explicit(&s->key, memory_order_relaxed) == 0)
        return UINT64_MAX;
    return ((age_of(word, index) + 1) << (COUNT_BITS + 1)) - counts;
}

static struct slot *slot_of(uint64_t key, uint64_t index)
{
    struct slot *group = &limit.slots[(key >> 32) % GROUPS_N * GROUP_N];
    struct slot *stalest;
    uint64_t held;

    for (;;) {
        stalest = group;
        for (struct slot *s = group; s < group + GROUP_N; s++) {
            if (atomic_load_explicit(&s->key, memory_order_relaxed) == key)
                return s;
            if (staleness(s, index) > staleness(stalest, index))
                stalest = s;
        }
        held = atomic_load_explicit(&stalest->key, memory_order_relaxed);
        /* before the key: nobody may meet the counts of a stranger */
        atomic_store(&stalest->word, 0);
        if (atomic_compare_exchange_strong(&stalest->key, &held, key))
            return stalest;
    }
}

static struct verdict count_here(str key, enum how how, ms mono)
{
    const struct point start = {(uint64_t)(mono / limit.rule.window_ms),
                                mono % limit.rule.window_ms};
    /* never 0, which is an empty slot */
    struct slot *slot = slot_of(hash(limit.seed, key) | 1, start.index);
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    struct point now;
    struct verdict v;

    do {
        now = not_before(start, word);
        v.state = unpack(word, now);
        v.fits = rate_fits(&limit.rule, &v.state);
        if (how == ASK || (how == TAKE && !v.fits) ||
            v.state.count == COUNT_MAX)
            break;
        v.state.count++;
    } while (!atomic_compare_exchange_weak_explicit(
        &slot->word, &word, pack(now.index, &v.state), memory_order_relaxed,
        memory_order_relaxed));
    return v;
}

/* ---- counts of all instances */

static bool read_reply(const struct rds_reply *r, struct verdict *out)
{
    if (r->kind != RDS_LIST || r->items_n != 4)
        return false;
    for (size_t i = 0; i < r->items_n; i++)
        if (r->items[i].kind != RDS_INT)
            return false;
    out->fits = r->items[0].number == 1;
    out->state = (struct rate_state){r->items[1].number, r->items[2].number,
                                     r->items[3].number};
    return true;
}

static bool is_connectable(struct ctx *c)
{
    return refresh_view().redis == REFRESH_REDIS_UP && rds_find(c) != NULL;
}

/* A refusal would else go unseen while the poll thread is content. */
static void note(const struct ctx *c)
{
    ms now = clock_mono_ms();
    ms due = atomic_load_explicit(&next_note, memory_order_relaxed);

    if (now >= due &&
        atomic_compare_exchange_strong(&next_note, &due, now + NOTE_EVERY_MS))
        log_note(LOG_WARN, "limit.local",
                 "requests are counted without Redis: %s", rds_reason(c->rds));
}

static bool count_in_redis(struct ctx *c, str key, enum how how,
                           struct verdict *out)
{
    static const str hows[] = {STR_INIT("ask"), STR_INIT("take"),
                               STR_INIT("add")};
    const str args[] = {str_of(limit.window_text), str_of(limit.limit_text),
                        hows[how]};
    const struct rds_script script = {LUA_RATE_TAKE, &key, args, 1, 3};
    struct rds_reply reply;
    enum rds_result result;

    if (!is_connectable(c))
        return false;
    result =
        rds_run(c->rds, &script, clock_mono_ms() + REDIS_MS, &c->arena, &reply);
    if (result == RDS_OK && read_reply(&reply, out))
        return true;
    note(c);
    return false;
}

/* ---- the answer */

static struct verdict count(struct ctx *c, str caller, enum how how,
                            bool may_wait)
{
    char text[KEY_MAX];
    str key = key_of(c->conf, caller, text);
    struct verdict v;

    if (may_wait && count_in_redis(c, key, how, &v))
        return v;
    return count_here(key, how, clock_mono_ms());
}

static long long seconds(ms span)
{
    return (span + 999) / 1000;
}

static void add_headers(struct reply *out, const struct rate_state *s)
{
    long long most = limit.rule.limit;

    reply_header(out,
                 "RateLimit-Limit: %lld\r\n"
                 "RateLimit-Remaining: %lld\r\n"
                 "RateLimit-Reset: %lld\r\n"
                 "RateLimit-Policy: %lld;w=%lld",
                 most, (long long)rate_left(&limit.rule, s),
                 seconds(rate_reset_ms(&limit.rule, s)), most,
                 seconds(limit.rule.window_ms));
}

static enum err refuse(struct ctx *c, struct reply *out,
                       const struct rate_state *s)
{
    long long wait = seconds(rate_wait_ms(&limit.rule, s));

    out->headers = STR_NONE; /* nor Allow, nor a challenge */
    add_headers(out, s);
    reply_header(out, "Retry-After: %lld", wait);
    metrics_add(METRIC_RATE_LIMITED, 0, 1);
    out->err_members = STR_NONE;
    ctx_forgive(c); /* what else was wrong is not told now */
    return ctx_fail(c, ERR_RATE_LIMITED,
                    "At most %lld %s in %lld s are allowed; try again in "
                    "%lld s",
                    (long long)limit.rule.limit,
                    limit.skip_successful ? "failed requests" : "requests",
                    seconds(limit.rule.window_ms), wait);
}

enum err limit_caller(struct ctx *c, const struct request *q, struct reply *out,
                      bool may_wait)
{
    struct verdict v;

    if (!limit.slots)
        return OK;
    v = count(c, q->caller, limit.skip_successful ? ASK : TAKE, may_wait);
    if (!v.fits)
        return refuse(c, out, &v.state);
    if (!limit.skip_successful)
        add_headers(out, &v.state);
    return OK;
}

void limit_outcome(struct ctx *c, const struct request *q, struct reply *out,
                   enum err err, bool may_wait)
{
    struct verdict v;

    if (!limit.slots || !limit.skip_successful || out->started ||
        err == ERR_CUT || err == ERR_RATE_LIMITED ||
        (err ? err_status(err) : out->status) < 400)
        return;
    v = count(c, q->caller, ADD, may_wait);
    add_headers(out, &v.state);
}
