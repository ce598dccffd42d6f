#pragma once
/* webhook_inside - what the parts of webhook.h share: numbers, secrets,
 * headers */
#include "lib/base/conf.h"
#include "lib/data/webhook.h"

#define WEBHOOK_COLLECTION    "_webhooks"
#define WEBHOOK_SECRET_PREFIX "whsec_"

/* The members of rateLimit, in the order in which they are shown. */
enum webhook_rate {
    WEBHOOK_RATE_PER_MINUTE,
    WEBHOOK_RATE_RETRIES,
    WEBHOOK_RATE_BASE,
    WEBHOOK_RATE_MAX,
    WEBHOOK_RATES_N
};
struct webhook_rate_row {
    const char *name;
    int64_t least, most;
};
extern const struct webhook_rate_row webhook_rates[WEBHOOK_RATES_N];

int64_t webhook_rate_default(const struct conf *conf, enum webhook_rate r);
int64_t webhook_clamp(int64_t v, int64_t least, int64_t most);

/* Those of a row: clamped, the default where there is no number. */
void webhook_rates_read(const struct conf *conf, const bson_t *row,
                        int64_t out[WEBHOOK_RATES_N]);

/* A number of any type, cut to a whole one; false: it is none. */
bool webhook_number(const bson_iter_t *it, int64_t *out);

/* A member that is a text; "" when it is none. */
str webhook_text(const bson_t *row, const char *member);

/* null and what is missing are `none`; 0 is false, all else is true. */
bool webhook_flag(const bson_t *row, const char *member, bool none);
int webhook_priority(const bson_t *row);

/* A secret of ours: the Node version's are not signed with. */
bool webhook_is_secret(str s);

/*
 * May a user set this header of a request: a token, none that HTTP or we set,
 * and a value without control characters.
 */
bool webhook_header_is_free(str name);
bool webhook_header_value_is_clean(str value);
