/* etag - see etag.h */
#include "fcgi-app/etag.h"

#include <stdio.h>

/* A multiply and shift mix of 8 bytes at a time; not for secrets. */
static uint64_t hash(str s)
{
    uint64_t h = 0x9e3779b97f4a7c15u ^ s.n, word;

    for (; s.n >= sizeof word; s = str_from(s, sizeof word)) {
        memcpy(&word, s.p, sizeof word);
        h = (h ^ word) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    word = 0;
    if (s.n)
        memcpy(&word, s.p, s.n);
    h = (h ^ word) * 0xc4ceb9fe1a85ec53u;
    return h ^ h >> 29;
}

size_t etag_make(str body, char out[ETAG_MAX])
{
    return (size_t)snprintf(out, ETAG_MAX, "W/\"%zx-%016llx\"", body.n,
                            (unsigned long long)hash(body));
}

static str opaque(str tag)
{
    return str_starts(tag, STR("W/")) ? str_from(tag, 2) : tag;
}

bool etag_matches(str list, str tag)
{
    str one;

    while (str_cut(&list, ',', &one)) {
        one = str_trim(one);
        if (str_eq(one, STR("*")) || str_eq(opaque(one), opaque(tag)))
            return true;
    }
    return false;
}
