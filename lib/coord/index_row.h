#pragma once
/* index_row - a row of `_jobs` as the index in Redis takes it */
#include "lib/coord/redis_queue.h"
#include "lib/data/subs.h"

/* Appends the members that index_row_read() needs, to a find. */
void index_row_project(bson_t *cmd);

/*
 * Borrows row. now: the server's; the row may run when it is due and no lease
 * holds it. The limit is that of the webhook in s; of one that is not known
 * there the default. False: nothing of ours wrote it, and the index cannot hold
 * it.
 */
bool index_row_read(const struct conf *conf, const struct subs *s,
                    const bson_t *row, ms now, struct index_job *out);
