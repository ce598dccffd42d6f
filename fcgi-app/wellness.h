#pragma once
/*
 * wellness - how this instance is: ready or why not, what an operator should
 * mend; judged in one place from what the poll threads saw last (no I/O)
 */
#include "fcgi-app/cluster.h"
#include "fcgi-app/refresh.h"
#include "fcgi-app/reply.h"

/* All that is known at one moment; until ctx_reset. */
struct scene {
    const struct conf *conf;
    const struct cluster *cluster;
    struct refresh_view refresh;
    ms wall;
};

void scene_take(struct ctx *c, struct scene *out);

/* NULL: it is ready. */
const char *wellness_why_not_ready(const struct scene *s);

enum wellness {
    WELLNESS_HEALTHY,
    WELLNESS_DEGRADED, /* it serves, but a part is lost */
    WELLNESS_UNHEALTHY /* not ready */
};
enum wellness wellness_overall(const struct scene *s);
const char *wellness_text(enum wellness w);

/* MongoDB answered in the last 2 s; Redis did. */
bool wellness_has_db(const struct scene *s);
bool wellness_has_redis(const struct scene *s);

/* "warnings":["..",..] */
void wellness_write_warnings(struct buf *b, const struct scene *s);

/* The members of readiness: status, ready, mode, checks, warnings. */
void wellness_write_ready(struct buf *b, const struct scene *s);

/*
 * 200 with the members that `write` gives, or ERR_NOT_READY with the same ones
 * beside its own.
 */
MUST_CHECK enum err
wellness_answer(struct ctx *c, const struct scene *s, struct reply *out,
                void (*write)(struct buf *b, const struct scene *s));
