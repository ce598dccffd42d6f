#pragma once
/*
 * match - does a document satisfy a webhook's filter, as a MongoDB find would
 *
 *   match_check (when it is saved) | match_new (once a snapshot) -> match_doc
 *
 * The operators of opcheck.h but $text and the geo ones. Beyond MongoDB: a
 * text that is an ISO date equals and compares with a Date, 24 hex digits equal
 * an ObjectId (both where the filter says so and where the document does), and
 * what is missing fails $gt, $gte, $lt, $lte. A regex (PCRE2, regex.c) that
 * exceeds its match limit counts as no match. A whole filter that takes longer
 * than MATCH_CPU_MS counts as a match: what cannot be judged in time is not
 * dropped silently, and holds up nobody else. Pure but for memory and that
 * time; a match may be used by many threads.
 */
#include <bson/bson.h>

#include "lib/base/ctx.h"

struct match;

enum {
    MATCH_CPU_MS = 100,  /* of one filter */
    MATCH_ALL_MS = 1000, /* of all that share a budget; what is beyond has */
    MATCH_LEAST_MS = 1   /* so much each */
};

/* CPU time of the slow ones among several filters; zeroed at first. */
struct match_budget {
    int64_t used_ns;
    unsigned overruns; /* filters, and patterns in them, that a limit ended */
};

/*
 * May this filter be stored: ERR_BAD_OPERATOR naming the operator,
 * ERR_FILTER_TOO_COMPLEX, or ERR_VALIDATION_ERROR for a pattern, type or
 * operand that MongoDB would refuse.
 */
MUST_CHECK enum err match_check(struct ctx *c, const bson_t *filter);

/*
 * Lives as long as the arena, which also borrows filter. NULL without memory.
 * What match_check() would refuse matches nothing.
 */
const struct match *match_new(struct arena *a, const bson_t *filter);

bool match_doc(const struct match *m, const bson_t *doc,
               struct match_budget *budget);
