/* usable - see usable.h */
#include "lib/coord/usable.h"

#include <string.h>

static void note_answer(struct usable *u, bool answers, ms now)
{
    if (answers) {
        u->down_since = 0;
        if (u->up_since == 0)
            u->up_since = now;
    } else {
        u->up_since = 0;
        if (u->down_since == 0)
            u->down_since = now;
    }
}

/* Which data set is in use; a home elsewhere, or none yet, is not this one. */
static bool holds_it(const char *held, const struct dataset *d)
{
    return d->home == DATASET_REDIS && d->id[0] != '\0' &&
           strcmp(held, d->id) == 0;
}

static bool judge(const struct usable *u, const struct usable_look *look,
                  const struct dataset *d, ms now)
{
    if (d->read_boot == 0 || now - d->read_boot >= USABLE_UNREAD_MS)
        return false;
    if (!look->answers) /* nothing was seen: as before, for a while */
        return u->usable && now - u->down_since < USABLE_AWAY_MS;
    if (!look->fit || !holds_it(look->held, d))
        return false;
    return u->usable || now - u->up_since >= USABLE_AFTER_MS;
}

bool usable_note(struct usable *u, const struct usable_look *look,
                 const struct dataset *d, ms now)
{
    bool was = u->usable;

    note_answer(u, look->answers, now);
    u->usable = judge(u, look, d, now);
    return u->usable != was;
}
