/*
 * mongo_queue - candidates straight from the rows; see mongo_queue.h
 *
 * $expr cannot use partial indexes: here times are compared with the server's
 * as this process knows it and a little more. The start judges by $$NOW.
 */
#include "lib/coord/mongo_queue.h"

#include <stdio.h>

#include "lib/base/clock.h"
#include "lib/coord/queue_inside.h"

enum {
    AHEAD_MS = 50,
    ROWS_ALONE = 4, /* of the next subscriber in one look */
    ROWS = QUEUE_RIVALS_MAX + 1,
    LEAP = 3,
    HEADS = 16, /* of groups in one look at them */
    ROUNDS = 6, /* such looks in a turn */
    BLOCKED_MS = 250,
    GO_ON_MS = 20 /* there were more heads than these */
};

/* What may run by `due`, for a find or a $match. */
static void append_due(bson_t *match, ms due)
{
    BCON_APPEND(match, "open", BCON_BOOL(true), "runAt", "{", "$lte",
                BCON_DATE_TIME(due), "}", "$or", "[", "{", "st",
                BCON_UTF8(job_state_name(JOB_WAITING)), "}", "{", "lease.until",
                "{", "$lte", BCON_DATE_TIME(due), "}", "}", "]");
}

static void append_lim(bson_t *match, const struct claimant *k, bool behind)
{
    bson_t lim, skips;
    const char *index;
    char text[16];

    if (k->from_class > 0)
        BCON_APPEND(match, "cls", "{", "$gte", BCON_INT32(k->from_class), "}");
    if (!behind && k->skips_n == 0)
        return;
    BSON_APPEND_DOCUMENT_BEGIN(match, "lim", &lim);
    if (behind)
        BSON_APPEND_UTF8(&lim, "$gt", k->served);
    if (k->skips_n > 0) {
        BSON_APPEND_ARRAY_BEGIN(&lim, "$nin", &skips);
        for (size_t i = 0; i < k->skips_n; i++) {
            bson_uint32_to_string((uint32_t)i, &index, text, sizeof text);
            BSON_APPEND_UTF8(&skips, index, k->skips[i].lim);
        }
        bson_append_array_end(&lim, &skips);
    }
    bson_append_document_end(match, &lim);
}

/* The first rows by class, subscriber and time; behind: of the subscribers
 * behind the place. */
static bson_t *look_command(struct ctx *c, const struct claimant *k, ms due,
                            bool behind)
{
    bson_t *cmd = mongo_bson(c), *filter = mongo_bson(c);

    if (!cmd || !filter)
        return NULL;
    BSON_APPEND_UTF8(filter, "q", job_queue_name(k->queue));
    append_lim(filter, k, behind);
    append_due(filter, due);
    BCON_APPEND(
        cmd, "find", QUEUE_JOBS, "filter", BCON_DOCUMENT(filter), "sort", "{",
        "cls", BCON_INT32(1), "lim", BCON_INT32(1), "runAt", BCON_INT32(1), "}",
        "limit", BCON_INT32(k->rivals > 0 ? ROWS : ROWS_ALONE), "singleBatch",
        BCON_BOOL(true), "projection", "{", "lim", BCON_INT32(1), "g",
        BCON_INT32(1), "cls", BCON_INT32(1), "sub", BCON_INT32(1), "once",
        BCON_INT32(1), "runAt", BCON_INT32(1), "}", "hint", "claim_1");
    return cmd;
}

static void read_candidate(const bson_t *row, ms now, struct candidate *out)
{
    *out = (struct candidate){.id = queue_text(row, "_id"),
                              .lim = queue_text(row, "lim"),
                              .group = queue_text(row, "g"),
                              .subscriber = queue_text(row, "sub"),
                              .once = bson_has_field(row, "once"),
                              .cls = (int)queue_number(row, "cls"),
                              .due_ms = queue_number(row, "runAt") - now};
    out->ordered = !str_eq(out->lim, out->group);
}

/* The rows of a reply, one after the other; *it by begin_rows(). */
static bool begin_rows(const bson_t *reply, bson_t *batch, bson_iter_t *it)
{
    return mongo_reply_rows(reply, batch) && bson_iter_init(it, batch);
}

/* Rows of one subscriber, in order of time. */
struct due {
    struct candidate first;
    str ids[ROWS];
    int n; /* 0: none */
};

/* The row is the next one of its kind: of what is due and has no order, for
 * which chance may decide. */
static void add_row(struct due *d, const struct candidate *one)
{
    for (int i = 0; i < d->n; i++)
        if (str_eq(d->ids[i], one->id))
            return; /* behind the place, and the first of all */
    if (d->n == 0)
        d->first = *one;
    else if (d->n == ROWS || d->first.ordered || one->ordered ||
             one->due_ms > 0 || one->cls != d->first.cls ||
             !str_eq(one->lim, d->first.lim))
        return;
    d->ids[d->n++] = one->id;
}

/* Rows by class and subscriber: those of the first one, unless what was found
 * before is as urgent. */
static void choose(const bson_t *reply, ms now, struct due *out)
{
    struct candidate one;
    bson_t batch, row;
    bson_iter_t it;

    if (!begin_rows(reply, &batch, &it))
        return;
    while (mongo_next_doc(&it, &row)) {
        read_candidate(&row, now, &one);
        if (out->n > 0 && one.cls < out->first.cls)
            out->n = 0;
        add_row(out, &one);
    }
}

/* Behind the place; from the beginning, when there are none, or when another
 * may be more urgent. (One aggregate for both costs more than both.) */
