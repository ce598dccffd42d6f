/* api_export - the documents of a list as CSV, streamed */
#include "fcgi-app/api.h"
#include "lib/base/conf.h"
#include "lib/data/csv.h"
#include "lib/data/doc.h"
#include "lib/data/search.h"

enum {
    COLUMNS_MAX = 10000,
    SLOTS = 32768, /* of the hash over column names; a power of two */
};

/* Top-level keys of all rows in first-seen order. */
struct columns {
    str *v;
    size_t n;
    uint16_t *slots; /* 1 + index into v, 0 is free */
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

static enum err collect_columns(struct ctx *c, const struct rows_find *f,
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

static enum err check_size(struct ctx *c, const char *collection,
                           const struct list_query *q, int64_t *out_total)
{
    int64_t most = c->conf->csv_max_export_records;
    enum err err = doc_count(c, collection, q->filter, most + 1, out_total);

    if (err)
        return err;
    if (*out_total > most)
        return ctx_fail(c, ERR_EXPORT_TOO_LARGE,
                        "More than %lld documents match; narrow the filter",
                        (long long)most);
    return *out_total ? OK : doc_need_collection(c, collection);
}

static enum err write_rows(struct ctx *c, const struct rows_find *f,
                           const struct columns *cols, struct buf *b)
{
    const struct csv_style style = {
        .delimiter = c->conf->csv_delimiter,
        .quote = c->conf->csv_quote_char,
        .escape = c->conf->csv_escape_char,
        .formulas = c->conf->csv_escape_formulas,
    };
    struct rows *rows;
    const bson_t *doc;
    bool first = true;
    enum err err = rows_stream(c, f, &rows);

    while (err == OK) {
        err = rows_next(c, rows, &doc);
        if (err || !doc)
            break;
        if (first)
            csv_out_header(b, &style, cols->v, cols->n);
        first = false;
        csv_out_row(b, &style, doc, cols->v, cols->n);
        err = b->err;
    }
    return err;
}

enum err api_export_csv(struct ctx *c, const char *collection,
                        struct list_query *q, struct reply *out)
{
    struct rows_find f = {
        .collection = collection, .projection = q->projection, .sort = q->sort};
    struct columns cols = {.v = q->fields, .n = q->fields_n};
    int64_t total;
    bool none;
    enum err err;

    err = search_resolve(c, collection, q, &none);
    if (err)
        return err;
    out->content_type = "text/csv; charset=utf-8";
    reply_header(out, "Content-Disposition: attachment; filename=\"%s.csv\"",
                 collection);
    if (none)
        return doc_need_collection(c, collection);
    err = check_size(c, collection, q, &total);
    if (err || total == 0)
        return err;
    f.filter = q->filter;
    if (cols.n == 0)
        err = collect_columns(c, &f, &cols);
    return err ? err : write_rows(c, &f, &cols, out->body);
}
