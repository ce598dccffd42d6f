/* conjoin - see conjoin.h */
#include "lib/data/conjoin.h"

#include <stdlib.h>

#include "lib/data/coerce.h"
#include "lib/data/opcheck.h"

struct condition {
    str name;
    bson_value_t value; /* borrows from the conditions */
    uint64_t operators; /* 0: not an object of operators */
    size_t place;
    bool merged;            /* it is in the chain of an earlier one */
    struct condition *more; /* next of the chain */
};

/* The operators of an object that holds nothing else, otherwise 0. */
static uint64_t operators_of(const bson_iter_t *at)
{
    uint64_t set = 0;
    bson_iter_t inner;

    if (!BSON_ITER_HOLDS_DOCUMENT(at) || !bson_iter_recurse(at, &inner))
        return 0;
    while (bson_iter_next(&inner)) {
        str name = {bson_iter_key(&inner), bson_iter_key_len(&inner)};
        int bit = opcheck_operator(name);

        if (bit < 0)
            return 0;
        set |= (uint64_t)1 << bit;
    }
    return set;
}

static size_t list(const bson_t *conditions, struct condition *out)
{
    bson_iter_t at;
    size_t n = 0;

    if (!bson_iter_init(&at, conditions))
        return 0;
    while (bson_iter_next(&at)) {
        str name = {bson_iter_key(&at), bson_iter_key_len(&at)};
        bool is_field = !str_starts(name, STR("$"));

        out[n] = (struct condition){.name = name, .place = n};
        out[n].value = *bson_iter_value(&at);
        out[n].operators = is_field ? operators_of(&at) : 0;
        n++;
    }
    return n;
}

static int compare(const void *a, const void *b)
{
    const struct condition *x = *(struct condition *const *)a;
    const struct condition *y = *(struct condition *const *)b;
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    int order = memcmp(x->name.p, y->name.p, n);

    if (order == 0)
        order = (x->name.n > y->name.n) - (x->name.n < y->name.n);
    if (order == 0)
        order = x->place < y->place ? -1 : 1;
    return order;
}

/* Chains what can be merged; true when all names are different then. */
static bool merge(struct condition **sorted, size_t n)
{
    struct condition *head = n > 0 ? sorted[0] : NULL, *tail = head;
    bool all_different = true;

    for (size_t i = 1; i < n; i++) {
        struct condition *next = sorted[i];
        bool same = str_eq(head->name, next->name);

        if (same && head->operators && next->operators &&
            !(head->operators & next->operators)) {
            head->operators |= next->operators;
            next->merged = true;
            tail->more = next;
            tail = next;
            continue;
        }
        all_different = all_different && !same;
        head = tail = next;
    }
    return all_different;
}

static void append(bson_t *out, const struct condition *cond)
{
    str name = cond->name;
    bson_iter_t inner;
    bson_t child;

    if (!cond->more) {
        bson_append_value(out, name.p, (int)name.n, &cond->value);
        return;
    }
    bson_append_document_begin(out, name.p, (int)name.n, &child);
    for (; cond; cond = cond->more) {
        if (!bson_iter_init_from_data(&inner, cond->value.value.v_doc.data,
                                      cond->value.value.v_doc.data_len))
            continue;
        while (bson_iter_next(&inner))
            bson_append_iter(&child, NULL, 0, &inner);
    }
    bson_append_document_end(out, &child);
}

static void append_list(bson_t *out, const struct condition *conds, size_t n)
{
    bson_t items, item;
    uint32_t index = 0;

    bson_append_array_begin(out, "$and", -1, &items);
    for (size_t i = 0; i < n; i++) {
        char digits[16];
        const char *key;
        size_t len;

        if (conds[i].merged)
            continue;
        len = bson_uint32_to_string(index++, &key, digits, sizeof digits);
        bson_append_document_begin(&items, key, (int)len, &item);
        append(&item, &conds[i]);
        bson_append_document_end(&items, &item);
    }
    bson_append_array_end(out, &items);
}

enum err conjoin(struct ctx *c, const bson_t *conditions, bson_t **out_filter)
{
    size_t n = bson_count_keys(conditions);
    struct condition *conds = ctx_alloc(c, (n + 1) * sizeof *conds);
    struct condition **sorted = ctx_alloc(c, (n + 1) * sizeof *sorted);
    bson_t *filter = coerce_doc_new(c);

    if (!conds || !sorted || !filter)
        return ERR_OVERLOADED;
    n = list(conditions, conds);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &conds[i];
    qsort(sorted, n, sizeof(struct condition *), compare);
    if (merge(sorted, n)) {
        for (size_t i = 0; i < n; i++)
            if (!conds[i].merged)
                append(filter, &conds[i]);
    } else {
        append_list(filter, conds, n);
    }
    *out_filter = filter;
    return OK;
}
