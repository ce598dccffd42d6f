/* mongo_hello - what a server says of itself; see mongo_inside.h */
#include "lib/data/mongo_inside.h"

#include "lib/base/clock.h"

bool mongo_read_hello(const bson_t *hello, ms rtt, struct mongo_info *out)
{
    bson_iter_t it;

    out->replica_set =
        bson_has_field(hello, "setName") || bson_has_field(hello, "msg");
    out->clock_offset = 0;
    if (bson_iter_init_find(&it, hello, "localTime") &&
        BSON_ITER_HOLDS_DATE_TIME(&it))
        out->clock_offset =
            clock_wall_ms() - rtt / 2 - bson_iter_date_time(&it);
    return !bson_iter_init_find(&it, hello, "isWritablePrimary") ||
           bson_iter_as_bool(&it);
}
