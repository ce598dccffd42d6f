/* webhook_shown - a webhook as its users see it */
#include "lib/base/jwrite.h"
#include "lib/data/json_out.h"
#include "lib/data/webhook_inside.h"

static void add_key(struct buf *b, const char *member)
{
    buf_addf(b, ",\"%s\":", member);
}

static bool find(const bson_t *row, const char *member, bson_iter_t *out)
{
    return bson_iter_init_find(out, row, member);
}

/* What is of another type than it should be is not shown. */
static void show_if(struct buf *b, const bson_t *row, const char *member,
                    bson_type_t type, str none)
{
    bson_iter_t it;

    add_key(b, member);
    if (find(row, member, &it) && bson_iter_type(&it) == type)
        json_out_value(b, &it);
    else
        buf_add(b, none);
}

static void show_events(struct buf *b, const bson_t *row)
{
    str one = webhook_text(row, "events");

    if (one.n == 0) {
        show_if(b, row, "events", BSON_TYPE_ARRAY, STR("[]"));
        return;
    }
    buf_add(b, STR(",\"events\":["));
    jwrite_str(b, one);
    buf_add_char(b, ']');
}

static void show_bool(struct buf *b, const char *member, bool v)
{
    buf_addf(b, ",\"%s\":%s", member, v ? "true" : "false");
}

static void show_rates(struct buf *b, const struct conf *conf,
                       const bson_t *row)
{
    int64_t v[WEBHOOK_RATES_N];

    webhook_rates_read(conf, row, v);
    buf_add(b, STR(",\"rateLimit\":{"));
    for (int i = 0; i < WEBHOOK_RATES_N; i++)
        buf_addf(b, "%s\"%s\":%lld", i ? "," : "", webhook_rates[i].name,
                 (long long)v[i]);
    buf_add_char(b, '}');
}

/* A date; the Node version may have stored its text. */
static void show_time(struct buf *b, const bson_t *row, const char *member)
{
    bson_iter_t it;

    add_key(b, member);
    if (find(row, member, &it) &&
        (BSON_ITER_HOLDS_DATE_TIME(&it) || BSON_ITER_HOLDS_UTF8(&it)))
        json_out_value(b, &it);
    else
        buf_add(b, STR("null"));
}

void webhook_write(struct buf *b, const struct conf *conf, const bson_t *row,
                   bool with_secret)
{
    str secret = webhook_text(row, "secret");
    bson_iter_t it;

    buf_add(b, STR("{\"_id\":"));
    if (find(row, "_id", &it))
        json_out_value(b, &it);
    else
        buf_add(b, STR("null"));
    show_if(b, row, "name", BSON_TYPE_UTF8, STR("null"));
    show_if(b, row, "url", BSON_TYPE_UTF8, STR("null"));
    show_if(b, row, "collection", BSON_TYPE_UTF8, STR("null"));
    show_events(b, row);
    show_if(b, row, "filters", BSON_TYPE_DOCUMENT, STR("{}"));
    show_if(b, row, "excludeFields", BSON_TYPE_ARRAY, STR("[]"));
    show_bool(b, "ordered", webhook_flag(row, "ordered", false));
    buf_addf(b, ",\"priority\":%d", webhook_priority(row));
    show_if(b, row, "headers", BSON_TYPE_DOCUMENT, STR("{}"));
    show_bool(b, "enabled", webhook_flag(row, "enabled", true));
    show_if(b, row, "disabledReason", BSON_TYPE_UTF8, STR("null"));
    show_rates(b, conf, row);
    show_bool(b, "hasSecret", webhook_is_secret(secret));
    show_time(b, row, "createdAt");
    show_time(b, row, "updatedAt");
    if (with_secret) {
        buf_add(b, STR(",\"secret\":"));
        jwrite_str(b, secret);
    }
    buf_add_char(b, '}');
}