static enum err find_due(struct ctx *c, const struct claimant *k, ms now,
                         struct due *out)
{
    out->n = 0;
    for (int behind = 1; behind >= 0; behind--) {
        bson_t *cmd = look_command(c, k, now + AHEAD_MS, behind), *reply;
        enum err err = cmd ? mongo_read(c, cmd, &reply) : ERR_OVERLOADED;

        if (err)
            return err;
        choose(reply, now, out);
        if (out->n > 0 &&
            (out->first.cls <= k->urgent || out->first.cls == k->from_class))
            return OK;
    }
    return OK;
}

/* The first one when nobody else seems to be there: first in, first out. Who
 * has rivals takes one by chance; what is tried after it lies further on, by
 * chance too, so that those who lose do not meet again. */
static void pick(struct due *d, int rivals, struct candidate *out)
{
    uint32_t within = (uint32_t)(rivals < d->n ? rivals + 1 : d->n);
    int at = (int)(id_chance() % within);

    *out = d->first;
    out->id = d->ids[at];
    while (out->others_n < CANDIDATE_OTHERS_MAX &&
           (at += 1 + (int)(id_chance() % LEAP)) < d->n)
        out->others[out->others_n++] = d->ids[at];
}

/* ---- ordered subscribers: heads of groups */

struct walk {
    const char *from, *end; /* groups between them, from included or not */
    bool inclusive;
    ms now;
};

/* Ends of the subscriber's groups: "<lim>:" and "<lim>;" */
static enum err send_heads(struct ctx *c, const struct walk *w, bson_t **out)
{
    bson_t *cmd = mongo_bson(c);

    if (!cmd)
        return ERR_OVERLOADED;
    BCON_APPEND(
        cmd, "aggregate", QUEUE_JOBS, "pipeline", "[", "{", "$match", "{", "g",
        "{", BCON_UTF8(w->inclusive ? "$gte" : "$gt"), BCON_UTF8(w->from),
        "$lt", BCON_UTF8(w->end), "}", "open", BCON_BOOL(true), "}", "}", "{",
        "$sort", "{", "g", BCON_INT32(1), "ord", BCON_INT32(1), "}", "}", "{",
        "$group", "{", "_id", "$g", "id", "{", "$first", "$_id", "}", "runAt",
        "{", "$first", "$runAt", "}", "st", "{", "$first", "$st", "}", "until",
        "{", "$first", "$lease.until", "}", "cls", "{", "$first", "$cls", "}",
        "}", "}", "{", "$limit", BCON_INT32(HEADS), "}", "]", "cursor", "{",
        "}", "hint", "group_1");
    return mongo_read(c, cmd, out);
}

static bool may_run(const bson_t *head, ms due)
{
    return queue_number(head, "runAt") <= due &&
           (str_eq(queue_text(head, "st"), STR("waiting")) ||
            queue_number(head, "until") <= due);
}

/* The first head that may run into *job; *out_last: the last group seen, NULL
 * when there are no more. */
static bool find_head(const bson_t *reply, ms now, struct candidate *job,
                      const char **out_last)
{
    bson_t batch, head;
    bson_iter_t it;
    int n = 0;

    *out_last = NULL;
    if (!begin_rows(reply, &batch, &it))
        return false;
    while (mongo_next_doc(&it, &head)) {
        str group = queue_text(&head, "_id");

        if (may_run(&head, now + AHEAD_MS)) {
            job->id = queue_text(&head, "id");
            job->group = group;
            job->cls = (int)queue_number(&head, "cls");
            job->due_ms = queue_number(&head, "runAt") - now;
            return true;
        }
        *out_last = ++n == HEADS ? group.p : NULL;
    }
    return false;
}

/* From the group of the earliest row that is due, or where the last walk
 * stopped, once around. */
static enum look_result walk(struct ctx *c, struct claimant *k,
                             struct candidate *job, ms now)
{
    str begin = arena_strf(&c->arena, STR_FMT ":", STR_ARG(job->lim)),
        end = arena_strf(&c->arena, STR_FMT ";", STR_ARG(job->lim));
    bool goes_on = begin.p && str_starts(str_of(k->group), begin);
    struct walk w = {job->group.p, end.p, true, now};
    bool around = false;
    bson_t *reply;

    if (!begin.p || !end.p)
        return LOOK_UNKNOWN;
    if (goes_on)
        w = (struct walk){arena_str(&c->arena, str_of(k->group)).p, end.p,
                          false, now};
    k->group[0] = '\0';
    for (int i = 0; i < ROUNDS; i++) {
        const char *last;

        if (!w.from || send_heads(c, &w, &reply) != OK)
            return LOOK_UNKNOWN;
        if (find_head(reply, now, job, &last))
            return LOOK_FOUND;
        if (!last && around)
            break;
        around = around || !last;
        w.inclusive = false;
        w.from = last ? last : begin.p;
        if (i == ROUNDS - 1)
            snprintf(k->group, sizeof k->group, "%s", w.from);
    }
    job->wait_ms = k->group[0] ? GO_ON_MS : BLOCKED_MS;
    return LOOK_BLOCKED;
}

enum look_result mongo_queue_look(struct ctx *c, struct claimant *k,
                                  struct candidate *out)
{
    ms now = clock_server_ms();
    struct due due;

    if (find_due(c, k, now, &due) != OK)
        return LOOK_UNKNOWN;
    if (due.n == 0)
        return LOOK_NONE;
    pick(&due, k->rivals, out);
    return out->ordered && !queue_is_test(out->lim) ? walk(c, k, out, now)
                                                    : LOOK_FOUND;
}
