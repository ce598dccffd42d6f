/* mongo_error - see mongo_error.h */
#include "lib/data/mongo_error.h"

#include <mongoc/mongoc.h>

#include "lib/base/log.h"

/*
 * Server codes by number (src/mongo/base/error_codes.yml of the server; those
 * above 10000 are places in its source). What we sent is wrong: a read's query
 * or a write's data.
 */
static const uint32_t refused_codes[] = {
    2,     /* BadValue */
    5,     /* GraphContainsCycle */
    9,     /* FailedToParse */
    14,    /* TypeMismatch */
    15,    /* Overflow: nested too deep */
    27,    /* IndexNotFound: $text without a text index */
    28,    /* PathNotViable */
    34,    /* CannotBackfillArray: an index far behind the end */
    40,    /* ConflictingUpdateOperators */
    52,    /* DollarPrefixedFieldName */
    53,    /* InvalidIdField */
    54,    /* NotSingleValueField */
    55,    /* InvalidDBRef */
    56,    /* EmptyFieldName */
    57,    /* DottedFieldName */
    66,    /* ImmutableField */
    73,    /* InvalidNamespace */
    166,   /* CommandNotSupportedOnView */
    171,   /* CannotIndexParallelArrays */
    291,   /* NoQueryExecutionPlans: $near without a geo index */
    292,   /* QueryExceededMemoryLimitNoDiskUseAllowed: sort of too much */
    16410, /* field path with a '$' name */
    16755, 16756,        /* a value that a geo index refuses */
    17276,               /* a variable in an expression */
    31249, 31250,        /* projection paths that collide */
    31253, 31254,        /* projection that mixes inclusion and exclusion */
    51075, 51108, 51091, /* $options, regex flags, regex */
};

static const struct {
    uint32_t code;
    enum err err;
} codes[] = {
    {11000, ERR_DUPLICATE_KEY},
    {11001, ERR_DUPLICATE_KEY},
    {121, ERR_VALIDATION_ERROR}, /* DocumentValidationFailure */
    {50, ERR_TIME_LIMIT},        /* MaxTimeMSExpired */
    {262, ERR_TIME_LIMIT},       /* ExceededTimeLimit */
    {48, ERR_ALREADY_EXISTS},    /* NamespaceExists */
    {26, ERR_COLLECTION_NOT_FOUND},
    {10334, ERR_DOCUMENT_TOO_LARGE}, /* BSONObjectTooLarge */
    {17280, ERR_DOCUMENT_TOO_LARGE},
    {17419, ERR_DOCUMENT_TOO_LARGE},
    {17420, ERR_DOCUMENT_TOO_LARGE},
};

static enum err err_of_code(uint32_t code, bool writing)
{
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (codes[i].code == code)
            return codes[i].err;
    for (size_t i = 0; i < sizeof refused_codes / sizeof *refused_codes; i++)
        if (refused_codes[i] == code)
            return writing ? ERR_VALIDATION_ERROR : ERR_BAD_QUERY;
    return ERR_INTERNAL;
}

/* Fail-overs and lost connections: another try may find the primary. */
bool mongo_is_transient(const bson_error_t *e)
{
    static const uint32_t retryable[] = {
        6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436, 64};

    if (e->domain == MONGOC_ERROR_STREAM ||
        e->domain == MONGOC_ERROR_SERVER_SELECTION)
        return true;
    if (e->domain != MONGOC_ERROR_SERVER &&
        e->domain != MONGOC_ERROR_WRITE_CONCERN)
        return false;
    for (size_t i = 0; i < sizeof retryable / sizeof *retryable; i++)
        if (e->code == retryable[i])
            return true;
    return false;
}

/* "... index: email_1 dup key: ..." gives email_1, never the value. */
static str index_name(const char *message)
{
    str s = str_of(message), name;
    size_t at = str_find_str(s, STR("index: "));

    if (at == SIZE_MAX)
        return STR("an index");
    s = str_from(s, at + 7);
    return str_cut(&s, ' ', &name) ? name : s;
}

static const char *text_of(enum err err)
{
    if (err == ERR_TIME_LIMIT)
        return "The database did not finish in time";
    if (err == ERR_DOCUMENT_TOO_LARGE)
        return "A stored document is at most 16 MiB";
    if (err == ERR_BAD_QUERY)
        return "The database refuses the query";
    if (err == ERR_INTERNAL)
        return "Something went wrong on our side";
    return "The database refuses the data";
}

enum err mongo_translate(struct ctx *c, const bson_error_t *e, bool writing)
{
    enum err err = ERR_INTERNAL;
    str index = index_name(e->message);

    if (mongo_is_transient(e) || e->domain == MONGOC_ERROR_CLIENT)
        return ctx_fail(c, ERR_DB_UNAVAILABLE, "The database is not reachable");
    if (e->domain == MONGOC_ERROR_BSON)
        err = ERR_DOCUMENT_TOO_LARGE;
    if (e->domain == MONGOC_ERROR_SERVER)
        err = err_of_code(e->code, writing);
    log_note(err == ERR_INTERNAL ? LOG_ERROR : LOG_DEBUG, "mongo.refused",
             "domain %u code %u", e->domain, e->code);
    if (err == ERR_DUPLICATE_KEY)
        return ctx_fail(c, err,
                        "A document with the same key exists "
                        "(index " STR_FMT ")",
                        STR_ARG(index));
    return ctx_fail(c, err, "%s", text_of(err));
}

void mongo_write_error(const bson_iter_t *row, bson_error_t *out)
{
    bson_iter_t it, member;

    *out = (bson_error_t){.domain = MONGOC_ERROR_SERVER};
    if (!bson_iter_recurse(row, &it))
        return;
    member = it;
    if (bson_iter_find(&member, "code"))
        out->code = (uint32_t)bson_iter_as_int64(&member);
    if (bson_iter_find(&it, "errmsg") && BSON_ITER_HOLDS_UTF8(&it))
        bson_strncpy(out->message, bson_iter_utf8(&it, NULL),
                     sizeof out->message);
}
