/* figures - see figures.h */
#include "lib/coord/figures.h"

#include "lib/data/mongo.h"

#define WALL_MOST INT64_C(8640000000000000) /* ECMA-262, 21.4.1.1 */

/* What the row calls them, and where they stand. */
static const struct figure {
    const char *name;
    size_t at;
} rows[] = {
    {"waiting", offsetof(struct figures, waiting)},
    {"active", offsetof(struct figures, active)},
    {"delayed", offsetof(struct figures, delayed)},
    {"completed", offsetof(struct figures, completed)},
    {"failed", offsetof(struct figures, failed)},
    {"dead", offsetof(struct figures, dead)},
    {"limited", offsetof(struct figures, limited)},
    {"breakers", offsetof(struct figures, breakers)},
    {"oldest", offsetof(struct figures, oldest_ms)},
    {"rest", offsetof(struct figures, rest_ms)},
};
enum {
    ROWS_N = sizeof rows / sizeof *rows
};
_Static_assert(ROWS_N * sizeof(int64_t) == sizeof(struct figures),
               "a row for each member");

static bool read_count(const bson_t *doc, const char *name, int64_t *out)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, doc, name) || !BSON_ITER_HOLDS_INT(&it))
        return false;
    *out = bson_iter_as_int64(&it);
    return *out >= 0 && *out <= WALL_MOST;
}

bool figures_read(const bson_t *row, struct figures *out, ms *out_at)
{
    struct figures f = {0};
    bson_iter_t it;
    bson_t doc;

    if (!mongo_reply_doc(row, "figures", &doc) ||
        !bson_iter_init_find(&it, &doc, "at") ||
        !BSON_ITER_HOLDS_DATE_TIME(&it))
        return false;
    for (int i = 0; i < ROWS_N; i++)
        if (!read_count(&doc, rows[i].name,
                        (int64_t *)(void *)((char *)&f + rows[i].at)))
            return false;
    *out_at = bson_iter_date_time(&it);
    if (*out_at < 0 || *out_at > WALL_MOST || f.rest_ms > FIGURES_REST_MAX_MS)
        return false;
    *out = f;
    return true;
}
