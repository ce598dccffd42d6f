/* params - see params.h */
#include "fcgi-app/params.h"

#include "lib/base/clock.h"

enum err params_read(struct ctx *c, const struct request *q, struct params *out)
{
    struct url_param *v;
    size_t n;
    enum err err = url_split_query(c, q->query, &v, &n);

    if (err == OK)
        *out = (struct params){v, n};
    return err;
}

enum err params_text(struct ctx *c, const struct params *p, const char *name,
                     str *inout)
{
    const struct url_param *found = NULL;

    for (size_t i = 0; i < p->n; i++) {
        if (!str_eq(p->v[i].name, str_of(name)))
            continue;
        if (found || p->v[i].levels > 0)
            return ctx_fail(c, ERR_BAD_QUERY,
                            "'%s' may be given once, without brackets", name);
        found = &p->v[i];
    }
    if (found && found->value.n > 0)
        *inout = found->value;
    return OK;
}

enum err params_whole(struct ctx *c, const struct params *p, const char *name,
                      int64_t least, int64_t most, int64_t *inout)
{
    str text = STR("");
    int64_t got = *inout;
    enum err err = params_text(c, p, name, &text);

    if (err || text.n == 0)
        return err;
    if (!str_to_i64(text, &got) || got < least || got > most)
        return ctx_fail(c, ERR_BAD_QUERY,
                        "'%s' must be a whole number from %lld to %lld", name,
                        (long long)least, (long long)most);
    *inout = got;
    return OK;
}

enum err params_time(struct ctx *c, const struct params *p, const char *name,
                     ms *inout)
{
    str text = STR("");
    enum err err = params_text(c, p, name, &text);

    if (err || text.n == 0)
        return err;
    if (!clock_parse_iso(text, inout))
        return ctx_fail(c, ERR_BAD_QUERY,
                        "'%s' must be a time as 2025-09-01T08:00:00Z", name);
    return OK;
}
