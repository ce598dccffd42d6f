/*
 * board - see board.h
 *
 * A place holds a token behind a state word: the token is written while the
 * state says that there is none, and read while it says that there is one. A
 * slot has two: what its child holds now, and the finish that is not told. They
 * are written by the child, after its death by the supervisor; a grave is
 * filled by the supervisor and emptied by the coordinator.
 */
#include "lib/coord/board.h"

#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/log.h"

enum {
    TOKEN_WORDS = (ID_TOKEN_MAX - 1) / 8,
    DATASET_WORDS = (DATASET_ID_MAX - 1) / 8,
    GRAVES_PER_SLOT = 8 /* a grave is kept for about a second */
};
_Static_assert(TOKEN_WORDS * 8 == ID_TOKEN_MAX - 1, "a token is whole words");
_Static_assert(DATASET_WORDS * 8 == DATASET_ID_MAX - 1, "so is a data set");

enum state {
    FREE, /* not of a slot: nothing is in it */
    IDLE,
    CLAIMING,
    BUSY,
    UNTOLD
};

struct place {
    _Atomic int64_t state;
    _Atomic uint64_t token[TOKEN_WORDS];
};

struct board {
    size_t bytes;
    int slots_n, graves_n;
    int dead_fd, work_fd, timer_fd;
    struct {
        _Atomic int64_t open, draining, transactions;
        _Atomic int64_t paused[QUEUE_N], cap[QUEUE_N];
        _Atomic int64_t share; /* index and number in one word */
        _Atomic int64_t clock_offset, seen_boot;
        _Atomic uint64_t dataset[DATASET_WORDS]; /* the first is 0: none */
    } words;
    _Atomic ms next_look;
    struct place *untold; /* behind the slots: one for each */
    struct place *graves; /* behind them */
    struct place slots[];
};

struct board *board_new(int slots)
{
    int graves = slots * GRAVES_PER_SLOT;
    size_t bytes = sizeof(struct board) +
                   (size_t)(slots + slots + graves) * sizeof(struct place);
    struct board *b = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (b == MAP_FAILED)
        return NULL;
    b->bytes = bytes;
    b->slots_n = slots;
    b->graves_n = graves;
    b->untold = b->slots + slots;
    b->graves = b->untold + slots;
    b->dead_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    b->work_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC | EFD_SEMAPHORE);
    b->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    atomic_store(&b->words.share, 1);
    if (b->dead_fd >= 0 && b->work_fd >= 0 && b->timer_fd >= 0)
        return b;
    board_free(b);
    return NULL;
}

void board_free(struct board *b)
{
    if (!b)
        return;
    if (b->dead_fd >= 0)
        close(b->dead_fd);
    if (b->work_fd >= 0)
        close(b->work_fd);
    if (b->timer_fd >= 0)
        close(b->timer_fd);
    munmap(b, b->bytes);
}

/* ---- words */

static void write_dataset(struct board *b, const char *id)
{
    uint64_t words[DATASET_WORDS] = {0};

    if (id[0])
        memcpy(words, id, sizeof words);
    if (words[0] == atomic_load(&b->words.dataset[0]) &&
        words[1] == atomic_load(&b->words.dataset[1]))
        return;
    /* none while the two do not belong together */
    atomic_store(&b->words.dataset[0], 0);
    atomic_store(&b->words.dataset[1], words[1]);
    atomic_store(&b->words.dataset[0], words[0]);
}

static void read_dataset(const struct board *b, char out[DATASET_ID_MAX])
{
    uint64_t words[DATASET_WORDS] = {atomic_load(&b->words.dataset[0]),
                                     atomic_load(&b->words.dataset[1])};

    memset(out, 0, DATASET_ID_MAX);
    if (words[0] != 0 && words[0] == atomic_load(&b->words.dataset[0]))
        memcpy(out, words, sizeof words);
}

