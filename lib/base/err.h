#pragma once
/*
 * err - THE list of failures. A row: name, HTTP status, label, may the same
 * call succeed when it is repeated soon. The name without ERR_ is the `code`
 * that clients see; the label is the `error` member beside it.
 */
#include <stdbool.h>

/* clang-format off */
#define ERR_ROWS(ROW)                                                          \
    ROW(BAD_JSON,               400, "Bad Request",                false)      \
    ROW(BAD_PATH,               400, "Bad Request",                false)      \
    ROW(BAD_QUERY,              400, "Bad Request",                false)      \
    ROW(BAD_COLLECTION_NAME,    400, "Bad Request",                false)      \
    ROW(BAD_OPERATOR,           400, "Bad Request",                false)      \
    ROW(FILTER_TOO_COMPLEX,     400, "Bad Request",                false)      \
    ROW(EMPTY_BODY,             400, "Bad Request",                false)      \
    ROW(ID_MISMATCH,            400, "Bad Request",                false)      \
    ROW(BAD_ID,                 400, "Bad Request",                false)      \
    ROW(TARGET_NOT_ALLOWED,     400, "Bad Request",                false)      \
    ROW(NOT_LEADER,             400, "Bad Request",                false)      \
    ROW(UNKNOWN_SERVICE,        400, "Bad Request",                false)      \
    ROW(VALIDATION_ERROR,       400, "Validation Error",           false)      \
    ROW(UNAUTHORIZED,           401, "Unauthorized",               false)      \
    ROW(FORBIDDEN,              403, "Forbidden",                  false)      \
    ROW(AUTH_DISABLED,          403, "Forbidden",                  false)      \
    ROW(SYSTEM_COLLECTION,      403, "Forbidden",                  false)      \
    ROW(ROUTE_NOT_FOUND,        404, "Not Found",                  false)      \
    ROW(COLLECTION_NOT_FOUND,   404, "Not Found",                  false)      \
    ROW(DOCUMENT_NOT_FOUND,     404, "Not Found",                  false)      \
    ROW(WEBHOOK_NOT_FOUND,      404, "Not Found",                  false)      \
    ROW(DELIVERY_NOT_FOUND,     404, "Not Found",                  false)      \
    ROW(LOCK_NOT_FOUND,         404, "Not Found",                  false)      \
    ROW(KEY_NOT_FOUND,          404, "Not Found",                  false)      \
    ROW(METHOD_NOT_ALLOWED,     405, "Method Not Allowed",         false)      \
    ROW(DUPLICATE_KEY,          409, "Duplicate Key Error",        false)      \
    ROW(ALREADY_EXISTS,         409, "Conflict",                   false)      \
    ROW(WRONG_STATE,            409, "Conflict",                   false)      \
    ROW(LOCK_HELD,              409, "Conflict",                   true)       \
    ROW(LOCK_NOT_HELD,          409, "Conflict",                   false)      \
    ROW(BODY_TOO_LARGE,         413, "Payload Too Large",          false)      \
    ROW(DOCUMENT_TOO_LARGE,     413, "Payload Too Large",          false)      \
    ROW(EXPORT_TOO_LARGE,       413, "Payload Too Large",          false)      \
    ROW(URI_TOO_LONG,           414, "URI Too Long",               false)      \
    ROW(HEADERS_TOO_LARGE,      431, "Headers Too Large",          false)      \
    ROW(UNSUPPORTED_MEDIA_TYPE, 415, "Unsupported Media Type",     false)      \
    ROW(RATE_LIMITED,           429, "Too Many Requests",          true)       \
    ROW(INTERNAL,               500, "Internal Server Error",      false)      \
    ROW(DELIVERY_FAILED,        502, "Delivery Failed",            false)      \
    ROW(DB_UNAVAILABLE,         503, "Database Connection Error",  true)       \
    ROW(REDIS_UNAVAILABLE,      503, "Service Unavailable",        true)       \
    ROW(LOCKING_DISABLED,       503, "Service Unavailable",        false)      \
    ROW(OVERLOADED,             503, "Service Unavailable",        true)       \
    ROW(NOT_READY,              503, "Service Unavailable",        true)       \
    ROW(TIME_LIMIT,             504, "Gateway Timeout",            false)
/* clang-format on */

#define ERR_ENUM(name, status, label, again) ERR_##name,
enum err {
    OK = 0,
    ERR_ROWS(ERR_ENUM)
    ERR_CUT, /* the peer is gone or sent less than it announced: no answer */
    ERR_N
};
#undef ERR_ENUM

/* Every fallible function is must-check. */
#define MUST_CHECK __attribute__((warn_unused_result))

const char *err_code(enum err err);  /* "BAD_JSON" */
const char *err_label(enum err err); /* "Bad Request" */
int err_status(enum err err);        /* 400; 200 for OK */
bool err_may_retry(enum err err);
