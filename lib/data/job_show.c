/* job_show - deliveries as clients see them; see job.h */
#include "lib/base/jwrite.h"
#include "lib/data/job.h"
#include "lib/data/json_out.h"
#include "lib/data/mongo.h"

static const struct {
    const char *name; /* of a client's status */
    enum job_state state;
    int tried; /* -1: whatever; 0: not so far; 1: it was */
} statuses[] = {
    {"pending", JOB_WAITING, 0},      {"retrying", JOB_WAITING, 1},
    {"delivering", JOB_LEASED, -1},   {"success", JOB_DONE, -1},
    {"dead", JOB_DEAD, -1},           {"dead", JOB_LOST, -1},
    {"cancelled", JOB_CANCELLED, -1},
};
enum {
    STATUSES_N = sizeof statuses / sizeof *statuses
};

static bool member(const bson_t *row, const char *name, bson_iter_t *out)
{
    return bson_iter_init_find(out, row, name);
}

static int64_t number_of(const bson_t *row, const char *name)
{
    bson_iter_t it;

    return member(row, name, &it) && BSON_ITER_HOLDS_NUMBER(&it)
               ? bson_iter_as_int64(&it)
               : 0;
}

static str text_of(const bson_t *row, const char *name)
{
    str v;

    return json_out_text_member(row, name, &v) ? v : STR("");
}

const char *job_status(const bson_t *row)
{
    str st = text_of(row, "st");
    int tried = number_of(row, "tries") > 0;

    for (int i = 0; i < STATUSES_N; i++)
        if (str_eq(st, str_of(job_state_name(statuses[i].state))) &&
            (statuses[i].tried < 0 || statuses[i].tried == tried))
            return statuses[i].name;
    return "dead";
}

bool job_status_filter(str status, bson_t *filter)
{
    bson_t in = BSON_INITIALIZER;
    int found = 0, tried = -1;

    for (int i = 0; i < STATUSES_N; i++) {
        char key[4] = {(char)('0' + found), 0};

        if (!str_eq(status, str_of(statuses[i].name)))
            continue;
        BSON_APPEND_UTF8(&in, key, job_state_name(statuses[i].state));
        tried = statuses[i].tried;
        found++;
    }
    if (found)
        BCON_APPEND(filter, "st", "{", "$in", BCON_ARRAY(&in), "}");
    if (found && tried == 0)
        BSON_APPEND_INT64(filter, "tries", 0);
    else if (found && tried == 1)
        BCON_APPEND(filter, "tries", "{", "$gt", BCON_INT64(0), "}");
    bson_destroy(&in);
    return found > 0;
}

/* ---- JSON */

static void add_text(struct buf *b, const char *before, const bson_t *row,
                     const char *name)
{
    str v;

    buf_add(b, str_of(before));
    if (json_out_text_member(row, name, &v))
        jwrite_str(b, v);
    else
        buf_add(b, STR("null"));
}

static void add_number(struct buf *b, const char *before, int64_t v)
{
    buf_add(b, str_of(before));
    buf_add_i64(b, v);
}

static void add_time(struct buf *b, const char *before, const bson_t *row,
                     const char *name)
{
    bson_iter_t it;
    bool known = member(row, name, &it) && BSON_ITER_HOLDS_DATE_TIME(&it);

    jwrite_time(b, before, known ? bson_iter_date_time(&it) : 0);
}

static void add_code(struct buf *b, const char *before, const bson_t *attempt)
{
    int64_t code = attempt ? number_of(attempt, "code") : 0;

    buf_add(b, str_of(before));
    if (code)
        buf_add_i64(b, code);
    else
        buf_add(b, STR("null"));
}

static void add_document_id(struct buf *b, const bson_t *row)
{
    bson_iter_t it;

    buf_add(b, STR(",\"documentId\":"));
    if (member(row, "docId", &it))
        json_out_value(b, &it);
    else
        buf_add(b, STR("null"));
}

static bool last_attempt(const bson_t *row, bson_t *out)
{
    bson_t attempts;
    bson_iter_t it;
    bool any = false;

    if (mongo_reply_doc(row, "attempts", &attempts) &&
        bson_iter_init(&it, &attempts))
        while (mongo_next_doc(&it, out))
            any = true;
    return any;
}

static void add_last(struct buf *b, const bson_t *row)
{
    bson_t last;
    bool any = last_attempt(row, &last);

    add_code(b, ",\"lastStatusCode\":", any ? &last : NULL);
    if (any)
        add_text(b, ",\"lastError\":", &last, "error");
    else
        buf_add(b, STR(",\"lastError\":null"));
}

static void add_log(struct buf *b, const bson_t *row)
{
    bson_t attempts, one;
    bson_iter_t it;
    const char *before = "{\"attempt\":";

    buf_add(b, STR(",\"log\":["));
    if (mongo_reply_doc(row, "attempts", &attempts) &&
        bson_iter_init(&it, &attempts))
        while (mongo_next_doc(&it, &one)) {
            add_number(b, before, number_of(&one, "n"));
            add_time(b, ",\"startedAt\":", &one, "at");
            add_number(b, ",\"durationMs\":", number_of(&one, "ms"));
            add_code(b, ",\"statusCode\":", &one);
            add_text(b, ",\"error\":", &one, "error");
            add_text(b, ",\"instance\":", &one, "instance");
            buf_add_char(b, '}');
            before = ",{\"attempt\":";
        }
    buf_add_char(b, ']');
}

void job_write(struct buf *b, const bson_t *row)
{
    bool waits = str_eq(text_of(row, "st"), STR("waiting"));

    add_text(b, "{\"deliveryId\":", row, "_id");
    add_text(b, ",\"messageId\":", row, "msgId");
    add_text(b, ",\"webhookId\":", row, "sub");
    add_text(b, ",\"event\":", row, "event");
    add_text(b, ",\"collection\":", row, "coll");
    add_document_id(b, row);
    buf_add(b, STR(",\"status\":"));
    jwrite_str(b, str_of(job_status(row)));
    add_number(b, ",\"attempts\":", number_of(row, "tries"));
    add_number(b, ",\"replays\":", number_of(row, "replays"));
    add_time(b, ",\"createdAt\":", row, "at");
    if (waits)
        add_time(b, ",\"nextAttemptAt\":", row, "runAt");
    else
        buf_add(b, STR(",\"nextAttemptAt\":null"));
    add_time(b, ",\"finishedAt\":", row, "endAt");
    add_last(b, row);
    add_log(b, row);
    buf_add_char(b, '}');
}

static void add_or_null(struct buf *b, const char *before, str s)
{
    buf_add(b, str_of(before));
    if (s.p)
        jwrite_str(b, s);
    else
        buf_add(b, STR("null"));
}

void job_write_dead(struct buf *b, const bson_t *row, str webhook_name, str url)
{
    add_text(b, "{\"deliveryId\":", row, "_id");
    add_text(b, ",\"messageId\":", row, "msgId");
    add_text(b, ",\"webhookId\":", row, "sub");
    add_or_null(b, ",\"webhookName\":", webhook_name);
    add_or_null(b, ",\"url\":", url);
    add_text(b, ",\"event\":", row, "event");
    add_text(b, ",\"collection\":", row, "coll");
    add_document_id(b, row);
    add_number(b, ",\"attempts\":", number_of(row, "tries"));
    add_number(b, ",\"replays\":", number_of(row, "replays"));
    add_text(b, ",\"reason\":", row, "reason");
    add_last(b, row);
    add_time(b, ",\"createdAt\":", row, "at");
    add_time(b, ",\"failedAt\":", row, "endAt");
    buf_add_char(b, '}');
}
