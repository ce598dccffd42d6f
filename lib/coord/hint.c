/* hint - see hint.h */
#include "lib/coord/hint.h"

void hint_push(struct ctx *c, const str *ids, size_t n)
{
    (void)c, (void)ids, (void)n;
}

const str *hint_wait_words(struct ctx *c, int seconds, size_t *out_n)
{
    (void)c, (void)seconds, (void)out_n;
    return NULL;
}

size_t hint_pop(struct ctx *c, str *out_ids, size_t most)
{
    (void)c, (void)out_ids, (void)most;
    return 0;
}
