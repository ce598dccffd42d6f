#pragma once
/* role - what a caller may do; each may do what the one before may */
#include "lib/base/str.h"

enum role {
    ROLE_NONE,
    ROLE_READ,
    ROLE_WRITE,
    ROLE_ADMIN
};

/* "read", "write", "admin"; "none" for ROLE_NONE. */
const char *role_name(enum role role);

/* The role of that name; ROLE_NONE for any other text. */
enum role role_find(str name);
