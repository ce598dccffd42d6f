#pragma once
/*
 * leader - the term documents of `_leader`: who leads a service, by MongoDB
 *
 *   (term t over) --take--> term t + 1 --renew--> ... --resign | time--> over
 *
 * MongoDB accepts at most one holder a term. Every write here is one command
 * with write concern majority, guarded by the server's own clock and safe to
 * repeat: the same token takes the same term. Whoever leads guards what it
 * writes by its term as well (`term <= mine`, set `term: mine`): that is what
 * makes a paused leader harmless, not the lease.
 *
 * Each write leaves the server's time in `seen`: the clock by which its reply
 * is read. What a stranger put into the document counts as absent, and an end
 * further ahead than any lease is cut by the next who wants to take.
 */
#include "lib/base/ctx.h"
#include "lib/base/id.h"

enum leader_service {
    LEADER_CRON,
    LEADER_MAINTENANCE,
    LEADER_N
};

#define LEADER_TERM_MAX INT64_C(9007199254740991) /* exact in JSON as well */

enum {
    LEADER_LEFT_MOST = 660000, /* ms; no lease of the settings is as long */
    LEADER_RESERVE_MS = 2000,
    LEADER_DOC_BYTES = 4096 /* what is larger is no term document */
};

enum leader_ask_what {
    LEADER_ASK_NONE,
    LEADER_ASK_RESIGN,
    LEADER_ASK_FORCE /* a resignation for the benefit of `reserved` */
};

/* A term document as read, borrowed from it; texts are "" when absent. */
struct leader_term {
    bool known; /* the document is there */
    int64_t term;
    str holder, token;
    ms left_ms; /* to its end by the server's clock; <= 0: over */
    ms since_wall;
    enum leader_ask_what ask;
    int64_t ask_term; /* the term that was asked */
    str reserved;     /* nobody but this instance may take, for */
    ms reserved_ms;   /* that long; <= 0: everybody may */
};

struct leader_claim { /* what a holder has */
    int64_t term;
    char token[ID_TOKEN_MAX];
};

const char *leader_name(enum leader_service s); /* "cron", "maintenance" */
/* LEADER_N: there is no such service. "cron-scheduler" is cron as well. */
enum leader_service leader_find(str name);

/* The lease of the settings. */
ms leader_ttl_ms(const struct conf *conf);

typedef struct _bson_t bson_t;

/* Whatever types a stranger gave it. now_wall: the server's time. */
void leader_term_read(const bson_t *doc, ms now_wall, struct leader_term *out);

struct leader_try {
    const char *token; /* drawn by the caller, the same when it is repeated */
    ms ttl_ms;
    int64_t above; /* the new term will be greater than this */
};

/*
 * Takes a term that is over and not reserved for somebody else, or finds that
 * this token has it. A missing document is made. *out: the document as it is
 * now; *out_mine: this token has it until *out says.
 */
MUST_CHECK enum err leader_take(struct ctx *c, enum leader_service s,
                                const struct leader_try *t,
                                struct leader_term *out, bool *out_mine);

/* New end by (term, token), also of one whose time is over but that nobody
 * took. *out_mine false: refused, it is lost, and *out is empty. */
MUST_CHECK enum err leader_renew(struct ctx *c, enum leader_service s,
                                 const struct leader_claim *t, ms ttl_ms,
                                 struct leader_term *out, bool *out_mine);

/* Ends it now by (term, token); once it is somebody else's: nothing. */
MUST_CHECK enum err leader_resign(struct ctx *c, enum leader_service s,
                                  const struct leader_claim *t);

/* Asks the holder of this term to resign; false: it is over. */
MUST_CHECK enum err leader_ask_resign(struct ctx *c, enum leader_service s,
                                      int64_t term, bool *out_asked);

/*
 * Reserves the next term for `instance` (2 s) and asks the present holder to
 * resign; does nothing when it is the holder.
 */
MUST_CHECK enum err leader_ask_force(struct ctx *c, enum leader_service s,
                                     str instance);
