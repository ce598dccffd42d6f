/* rows_json - see rows_json.h */
#include "fcgi-app/rows_json.h"

#include "lib/data/mongo.h"

enum {
    LIMIT_DEFAULT = 20,
    LIMIT_MOST = 100
};

str rows_id(struct ctx *c, str id)
{
    char *text = arena_alloc(&c->arena, id.n + 1);

    for (size_t i = 0; text && i < id.n; i++)
        text[i] =
            (char)(id.p[i] >= 'A' && id.p[i] <= 'F' ? id.p[i] + 32 : id.p[i]);
    return text ? (str){text, id.n} : id;
}

enum err rows_page_read(struct ctx *c, const struct params *p,
                        struct rows_page *out)
{
    enum err err;

    *out = (struct rows_page){LIMIT_DEFAULT, INT64_MAX};
    err = params_whole(c, p, "limit", 1, LIMIT_MOST, &out->limit);
    return err ? err : params_time(c, p, "before", &out->before);
}

size_t rows_json(struct buf *b, const bson_t *rows,
                 void (*write)(struct buf *b, const bson_t *row,
                               const void *arg),
                 const void *arg)
{
    bool more;
    bson_iter_t it;
    bson_t row;
    size_t n = 0;

    buf_add_char(b, '[');
    more = bson_iter_init(&it, rows);
    while (more && mongo_next_doc(&it, &row)) {
        if (n++ > 0)
            buf_add_char(b, ',');
        write(b, &row, arg);
    }
    buf_add_char(b, ']');
    return n;
}
