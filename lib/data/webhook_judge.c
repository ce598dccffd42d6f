/*
 * webhook_judge - a body of create or change: each member judged, what is to
 * be stored put together
 *
 * One row a member; the rows stand in the order in which they are stored.
 */
#include "lib/base/utf8.h"
#include "lib/data/doc.h"
#include "lib/data/match.h"
#include "lib/data/webhook_inside.h"

enum {
    EVENT_SHOWN = 60 /* bytes of an unknown event in the message */
};

struct judge {
    struct ctx *c;
    bool form; /* leaves are texts */
    bson_t *set;
    struct webhook_faults *faults;
    str collection; /* .p NULL: not sent */
    bson_t filters;
    bool has_filters;
};

static void fault(struct judge *j, const char *member, const char *message)
{
    struct webhook_faults *f = j->faults;

    if (f->n < WEBHOOK_FAULTS_MAX)
        f->v[f->n++] = (struct webhook_fault){member, message};
}

static bool text_of(const bson_iter_t *it, str *out)
{
    uint32_t n;

    if (!BSON_ITER_HOLDS_UTF8(it))
        return false;
    out->p = bson_iter_utf8(it, &n);
    out->n = n;
    return true;
}

static void append_text(bson_t *to, const char *key, str s)
{
    bson_append_utf8(to, key, -1, s.p, (int)s.n);
}

static void append_i32(bson_t *to, const char *key, int64_t v)
{
    bson_append_int32(to, key, -1, (int32_t)v);
}

/* A number of the body, cut to a whole one. */
static bool number_of(const struct judge *j, const bson_iter_t *it,
                      int64_t *out)
{
    str text;

    if (j->form)
        return text_of(it, &text) && str_to_i64(text, out);
    return webhook_number(it, out);
}

static void judge_name(struct judge *j, const char *member,
                       const bson_iter_t *it)
{
    str s;

    if (text_of(it, &s) && s.n > 0 && s.n <= WEBHOOK_NAME_MAX &&
        utf8_is_line(s))
        append_text(j->set, member, s);
    else
        fault(j, member,
              "a text of 1 to 128 bytes without control characters is "
              "expected");
}

static void judge_url(struct judge *j, const char *member,
                      const bson_iter_t *it)
{
    str s;

    if (text_of(it, &s) && s.n > 0 && s.n <= WEBHOOK_URL_MAX && utf8_is_line(s))
        append_text(j->set, member, s);
    else
        fault(j, member, "a URL of at most 2048 bytes is expected");
}

static void judge_collection(struct judge *j, const char *member,
                             const bson_iter_t *it)
{
    if (text_of(it, &j->collection) && j->collection.n > 0)
        append_text(j->set, member, j->collection);
    else
        fault(j, member, "the name of a collection is expected");
}

/* The items of a list; a form may have one text instead of a list of one. */
struct items {
    bson_iter_t it;
    bool lone, is_list;
};

static bool items_of(const struct judge *j, const bson_iter_t *it,
                     struct items *out)
{
    out->lone = j->form && BSON_ITER_HOLDS_UTF8(it);
    out->is_list = BSON_ITER_HOLDS_ARRAY(it);
    out->it = *it;
    return out->lone || (out->is_list && bson_iter_recurse(it, &out->it));
}

static bool items_next(struct items *i)
{
    bool more = i->lone;

    i->lone = false;
    return i->is_list ? bson_iter_next(&i->it) : more;
}

static const char *events_expected =
    "a list of at least one of create, update, delete is expected";

/* False with the fault noted. */
static bool judge_event(struct judge *j, const char *member,
                        const bson_iter_t *it, enum event_kind *out)
{
    str s = STR(""), m;

    *out = text_of(it, &s) ? event_find(s) : EVENT_N;
    if (*out != EVENT_N)
        return true;
    if (!BSON_ITER_HOLDS_UTF8(it)) {
        fault(j, member, events_expected);
        return false;
    }
    m = arena_strf(&j->c->arena,
                   "'" STR_FMT "' is none of create, update, delete",
                   STR_ARG(str_head(s, EVENT_SHOWN)));
    fault(j, member, m.p ? m.p : events_expected);
    return false;
}

static void judge_events(struct judge *j, const char *member,
                         const bson_iter_t *it)
{
    static const char *const keys[EVENT_N] = {"0", "1", "2"};
    bson_t *list = mongo_bson(j->c);
    unsigned mask = 0;
    int n = 0;
    struct items items;
    enum event_kind k;

    if (!list)
        return;
    if (items_of(j, it, &items)) {
        while (items_next(&items)) {
            if (!judge_event(j, member, &items.it, &k))
                return;
            if (mask & 1u << k)
                continue;
            mask |= 1u << k;
            BSON_APPEND_UTF8(list, keys[n], event_name(k));
            n++;
        }
    }
    if (n == 0)
        fault(j, member, events_expected);
    else
        BSON_APPEND_ARRAY(j->set, member, list);
}

