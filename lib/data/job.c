/* job - see job.h */
#include "lib/data/job.h"

#include "lib/base/clock.h"
#include "lib/base/hash.h"
#include "lib/data/json_out.h"

static const char *const queues[] = {"webhook"};
_Static_assert(sizeof queues / sizeof *queues == QUEUE_N, "a name each");

static const char *const states[] = {"waiting", "leased",    "done",
                                     "dead",    "cancelled", "lost"};
_Static_assert(sizeof states / sizeof *states == JOB_STATES_N, "a name each");

const char *job_queue_name(enum job_queue q)
{
    return queues[q];
}

const char *job_state_name(enum job_state s)
{
    return states[s];
}

int job_class(int priority)
{
    return priority <= 0 ? JOB_CLASS_LAST : priority - 1;
}

/* ---- ids */

static const char digits[] =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* The 20 bytes at `from`, most significant first, as 27 base62. */
static void write_message_id(const unsigned char *from,
                             char out[JOB_MESSAGE_ID_MAX])
{
    unsigned char number[20];
    int prefix = 4;

    memcpy(out, "msg_", 5);
    memcpy(number, from, sizeof number);
    for (int i = 26; i >= 0; i--) {
        unsigned rest = 0;

        for (size_t k = 0; k < sizeof number; k++) {
            rest = rest * 256 + number[k];
            number[k] = (unsigned char)(rest / 62);
            rest %= 62;
        }
        out[prefix + i] = digits[rest];
    }
    out[prefix + 27] = '\0';
}