void board_write(struct board *b, const struct board_words *w)
{
    atomic_store(&b->words.open, w->open);
    for (int q = 0; q < QUEUE_N; q++) {
        atomic_store(&b->words.paused[q], w->paused[q]);
        atomic_store(&b->words.cap[q], w->cap[q]);
    }
    atomic_store(&b->words.transactions, w->transactions);
    atomic_store(&b->words.share, ((int64_t)w->share_index << 32) | w->share_n);
    atomic_store(&b->words.clock_offset, w->clock_offset);
    write_dataset(b, w->dataset);
    if (w->draining)
        board_drain(b);
    /* last: a fresh time vouches for the rest */
    atomic_store(&b->words.seen_boot, w->seen_boot);
}

void board_read(const struct board *b, struct board_words *out)
{
    int64_t share;

    out->seen_boot = atomic_load(&b->words.seen_boot);
    out->open = atomic_load(&b->words.open) && out->seen_boot > 0 &&
                clock_boot_ms() - out->seen_boot <= BOARD_FRESH_MS;
    for (int q = 0; q < QUEUE_N; q++) {
        out->paused[q] = atomic_load(&b->words.paused[q]);
        out->cap[q] = atomic_load(&b->words.cap[q]);
    }
    out->draining = atomic_load(&b->words.draining);
    out->transactions = atomic_load(&b->words.transactions);
    share = atomic_load(&b->words.share);
    out->share_index = (int)(share >> 32);
    out->share_n = (int)(share & INT32_MAX);
    out->clock_offset = atomic_load(&b->words.clock_offset);
    read_dataset(b, out->dataset);
}

void board_drain(struct board *b)
{
    atomic_store(&b->words.draining, 1);
}

void board_undrain(struct board *b)
{
    atomic_store(&b->words.draining, 0);
}

/* ---- slots */

static bool holds(int64_t state)
{
    return state == CLAIMING || state == BUSY || state == UNTOLD;
}

static void fill(struct place *p, const uint64_t token[TOKEN_WORDS],
                 enum state s)
{
    for (int i = 0; i < TOKEN_WORDS; i++)
        atomic_store(&p->token[i], token[i]);
    atomic_store(&p->state, s);
}

static void look_into(const struct place *p, uint64_t out[TOKEN_WORDS])
{
    for (int i = 0; i < TOKEN_WORDS; i++)
        out[i] = atomic_load(&p->token[i]);
}

void board_begin(struct board *b, int slot)
{
    atomic_store(&b->slots[slot].state, IDLE);
}

void board_claiming(struct board *b, int slot, const char *token)
{
    uint64_t words[TOKEN_WORDS];

    memcpy(words, token, sizeof words);
    fill(&b->slots[slot], words, CLAIMING);
}

void board_busy(struct board *b, int slot)
{
    atomic_store(&b->slots[slot].state, BUSY);
}

void board_idle(struct board *b, int slot)
{
    atomic_store(&b->slots[slot].state, IDLE);
}

void board_untold(struct board *b, int slot)
{
    uint64_t token[TOKEN_WORDS];

    look_into(&b->slots[slot], token);
    /* nothing is known of a token that is written just now: the other place
     * has it until then */
    board_told(b, slot);
    fill(&b->untold[slot], token, UNTOLD);
    board_idle(b, slot);
}

void board_told(struct board *b, int slot)
{
    atomic_store(&b->untold[slot].state, FREE);
}

/* ---- deaths */

static void bury(struct board *b, const struct place *dead, enum state s)
{
    uint64_t token[TOKEN_WORDS];

    look_into(dead, token);
    for (int i = 0; i < b->graves_n; i++) {
        if (atomic_load(&b->graves[i].state) != FREE)
            continue;
        fill(&b->graves[i], token, s);
        return;
    }
    log_note(LOG_WARN, "board.full", "a dead child's lease must run out");
}

