#pragma once
/*
 * subs - who subscribes to what: a snapshot of `_webhooks` that a process
 * holds, and the version word that all processes of a program share
 *
 *   subs_setup (supervisor, before the fork) -> subs_get ... subs_raise
 *
 * subs_raise() tells a version that somebody has read or written: a process
 * whose snapshot is older reloads before its next use. One thread reloads, the
 * others that need it wait for it. A failed reload keeps what was there and is
 * repeated after 500 ms; all reload once a minute.
 */
#include "lib/data/webhook.h"

struct subs;

/* Once a program. False without memory. */
bool subs_setup(void);

/* The greatest version ever told stays. Any process, any thread. */
void subs_raise(int64_t ver);

/*
 * The snapshot, borrowed until ctx_reset. Costs a lock held for a few
 * instructions unless it must be loaded (one command by c's client). Fails only
 * when there never was one.
 */
MUST_CHECK enum err subs_get(struct ctx *c, const struct subs **out);

/* As subs_get, but at least of version ver, if that can be had. */
MUST_CHECK enum err subs_get_since(struct ctx *c, int64_t ver,
                                   const struct subs **out);

/* A reload has failed for longer than 5 s (for health). */
bool subs_is_stale(void);

int64_t subs_version(const struct subs *s);

/* Who wants an event; nobody: any is false. */
struct subs_interest {
    bool any, ordered;
};
struct subs_interest subs_interest(const struct subs *s, str collection,
                                   enum event_kind k);

/* One subscriber, disabled ones too. */
struct subscription {
    struct webhook webhook;
    const struct match *match;
};

/* Enabled ones of a collection and event, by id; *n may be 0. */
const struct subscription *const *
subs_find(const struct subs *s, str collection, enum event_kind k, size_t *n);

/* NULL: there is none (it was deleted). */
const struct subscription *subs_by_id(const struct subs *s, str id);

size_t subs_count(const struct subs *s);
/* By id; i < subs_count(). */
const struct subscription *subs_at(const struct subs *s, size_t i);