static void write_base36(const unsigned char *from, char *out)
{
    uint64_t v = 0;

    for (int i = 0; i < 6; i++)
        v = v * 256 + from[i];
    for (int i = 8; i >= 0; i--, v /= 36)
        out[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[v % 36];
    out[9] = '\0';
}

enum err job_ids(struct ctx *c, str event_id, str subscriber_id, ms ts,
                 char out_id[JOB_ID_MAX],
                 char out_message_id[JOB_MESSAGE_ID_MAX])
{
    struct buf id = buf_over(out_id, JOB_ID_MAX - 1);
    unsigned char hash[HASH_BYTES];
    char text[2 * JOB_ID_MAX], tail[10];
    struct buf both = buf_over(text, sizeof text);

    buf_add(&both, event_id);
    buf_add(&both, subscriber_id);
    if (both.err || !hash_sha256(buf_str(&both), hash))
        return ctx_fail(c, ERR_INTERNAL, "No id for a delivery");
    write_message_id(hash, out_message_id);
    write_base36(hash + 20, tail);
    buf_add(&id, subscriber_id);
    buf_add_char(&id, '-');
    buf_add_i64(&id, ts);
    buf_add_char(&id, '-');
    buf_add(&id, str_of(tail));
    if (id.err)
        return ctx_fail(c, ERR_INTERNAL, "No id for a delivery");
    out_id[id.n] = '\0';
    return OK;
}

static bool is_base36(str s)
{
    size_t i = 0;

    while (i < s.n && ((s.p[i] >= '0' && s.p[i] <= '9') ||
                       (s.p[i] >= 'a' && s.p[i] <= 'z')))
        i++;
    return s.n == 9 && i == s.n;
}

bool job_is_id(str s)
{
    str rest = s, sub, time, tail;

    return s.n < JOB_ID_MAX && str_cut(&rest, '-', &sub) &&
           str_cut(&rest, '-', &time) && str_cut(&rest, '-', &tail) &&
           !rest.p && sub.n == 24 && str_is_hex(sub) && time.n <= 15 &&
           str_is_digits(time) && is_base36(tail);
}

/* ---- the row */

static void append_text(bson_t *row, const char *name, str s)
{
    bson_append_utf8(row, name, -1, s.p ? s.p : "", (int)s.n);
}

static void append_what(bson_t *row, const struct job_new *n)
{
    bson_t none = BSON_INITIALIZER;

    BSON_APPEND_ARRAY(row, "attempts", &none);
    bson_destroy(&none);
    append_text(row, "msgId", n->message_id);
    append_text(row, "body", n->body);
    append_text(row, "sub", n->subscriber);
    append_text(row, "event", n->event);
    append_text(row, "coll", n->collection);
    if (n->doc_id)
        BSON_APPEND_VALUE(row, "docId", n->doc_id);
    else
        BSON_APPEND_NULL(row, "docId");
}

enum err job_row(struct ctx *c, const struct job_new *n, bson_t **out)
{
    bson_t *row = mongo_bson(c);

    if (!row)
        return ERR_OVERLOADED;
    append_text(row, "_id", n->id);
    append_text(row, "q", str_of(job_queue_name(n->queue)));
    append_text(row, "lim", n->lim);
    append_text(row, "g", n->group);
    if (n->ord)
        BSON_APPEND_INT64(row, "ord", n->ord);
    BSON_APPEND_INT32(row, "cls", n->cls);
    BSON_APPEND_DATE_TIME(row, "ts", n->ts);
    BSON_APPEND_DATE_TIME(row, "at", clock_server_ms());
    BSON_APPEND_UTF8(row, "st", job_state_name(JOB_WAITING));
    BSON_APPEND_BOOL(row, "open", true);
    BSON_APPEND_DATE_TIME(row, "runAt", n->ts);
    if (n->enq.n)
        append_text(row, "enq", n->enq);
    BSON_APPEND_INT64(row, "tries", 0);
    BSON_APPEND_INT64(row, "max", n->tries_max);
    BSON_APPEND_INT64(row, "starts", 0);
    BSON_APPEND_INT64(row, "stalls", 0);
    BSON_APPEND_INT64(row, "replays", 0);
    if (n->once)
        BSON_APPEND_BOOL(row, "once", true);
    append_what(row, n);
    *out = row;
    return OK;
}

static int64_t number_of(const bson_t *row, const char *name)
{
    bson_iter_t it;

    if (!bson_iter_init_find(&it, row, name))
        return 0;
    if (BSON_ITER_HOLDS_INT(&it))
        return bson_iter_as_int64(&it);
    if (!BSON_ITER_HOLDS_DOUBLE(&it) || !(bson_iter_double(&it) >= 0) ||
        !(bson_iter_double(&it) < 9e15))
        return 0;
    return (int64_t)bson_iter_double(&it);
}

static str text_of(const bson_t *row, const char *name)
{
    str v;

    return json_out_text_member(row, name, &v) ? v : STR("");
}

static bool state_of(const bson_t *row, enum job_state *out)
{
    str name = text_of(row, "st");
    int s = 0;

    while (s < JOB_STATES_N && !str_eq(name, str_of(states[s])))
        s++;
    *out = (enum job_state)s;
    return s < JOB_STATES_N;
}

static bool is_set(const bson_t *row, const char *name)
{
    bson_iter_t it;

    return bson_iter_init_find(&it, row, name) && bson_iter_as_bool(&it);
}

bool job_read(const bson_t *row, struct job *out)
{
    *out = (struct job){
        .id = text_of(row, "_id"),
        .message_id = text_of(row, "msgId"),
        .subscriber = text_of(row, "sub"),
        .lim = text_of(row, "lim"),
        .group = text_of(row, "g"),
        .body = text_of(row, "body"),
        .event = text_of(row, "event"),
        .collection = text_of(row, "coll"),
        .ord = number_of(row, "ord"),
        .once = is_set(row, "once"),
        .tries = number_of(row, "tries"),
        .tries_max = number_of(row, "max"),
        .starts = number_of(row, "starts"),
        .stalls = number_of(row, "stalls"),
        .replays = number_of(row, "replays"),
    };
    out->ordered = !str_eq(out->lim, out->group);
    return state_of(row, &out->state) && out->id.n > 0 && out->lim.n > 0 &&
           out->group.n > 0 && out->subscriber.n > 0;
}