void board_died(struct board *b, int slot)
{
    struct place *p = &b->slots[slot];
    enum state s = (enum state)atomic_load(&p->state);

    if (holds(s))
        bury(b, p, s);
    atomic_store(&p->state, FREE);
    if (atomic_load(&b->untold[slot].state) == UNTOLD)
        bury(b, &b->untold[slot], UNTOLD);
    board_told(b, slot);
    /* also when it held nothing: somebody may wait for the last one */
    eventfd_write(b->dead_fd, 1);
}

static bool next_held(const struct place *places, int n, int from,
                      struct board_dead *out)
{
    for (int i = from; i < n; i++) {
        int64_t s = atomic_load(&places[i].state);
        uint64_t token[TOKEN_WORDS];

        if (!holds(s))
            continue;
        look_into(&places[i], token);
        out->at = i;
        out->busy = s != CLAIMING; /* one not told yet has run, too */
        memcpy(out->token, token, sizeof token);
        out->token[sizeof token] = '\0';
        return true;
    }
    return false;
}

bool board_next_dead(const struct board *b, int from, struct board_dead *out)
{
    return next_held(b->graves, b->graves_n, from, out);
}

bool board_next_live(const struct board *b, int from, struct board_dead *out)
{
    return next_held(b->slots, 2 * b->slots_n, from, out);
}

int board_places(const struct board *b)
{
    return b->graves_n;
}

void board_freed(struct board *b, int at)
{
    atomic_store(&b->graves[at].state, FREE);
}

/* Slots in the states from..to. */
static int count(const struct board *b, enum state from, enum state to)
{
    int n = 0;

    for (int i = 0; i < b->slots_n; i++) {
        int64_t s = atomic_load(&b->slots[i].state);

        n += s >= (int64_t)from && s <= (int64_t)to;
    }
    return n;
}

int board_live(const struct board *b)
{
    return count(b, IDLE, BUSY);
}

int board_busy_n(const struct board *b)
{
    return count(b, CLAIMING, BUSY);
}

/* ---- wake-ups */

int board_dead_fd(const struct board *b)
{
    return b->dead_fd;
}

int board_work_fd(const struct board *b)
{
    return b->work_fd;
}

void board_poke(struct board *b, int n)
{
    /* one that claims may have looked already; a busy one looks anyway */
    int most = n > 0 ? count(b, IDLE, CLAIMING) : 0;

    if (most == 0)
        return;
    /* what nobody has taken yet is still to come: more of it would only be
     * looks for nothing once the queue is empty */
    while (board_take(b->work_fd))
        if (n < most)
            n++;
    eventfd_write(b->work_fd, (eventfd_t)(n < most ? n : most));
}

bool board_take(int fd)
{
    eventfd_t n;

    return eventfd_read(fd, &n) == 0;
}

bool board_may_look(struct board *b, ms now_boot, ms every, ms *out_wait)
{
    ms due = atomic_load(&b->next_look);

    if (due <= now_boot &&
        atomic_compare_exchange_strong(&b->next_look, &due, now_boot + every))
        return true;
    /* after a lost race, due is what the winner has written */
    *out_wait = due > now_boot ? due - now_boot : 1;
    return false;
}

/* Whoever changes the time of the next turn arms the timer until both are the
 * same, so that the last one who does it leaves it right. */
static void arm(const struct board *b)
{
    ms due, armed = atomic_load(&b->next_look);

    do {
        struct itimerspec at = {
            .it_value = {.tv_sec = armed / 1000,
                         .tv_nsec = armed % 1000 * 1000000}};

        due = armed;
        timerfd_settime(b->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
        armed = atomic_load(&b->next_look);
    } while (armed != due);
}

void board_look_by(struct board *b, ms boot)
{
    ms due = atomic_load(&b->next_look);

    while (due > boot) {
        if (atomic_compare_exchange_weak(&b->next_look, &due, boot)) {
            arm(b);
            return;
        }
        /* due is now what somebody else wrote */
    }
}

int board_timer_fd(const struct board *b)
{
    return b->timer_fd;
}
