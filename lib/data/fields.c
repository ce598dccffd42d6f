/* fields - see fields.h */
#include "lib/data/fields.h"

#include <stdlib.h>

#include "lib/data/coerce.h"

struct names {
    str *name;   /* in order of appearance */
    bool *minus; /* it had a leading `-` */
    str *sorted; /* parents directly before their children */
    size_t n;
};

static enum err bad(struct ctx *c, const char *what, const char *why, str name)
{
    return ctx_fail(c, ERR_BAD_QUERY, "%s: %s '%.*s'", what, why,
                    (int)(name.n > 100 ? 100 : name.n), name.p ? name.p : "");
}

/* '.' is below all other bytes. */
static int compare(const void *a, const void *b)
{
    str x = *(const str *)a, y = *(const str *)b;
    size_t i = 0;

    while (i < x.n && i < y.n && x.p[i] == y.p[i])
        i++;
    if (i == x.n || i == y.n)
        return (x.n > y.n) - (x.n < y.n);
    if (x.p[i] == '.' || y.p[i] == '.')
        return x.p[i] == '.' ? -1 : 1;
    return (unsigned char)x.p[i] < (unsigned char)y.p[i] ? -1 : 1;
}

static enum err check_path(struct ctx *c, const char *what, str path)
{
    str rest = path, segment;

    while (str_cut(&rest, '.', &segment))
        if (segment.n == 0 || segment.p[0] == '$')
            return bad(c, what, "bad field name", path);
    return OK;
}

static enum err alloc_names(struct ctx *c, str text, struct names *out)
{
    size_t n = 1;

    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == ',';
    out->n = 0;
    out->name = ctx_alloc(c, n * sizeof *out->name);
    out->minus = ctx_alloc(c, n * sizeof *out->minus);
    out->sorted = ctx_alloc(c, n * sizeof *out->sorted);
    return out->name && out->minus && out->sorted ? OK : ERR_OVERLOADED;
}

static enum err split(struct ctx *c, const char *what, str text,
                      struct names *out)
{
    enum err err = alloc_names(c, text, out);
    str piece;

    while (!err && str_cut(&text, ',', &piece)) {
        piece = str_trim(piece);
        out->minus[out->n] = str_starts(piece, STR("-"));
        piece = str_trim(str_from(piece, out->minus[out->n]));
        err = check_path(c, what, piece);
        out->sorted[out->n] = piece;
        out->name[out->n++] = piece;
    }
    if (err)
        return err;
    qsort(out->sorted, out->n, sizeof *out->sorted, compare);
    for (size_t i = 1; i < out->n; i++)
        if (str_eq(out->sorted[i - 1], out->sorted[i]))
            return bad(c, what, "repeated field", out->sorted[i]);
    return OK;
}

enum err fields_parse_sort(struct ctx *c, str text, bson_t **out)
{
    struct names names;
    enum err err = split(c, "sort", text, &names);
    bson_t *sort = err ? NULL : coerce_doc_new(c);

    if (!sort)
        return err ? err : ERR_OVERLOADED;
    for (size_t i = 0; i < names.n; i++)
        bson_append_int32(sort, names.name[i].p, (int)names.name[i].n,
                          names.minus[i] ? -1 : 1);
    *out = sort;
    return OK;
}

static enum err check_projection(struct ctx *c, const struct names *names)
{
    bool shows = false, hides = false;

    for (size_t i = 0; i < names->n; i++) {
        bool is_id = str_eq(names->name[i], STR("_id"));

        shows = shows || !names->minus[i];
        hides = hides || (names->minus[i] && !is_id);
    }
    if (shows && hides)
        return ctx_fail(c, ERR_BAD_QUERY,
                        "fields: cannot both include and exclude");
    for (size_t i = 1; i < names->n; i++) {
        str up = names->sorted[i - 1], path = names->sorted[i];

        if (str_starts(path, up) && path.p[up.n] == '.')
            return bad(c, "fields", "clashing path", path);
    }
    return OK;
}

enum err fields_parse_projection(struct ctx *c, str text, struct list_query *q)
{
    struct names names;
    enum err err = split(c, "fields", text, &names);

    if (!err)
        err = check_projection(c, &names);
    if (err)
        return err;
    q->projection = coerce_doc_new(c);
    if (!q->projection)
        return ERR_OVERLOADED;
    q->fields = names.name;
    q->fields_n = 0;
    for (size_t i = 0; i < names.n; i++) {
        str name = names.name[i];

        bson_append_int32(q->projection, name.p, (int)name.n, !names.minus[i]);
        if (!names.minus[i])
            q->fields[q->fields_n++] = name;
    }
    return OK;
}
