/*
 * subs - see subs.h
 *
 * A snapshot lies in an arena of its own: rows, what was read of them, and the
 * tables by collection and by id. Who needs a newer one:
 *
 *   nobody loads: loads itself -> publishes -> wakes those that wait
 *   somebody does: goes on with what is there, if only its age is the matter;
 *                  else waits for the end of that load
 *
 * The version is read before the rows, so a snapshot is never older than it
 * says.
 */
#include "lib/data/subs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/log.h"
#include "lib/base/snap.h"
#include "lib/data/match.h"
#include "lib/data/mongo.h"

enum {
    ARENA_BYTES = 256 << 20, /* of a snapshot at most */
    PAGE_ROWS = 500,
    OLD_MS = 60000,
    AGAIN_MS = 500,  /* after a load in vain */
    STALE_MS = 5000, /* of loads in vain: health says so */
    LOAD_MS = 2000,  /* of one, where there is a snapshot to go on with */
};

/* What subscribes to a collection. */
struct group {
    str collection;
    const struct subscription **of[EVENT_N];
    size_t n[EVENT_N];
    bool ordered[EVENT_N];
};

struct subs {
    struct arena arena;
    int64_t ver;
    ms loaded; /* monotonic */
    struct subscription **by_id;
    size_t by_id_n, by_id_max;
    struct group *groups; /* by collection */
    size_t groups_n;
};

static struct snap snapshots = SNAP_INIT;
static _Atomic int64_t own_word; /* where there was no subs_setup() */
static _Atomic int64_t *word = &own_word;
static _Atomic ms failing_since; /* monotonic; 0: the last load went well */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool loading;
    unsigned loads; /* ended ones */
    enum err last;  /* what came of the last one */
    ms again;       /* monotonic: not before, after one in vain */
} loader = {.lock = PTHREAD_MUTEX_INITIALIZER,
            .ended = PTHREAD_COND_INITIALIZER};

