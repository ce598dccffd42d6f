/* cmd_queue - the queue of deliveries: how it stands, pause and resume; dead
 * letters: list, replay */
#include <stdio.h>

#include "cli/commands.h"
#include "lib/base/clock.h"
#include "lib/base/program.h"
#include "lib/coord/figures.h"
#include "lib/coord/queue.h"
#include "lib/coord/view.h"
#include "lib/data/json_out.h"
#include "lib/data/mongo.h"

enum {
    LIMIT_DEFAULT = 20,
    LIMIT_MOST = 100,
    CALL_MS = 15000 /* of one call of a replay */
};

/* ---- queue */

static void print_figures(const struct figures *f, bool paused)
{
    printf("%9s  %9s  %9s  %11s  %11s  %9s  %9s  %9s  %11s  PAUSED\n",
           "WAITING", "ACTIVE", "DELAYED", "COMPLETED", "FAILED", "DEAD",
           "LIMITED", "BREAKERS", "OLDEST MS");
    printf("%9lld  %9lld  %9lld  %11lld  %11lld  %9lld  %9lld  %9lld  %11lld  "
           "%s\n",
           (long long)f->waiting, (long long)f->active, (long long)f->delayed,
           (long long)f->completed, (long long)f->failed, (long long)f->dead,
           (long long)f->limited, (long long)f->breakers,
           (long long)f->oldest_ms, paused ? "yes" : "no");
}

/* What only the index in Redis knows, as the leader counted it. */
static void add_index(struct figures *f, const struct view_queue *q)
{
    if (!q->fresh)
        return;
    f->limited = q->figures.limited;
    f->breakers = q->figures.breakers;
}

/* Counted now, whether anybody leads or not. */
int cmd_queue_stats(struct ctx *c, const struct words *w)
{
    int code = command_options(w, NULL, 0);
    struct figures f;
    struct view view;

    if (code != PROGRAM_GO)
        return code;
    if (figures_count(c, QUEUE_WEBHOOK, &f) != OK ||
        view_read(c, STR(""), &view) != OK)
        return command_failed(c, w);
    add_index(&f, &view.queues[QUEUE_WEBHOOK]);
    print_figures(&f, view.queues[QUEUE_WEBHOOK].paused);
    return fflush(stdout) != 0 ? PROGRAM_FAILED : PROGRAM_DONE;
}

static int set_pause(struct ctx *c, const struct words *w, bool on)
{
    int code = command_options(w, NULL, 0);

    if (code != PROGRAM_GO)
        return code;
    if (queue_pause(c, QUEUE_WEBHOOK, on) != OK)
        return command_failed(c, w);
    fputs(on ? "Paused: within 1 s no delivery starts on any instance.\n"
             : "Resumed.\n",
          stderr);
    return PROGRAM_DONE;
}

int cmd_queue_pause(struct ctx *c, const struct words *w)
{
    return set_pause(c, w, true);
}

int cmd_queue_resume(struct ctx *c, const struct words *w)
{
    return set_pause(c, w, false);
}

/* ---- dead letters */

/* An option's time; absent: *inout stays. PROGRAM_GO, or the exit code. */
static int read_time(const struct words *w, const struct option *o, ms *inout)
{
    if (!o->value || clock_parse_iso(str_of(o->value), inout))
        return PROGRAM_GO;
    return program_misuse(
        w->program, "%s: expected a time as 2025-09-01T08:00:00Z", o->name);
}

/* As it stands in rows: in lower case. */
static int read_webhook(struct ctx *c, const struct words *w,
                        const struct option *o, str *out)
{
    bson_oid_t oid;
    char *text = ctx_alloc(c, ID_OBJECT_MAX);

    *out = STR("");
    if (!o->value)
        return PROGRAM_GO;
    if (text && id_is_object(str_of(o->value))) {
        bson_oid_init_from_string(&oid, o->value);
        bson_oid_to_string(&oid, text);
        *out = str_of(text);
        return PROGRAM_GO;
    }
    return program_misuse(w->program,
                          "%s: expected the 24 hexadecimal digits of a webhook",
                          o->name);
}

static ms time_of(const bson_t *row, const char *name)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, row, name) && BSON_ITER_HOLDS_DATE_TIME(&it)
               ? bson_iter_date_time(&it)
               : 0;
}

