/* redis_lock - locks in Redis: one script a function, one round trip each */
#include <assert.h>

#include "lib/base/buf.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/coord/backend.h"
#include "lib/coord/rds_script.h"

enum {
    PREFIX_MAX = 64, /* REDIS_KEY_PREFIX */
    TEXT_MAX = 7 * (PREFIX_MAX + 16) + LOCK_NAME_MAX,
    NUMBER_MAX = 24
};

/* Keys of a call and its numbers as text */
struct texts {
    struct buf b;
    char room[TEXT_MAX + 3 * NUMBER_MAX];
};

/* Gives the id of the data set, which each call sends. */
static str texts_init(struct texts *t, const struct dataset *d)
{
    t->b = buf_over(t->room, sizeof t->room);
    return str_of(d->id);
}

static str key(struct texts *t, const struct ctx *c, str kind, str name)
{
    size_t from = t->b.n;

    buf_add(&t->b, str_of(c->conf->redis_key_prefix));
    buf_add(&t->b, kind);
    buf_add(&t->b, name);
    assert(!t->b.err);
    return str_from(buf_str(&t->b), from);
}

static str number(struct texts *t, int64_t v)
{
    size_t from = t->b.n;

    buf_add_i64(&t->b, v);
    assert(!t->b.err);
    return str_from(buf_str(&t->b), from);
}

#define KEY_DATASET(t, c)    key(t, c, STR(":dataset"), STR(""))
#define KEY_LOCK(t, c, name) key(t, c, STR(":l:k:"), name)
#define KEY_INDEX(t, c)      key(t, c, STR(":l:idx"), STR(""))
#define KEY_FENCE(t, c)      key(t, c, STR(":l:fence"), STR(""))
#define KEY_MAX(t, c)        key(t, c, STR(":l:max"), STR(""))
#define KEY_AHEAD(t, c)      key(t, c, STR(":l:ahead"), STR(""))

/* ---- replies */

static bool is_text(const struct rds_reply *r, str text)
{
    return r->kind == RDS_TEXT && str_eq(r->text, text);
}

/* No memory is news of the server, told by who watches it. */
static enum lock_result refused(const struct ctx *c)
{
    if (!rds_refused_with(c->rds, STR("OOM")) &&
        !rds_refused_with(c->rds, STR("MISCONF")))
        log_note(LOG_WARN, "lock.refused", "Redis refuses: %s",
                 rds_reason(c->rds));
    return LOCK_CLOSED;
}

/* What no script of ours replies: the keys hold what strangers wrote. */
static enum lock_result senseless(void)
{
    log_note(LOG_WARN, "lock.refused", "a lock in Redis makes no sense");
    return LOCK_CLOSED;
}

static enum lock_result judge(const struct rds_reply *reply)
{
    static const struct {
        str word;
        enum lock_result result;
    } rows[] = {{STR_INIT("DATASET"), LOCK_STALE},
                {STR_INIT("CLOSED"), LOCK_CLOSED},
                {STR_INIT("LOST"), LOCK_LOST},
                {STR_INIT("GONE"), LOCK_GONE}};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (is_text(reply, rows[i].word))
            return rows[i].result;
    return reply->kind == RDS_LIST ? LOCK_DONE : senseless();
}

/* LOCK_DONE: the reply is a list. */
static enum lock_result run(struct ctx *c, const struct rds_script *s,
                            struct rds_reply *out)
{
    struct rds *r = rds_find(c);

    if (!r)
        return LOCK_AWAY;
    switch (rds_run(r, s, c->deadline, &c->arena, out)) {
    case RDS_OK:
        return judge(out);
    case RDS_ERR:
        return refused(c);
    case RDS_UNKNOWN:
        return LOCK_UNKNOWN;
    case RDS_DOWN:
        break;
    }
    return LOCK_AWAY;
}

