/* webhook - see webhook.h: a stored row as it is used */
#include "lib/data/webhook.h"

#include "lib/base/id.h"
#include "lib/base/text.h"
#include "lib/data/webhook_inside.h"

/* clang-format off */
const struct webhook_rate_row webhook_rates[WEBHOOK_RATES_N] = {
    {"maxRequestsPerMinute", 1,    300},
    {"maxRetries",           0,    10},
    {"baseDelayMs",          100,  10000},
    {"maxDelayMs",           1000, 300000},
};
/* clang-format on */

int64_t webhook_rate_default(const struct conf *conf, enum webhook_rate r)
{
    switch (r) {
    case WEBHOOK_RATE_PER_MINUTE:
        return conf->webhooks_rate_limit_per_minute;
    case WEBHOOK_RATE_RETRIES:
        return conf->webhooks_retry_attempts;
    case WEBHOOK_RATE_BASE:
        return conf->webhooks_retry_delay;
    case WEBHOOK_RATE_MAX:
        return conf->webhooks_retry_max_delay;
    case WEBHOOK_RATES_N:
        break;
    }
    return 0;
}

int64_t webhook_clamp(int64_t v, int64_t least, int64_t most)
{
    if (v < least)
        return least;
    return v > most ? most : v;
}

static bool number_of_double(double v, int64_t *out)
{
    if (v != v)
        return false;
    if (v >= 9e18)
        *out = INT64_MAX;
    else
        *out = v <= -9e18 ? INT64_MIN : (int64_t)v;
    return true;
}

bool webhook_number(const bson_iter_t *it, int64_t *out)
{
    if (BSON_ITER_HOLDS_INT(it)) {
        *out = bson_iter_as_int64(it);
        return true;
    }
    return BSON_ITER_HOLDS_DOUBLE(it) &&
           number_of_double(bson_iter_double(it), out);
}

str webhook_text(const bson_t *row, const char *member)
{
    bson_iter_t it;
    uint32_t n;
    const char *p;

    if (!bson_iter_init_find(&it, row, member) || !BSON_ITER_HOLDS_UTF8(&it))
        return STR("");
    p = bson_iter_utf8(&it, &n);
    return (str){p, n};
}

bool webhook_is_secret(str s)
{
    const str prefix = STR(WEBHOOK_SECRET_PREFIX);
    unsigned char key[WEBHOOK_SECRET_MAX];
    size_t n;

    return s.n < WEBHOOK_SECRET_MAX && str_starts(s, prefix) &&
           text_base64_read(str_from(s, prefix.n), key, sizeof key, &n) &&
           n > 0;
}

/* The document or array `member` of row, as a view of it; false: it is none. */
static bool inner(const bson_t *row, const char *member, bson_type_t type,
                  bson_t *out)
{
    bson_iter_t it;
    const uint8_t *data;
    uint32_t n;

    if (!bson_iter_init_find(&it, row, member) || bson_iter_type(&it) != type)
        return false;
    if (type == BSON_TYPE_ARRAY)
        bson_iter_array(&it, &n, &data);
    else
        bson_iter_document(&it, &n, &data);
    return bson_init_static(out, data, n);
}

void webhook_rates_read(const struct conf *conf, const bson_t *row,
                        int64_t out[WEBHOOK_RATES_N])
{
    bson_t rates = BSON_INITIALIZER;
    bson_iter_t it;

    (void)inner(row, "rateLimit", BSON_TYPE_DOCUMENT, &rates);
    for (int i = 0; i < WEBHOOK_RATES_N; i++) {
        const struct webhook_rate_row *r = &webhook_rates[i];

        if (!bson_iter_init_find(&it, &rates, r->name) ||
            !webhook_number(&it, &out[i]))
            out[i] = webhook_rate_default(conf, (enum webhook_rate)i);
        out[i] = webhook_clamp(out[i], r->least, r->most);
    }
}

static bool read_id(struct arena *a, const bson_t *row, str *out)
{
    char text[ID_OBJECT_MAX];
    bson_iter_t it;

    if (!bson_iter_init_find(&it, row, "_id") || !BSON_ITER_HOLDS_OID(&it))
        return false;
    bson_oid_to_string(bson_iter_oid(&it), text);
    *out = arena_str(a, str_of(text));
    return out->p != NULL;
}

/* A list, or the one text instead of it. */
static unsigned read_events(const bson_t *row)
{
    enum event_kind k = event_find(webhook_text(row, "events"));
    unsigned mask = k == EVENT_N ? 0 : 1u << k;
    bson_t list;
    bson_iter_t it;

    if (!inner(row, "events", BSON_TYPE_ARRAY, &list) ||
        !bson_iter_init(&it, &list))
        return mask;
    while (bson_iter_next(&it)) {
        uint32_t n;
        const char *p =
            BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, &n) : NULL;

        k = p ? event_find((str){p, n}) : EVENT_N;
        if (k != EVENT_N)
            mask |= 1u << k;
    }
    return mask;
}

