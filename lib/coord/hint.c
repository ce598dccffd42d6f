/* hint - see hint.h; new ones to the right, the oldest to the left */
#include "lib/coord/hint.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/id.h"
#include "lib/base/metrics.h"

enum {
    AT_ONCE = RDS_WORDS_MAX - 2, /* of one command */
    KEY_ROOM = 80                /* REDIS_KEY_PREFIX and what follows */
};

static void count_lost(size_t n)
{
    if (n > 0)
        metrics_add(METRIC_HINTS_LOST, 0, (int64_t)n);
}

static str key_of(const struct ctx *c, char room[KEY_ROOM])
{
    int n = snprintf(room, KEY_ROOM, "%s:ev", c->conf->redis_key_prefix);

    return (str){room, n > 0 && n < KEY_ROOM ? (size_t)n : 0};
}

static ms soon(const struct ctx *c)
{
    ms most = clock_mono_ms() + HINT_MS;

    return c->deadline != 0 && c->deadline < most ? c->deadline : most;
}

/* A key that is no list is a stranger's: it goes. words[1] is the key. */
static enum rds_result run(struct ctx *c, const str *words, size_t n,
                           struct rds_reply *out)
{
    struct rds *r = rds_find(c);
    enum rds_result result;

    if (!r)
        return RDS_DOWN;
    result = rds_call(r, words, n, soon(c), &c->arena, out);
    if (result != RDS_ERR || !rds_refused_with(r, STR("WRONGTYPE")))
        return result;
    result = rds_call(r, (str[]){STR("UNLINK"), words[1]}, 2, soon(c),
                      &c->arena, out);
    return result == RDS_OK ? rds_call(r, words, n, soon(c), &c->arena, out)
                            : result;
}

static void trim(struct ctx *c, str key, int64_t length)
{
    struct rds_reply reply;
    char from[24];

    if (length <= HINT_MOST)
        return;
    snprintf(from, sizeof from, "%d", -HINT_MOST);
    if (run(c, (str[]){STR("LTRIM"), key, str_of(from), STR("-1")}, 4,
            &reply) == RDS_OK)
        count_lost((size_t)(length - HINT_MOST));
}

static bool push(struct ctx *c, str key, const str *ids, size_t n)
{
    str words[RDS_WORDS_MAX] = {STR("RPUSH"), key};
    struct rds_reply reply;

    memcpy(words + 2, ids, n * sizeof *ids);
    if (run(c, words, n + 2, &reply) != RDS_OK)
        return false;
    if (reply.kind == RDS_INT)
        trim(c, key, reply.number);
    return true;
}

void hint_push(struct ctx *c, const str *ids, size_t n)
{
    char room[KEY_ROOM];
    str key = key_of(c, room);

    while (n > 0) {
        size_t now = n < AT_ONCE ? n : AT_ONCE;

        if (!push(c, key, ids, now))
            break;
        ids += now;
        n -= now;
    }
    count_lost(n);
}

const str *hint_wait_words(struct ctx *c, int seconds, size_t *out_n,
                           size_t *out_key)
{
    char room[KEY_ROOM];
    const str words[] = {STR("BLMPOP"),
                         arena_strf(&c->arena, "%d", seconds),
                         STR("1"),
                         arena_str(&c->arena, key_of(c, room)),
                         STR("LEFT"),
                         STR("COUNT"),
                         arena_strf(&c->arena, "%d", HINT_POP_MAX)};
    str *copy = arena_alloc(&c->arena, sizeof words);

    if (!copy || !words[1].p || !words[3].p || !words[6].p)
        return NULL;
    memcpy(copy, words, sizeof words);
    *out_n = sizeof words / sizeof *words;
    *out_key = 3;
    return copy;
}

size_t hint_read(const struct rds_reply *reply, str out_ids[HINT_POP_MAX])
{
    const struct rds_reply *ids;
    size_t n = 0;

    if (reply->kind != RDS_LIST || reply->items_n != 2 ||
        reply->items[1].kind != RDS_LIST)
        return 0;
    ids = &reply->items[1];
    for (size_t i = 0; i < ids->items_n && n < HINT_POP_MAX; i++)
        if (ids->items[i].kind == RDS_TEXT && id_is_object(ids->items[i].text))
            out_ids[n++] = ids->items[i].text;
    count_lost(ids->items_n - n);
    return n;
}