static void print_text(const bson_t *row, const char *name, size_t width)
{
    str v;

    command_print(json_out_text_member(row, name, &v) ? v : STR("-"), width);
    fputs("  ", stdout);
}

static void print_dead(const bson_t *row)
{
    char at[CLOCK_ISO_MAX];
    struct job job;

    if (!job_read(row, &job))
        return;
    print_text(row, "_id", 48);
    printf("%-24s  %5lld  %7lld  ",
           clock_iso(time_of(row, "endAt"), at) > 0 ? at : "-",
           (long long)job.tries, (long long)job.replays);
    print_text(row, "reason", 18);
    print_text(row, "event", 6);
    command_print(job.collection, 0);
    putchar('\n');
}

static void print_all(const bson_t *rows)
{
    bson_iter_t it;
    bson_t row;

    printf("%-48s  %-24s  %5s  %7s  %-18s  %-6s  COLLECTION\n", "DELIVERY",
           "FAILED", "TRIES", "REPLAYS", "REASON", "EVENT");
    if (!bson_iter_init(&it, rows))
        return;
    while (mongo_next_doc(&it, &row))
        print_dead(&row);
}

int cmd_dead_list(struct ctx *c, const struct words *w)
{
    struct option o[] = {
        {"--webhook", NULL}, {"--limit", NULL}, {"--before", NULL}};
    int64_t limit = LIMIT_DEFAULT, total;
    int code = command_options(w, o, sizeof o / sizeof *o);
    const bson_t *rows;
    ms before = INT64_MAX;
    str webhook;

    if (code == PROGRAM_GO)
        code = read_webhook(c, w, &o[0], &webhook);
    if (code == PROGRAM_GO && o[1].value &&
        (!str_to_i64(str_of(o[1].value), &limit) || limit < 1 ||
         limit > LIMIT_MOST))
        code = program_misuse(
            w->program, "--limit: expected a number from 1 to %d", LIMIT_MOST);
    if (code == PROGRAM_GO)
        code = read_time(w, &o[2], &before);
    if (code != PROGRAM_GO)
        return code;
    if (queue_list_dead(c, QUEUE_WEBHOOK, webhook, limit, before, &rows,
                        &total) != OK)
        return command_failed(c, w);
    print_all(rows);
    fprintf(stderr, "%lld in all.\n", (long long)total);
    return fflush(stdout) != 0 ? PROGRAM_FAILED : PROGRAM_DONE;
}

/* All of them, however many one call takes. */
static int replay(struct ctx *c, const struct words *w,
                  const struct queue_dead *which)
{
    struct queue_replayed got;
    int64_t replayed = 0;

    do {
        c->deadline = clock_mono_ms() + CALL_MS;
        if (queue_replay_dead(c, QUEUE_WEBHOOK, which, &got) != OK) {
            if (replayed > 0)
                fprintf(stderr, "Replayed before: %lld.\n",
                        (long long)replayed);
            return command_failed(c, w);
        }
        replayed += got.replayed;
    } while (got.replayed > 0 && got.remaining > 0);
    fprintf(stderr, "Replayed: %lld. Skipped: %lld. Remaining: %lld.\n",
            (long long)replayed, (long long)got.skipped,
            (long long)got.remaining);
    return PROGRAM_DONE;
}

int cmd_dead_replay(struct ctx *c, const struct words *w)
{
    struct option o[] = {
        {"--webhook", NULL}, {"--since", NULL}, {"--id", NULL}};
    struct queue_dead which = {.since = INT64_MIN};
    int code = command_options(w, o, sizeof o / sizeof *o);
    str id;

    if (code == PROGRAM_GO)
        code = read_webhook(c, w, &o[0], &which.webhook_id);
    if (code == PROGRAM_GO)
        code = read_time(w, &o[1], &which.since);
    if (code != PROGRAM_GO)
        return code;
    id = str_of(o[2].value ? o[2].value : "");
    if (o[2].value && !job_is_id(id))
        return program_misuse(w->program,
                              "--id: expected the id of a delivery; "
                              "`dead-letters list` shows them");
    which.ids = &id;
    which.ids_n = o[2].value ? 1 : 0;
    return replay(c, w, &which);
}
