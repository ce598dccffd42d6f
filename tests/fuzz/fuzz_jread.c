/* fuzz_jread - reader, BSON and writer agree on any text */
#include <stdlib.h>

#include "lib/base/buf.h"
#include "lib/base/jread.h"
#include "lib/data/json_in.h"
#include "lib/data/json_out.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(struct buf *b, enum json_root root, const bson_t *doc)
{
    if (root == JSON_ARRAY)
        json_out_array(b, doc);
    else
        json_out_doc(b, doc);
}

/* What was read is written and read: nothing changes any more. */
static void round_trip(struct ctx *c, enum json_root root, const bson_t *doc)
{
    enum json_root root2;
    bson_t *doc2;
    struct buf b, b2;

    if (!bson_validate(doc, BSON_VALIDATE_NONE, NULL))
        abort();
    buf_init(&b, 64 << 20, ERR_INTERNAL);
    buf_init(&b2, 64 << 20, ERR_INTERNAL);
    write_again(&b, root, doc);
    if (b.err || json_in(c, buf_str(&b), &root2, &doc2) ||
        (root == JSON_ARRAY) != (root2 == JSON_ARRAY))
        abort();
    write_again(&b2, root2, doc2);
    if (!str_eq(buf_str(&b), buf_str(&b2)))
        abort();
    buf_done(&b);
    buf_done(&b2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str text = {(const char *)data, size};
    struct jread_fault fault;
    enum json_root root;
    enum err judged, read;
    struct ctx c;
    bson_t *doc;

    ctx_init(&c, NULL, 64 << 20);
    judged = jread(text, &c.arena, NULL, &fault);
    read = json_in(&c, text, &root, &doc);
    /* a number may be sound text and yet beyond a double */
    if (judged != read && (judged || !strstr(c.reason, "beyond a double")))
        abort();
    if (!read)
        round_trip(&c, root, doc);
    ctx_done(&c);
    return 0;
}
