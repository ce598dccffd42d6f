/* role - see role.h */
#include "lib/base/role.h"

static const char *const names[] = {"none", "read", "write", "admin"};

const char *role_name(enum role role)
{
    return names[role];
}

enum role role_find(str name)
{
    for (enum role r = ROLE_READ; r <= ROLE_ADMIN; r++)
        if (str_eq(name, str_of(names[r])))
            return r;
    return ROLE_NONE;
}