static void judge_filters(struct judge *j, const char *member,
                          const bson_iter_t *it)
{
    const uint8_t *data;
    uint32_t n;

    if (!BSON_ITER_HOLDS_DOCUMENT(it)) {
        fault(j, member, "an object is expected");
        return;
    }
    bson_iter_document(it, &n, &data);
    j->has_filters = bson_init_static(&j->filters, data, n);
    bson_append_iter(j->set, member, -1, it);
}

static bool is_field_name(const bson_iter_t *it, str *out)
{
    return text_of(it, out) && out->n > 0 && out->n <= WEBHOOK_EXCLUDE_BYTES &&
           str_find(*out, '\0', 0) == SIZE_MAX;
}

static void judge_exclude(struct judge *j, const char *member,
                          const bson_iter_t *it)
{
    bson_t *list = mongo_bson(j->c);
    struct items items;
    uint32_t n = 0;
    bool good;
    str name;

    if (!list)
        return;
    good = items_of(j, it, &items);
    while (good && items_next(&items)) {
        const char *key;
        char room[16];

        good = n < WEBHOOK_EXCLUDE_MAX && is_field_name(&items.it, &name);
        bson_uint32_to_string(n++, &key, room, sizeof room);
        if (good)
            append_text(list, key, name);
    }
    if (good)
        BSON_APPEND_ARRAY(j->set, member, list);
    else
        fault(j, member,
              "a list of at most 100 field names is expected, each of 1 to 256 "
              "bytes");
}

static bool bool_of(const struct judge *j, const bson_iter_t *it, bool *out)
{
    str s;

    if (!j->form && BSON_ITER_HOLDS_BOOL(it)) {
        *out = bson_iter_bool(it);
        return true;
    }
    if (!j->form || !text_of(it, &s))
        return false;
    *out = str_eq(s, STR("true"));
    return *out || str_eq(s, STR("false"));
}

static void judge_bool(struct judge *j, const char *member,
                       const bson_iter_t *it)
{
    bool v;

    if (bool_of(j, it, &v))
        bson_append_bool(j->set, member, -1, v);
    else
        fault(j, member, "true or false is expected");
}

/* Enabled again: why it was not is over. */
static void judge_enabled(struct judge *j, const char *member,
                          const bson_iter_t *it)
{
    bool v;

    judge_bool(j, member, it);
    if (bool_of(j, it, &v) && v)
        BSON_APPEND_NULL(j->set, "disabledReason");
}

static void judge_priority(struct judge *j, const char *member,
                           const bson_iter_t *it)
{
    int64_t v;

    /* what is whole and fits has become an integer when it was read */
    if ((j->form || BSON_ITER_HOLDS_INT(it)) && number_of(j, it, &v) &&
        v >= 0 && v <= WEBHOOK_PRIORITY_MAX)
        append_i32(j->set, member, v);
    else
        fault(j, member, "a whole number from 0 to 1023 is expected");
}

/* NULL: the headers are fine. */
static const char *wrong_with_headers(const bson_iter_t *headers)
{
    size_t pairs = 0, bytes = 0;
    bson_iter_t it;
    str value;

    if (!BSON_ITER_HOLDS_DOCUMENT(headers) || !bson_iter_recurse(headers, &it))
        return "an object of texts is expected";
    while (bson_iter_next(&it)) {
        str name = str_of(bson_iter_key(&it));

        if (!webhook_header_is_free(name))
            return "a name is no token, or not one that may be set";
        if (!text_of(&it, &value) || !webhook_header_value_is_clean(value))
            return "each value must be a text without control characters";
        pairs++;
        bytes += name.n + value.n;
    }
    if (pairs > WEBHOOK_HEADERS_MAX || bytes > WEBHOOK_HEADERS_BYTES)
        return "at most 20 pairs and 4096 bytes are expected";
    return NULL;
}

static void judge_headers(struct judge *j, const char *member,
                          const bson_iter_t *it)
{
    const char *wrong = wrong_with_headers(it);

    if (wrong)
        fault(j, member, wrong);
    else
        bson_append_iter(j->set, member, -1, it);
}

static void append_rates(struct judge *j, const int64_t v[WEBHOOK_RATES_N])
{
    bson_t rates;

    BSON_APPEND_DOCUMENT_BEGIN(j->set, "rateLimit", &rates);
    for (int i = 0; i < WEBHOOK_RATES_N; i++)
        append_i32(&rates, webhook_rates[i].name, v[i]);
    bson_append_document_end(j->set, &rates);
}

static const char *const rate_paths[WEBHOOK_RATES_N] = {
    "rateLimit.maxRequestsPerMinute",
    "rateLimit.maxRetries",
    "rateLimit.baseDelayMs",
    "rateLimit.maxDelayMs",
};

