/* mongo_reply - parts of what MongoDB answers, see mongo.h */
#include "lib/data/mongo.h"

bool mongo_reply_doc(const bson_t *reply, const char *name, bson_t *out)
{
    const uint8_t *data;
    bson_iter_t it;
    uint32_t n;

    if (!bson_iter_init_find(&it, reply, name))
        return false;
    if (BSON_ITER_HOLDS_DOCUMENT(&it))
        bson_iter_document(&it, &n, &data);
    else if (BSON_ITER_HOLDS_ARRAY(&it))
        bson_iter_array(&it, &n, &data);
    else
        return false;
    return bson_init_static(out, data, n);
}

bool mongo_reply_rows(const bson_t *reply, bson_t *out_batch)
{
    bson_t cursor;

    return mongo_reply_doc(reply, "cursor", &cursor) &&
           mongo_reply_doc(&cursor, "firstBatch", out_batch);
}

bool mongo_next_doc(bson_iter_t *it, bson_t *out)
{
    const uint8_t *data;
    uint32_t n;

    while (bson_iter_next(it)) {
        if (!BSON_ITER_HOLDS_DOCUMENT(it))
            continue;
        bson_iter_document(it, &n, &data);
        if (bson_init_static(out, data, n))
            return true;
    }
    return false;
}
