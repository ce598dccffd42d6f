/* columns - see columns.h */
#include "lib/data/columns.h"

enum {
    COLUMNS_MAX = 10000,
    SLOTS = 32768, /* of the hash over column names; a power of two */
};

static uint32_t hash(str s)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h;
}

static enum err add_column(struct ctx *c, struct columns *cols, str name)
{
    uint32_t at = hash(name) % SLOTS;

    for (; cols->slots[at]; at = (at + 1) % SLOTS)
        if (str_eq(cols->v[cols->slots[at] - 1], name))
            return OK;
    if (cols->n == COLUMNS_MAX)
        return ctx_fail(c, ERR_EXPORT_TOO_LARGE,
                        "More than %d different columns; name some in fields=",
                        COLUMNS_MAX);
    cols->v[cols->n] = arena_str(&c->arena, name);
    if (!cols->v[cols->n].p)
        return ctx_fail(c, ERR_OVERLOADED,
                        "The column names need too much "
                        "memory");
    cols->slots[at] = (uint16_t)++cols->n;
    return OK;
}

/* Rows tend to have the same keys at the same places: look there first. */
static enum err add_row_columns(struct ctx *c, struct columns *cols,
                                const bson_t *doc)
{
    bson_iter_t it;
    enum err err;

    bson_iter_init(&it, doc);
    for (size_t i = 0; bson_iter_next(&it); i++) {
        str name = {bson_iter_key(&it), bson_iter_key_len(&it)};

        if (i < cols->n && str_eq(cols->v[i], name))
            continue;
        err = add_column(c, cols, name);
        if (err)
            return err;
    }
    return OK;
}

enum err columns_collect(struct ctx *c, const struct rows_find *f,
                         struct columns *cols)
{
    struct rows *rows;
    const bson_t *doc;
    enum err err;

    cols->v = ctx_alloc(c, COLUMNS_MAX * sizeof *cols->v);
    cols->slots = ctx_alloc(c, SLOTS * sizeof *cols->slots);
    if (!cols->v || !cols->slots)
        return ERR_OVERLOADED;
    err = rows_stream(c, f, &rows);
    while (err == OK) {
        err = rows_next(c, rows, &doc);
        if (err || !doc)
            break;
        err = add_row_columns(c, cols, doc);
    }
    return err;
}
