/* fanout_filter - see fanout_filter.h */
#include "lib/coord/fanout_filter.h"

#include "lib/base/clock.h"
#include "lib/base/id.h"
#include "lib/data/mongo.h"

/* The first part of the share `index` of n. */
static int32_t first_part(int index, int n)
{
    return (int32_t)(((int64_t)index * EVENT_PARTS + n - 1) / n);
}

/* What is old is everybody's: its own fanout may be gone. */
static void append_share(bson_t *filter, const struct fanout_share *share)
{
    if (share->n <= 1)
        return;
    BCON_APPEND(filter, "$or", "[", "{", "part", "{", "$gte",
                BCON_INT32(first_part(share->index, share->n)), "$lt",
                BCON_INT32(first_part(share->index + 1, share->n)), "}", "}",
                "{", "ts", "{", "$lt",
                BCON_DATE_TIME(clock_server_ms() - FANOUT_OLD_MS), "}", "}",
                "]");
}

/* Those just made are left alone; what says it is of the future is none. */
static void append_young(bson_t *ts, ms young_ms)
{
    ms now = clock_server_ms();

    if (young_ms > 0)
        BCON_APPEND(ts, "$not", "{", "$gt", BCON_DATE_TIME(now - young_ms),
                    "$lt", BCON_DATE_TIME(now + FANOUT_FUTURE_MS), "}");
}

static void append_hints(bson_t *filter, const str *hints, size_t n)
{
    bson_t ids = BSON_INITIALIZER;
    uint32_t known = 0;
    char number[16];
    const char *key;
    bson_oid_t id;

    for (size_t i = 0; i < n && i < FANOUT_EVENTS_MAX; i++) {
        if (!id_is_object(hints[i]))
            continue;
        bson_oid_init_from_string(&id, hints[i].p);
        bson_uint32_to_string(known++, &key, number, sizeof number);
        BSON_APPEND_OID(&ids, key, &id);
    }
    BCON_APPEND(filter, "_id", "{", "$in", BCON_ARRAY(&ids), "}");
    bson_destroy(&ids);
}

void fanout_filter(const struct fanout_ask *ask, bson_t *filter)
{
    bson_t ts = BSON_INITIALIZER;

    BCON_APPEND(&ts, "$gte", BCON_DATE_TIME(0), "$lt",
                BCON_DATE_TIME(FANOUT_ASIDE_TS));
    if (ask->hints_n > 0) {
        append_hints(filter, ask->hints, ask->hints_n);
    } else {
        append_young(&ts, ask->young_ms);
        append_share(filter, &ask->share);
    }
    BSON_APPEND_DOCUMENT(filter, "ts", &ts);
    bson_destroy(&ts);
}