static bool read_filters(struct arena *a, const bson_t *row, const bson_t **out)
{
    bson_t *filters = arena_alloc(a, sizeof *filters);

    if (!filters)
        return false;
    if (!inner(row, "filters", BSON_TYPE_DOCUMENT, filters))
        bson_init(filters);
    *out = filters;
    return true;
}

static bool read_exclude(struct arena *a, const bson_t *row,
                         struct webhook *out)
{
    bson_t list;
    bson_iter_t it;
    str *names;

    if (!inner(row, "excludeFields", BSON_TYPE_ARRAY, &list) ||
        !bson_iter_init(&it, &list))
        return true;
    names = arena_alloc(a, (bson_count_keys(&list) + 1) * sizeof *names);
    if (!names)
        return false;
    while (bson_iter_next(&it)) {
        uint32_t n = 0;
        const char *p =
            BSON_ITER_HOLDS_UTF8(&it) ? bson_iter_utf8(&it, &n) : NULL;

        if (n > 0)
            names[out->exclude_n++] = (str){p, n};
    }
    out->exclude = names;
    return true;
}

/* Only what a user may set: a row may be from whoever writes to MongoDB. */
static bool read_headers(struct arena *a, const bson_t *row,
                         struct webhook *out)
{
    struct webhook_header *list;
    bson_t headers;
    bson_iter_t it;

    if (!inner(row, "headers", BSON_TYPE_DOCUMENT, &headers) ||
        !bson_iter_init(&it, &headers))
        return true;
    list = arena_alloc(a, (bson_count_keys(&headers) + 1) * sizeof *list);
    if (!list)
        return false;
    while (bson_iter_next(&it)) {
        str name = str_of(bson_iter_key(&it)), value = STR_NONE;
        int64_t number;
        uint32_t n;

        if (BSON_ITER_HOLDS_UTF8(&it)) {
            value.p = bson_iter_utf8(&it, &n);
            value.n = n;
        } else if (webhook_number(&it, &number)) {
            value = arena_strf(a, "%lld", (long long)number);
        }
        if (value.p && webhook_header_is_free(name) &&
            webhook_header_value_is_clean(value))
            list[out->headers_n++] = (struct webhook_header){name, value};
    }
    out->headers = list;
    return true;
}

bool webhook_flag(const bson_t *row, const char *member, bool none)
{
    bson_iter_t it;
    int64_t number;

    if (!bson_iter_init_find(&it, row, member) || BSON_ITER_HOLDS_NULL(&it))
        return none;
    if (BSON_ITER_HOLDS_BOOL(&it))
        return bson_iter_bool(&it);
    return !webhook_number(&it, &number) || number != 0;
}

int webhook_priority(const bson_t *row)
{
    bson_iter_t it;
    int64_t v;

    if (!bson_iter_init_find(&it, row, "priority") || !webhook_number(&it, &v))
        return 0;
    return (int)webhook_clamp(v, 0, WEBHOOK_PRIORITY_MAX);
}

static void read_limits(const struct conf *conf, const bson_t *row,
                        struct webhook *out)
{
    int64_t rates[WEBHOOK_RATES_N];

    webhook_rates_read(conf, row, rates);
    out->max_per_window = rates[WEBHOOK_RATE_PER_MINUTE];
    out->max_retries = rates[WEBHOOK_RATE_RETRIES];
    out->backoff = (struct backoff){
        .base_ms = rates[WEBHOOK_RATE_BASE],
        .max_ms = rates[WEBHOOK_RATE_MAX],
        .multiplier = conf->webhook_backoff_multiplier,
        .jitter = conf->webhooks_retry_jitter,
    };
}

static str read_secret(const bson_t *row, const char *member)
{
    str secret = webhook_text(row, member);

    return webhook_is_secret(secret) ? secret : STR("");
}

static void read_secrets(const bson_t *row, struct webhook *out)
{
    bson_iter_t it;

    out->secret = read_secret(row, "secret");
    out->previous_secret = read_secret(row, "previousSecret");
    if (bson_iter_init_find(&it, row, "previousExpiresAt") &&
        BSON_ITER_HOLDS_DATE_TIME(&it))
        out->previous_expires = bson_iter_date_time(&it);
}

bool webhook_read(struct arena *a, const struct conf *conf, const bson_t *row,
                  struct webhook *out)
{
    *out = (struct webhook){
        .name = webhook_text(row, "name"),
        .url = webhook_text(row, "url"),
        .collection = webhook_text(row, "collection"),
        .events = read_events(row),
        .ordered = webhook_flag(row, "ordered", false),
        .enabled = webhook_flag(row, "enabled", true),
        .gone = str_eq(webhook_text(row, "disabledReason"), STR("gone")),
        .priority = webhook_priority(row),
    };
    if (out->url.n == 0 || out->collection.n == 0 || !read_id(a, row, &out->id))
        return false;
    read_limits(conf, row, out);
    read_secrets(row, out);
    return read_filters(a, row, &out->filters) && read_exclude(a, row, out) &&
           read_headers(a, row, out);
}
