/*
 * api_leader - resign and force: writes a wish into the term document, whose
 * holder (a coordinator of workers) obeys, and waits for the outcome there
 *
 * What MongoDB says at this moment counts, not the last look of the poll
 * thread.
 */
#include <time.h>

#include "fcgi-app/api.h"
#include "fcgi-app/members.h"
#include "fcgi-app/permits.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"
#include "lib/coord/view.h"

enum {
    POLL_MS = 40,
    RESIGN_MS = 2000, /* until the term has ended */
    FORCE_MS = 3000,  /* until this instance leads */
};

struct wish {
    enum leader_service which;
    int64_t term; /* that was to end */
};

static str own_id(const struct ctx *c)
{
    return str_of(c->conf->cluster_instance_id);
}

static enum err read_service(struct ctx *c, const struct request *q,
                             struct reply *out, enum leader_service *which)
{
    str name = STR("cron");
    struct members m;
    enum err err = members_read(c, q, &m);

    if (err)
        return err;
    if (members_has(&m, "service") && !members_text(&m, "service", &name))
        members_wrong(&m, "service", "a text is expected");
    err = members_end(c, &m, out, "The body may have a service");
    if (err)
        return err;
    *which = leader_find(name);
    if (*which == LEADER_N)
        return ctx_fail(c, ERR_UNKNOWN_SERVICE,
                        "'" STR_FMT "' is no service; cron and maintenance are",
                        STR_ARG(str_head(name, 64)));
    return OK;
}

static bool leads(const struct ctx *c, const struct view *v,
                  enum leader_service which)
{
    const struct view_instance *row = view_leader(v, which);

    return row && str_eq(row->id, own_id(c));
}

static bool has_ended(const struct ctx *c, const struct view *v,
                      const struct wish *w)
{
    const struct leader_term *t = &v->terms[w->which];

    (void)c;
    return !t->known || t->term != w->term || t->left_ms <= 0;
}

static bool is_ours(const struct ctx *c, const struct view *v,
                    const struct wish *w)
{
    return leads(c, v, w->which);
}

/* Reads again and again until it is so; a read that fails is repeated. */
static bool await(struct ctx *c, const struct wish *w, ms most,
                  bool (*is_so)(const struct ctx *c, const struct view *v,
                                const struct wish *w))
{
    static const struct timespec rest = {.tv_nsec = POLL_MS * 1000000};
    ms end = clock_mono_ms() + most;
    struct view v;

    while (clock_mono_ms() < end && ctx_left_ms(c) > 0 &&
           !permits_are_closed()) {
        if (view_read(c, own_id(c), &v) != OK)
            ctx_forgive(c);
        else if (is_so(c, &v, w))
            return true;
        nanosleep(&rest, NULL);
    }
    return false;
}

static enum err begin_wait(struct ctx *c)
{
    return permits_begin_wait()
               ? OK
               : ctx_fail(c, ERR_OVERLOADED,
                          "As many requests wait as may; try again in a "
                          "second");
}

static enum err tell(struct ctx *c, struct reply *out, const char *members,
                     const char *message, enum leader_service which)
{
    struct buf *b = out->body;

    buf_addf(b,
             "{\"success\":true,%s\"message\":\"%s %s\",\"instance\":", members,
             message, leader_name(which));
    jwrite_str(b, own_id(c));
    buf_add_char(b, '}');
    return OK;
}

/* Which service, and who leads it now. */
static enum err begin(struct ctx *c, const struct request *q, struct reply *out,
                      struct wish *w, struct view *v)
{
    enum err err = read_service(c, q, out, &w->which);

    return err ? err : view_read(c, own_id(c), v);
}

/* ---- resign */

static enum err resign(struct ctx *c, const struct wish *w, struct reply *out)
{
    bool asked, ended;
    enum err err = begin_wait(c);

    if (err)
        return err;
    err = leader_ask_resign(c, w->which, w->term, &asked);
    ended = err == OK && asked && await(c, w, RESIGN_MS, has_ended);
    permits_end_wait();
    if (err)
        return err;
    if (!asked)
        return ctx_fail(c, ERR_NOT_LEADER, "This instance leads %s no more",
                        leader_name(w->which));
    if (!ended)
        return ctx_fail(c, ERR_TIME_LIMIT,
                        "The leader was asked, and has not resigned yet");
    return tell(c, out, "", "This instance has resigned from", w->which);
}

enum err api_leader_resign(struct ctx *c, const struct request *q,
                           struct reply *out)
{
    struct wish w = {.which = LEADER_N};
    struct view v;
    enum err err = begin(c, q, out, &w, &v);

    if (err)
        return err;
    if (!leads(c, &v, w.which))
        return ctx_fail(c, ERR_NOT_LEADER, "This instance does not lead %s",
                        leader_name(w.which));
    w.term = v.terms[w.which].term;
    return resign(c, &w, out);
}

/* ---- force */

/* Without workers, or where they never campaign, nobody would take the term. */
static bool may_lead(const struct ctx *c, const struct view *v,
                     enum leader_service which)
{
    const struct view_instance *row = view_find(v, own_id(c));

    return row && !row->draining &&
           (which != LEADER_CRON || c->conf->cluster_cron_leader_election);
}

static enum err force(struct ctx *c, const struct wish *w, bool *out_acquired)
{
    enum err err = begin_wait(c);

    if (err)
        return err;
    err = leader_ask_force(c, w->which, own_id(c));
    *out_acquired = err == OK && await(c, w, FORCE_MS, is_ours);
    permits_end_wait();
    return err;
}

enum err api_leader_force(struct ctx *c, const struct request *q,
                          struct reply *out)
{
    struct wish w = {.which = LEADER_N};
    bool acquired;
    struct view v;
    enum err err = begin(c, q, out, &w, &v);

    if (err)
        return err;
    acquired = leads(c, &v, w.which);
    if (!acquired && may_lead(c, &v, w.which))
        err = force(c, &w, &acquired);
    if (err)
        return err;
    return tell(c, out, acquired ? "\"acquired\":true," : "\"acquired\":false,",
                acquired ? "This instance leads" : "This instance cannot lead",
                w.which);
}
