#pragma once
/*
 * params - what a handler asks of its query string
 *
 *   params_read -> { params_text | params_whole | params_time }*
 *
 * An empty parameter counts as absent, others than those asked for mean
 * nothing. One given twice, with brackets or with a value that is not allowed
 * is ERR_BAD_QUERY, which says what is.
 */
#include "fcgi-app/request.h"

struct params {
    const struct url_param *v;
    size_t n;
};

MUST_CHECK enum err params_read(struct ctx *c, const struct request *q,
                                struct params *out);

/* Absent: *inout stays. */
MUST_CHECK enum err params_text(struct ctx *c, const struct params *p,
                                const char *name, str *inout);

/* A whole number from least to most. */
MUST_CHECK enum err params_whole(struct ctx *c, const struct params *p,
                                 const char *name, int64_t least, int64_t most,
                                 int64_t *inout);

/* ISO 8601. */
MUST_CHECK enum err params_time(struct ctx *c, const struct params *p,
                                const char *name, ms *inout);
