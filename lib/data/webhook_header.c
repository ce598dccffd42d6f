/* webhook_header - which headers of a request a user may set */
#include "lib/base/utf8.h"
#include "lib/data/webhook_inside.h"

/* RFC 9110, 5.6.2 */
static bool is_token_byte(char ch)
{
    if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
        (ch >= '0' && ch <= '9'))
        return true;
    return ch != '\0' && strchr("!#$%&'*+-.^_`|~", ch) != NULL;
}

/* What HTTP needs for itself, and what each delivery says (contract 7.3). */
static const char *const taken[] = {
    "Host",          "Content-Length", "Transfer-Encoding", "Connection",
    "Expect",        "Content-Type",   "User-Agent",        "X-Attempt-Number",
    "X-Max-Retries", "X-Rate-Limit",   "X-Instance-ID",
};
static const char *const taken_prefixes[] = {
    "X-Webhook-",
    "X-Delivery-",
    "webhook-",
};

bool webhook_header_is_free(str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!is_token_byte(name.p[i]))
            return false;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (str_eq_nocase(name, str_of(taken[i])))
            return false;
    for (size_t i = 0; i < sizeof taken_prefixes / sizeof *taken_prefixes; i++)
        if (str_starts_nocase(name, str_of(taken_prefixes[i])))
            return false;
    return name.n > 0;
}

bool webhook_header_value_is_clean(str value)
{
    return utf8_is_line(value);
}