bool subs_setup(void)
{
    void *shared = mmap(NULL, sizeof *word, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (shared == MAP_FAILED)
        return false;
    word = shared;
    return true;
}

void subs_raise(int64_t ver)
{
    int64_t was = atomic_load_explicit(word, memory_order_relaxed);

    while (was < ver && !atomic_compare_exchange_weak(word, &was, ver)) {
        /* was has what somebody else wrote */
    }
}

bool subs_is_stale(void)
{
    ms since = atomic_load_explicit(&failing_since, memory_order_relaxed);

    return since && clock_mono_ms() - since > STALE_MS;
}

int64_t subs_version(const struct subs *s)
{
    return s->ver;
}

size_t subs_count(const struct subs *s)
{
    return s->by_id_n;
}

const struct subscription *subs_at(const struct subs *s, size_t i)
{
    return s->by_id[i];
}

/* ---- looking up */

static int compare(str a, str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.p, b.p, n) : 0;

    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static const struct group *find_group(const struct subs *s, str collection)
{
    size_t from = 0, to = s->groups_n;

    while (from < to) {
        size_t mid = (from + to) / 2;
        int order = compare(collection, s->groups[mid].collection);

        if (order == 0)
            return &s->groups[mid];
        if (order < 0)
            to = mid;
        else
            from = mid + 1;
    }
    return NULL;
}

struct subs_interest subs_interest(const struct subs *s, str collection,
                                   enum event_kind k)
{
    const struct group *g = find_group(s, collection);

    return g ? (struct subs_interest){g->n[k] > 0, g->ordered[k]}
             : (struct subs_interest){0};
}

const struct subscription *const *
subs_find(const struct subs *s, str collection, enum event_kind k, size_t *n)
{
    const struct group *g = find_group(s, collection);

    *n = g ? g->n[k] : 0;
    return g ? g->of[k] : NULL;
}

static int by_id(const void *a, const void *b)
{
    const struct subscription *const *x = a, *const *y = b;

    return compare((*x)->webhook.id, (*y)->webhook.id);
}

const struct subscription *subs_by_id(const struct subs *s, str id)
{
    struct subscription want = {.webhook.id = id}, *key = &want;
    struct subscription **found =
        s->by_id_n ? bsearch(&key, s->by_id, s->by_id_n, sizeof key, by_id)
                   : NULL;

    return found ? *found : NULL;
}

/* ---- loading */

static void free_subs(void *arg)
{
    struct subs *s = arg;

    arena_done(&s->arena);
    free(s);
}

static struct subs *subs_new(void)
{
    struct subs *s = calloc(1, sizeof *s);

    if (s)
        arena_init(&s->arena, ARENA_BYTES);
    return s;
}

static bool append(struct subs *s, struct subscription *one)
{
    struct subscription **more;

    if (s->by_id_n == s->by_id_max) {
        s->by_id_max = s->by_id_max ? 2 * s->by_id_max : 64;
        more = arena_alloc(&s->arena, s->by_id_max * sizeof *more);
        if (!more)
            return false;
        if (s->by_id_n)
            memcpy(more, s->by_id, s->by_id_n * sizeof *more);
        s->by_id = more;
    }
    s->by_id[s->by_id_n++] = one;
    return true;
}

/* A row that cannot be used subscribes to nothing. */
static bool add_row(struct subs *s, const struct conf *conf,
                    const uint8_t *data, uint32_t n)
{
    struct subscription *one = arena_alloc(&s->arena, sizeof *one);
    bson_t *row = arena_alloc(&s->arena, sizeof *row);
    str kept = arena_str(&s->arena, (str){(const char *)data, n});

    if (!one || !row || !kept.p)
        return false;
    if (!bson_init_static(row, (const uint8_t *)kept.p, n) ||
        !webhook_read(&s->arena, conf, row, &one->webhook))
        return true;
    one->match = match_new(&s->arena, one->webhook.filters);
    return one->match && append(s, one);
}

/* Reads may go elsewhere, where rows are older than the version told; what is
 * sent as a write never does. */
static enum err read_primary(struct ctx *c, bson_t *cmd, bson_t **out_reply)
{
    return mongo_write(c, cmd, out_reply, NULL);
}

/* The next rows in order of _id; false: *err, or no more. */
static bool read_page(struct ctx *c, bson_oid_t *after, bson_t *out_batch,
                      enum err *err)
{
    bson_t *cmd = mongo_bson(c), *reply;

    if (!cmd) {
        *err = ERR_OVERLOADED;
        return false;
    }
    BCON_APPEND(cmd, "find", "_webhooks", "filter", "{", "_id", "{", "$gt",
                BCON_OID(after), "}", "}", "sort", "{", "_id", BCON_INT32(1),
                "}", "limit", BCON_INT32(PAGE_ROWS), "singleBatch",
                BCON_BOOL(true));
    *err = read_primary(c, cmd, &reply);
    return *err == OK && mongo_reply_rows(reply, out_batch) &&
           !bson_empty(out_batch);
}

static enum err read_rows(struct ctx *c, struct subs *s)
{
    bson_iter_t it, id;
    bson_oid_t after = {{0}};
    const uint8_t *data;
    bson_t batch;
    enum err err;
    uint32_t n;

    while (read_page(c, &after, &batch, &err)) {
        bson_iter_init(&it, &batch);
        while (bson_iter_next(&it)) {
            bson_iter_document(&it, &n, &data);
            if (!add_row(s, c->conf, data, n))
                return ctx_no_memory(c);
            if (bson_iter_recurse(&it, &id) && bson_iter_find(&id, "_id"))
                bson_oid_copy(bson_iter_oid(&id), &after);
        }
    }
    return err;
}

static enum err read_version(struct ctx *c, int64_t *out)
{
    bson_t *cmd = mongo_bson(c), *reply;
    bson_iter_t it, ver;
    enum err err;

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(cmd, "find", "_cluster", "filter", "{", "_id", "subs", "}",
                "limit", BCON_INT32(1), "singleBatch", BCON_BOOL(true));
    err = read_primary(c, cmd, &reply);
    if (err)
        return err;
    *out =
        bson_iter_init(&it, reply) &&
                bson_iter_find_descendant(&it, "cursor.firstBatch.0.ver", &ver)
            ? bson_iter_as_int64(&ver)
            : 0;
    return OK;
}

static int by_collection(const void *a, const void *b)
{
    const struct subscription *const *x = a, *const *y = b;
    int order = compare((*x)->webhook.collection, (*y)->webhook.collection);

    return order ? order : by_id(a, b);
}

/* Those of one collection, n of them, become its group. */
static bool fill_group(struct subs *s, struct group *g,
                       struct subscription *const *list, size_t n)
{
    g->collection = list[0]->webhook.collection;
    for (int k = 0; k < EVENT_N; k++) {
        g->of[k] = arena_alloc(&s->arena, n * sizeof *g->of[k]);
        if (!g->of[k])
            return false;
        for (size_t i = 0; i < n; i++) {
            const struct webhook *w = &list[i]->webhook;

            if (!w->enabled || !(w->events & 1u << k))
                continue;
            g->of[k][g->n[k]++] = list[i];
            g->ordered[k] = g->ordered[k] || w->ordered;
        }
    }
    return true;
}

static bool make_tables(struct subs *s)
{
    size_t n = s->by_id_n, bytes = n * sizeof *s->by_id;
    struct subscription **list = arena_alloc(&s->arena, bytes);

    s->groups = arena_alloc(&s->arena, n * sizeof *s->groups);
    if (n == 0)
        return true;
    if (!list || !s->groups)
        return false;
    qsort(s->by_id, n, sizeof *s->by_id, by_id);
    memcpy(list, s->by_id, bytes);
    qsort(list, n, sizeof *list, by_collection);
    for (size_t from = 0, to = 0; from < n; from = to) {
        while (to < n && str_eq(list[to]->webhook.collection,
                                list[from]->webhook.collection))
            to++;
        if (!fill_group(s, &s->groups[s->groups_n++], list + from, to - from))
            return false;
    }
    return true;
}

/* Loads and publishes; what c had noted before is untouched. */
static enum err load(struct ctx *c)
{
    struct subs *s = subs_new();
    enum err err;

    if (!s)
        return ctx_no_memory(c);
    s->loaded = clock_mono_ms();
    err = read_version(c, &s->ver);
    if (err == OK)
        err = read_rows(c, s);
    if (err == OK && !make_tables(s))
        err = ctx_no_memory(c);
    if (err == OK)
        return snap_publish(&snapshots, s, free_subs);
    free_subs(s);
    return err;
}

/* ---- who loads, who waits */

/* Borrowed until let_go(). */
static const struct subs *current(struct snap_item **item)
{
    *item = snap_get(&snapshots);
    return *item ? snap_value(*item) : NULL;
}

static int64_t version_there(void)
{
    struct snap_item *item;
    const struct subs *s = current(&item);
    int64_t ver = s ? s->ver : -1;

    snap_put(item);
    return ver;
}

static void note_end(enum err err, int64_t want)
{
    ms now = clock_mono_ms();
    bool vain = err != OK || version_there() < want;

    pthread_mutex_lock(&loader.lock);
    loader.loading = false;
    loader.loads++;
    loader.last = err;
    loader.again = vain ? now + AGAIN_MS : 0;
    pthread_cond_broadcast(&loader.ended);
    pthread_mutex_unlock(&loader.lock);
    if (err == OK)
        atomic_store(&failing_since, 0);
    else if (atomic_load(&failing_since) == 0)
        atomic_store(&failing_since, now);
}

/* With the lock held: till the load under way has ended, or the deadline. */
static enum err await_load(const struct ctx *c)
{
    struct timespec until = {c->deadline / 1000, c->deadline % 1000 * 1000000};
    unsigned seen = loader.loads;
    int late = 0;

    while (loader.loading && loader.loads == seen && late == 0)
        late = pthread_cond_clockwait(&loader.ended, &loader.lock,
                                      CLOCK_MONOTONIC, &until);
    return loader.loads == seen ? ERR_TIME_LIMIT : loader.last;
}

/* A load, own or another's, of which `there` can do without when it fails. */
static enum err load_or_await(struct ctx *c, int64_t want, bool there)
{
    ms deadline = c->deadline, brief = clock_mono_ms() + LOAD_MS;
    enum err err;

    pthread_mutex_lock(&loader.lock);
    if (loader.loading) {
        err = await_load(c);
        pthread_mutex_unlock(&loader.lock);
        return err;
    }
    loader.loading = true;
    pthread_mutex_unlock(&loader.lock);
    if (there && brief < deadline)
        c->deadline = brief;
    err = load(c);
    c->deadline = deadline;
    note_end(err, want);
    if (err) {
        log_note(LOG_DEBUG, "subs.not_loaded", "%s: %s", err_code(err),
                 c->reason);
        ctx_forgive(c);
    }
    return err;
}

/* Is there a use in loading now: it is too old, and nothing forbids it. */
static bool is_due(const struct subs *s, int64_t want)
{
    ms now = clock_mono_ms();
    bool newer = s && s->ver >= want, due;

    if (newer && now - s->loaded < OLD_MS)
        return false;
    if (!s)
        return true;
    pthread_mutex_lock(&loader.lock);
    due = now >= loader.again && !(newer && loader.loading);
    pthread_mutex_unlock(&loader.lock);
    return due;
}

enum err subs_get_since(struct ctx *c, int64_t ver, const struct subs **out)
{
    int64_t told = atomic_load_explicit(word, memory_order_acquire);
    int64_t want = told > ver ? told : ver;
    struct snap_item *item;
    const struct subs *s = current(&item);
    enum err err = OK;

    /* a load that began before the version was told may be followed by one */
    for (int i = 0; i < 2 && err == OK && is_due(s, want); i++) {
        snap_put(item);
        err = load_or_await(c, want, s != NULL);
        s = current(&item);
    }
    if (!s)
        return ctx_fail(c, err ? err : ERR_OVERLOADED,
                        "Who subscribes to changes could not be read");
    if (arena_defer(&c->arena, snap_put, item) != OK)
        return ctx_no_memory(c);
    *out = s;
    return OK;
}

enum err subs_get(struct ctx *c, const struct subs **out)
{
    return subs_get_since(c, 0, out);
}
