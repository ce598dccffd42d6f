#pragma once
/* etag - weak entity tags and If-None-Match (RFC 9110, 8.8.3 and 13.1.2) */
#include "lib/base/str.h"

enum {
    ETAG_MAX = 40
};

/* W/"<length>-<hash>", both in hex; gives its length. */
size_t etag_make(str body, char out[ETAG_MAX]);

/* Does the header's list name the tag (weak comparison), or is it "*". */
bool etag_matches(str if_none_match, str tag);
