/* members - see members.h */
#include "fcgi-app/members.h"

#include <stdarg.h>
#include <stdio.h>

#include "fcgi-app/guard.h"
#include "lib/base/clock.h"
#include "lib/base/jwrite.h"
#include "lib/data/json_out.h"

enum {
    DETAILS_BYTES = 4096
};

enum err members_read(struct ctx *c, const struct request *q,
                      struct members *out)
{
    char *details = ctx_alloc(c, DETAILS_BYTES);
    bson_t *doc;
    enum err err = details ? guard_object(c, q, &doc) : ERR_OVERLOADED;

    if (err)
        return err;
    *out = (struct members){doc, guard_is_form(q),
                            buf_over(details, DETAILS_BYTES)};
    return OK;
}

static bool find(const struct members *m, const char *name, bson_iter_t *out)
{
    return bson_iter_init_find(out, m->doc, name) && !BSON_ITER_HOLDS_NULL(out);
}

bool members_has(const struct members *m, const char *name)
{
    bson_iter_t it;

    return find(m, name, &it);
}

bool members_text(const struct members *m, const char *name, str *out)
{
    return json_out_text_member(m->doc, name, out);
}

/* What is whole and fits has become an integer when the JSON was read. */
static bool read_whole(const struct members *m, const bson_iter_t *it,
                       int64_t *out)
{
    uint32_t n;

    if (BSON_ITER_HOLDS_INT(it)) {
        *out = bson_iter_as_int64(it);
        return true;
    }
    if (!m->form || !BSON_ITER_HOLDS_UTF8(it))
        return false;
    return str_to_i64((str){bson_iter_utf8(it, &n), n}, out);
}

void members_ms(struct members *m, const char *name, ms least, ms most,
                ms *inout)
{
    bson_iter_t it;
    ms got = *inout;

    if ((find(m, name, &it) && !read_whole(m, &it, &got)) || got < least ||
        got > most)
        members_wrong(m, name, "a whole number from %lld to %lld is expected",
                      (long long)least, (long long)most);
    else
        *inout = got;
}

void members_time(struct members *m, const char *name, ms *inout)
{
    str text;

    if (!members_has(m, name))
        return;
    if (!members_text(m, name, &text) || !clock_parse_iso(text, inout))
        members_wrong(m, name, "a time is expected, as 2025-09-01T08:00:00Z");
}

/* False: something in the list is no text. */
static bool read_texts(bson_iter_t *list, str *out)
{
    uint32_t n;

    for (size_t i = 0; bson_iter_next(list); i++) {
        if (!BSON_ITER_HOLDS_UTF8(list))
            return false;
        out[i].p = bson_iter_utf8(list, &n);
        out[i].n = n;
    }
    return true;
}

void members_texts(struct ctx *c, struct members *m, const char *name,
                   size_t most, const str **out, size_t *out_n)
{
    bson_iter_t it, list, counted;
    size_t n = 0;
    str *texts;

    *out_n = 0;
    if (!find(m, name, &it))
        return;
    if (BSON_ITER_HOLDS_ARRAY(&it) && bson_iter_recurse(&it, &counted))
        while (n <= most && bson_iter_next(&counted))
            n++;
    texts =
        n > 0 && n <= most ? arena_alloc(&c->arena, n * sizeof *texts) : NULL;
    if (!texts || !bson_iter_recurse(&it, &list) || !read_texts(&list, texts)) {
        members_wrong(m, name, "a list of 1 to %zu texts is expected", most);
        return;
    }
    *out = texts;
    *out_n = n;
}

void members_wrong(struct members *m, const char *name, const char *fmt, ...)
{
    char message[256];
    va_list list;

    va_start(list, fmt);
    vsnprintf(message, sizeof message, fmt, list);
    va_end(list);
    buf_addf(&m->wrong,
             "%s{\"field\":\"%s\",\"message\":", m->wrong.n ? "," : "", name);
    jwrite_str(&m->wrong, str_of(message));
    buf_add_char(&m->wrong, '}');
}

enum err members_end(struct ctx *c, const struct members *m, struct reply *out,
                     const char *message)
{
    if (m->wrong.err)
        return ctx_no_memory(c);
    if (m->wrong.n == 0)
        return OK;
    out->err_members = arena_strf(&c->arena, ",\"details\":[" STR_FMT "]",
                                  STR_ARG(buf_str(&m->wrong)));
    return ctx_fail(c, ERR_VALIDATION_ERROR, "%s; see details", message);
}
