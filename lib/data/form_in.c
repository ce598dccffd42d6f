/* form_in - see form_in.h */
#include "lib/data/form_in.h"

#include "lib/base/url.h"
#include "lib/data/coerce.h"

/* Recursion ends at URL_LEVELS_MAX. */
static void append_children(bson_t *out, const struct url_node *up)
{
    uint32_t i = 0;
    bson_t child;

    for (struct url_node *node = up->child; node; node = node->next) {
        char digits[16];
        str key = node->key;

        if (up->kind == URL_LIST)
            key.n = bson_uint32_to_string(i++, &key.p, digits, sizeof digits);
        switch (node->kind) {
        case URL_TEXT:
            coerce_append_text(out, key, node->text);
            break;
        case URL_LIST:
            bson_append_array_begin(out, key.p, (int)key.n, &child);
            append_children(&child, node);
            bson_append_array_end(out, &child);
            break;
        case URL_OBJECT:
            bson_append_document_begin(out, key.p, (int)key.n, &child);
            append_children(&child, node);
            bson_append_document_end(out, &child);
            break;
        }
    }
}

enum err form_to_bson(struct ctx *c, str body, bson_t **out_doc)
{
    struct url_param *params;
    struct url_node *root;
    bson_t *doc;
    size_t n;
    enum err err = url_split_query(c, body, &params, &n);

    if (!err)
        err = url_nest(c, params, n, &root);
    if (err)
        return err;
    doc = coerce_doc_new(c);
    if (!doc)
        return ERR_OVERLOADED;
    append_children(doc, root);
    *out_doc = doc;
    return OK;
}
