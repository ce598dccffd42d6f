/* rds_script - see rds_script.h */
#include "lib/coord/rds_script.h"

#include <assert.h>
#include <stdio.h>

struct lua_row {
    str digest, text;
};

/* a script may be longer than the 4095 bytes that C11 promises for a literal */
#pragma GCC diagnostic ignored "-Woverlength-strings"
#include "gen/lua_rows.h"

enum {
    HEAD_WORDS = 3 /* command, script, number of keys */
};

enum rds_result rds_run(struct rds *r, const struct rds_script *s,
                        ms deadline_mono, struct arena *a,
                        struct rds_reply *out)
{
    const struct lua_row *row = &lua_rows[s->lua];
    size_t n = HEAD_WORDS + s->keys_n + s->args_n;
    str words[RDS_WORDS_MAX];
    enum rds_result result;
    char keys_n[8];

    assert(n <= RDS_WORDS_MAX);
    snprintf(keys_n, sizeof keys_n, "%u", (unsigned)s->keys_n);
    words[0] = STR("EVALSHA");
    words[1] = row->digest;
    words[2] = str_of(keys_n);
    for (size_t i = 0; i < s->keys_n; i++)
        words[HEAD_WORDS + i] = s->keys[i];
    for (size_t i = 0; i < s->args_n; i++)
        words[HEAD_WORDS + s->keys_n + i] = s->args[i];
    result = rds_call(r, words, n, deadline_mono, a, out);
    if (result != RDS_ERR || !rds_refused_with(r, STR("NOSCRIPT")))
        return result;
    words[0] = STR("EVAL");
    words[1] = row->text;
    return rds_call(r, words, n, deadline_mono, a, out);
}
