/* lock_name - what locks and owners may be called (pure); see lock.h */
#include "lib/base/utf8.h"
#include "lib/coord/lock.h"

static bool may_be_in_name(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c >= '0' && c <= '9') || c == '.' || c == '_' || c == ':' ||
           c == '@' || c == '/' || c == '-';
}

bool lock_is_name(str s)
{
    if (s.n == 0 || s.n > LOCK_NAME_MAX || str_eq(s, STR(".")) ||
        str_eq(s, STR("..")))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!may_be_in_name(s.p[i]))
            return false;
    return true;
}

/* U+0080 to U+009F are control characters too */
static bool is_control(str s)
{
    unsigned char c = (unsigned char)s.p[0];

    return c < ' ' || c == 0x7f ||
           (c == 0xc2 && s.n > 1 && (unsigned char)s.p[1] < 0xa0);
}

bool lock_is_owner(str s)
{
    if (s.n > LOCK_OWNER_MAX || !utf8_is_valid(s))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (is_control(str_from(s, i)))
            return false;
    return true;
}
