/*
 * mongo_sessions - see mongo_sessions.h
 *
 * A slot has a place for each session, of this process and of those before:
 *
 *   FREE -> WRITING -> OPEN -> FREE            by the client it belongs to
 *   WRITING -> FREE, OPEN -> LEFT              its process is dead (join)
 *   LEFT -> FREE                               ended (end)
 *
 * The id is written before the first command of the session is sent, and only
 * while no other thread takes the place for a full or an empty one. A slot has
 * one process at a time: the next is forked after the death of the last.
 */
#include "lib/data/mongo_sessions.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"
#include "lib/data/mongo_inside.h"

enum {
    ID_BYTES = 16,
    TURNS = 2,
    LATE_MS = 1000, /* a command may be on its way for so long */
    AGAIN_MS = 500, /* after one in vain */
    TRIES = 20
};

enum state {
    FREE,
    WRITING,
    OPEN,
    LEFT
};

struct mongo_place {
    atomic_int state;
    uint8_t id[ID_BYTES];
};

static struct mongo_place *places; /* of all slots */
static int per_slot;
static struct mongo_place *own; /* of this process; NULL: none */

/* What the one thread that ends sessions goes on with. */
static struct {
    int turns, tries; /* to go */
    ms due;           /* monotonic */
} ending;

bool mongo_sessions_setup(int slots, int clients)
{
    int n = 2 * clients; /* as many may be left */
    void *shared =
        mmap(NULL, (size_t)slots * (size_t)n * sizeof *places,
             PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (shared == MAP_FAILED)
        return false;
    places = shared;
    per_slot = n;
    return true;
}

void mongo_sessions_join(int slot)
{
    if (!places)
        return;
    own = places + (size_t)slot * (size_t)per_slot;
    ending.turns = 0;
    for (int i = 0; i < per_slot; i++) {
        int state = atomic_load(&own[i].state);

        if (state == WRITING)
            atomic_store(&own[i].state, FREE);
        if (state == OPEN)
            atomic_store(&own[i].state, LEFT);
        if (state == OPEN || state == LEFT)
            ending.turns = TURNS;
    }
    ending.tries = TRIES;
    ending.due = 0;
}

/* ---- of this process */

/* Before the first command of the session. NULL: it is not kept. */
static struct mongo_place *keep(const mongoc_client_session_t *session)
{
    const bson_t *lsid = mongoc_client_session_get_lsid(session);
    const uint8_t *id = NULL;
    uint32_t n = 0;
    bson_iter_t it;

    if (!own || !bson_iter_init_find(&it, lsid, "id") ||
        !BSON_ITER_HOLDS_BINARY(&it))
        return NULL;
    bson_iter_binary(&it, NULL, &n, &id);
    for (int i = 0; n == ID_BYTES && i < per_slot; i++) {
        int was = FREE;

        if (!atomic_compare_exchange_strong(&own[i].state, &was, WRITING))
            continue;
        memcpy(own[i].id, id, ID_BYTES);
        atomic_store(&own[i].state, OPEN);
        return &own[i];
    }
    return NULL;
}

bool mongo_have_session(struct mongo *m, bson_error_t *e)
{
    mongoc_session_opt_t *opts;

    if (m->session)
        return true;
    opts = mongoc_session_opts_new();
    mongoc_session_opts_set_causal_consistency(opts, false);
    m->session = mongoc_client_start_session(m->client, opts, e);
    mongoc_session_opts_destroy(opts);
    if (!m->session)
        return false;
    m->place = keep(m->session);
    m->opts = bson_new();
    if (mongoc_client_session_append(m->session, m->opts, e))
        return true;
    mongo_drop_session(m);
    return false;
}

void mongo_drop_session(struct mongo *m)
{
    if (!m->session)
        return;
    mongoc_client_session_destroy(m->session);
    bson_destroy(m->opts);
    m->session = NULL;
    if (m->place)
        atomic_store(&m->place->state, FREE);
    m->place = NULL;
}

/* ---- of those before */

bool mongo_sessions_due(void)
{
    return ending.turns > 0 && clock_mono_ms() >= ending.due;
}

/* NULL with the failure noted. */
static bson_t *kill_command(struct ctx *c)
{
    bson_t *cmd = mongo_bson(c), list, row;
    char key[16];
    const char *k;
    uint32_t n = 0;

    if (!cmd)
        return NULL;
    BSON_APPEND_ARRAY_BEGIN(cmd, "killSessions", &list);
    for (int i = 0; i < per_slot; i++) {
        if (atomic_load(&own[i].state) != LEFT)
            continue;
        bson_uint32_to_string(n++, &k, key, sizeof key);
        BSON_APPEND_DOCUMENT_BEGIN(&list, k, &row);
        BSON_APPEND_BINARY(&row, "id", BSON_SUBTYPE_UUID, own[i].id, ID_BYTES);
        bson_append_document_end(&list, &row);
    }
    bson_append_array_end(cmd, &list);
    return cmd;
}

static void forget_left(void)
{
    for (int i = 0; i < per_slot; i++) {
        int left = LEFT;

        atomic_compare_exchange_strong(&own[i].state, &left, FREE);
    }
}

void mongo_sessions_end(struct ctx *c)
{
    bson_t *cmd = kill_command(c), *reply;
    enum err err = cmd ? mongo_read(c, cmd, &reply) : ERR_OVERLOADED;

    log_note(LOG_DEBUG, "sessions.end", "those of the process before: %s",
             err ? err_code(err) : "done");
    ctx_forgive(c);
    ending.tries--;
    if (err == OK)
        ending.turns--;
    if (ending.tries == 0)
        ending.turns = 0;
    ending.due = clock_mono_ms() + (err ? AGAIN_MS : LATE_MS);
    if (ending.turns == 0)
        forget_left();
}
