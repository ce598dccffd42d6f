/* api_export - the documents of a list as CSV, streamed */
#include "fcgi-app/api.h"
#include "lib/base/conf.h"
#include "lib/data/columns.h"
#include "lib/data/csv.h"
#include "lib/data/doc.h"
#include "lib/data/search.h"

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

/* Without _id where it is no column: nobody sends what nobody reads. */
static enum err set_projection(struct ctx *c, const struct list_query *q,
                               struct rows_find *f)
{
    bson_t *without;

    f->projection = q->projection;
    for (size_t i = 0; i < q->fields_n; i++)
        if (str_eq(q->fields[i], STR("_id")) ||
            str_starts(q->fields[i], STR("_id.")))
            return OK;
    if (q->fields_n == 0 || bson_has_field(q->projection, "_id"))
        return OK;
    without = mongo_bson(c);
    if (!without)
        return ERR_OVERLOADED;
    bson_concat(without, q->projection);
    BSON_APPEND_INT32(without, "_id", 0);
    f->projection = without;
    return OK;
}

static void become_attachment(struct reply *out, const char *collection)
{
    out->content_type = "text/csv; charset=utf-8";
    reply_header(out, "Content-Disposition: attachment; filename=\"%s.csv\"",
                 collection);
}

enum err api_export_csv(struct ctx *c, const char *collection,
                        struct list_query *q, struct reply *out)
{
    struct rows_find f = {.collection = collection, .sort = q->sort};
    struct columns cols = {.v = q->fields, .n = q->fields_n};
    int64_t total = 0;
    bool none;
    enum err err;

    c->op_ms = c->conf->request_timeout_ms; /* exports may take their time */
    err = search_resolve(c, collection, q, &none);
    if (err)
        return err;
    err = none ? doc_need_collection(c, collection)
               : check_size(c, collection, q, &total);
    if (err)
        return err;
    f.filter = q->filter;
    err = set_projection(c, q, &f);
    if (err)
        return err;
    if (total > 0 && cols.n == 0)
        err = columns_collect(c, &f, &cols);
    if (err)
        return err;
    become_attachment(out, collection);
    return total > 0 ? write_rows(c, &f, &cols, out->body) : OK;
}