/* The only number after OK */
static enum lock_result number_of(const struct rds_reply *reply, int64_t *out)
{
    if (reply->items_n != 2 || !is_text(&reply->items[0], STR("OK")) ||
        reply->items[1].kind != RDS_INT)
        return senseless();
    *out = reply->items[1].number;
    return LOCK_DONE;
}

static bool are_numbers(const struct rds_reply *items, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (items[i].kind != RDS_INT)
            return false;
    return true;
}

static ms at_least_0(int64_t v)
{
    return v > 0 ? v : 0;
}

/* ---- one lock */

static enum lock_result busy(const struct rds_reply *reply,
                             struct lock_holder *out)
{
    const struct rds_reply *r = reply->items;

    if (reply->items_n != 4 || r[1].kind != RDS_TEXT || r[2].kind != RDS_TEXT ||
        r[3].kind != RDS_INT)
        return senseless();
    *out = (struct lock_holder){r[1].text, r[2].text, at_least_0(r[3].number)};
    return LOCK_BUSY;
}

static enum lock_result
redis_lock_acquire(struct ctx *c, const struct dataset *d, struct lock *l,
                   const struct lock_ask *ask, struct lock_holder *out_holder)
{
    struct texts t;
    const str id = texts_init(&t, d);
    const str name = str_of(l->name);
    const str keys[] = {KEY_DATASET(&t, c), KEY_LOCK(&t, c, name),
                        KEY_INDEX(&t, c),   KEY_FENCE(&t, c),
                        KEY_MAX(&t, c),     KEY_AHEAD(&t, c)};
    const str args[] = {
        id,        name, str_of(l->token), number(&t, l->ttl_ms), ask->instance,
        ask->owner};
    const struct rds_script s = {LUA_LOCK_ACQUIRE, keys, args, 6, 6};
    struct rds_reply reply;
    enum lock_result result = run(c, &s, &reply);

    if (result != LOCK_DONE)
        return result;
    if (reply.items_n > 0 && is_text(&reply.items[0], STR("BUSY")))
        return busy(&reply, out_holder);
    return number_of(&reply, &l->fence);
}

static enum lock_result redis_lock_renew(struct ctx *c, const struct dataset *d,
                                         struct lock *l)
{
    struct texts t;
    const str id = texts_init(&t, d);
    const str name = str_of(l->name);
    const str keys[] = {KEY_DATASET(&t, c), KEY_LOCK(&t, c, name),
                        KEY_INDEX(&t, c)};
    const str args[] = {id, name, str_of(l->token), number(&t, l->ttl_ms)};
    const struct rds_script s = {LUA_LOCK_RENEW, keys, args, 3, 4};
    struct rds_reply reply;
    enum lock_result result = run(c, &s, &reply);

    return result == LOCK_DONE ? number_of(&reply, &l->fence) : result;
}

static enum lock_result
redis_lock_release(struct ctx *c, const struct dataset *d, struct lock *l)
{
    struct texts t;
    const str id = texts_init(&t, d);
    const str name = str_of(l->name);
    const str keys[] = {KEY_DATASET(&t, c), KEY_LOCK(&t, c, name),
                        KEY_INDEX(&t, c)};
    const str args[] = {id, name, str_of(l->token)};
    const struct rds_script s = {LUA_LOCK_RELEASE, keys, args, 3, 3};
    struct rds_reply reply;
    enum lock_result result = run(c, &s, &reply);

    return result == LOCK_DONE ? number_of(&reply, &l->held_ms) : result;
}

/* ---- all of them */

/* name, end, owner, instance, grant, fence; the first two where no lock is */
static bool read_entry(const struct rds_reply *entry, ms now,
                       struct lock_page *p)
{
    const struct rds_reply *r = entry->items;

