/* api_db - documents: list, get, create, change, delete */
#include "fcgi-app/api.h"
#include "fcgi-app/guard.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"
#include "lib/data/doc.h"
#include "lib/data/json_out.h"
#include "lib/data/veil.h"

/* {"success":true,"collection":<c>[,"message":<m>],"data":<doc>} */
static enum err write_doc(struct reply *out, const char *collection,
                          const char *message, const bson_t *doc)
{
    struct buf *b = out->body;

    doc = veil_doc(out->c, collection, doc);
    if (!doc)
        return ERR_OVERLOADED;
    buf_addf(b, "{\"success\":true,\"collection\":\"%s\"", collection);
    if (message)
        buf_addf(b, ",\"message\":\"%s\"", message);
    buf_add(b, STR(",\"data\":"));
    json_out_doc(b, doc);
    buf_add(b, STR("}"));
    return OK;
}

enum err api_db_get(struct ctx *c, const struct request *q, struct reply *out)
{
    const bson_t *doc;
    struct doc_key key;
    enum err err;

    err = doc_key(c, q->param[0], q->param[1], &key);
    if (err)
        return err;
    err = doc_get(c, &key, &doc);
    if (err)
        return err;
    return write_doc(out, key.collection, NULL, doc);
}

enum err api_db_create(struct ctx *c, const struct request *q,
                       struct reply *out)
{
    const bson_t *doc;
    bson_t *body;
    const char *name;
    enum err err;

    err = doc_collection(c, q->param[0], &name);
    if (err)
        return err;
    err = guard_object(c, q, &body);
    if (err)
        return err;
    err = doc_create(c, name, body, &doc);
    if (err)
        return err;
    out->status = 201;
    return write_doc(out, name, "Document created", doc);
}

enum err api_db_update(struct ctx *c, const struct request *q,
                       struct reply *out)
{
    const bson_t *doc;
    struct doc_key key;
    bson_t *body;
    enum err err;

    err = doc_key(c, q->param[0], q->param[1], &key);
    if (err)
        return err;
    err = guard_object(c, q, &body);
    if (err)
        return err;
    err = doc_update(c, &key, body, &doc);
    if (err)
        return err;
    return write_doc(out, key.collection, "Document updated", doc);
}

enum err api_db_delete(struct ctx *c, const struct request *q,
                       struct reply *out)
{
    const bson_t *doc;
    struct doc_key key;
    enum err err;

    err = doc_key(c, q->param[0], q->param[1], &key);
    if (err)
        return err;
    err = doc_delete(c, &key, &doc);
    if (err)
        return err;
    return write_doc(out, key.collection, "Document deleted", doc);
}

/* Prefer: count=none (RFC 7240) */
static bool wants_no_count(const struct request *q)
{
    str list = q->prefer, one;

    if (list.n == 0)
        return false;
    while (str_cut(&list, ',', &one)) {
        str rest = one;

        if (str_cut(&rest, ';', &one) &&
            str_eq_nocase(str_trim(one), STR("count=none")))
            return true;
    }
    return false;
}

static void write_number(struct buf *b, const char *before, int64_t n)
{
    buf_add(b, str_of(before));
    buf_add_i64(b, n);
}

static void write_pagination(struct buf *b, const struct list_query *list,
                             const struct doc_page *page)
{
    int64_t pages = (page->total + list->limit - 1) / list->limit;

    write_number(b, "],\"pagination\":{\"page\":", list->page);
    write_number(b, ",\"limit\":", list->limit);
    if (page->total < 0) {
        buf_addf(b,
                 ",\"total\":null,\"pages\":null,\"totalPages\":null,"
                 "\"hasMore\":%s}",
                 page->more ? "true" : "false");
        return;
    }
    write_number(b, ",\"total\":", page->total);
    write_number(b, ",\"pages\":", pages);
    write_number(b, ",\"totalPages\":", pages);
    buf_add_char(b, '}');
}

static enum err write_rows(struct ctx *c, struct doc_page *page, struct buf *b)
{
    const bson_t *doc;
    enum err err;

    for (int64_t i = 0; page->rows && i < page->shown; i++) {
        err = rows_next(c, page->rows, &doc);
        if (err)
            return err;
        if (!doc)
            return OK;
        if (i)
            buf_add_char(b, ',');
        json_out_doc(b, doc);
        if (b->err)
            return b->err;
    }
    /* a streamed page does not know before whether there is one more */
    if (!page->rows || page->total >= 0 || rows_n(page->rows) >= 0)
        return OK;
    err = rows_next(c, page->rows, &doc);
    page->more = doc != NULL;
    return err;
}

static enum err list_json(struct ctx *c, const char *name,
                          struct list_query *list, struct reply *out)
{
    bool count = !wants_no_count(out->q);
    struct doc_page page;
    struct buf *b = out->body;
    enum err err = doc_list(c, name, list, count, &page);

    if (err)
        return err;
    if (!count)
        reply_header(out, "Preference-Applied: count=none");
    buf_addf(b, "{\"success\":true,\"collection\":\"%s\",\"data\":[", name);
    err = write_rows(c, &page, b);
    if (err)
        return err;
    write_pagination(b, list, &page);
    buf_add(b, STR(",\"filter\":"));
    json_out_doc(b, list->filter);
    buf_add(b, STR(",\"appliedFilter\":"));
    json_out_doc(b, list->filter);
    buf_add(b, STR(",\"appliedProjection\":"));
    json_out_doc(b, list->shown_projection);
    buf_add(b, STR("}"));
    return OK;
}

/* Accept names only CSV types. */
static bool accepts_only_csv(const struct request *q)
{
    str list = q->accept, one;
    bool csv = false;

    while (list.n && str_cut(&list, ',', &one)) {
        str rest = one;

        if (!str_cut(&rest, ';', &one))
            continue;
        one = str_trim(one);
        csv = str_eq_nocase(one, STR("text/csv")) ||
              str_eq_nocase(one, STR("application/csv"));
        if (!csv)
            return false;
    }
    return csv;
}

enum err api_db_list(struct ctx *c, const struct request *q, struct reply *out)
{
    struct filter_limits limits = {c->conf->default_page_size,
                                   c->conf->max_page_size};
    struct list_query list;
    enum err err;
    const char *name;

    err = doc_collection(c, q->param[0], &name);
    if (err)
        return err;
    err = filter_parse(c, q->query, &limits, &list);
    if (err)
        return err;
    err = veil_query(c, name, &list);
    if (err)
        return err;
    if (list.csv || accepts_only_csv(q))
        return api_export_csv(c, name, &list, out);
    return list_json(c, name, &list, out);
}
