/* access - see access.h */
#include "fcgi-app/access.h"

#include <stdio.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/jwrite.h"
#include "lib/base/log.h"

static bool as_text, off;

void access_setup(const struct conf *conf)
{
    as_text = conf->log_format == CONF_LOG_TEXT;
    off = conf->log_level < LOG_INFO;
}

/*
 * The query may hold user data: only what is before it is shown. An API key in
 * the path is a mistake of the caller's, shown as far as `keys list` shows it.
 */
static str shown_of(str uri, size_t most)
{
    str path = str_head(uri, str_find(uri, '?', 0));
    size_t key = str_find_str(path, STR("sqf_"));

    return str_head(key == SIZE_MAX ? path : str_head(path, key + 8), most);
}

static str path_of(const struct request *q)
{
    return shown_of(q->uri, 1024);
}

static void write_json(struct buf *b, const struct request *q,
                       const struct reply *out, ms took)
{
    char time[CLOCK_ISO_MAX];

    buf_add(b, STR("{\"time\":\""));
    buf_add(b, (str){time, clock_iso(clock_wall_ms(), time)});
    buf_add(b, STR("\",\"level\":\"info\",\"event\":\"request.done\","
                   "\"method\":"));
    jwrite_str(b, str_head(q->method_name, 20));
    buf_add(b, STR(",\"path\":"));
    jwrite_str(b, path_of(q));
    buf_add(b, STR(",\"route\":\""));
    buf_add(b, str_of(q->route));
    buf_add(b, STR("\",\"status\":"));
    buf_add_i64(b, out->status);
    buf_add(b, STR(",\"durationMs\":"));
    buf_add_i64(b, took);
    buf_add(b, STR(",\"bytes\":"));
    buf_add_i64(b, out->sent_bytes);
    buf_add(b, STR(",\"client\":"));
    jwrite_str(b, q->client);
    buf_add(b, STR(",\"requestId\":"));
    jwrite_str(b, out->c->request_id);
    buf_add(b, STR("}\n"));
}

/* Apache's "combined"; the user agent and referer are escaped as JSON is. */
static void write_text(struct buf *b, const struct request *q,
                       const struct reply *out)
{
    char time[CLOCK_ISO_MAX];
    str path = path_of(q);

    buf_add(b, q->client.n ? q->client : STR("-"));
    buf_add(b, STR(" - - ["));
    buf_add(b, (str){time, clock_iso(clock_wall_ms(), time)});
    buf_addf(b, "] \"" STR_FMT " ", STR_ARG(str_head(q->method_name, 20)));
    for (size_t i = 0; i < path.n; i++)
        buf_add_char(b, path.p[i] < ' ' || path.p[i] == '"' ? '?' : path.p[i]);
    buf_addf(b, " " STR_FMT "\" %d %lld ", STR_ARG(q->protocol), out->status,
             (long long)out->sent_bytes);
    jwrite_str(b, shown_of(q->referer, 512));
    buf_add_char(b, ' ');
    jwrite_str(b, str_head(q->user_agent, 512));
    buf_add_char(b, '\n');
}

void access_add(struct access_log *log, const struct request *q,
                const struct reply *out, ms took)
{
    struct buf b;

    if (off)
        return;
    if (log->n > sizeof log->text - ACCESS_LINE_MAX)
        access_flush(log);
    b = buf_over(log->text + log->n, ACCESS_LINE_MAX);
    if (as_text)
        write_text(&b, q, out);
    else
        write_json(&b, q, out, took);
    if (b.err == OK)
        log->n += b.n;
}

void access_flush(struct access_log *log)
{
    ssize_t sent = log->n ? write(STDOUT_FILENO, log->text, log->n) : 0;

    (void)sent; /* a full log disk must not stop the service */
    log->n = 0;
}