    if (entry->kind != RDS_LIST || entry->items_n < 2 ||
        r[0].kind != RDS_TEXT || r[1].kind != RDS_INT || r[1].number < now ||
        p->entries == p->max)
        return false;
    lock_page_note(p, r[1].number, r[0].text);
    if (entry->items_n != 6 || r[2].kind != RDS_TEXT || r[3].kind != RDS_TEXT ||
        !are_numbers(r + 4, 2))
        return true;
    p->rows[p->rows_n++] = (struct lock_row){.name = r[0].text,
                                             .owner = r[2].text,
                                             .instance = r[3].text,
                                             .at_wall = r[4].number,
                                             .left_ms = r[1].number - now,
                                             .fence = r[5].number};
    return true;
}

static enum lock_result redis_lock_list(struct ctx *c, const struct dataset *d,
                                        struct lock_page *p)
{
    struct texts t;
    const str id = texts_init(&t, d);
    const str keys[] = {KEY_DATASET(&t, c), KEY_INDEX(&t, c)};
    const str args[] = {id, KEY_LOCK(&t, c, STR("")), number(&t, p->end),
                        number(&t, (int64_t)p->known),
                        number(&t, (int64_t)p->max)};
    const struct rds_script s = {LUA_LOCK_LIST, keys, args, 2, 5};
    struct rds_reply reply;
    enum lock_result result = run(c, &s, &reply);

    if (result != LOCK_DONE)
        return result;
    if (reply.items_n == 0 || reply.items[0].kind != RDS_INT)
        return senseless();
    p->rows_n = p->entries = 0;
    for (size_t i = 1; i < reply.items_n; i++)
        if (!read_entry(&reply.items[i], reply.items[0].number, p))
            break;
    return LOCK_DONE;
}

static enum lock_result redis_lock_clean(struct ctx *c, const struct dataset *d,
                                         int64_t *place, int64_t *out_removed)
{
    struct texts t;
    const str id = texts_init(&t, d);
    const str keys[] = {KEY_DATASET(&t, c), KEY_INDEX(&t, c)};
    const str args[] = {id, KEY_LOCK(&t, c, STR("")), number(&t, *place)};
    const struct rds_script s = {LUA_LOCK_CLEAN, keys, args, 2, 3};
    struct rds_reply reply;
    enum lock_result result = run(c, &s, &reply);

    if (result != LOCK_DONE)
        return result;
    if (reply.items_n != 2 || !are_numbers(reply.items, 2))
        return senseless();
    *out_removed = reply.items[0].number;
    *place = reply.items[1].number;
    return LOCK_DONE;
}

static enum lock_result redis_lock_count(struct ctx *c, const struct dataset *d,
                                         str instance, struct lock_count *out)
{
    struct texts t;
    const str id = texts_init(&t, d);
    const str keys[] = {KEY_DATASET(&t, c), KEY_INDEX(&t, c), KEY_FENCE(&t, c),
                        KEY_MAX(&t, c), KEY_AHEAD(&t, c)};
    const str args[] = {KEY_LOCK(&t, c, STR("")), instance};
    const struct rds_script s = {LUA_DATASET_LOOK, keys, args, 5, 2};
    struct rds_reply reply;
    enum lock_result result = run(c, &s, &reply);

    if (result != LOCK_DONE)
        return result;
    if (reply.items_n != 7 || !are_numbers(reply.items + 1, 6))
        return senseless();
    if (!is_text(&reply.items[0], id))
        return LOCK_STALE;
    *out = (struct lock_count){.held = reply.items[4].number,
                               .owned = reply.items[6].number,
                               .expired = reply.items[5].number};
    return LOCK_DONE;
}

const struct lock_backend redis_lock = {.acquire = redis_lock_acquire,
                                        .renew = redis_lock_renew,
                                        .release = redis_lock_release,
                                        .list = redis_lock_list,
                                        .clean = redis_lock_clean,
                                        .count = redis_lock_count,
                                        .wait_least_ms = 25,
                                        .wait_most_ms = 100,
                                        .settle_ms = 750};
