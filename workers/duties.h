#pragma once
/*
 * duties - THE table of what the maintenance leader does, slice by slice
 *
 * A slice is short and may be repeated by anybody. Before each one the caller
 * asks campaign_is_valid: to stop means not to begin the next.
 */
#include "lib/coord/keeper.h"
#include "lib/coord/redis_queue.h"
#include "lib/coord/sweep.h"

enum duty {
    DUTY_DATASET,
    DUTY_INDEX,
    DUTY_REFILL,
    DUTY_OVERDUE,
    DUTY_LOCKS,
    DUTY_SCALE,
    DUTY_FIGURES,
    DUTY_CANCELLED,
    DUTY_DEAD,
    DUTY_N
};

/* The index of the queue in Redis, as the leader has it in mind. */
struct duty_index {
    char id[DATASET_ID_MAX]; /* of the data set; "": none is used now */
    bool swept;              /* the sweep found no more: it is to be told */
    struct index_stats stats;
    struct sweep_walk walk;
};

struct duties {
    const struct conf *conf;
    struct duty_index index;
    struct keeper keeper;
    int64_t term;    /* whose work this is */
    ms next[DUTY_N]; /* boot clock */
    size_t told_n;   /* live instances in the last line about their number */
    ms figures_rest; /* until they are counted again */
};

/* What a slice works with. */
struct duty_input {
    struct ctx *c;         /* calm; the deadline is set */
    struct redis_watch *w; /* NULL in mode single */
    const struct view *v;  /* the last look */
};

struct duty_outcome {
    bool changed; /* the data set was written: look again */
    bool lost;    /* a greater term was met: step down */
};

/* A term begins: all is due anew. */
void duties_start(struct duties *d, const struct conf *conf, int64_t term);

/* When the next slice is due (boot clock). */
ms duties_next(const struct duties *d);

/* One slice of what is due at `now`. */
struct duty_outcome duties_turn(struct duties *d, const struct duty_input *in,
                                ms now);
