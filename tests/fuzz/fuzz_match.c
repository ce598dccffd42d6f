/*
 * fuzz_match - any filter on any document: two lines of JSON, or BSON and BSON.
 * What is refused matches nothing, and a filter and its negation never agree.
 */
#include <stdint.h>
#include <stdlib.h>

#include "lib/data/json_in.h"
#include "lib/data/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Patterns are cut off by time, so that two runs may differ. */
static bool may_be_timed(const bson_t *filter)
{
    const uint8_t *p = bson_get_data(filter);

    return memmem(p, filter->len, "$regex", 6) ||
           memchr(p, BSON_TYPE_REGEX, filter->len);
}

static void judge_negation(struct ctx *c, const bson_t *filter,
                           const bson_t *doc, bool yes)
{
    bson_t *nor = BCON_NEW("$nor", "[", BCON_DOCUMENT(filter), "]");
    enum err err = match_check(c, nor);
    const struct match *m = match_new(&c->arena, nor);

    if (err && err != ERR_FILTER_TOO_COMPLEX)
        abort();
    if (!m || (!err && match_doc(m, doc, &(struct match_budget){0}) == yes))
        abort();
    bson_destroy(nor);
}

static void judge(struct ctx *c, const bson_t *filter, const bson_t *doc)
{
    enum err err = match_check(c, filter);
    const struct match *m = match_new(&c->arena, filter);
    bool yes;

    if (!m || err != c->err || (err && c->reason[0] == '\0'))
        abort();
    yes = match_doc(m, doc, &(struct match_budget){0});
    if (err && yes)
        abort();
    if (!err && !may_be_timed(filter))
        judge_negation(c, filter, doc, yes);
}

static void judge_json(struct ctx *c, str text)
{
    size_t end = str_find(text, '\n', 0);
    enum json_root root;
    bson_t *filter, *doc;

    if (json_in(c, str_head(text, end), &root, &filter) ||
        json_in(c, str_from(text, end == SIZE_MAX ? text.n : end + 1), &root,
                &doc))
        return;
    judge(c, filter, doc);
}

static void judge_bson(struct ctx *c, const uint8_t *data, size_t size)
{
    bson_t filter, doc;
    uint32_t n;

    if (size < 4)
        return;
    memcpy(&n, data, sizeof n);
    if (n <= size && bson_init_static(&filter, data, n) &&
        bson_init_static(&doc, data + n, size - n))
        judge(c, &filter, &doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ctx c;

    ctx_init(&c, NULL, 64 << 20);
    if (size > 0 && data[0] == '{')
        judge_json(&c, (str){(const char *)data, size});
    else
        judge_bson(&c, data, size);
    ctx_done(&c);
    return 0;
}
