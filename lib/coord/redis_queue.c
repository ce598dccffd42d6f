/* redis_queue - see redis_queue.h */
#include "lib/coord/redis_queue.h"

enum index_result index_enqueue(struct ctx *c, enum job_queue q,
                                enum index_source by,
                                const struct index_job *jobs, size_t n,
                                enum index_seat *seats)
{
    (void)c, (void)q, (void)by, (void)jobs, (void)n, (void)seats;
    return INDEX_AWAY;
}

enum index_result index_step(struct ctx *c, enum job_queue q,
                             const struct index_ask *ask,
                             const struct index_told *told,
                             struct index_step *out)
{
    (void)c, (void)q, (void)ask, (void)told, (void)out;
    return INDEX_AWAY;
}

enum index_result index_recover(struct ctx *c, enum job_queue q, str token,
                                int64_t *out_n)
{
    (void)c, (void)q, (void)token, (void)out_n;
    return INDEX_AWAY;
}

enum index_result index_subscriber(struct ctx *c, enum job_queue q, str lim,
                                   enum index_action action, int64_t value,
                                   ms window, int64_t *out_left)
{
    (void)c, (void)q, (void)lim, (void)action, (void)value, (void)window,
        (void)out_left;
    return INDEX_AWAY;
}

enum index_result index_cancel(struct ctx *c, enum job_queue q, str id)
{
    (void)c, (void)q, (void)id;
    return INDEX_AWAY;
}

enum index_result index_meta(struct ctx *c, enum job_queue q,
                             const struct index_meta *m)
{
    (void)c, (void)q, (void)m;
    return INDEX_AWAY;
}

enum index_result index_stats(struct ctx *c, enum job_queue q,
                              struct index_stats *out)
{
    (void)c, (void)q, (void)out;
    return INDEX_AWAY;
}

enum index_result index_recent(struct ctx *c, enum job_queue q, const str *lims,
                               size_t n, int64_t *out)
{
    (void)c, (void)q, (void)lims, (void)n, (void)out;
    return INDEX_AWAY;
}

const str *index_wait_words(struct ctx *c, enum job_queue q, int seconds,
                            size_t *out_n)
{
    (void)c, (void)q, (void)seconds, (void)out_n;
    return NULL;
}
