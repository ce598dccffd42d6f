/* fuzz_query - any query string: refused with a reason, or a sound filter */
#include <stdint.h>
#include <stdlib.h>

#include "lib/data/filter.h"
#include "lib/data/form_in.h"
#include "lib/data/opcheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(struct ctx *c, str query)
{
    static const struct filter_limits limits = {10, 100};
    struct list_query q;
    enum err err = filter_parse(c, query, &limits, &q);

    if (err != c->err || (err && c->reason[0] == '\0'))
        abort();
    if (err)
        return;
    if (opcheck_filter(c, q.filter) ||
        !bson_validate(q.filter, BSON_VALIDATE_NONE, NULL) ||
        filter_add_search(c, &q, q.fields, q.fields_n) ||
        !bson_validate(q.filter, BSON_VALIDATE_NONE, NULL))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str query = {(const char *)data, size};
    struct ctx c;
    bson_t *doc;

    ctx_init(&c, NULL, 64 << 20);
    judge(&c, query);
    ctx_reset(&c);
    if (form_to_bson(&c, query, &doc) == OK &&
        !bson_validate(doc, BSON_VALIDATE_NONE, NULL))
        abort();
    ctx_done(&c);
    return 0;
}