static void judge_rates(struct judge *j, const char *member,
                        const bson_iter_t *it)
{
    int64_t v[WEBHOOK_RATES_N];
    bson_iter_t one;

    if (!BSON_ITER_HOLDS_DOCUMENT(it)) {
        fault(j, member, "an object of numbers is expected");
        return;
    }
    for (int i = 0; i < WEBHOOK_RATES_N; i++) {
        const struct webhook_rate_row *r = &webhook_rates[i];

        v[i] = webhook_rate_default(j->c->conf, (enum webhook_rate)i);
        if (bson_iter_recurse(it, &one) && bson_iter_find(&one, r->name) &&
            !BSON_ITER_HOLDS_NULL(&one) && !number_of(j, &one, &v[i]))
            fault(j, rate_paths[i], "a number is expected");
        v[i] = webhook_clamp(v[i], r->least, r->most);
    }
    append_rates(j, v);
}

/* ---- defaults of what a new one does not say */

static void default_object(struct judge *j, const char *member)
{
    bson_t empty = BSON_INITIALIZER;

    bson_append_document(j->set, member, -1, &empty);
}

static void default_list(struct judge *j, const char *member)
{
    bson_t empty = BSON_INITIALIZER;

    bson_append_array(j->set, member, -1, &empty);
}

static void default_no(struct judge *j, const char *member)
{
    bson_append_bool(j->set, member, -1, false);
}

static void default_zero(struct judge *j, const char *member)
{
    append_i32(j->set, member, 0);
}

static void default_enabled(struct judge *j, const char *member)
{
    bson_append_bool(j->set, member, -1, true);
    BSON_APPEND_NULL(j->set, "disabledReason");
}

static void default_rates(struct judge *j, const char *member)
{
    int64_t v[WEBHOOK_RATES_N];

    (void)member;
    for (int i = 0; i < WEBHOOK_RATES_N; i++)
        v[i] = webhook_clamp(
            webhook_rate_default(j->c->conf, (enum webhook_rate)i),
            webhook_rates[i].least, webhook_rates[i].most);
    append_rates(j, v);
}

static void is_required(struct judge *j, const char *member)
{
    fault(j, member, "it is required");
}

/* clang-format off */
static const struct member {
    const char *name;
    void (*judge)(struct judge *j, const char *member, const bson_iter_t *it);
    void (*absent)(struct judge *j, const char *member); /* when it is made */
} members[] = {
    {"name",          judge_name,       is_required},
    {"url",           judge_url,        is_required},
    {"collection",    judge_collection, is_required},
    {"events",        judge_events,     is_required},
    {"filters",       judge_filters,    default_object},
    {"excludeFields", judge_exclude,    default_list},
    {"ordered",       judge_bool,       default_no},
    {"priority",      judge_priority,   default_zero},
    {"headers",       judge_headers,    default_object},
    {"enabled",       judge_enabled,    default_enabled},
    {"rateLimit",     judge_rates,      default_rates},
};
/* clang-format on */

_Static_assert(sizeof members / sizeof *members + WEBHOOK_RATES_N <=
                   WEBHOOK_FAULTS_MAX,
               "each member may be wrong");

/* What is wrong with a filter's form is a fault of its member. */
static enum err check_filters(struct judge *j)
{
    enum err err = j->has_filters ? match_check(j->c, &j->filters) : OK;
    str why;

    if (err != ERR_VALIDATION_ERROR)
        return err;
    why = arena_str(&j->c->arena, str_of(j->c->reason));
    fault(j, "filters", why.p ? why.p : "a filter is expected");
    return err;
}

enum err webhook_judge(struct ctx *c, const bson_t *body, bool form,
                       bool creates, bson_t **out_set,
                       struct webhook_faults *faults)
{
    struct judge j = {c, form, mongo_bson(c), faults, STR_NONE, {0}, false};
    const char *collection;
    enum err err = OK;
    bson_iter_t it;

    faults->n = 0;
    if (!j.set)
        return ERR_OVERLOADED;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const struct member *m = &members[i];

        if (bson_iter_init_find(&it, body, m->name) &&
            !BSON_ITER_HOLDS_NULL(&it))
            m->judge(&j, m->name, &it);
        else if (creates)
            m->absent(&j, m->name);
    }
    if (c->err)
        return c->err;
    /* all else has a limit of its own */
    if (j.set->len > WEBHOOK_DEFINITION_BYTES)
        fault(&j, "filters", "at most 64 KiB are expected, with all the rest");
    if (faults->n)
        return ctx_fail(c, ERR_VALIDATION_ERROR, "The webhook is not valid");
    if (j.collection.p)
        err = doc_collection(c, j.collection, &collection);
    if (err == OK)
        err = check_filters(&j);
    if (err == OK)
        *out_set = j.set;
    return err;
}
