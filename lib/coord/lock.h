#pragma once
/*
 * lock - leases for users: a name, a token, a fence, an end
 *
 *   lock_acquire -> { lock_renew | lock_hold }* -> lock_release
 *
 * One home a deployment, Redis or MongoDB (dataset.h); callers never learn
 * which answered. While it is away nothing is granted, renewed or released.
 * What is held is changed by its token only, and every call may be repeated
 * after a lost reply: the same token gets the same lock with the same fence.
 * Mutual exclusion of effects holds only where the effect checks the fence.
 * Nothing inside sql-free takes a lock to be correct.
 *
 * The ctx has c->mongo; c->rds is made at first need when Redis is the home.
 * Every wait ends by c->deadline, and one round trip by LOCK_CALL_MS. A call
 * whose outcome is unknown is repeated with the same token; while the home is
 * away each call says so within a second.
 */
#include "lib/base/id.h"
#include "lib/coord/dataset.h"

enum {
    LOCK_NAME_MAX = 200,  /* bytes of A-Za-z0-9._:@/- */
    LOCK_OWNER_MAX = 256, /* bytes, a text without control characters */
    LOCK_TTL_LEAST_MS = 100,
    LOCK_TTL_MOST_MS = 3600000,
    LOCK_WAIT_MOST_MS = 30000,
    LOCK_CALL_MS = 500,
    LOCK_LIST_MAX = 10000, /* rows that a listing gives */
};

/* What may be asked for: checked by the caller with the functions below. */
struct lock_ask {
    str name, owner, instance;
    ms ttl_ms;
    ms wait_ms;              /* 0: one try */
    bool (*stop)(void *arg); /* true: nobody waits any more; or NULL */
    /* Before the first wait: may this caller? Else ERR_LOCK_HELD. Or NULL. */
    bool (*may_wait)(void *arg);
    void *stop_arg; /* of both */
};

struct lock {
    char name[LOCK_NAME_MAX + 1];
    char token[ID_TOKEN_MAX];
    int64_t fence;
    ms ttl_ms;
    /*
     * Boot clock: stamp before the try that was answered, + ttl - max(ttl / 10,
     * 250 ms). After it nothing guarded may be begun.
     */
    ms valid_until;
    ms held_ms; /* after lock_release: since the grant; -1: not known */
};

/* Who has it: texts live until ctx_reset. */
struct lock_holder {
    str owner, instance;
    ms left_ms;
};

struct lock_row {
    str name, owner, instance;
    ms at_wall, left_ms;
    int64_t fence;
};

struct lock_count {
    int64_t held;    /* by anybody */
    int64_t owned;   /* granted by `instance`, of the first 1,000 */
    int64_t expired; /* entries that a clean-up would remove */
};

/*
 * Where the locks are: zero, or as the caller has read it. What was read more
 * than a second ago is read again, and a call that meets another data set
 * reads it again and repeats once.
 */
struct lock_place {
    struct dataset dataset;
};

/* 1 to LOCK_NAME_MAX of the allowed bytes; neither "." nor "..", which no path
 * can hold. */
bool lock_is_name(str s);
bool lock_is_owner(str s);

/*
 * OK, ERR_LOCK_HELD with *out_holder, or ERR_REDIS_UNAVAILABLE /
 * ERR_DB_UNAVAILABLE. Waiters try again after 25 to 100 ms (home MongoDB: 50
 * to 250), at the latest when the holder's time ends; no order among them.
 * A grant whose reply came after the deadline, or that nobody waits for any
 * more (then ERR_CUT), is given back.
 */
MUST_CHECK enum err lock_acquire(struct ctx *c, struct lock_place *place,
                                 const struct lock_ask *ask, struct lock *out,
                                 struct lock_holder *out_holder);

/*
 * New life of ttl_ms from now, same fence: l has name and token. Never revives
 * one that has ended. ERR_LOCK_NOT_FOUND, ERR_LOCK_NOT_HELD (another token).
 */
MUST_CHECK enum err lock_renew(struct ctx *c, struct lock_place *place,
                               struct lock *l, ms ttl_ms);
MUST_CHECK enum err lock_release(struct ctx *c, struct lock_place *place,
                                 struct lock *l);

/*
 * To be called in the holder's loop: renews when a quarter of the ttl has gone
 * since the last renewal. OK while it is valid, also when a renewal failed and
 * will be repeated; ERR_LOCK_NOT_HELD once it is refused or its validity is
 * over: stop what it guards. *out_next_boot: when to call again.
 */
MUST_CHECK enum err lock_hold(struct ctx *c, struct lock_place *place,
                              struct lock *l, ms *out_next_boot);

/* Held ones by their end, at most LOCK_LIST_MAX; rows live until ctx_reset. */
MUST_CHECK enum err lock_list(struct ctx *c, struct lock_place *place,
                              struct lock_row **out, size_t *out_n);

/*
 * Removes entries that have ended or have no lock, in batches, until none is
 * left or the deadline comes. Home MongoDB: rows granted less than 2 s ago
 * stay, as they guard the order of fences.
 */
MUST_CHECK enum err lock_clean(struct ctx *c, struct lock_place *place,
                               int64_t *out_removed);

MUST_CHECK enum err lock_count(struct ctx *c, struct lock_place *place,
                               str instance, struct lock_count *out);
