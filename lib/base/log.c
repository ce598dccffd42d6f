/* log - see log.h */
#include "lib/base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/jwrite.h"

enum {
    LINE_MAX_BYTES = 4000 /* below PIPE_BUF: one write, one line */
};

static enum log_level threshold = LOG_INFO;
static const char *process_title = "sql-free";
static const char *instance_id = "";

void log_setup(enum log_level most, const char *title, const char *instance)
{
    threshold = most;
    process_title = title;
    instance_id = instance;
}

static void add_field(struct buf *b, const char *name, str text)
{
    buf_add(b, STR(",\""));
    buf_add(b, str_of(name));
    buf_add(b, STR("\":"));
    jwrite_str(b, text);
}

void log_event(enum log_level level, const char *event,
               const struct log_field *fields)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char line[LINE_MAX_BYTES + 2], time[CLOCK_ISO_MAX];
    /* a buf over the stack: it never grows, a long line is cut before */
    struct buf b = buf_over(line, LINE_MAX_BYTES);
    size_t whole;
    int saved = errno;
    ssize_t sent;

    if (level > threshold)
        return;
    buf_add(&b, STR("{\"time\":\""));
    buf_add(&b, (str){time, clock_iso(clock_wall_ms(), time)});
    buf_addf(&b, "\",\"level\":\"%s\",\"process\":\"%s\"", names[level],
             process_title);
    add_field(&b, "instance", str_of(instance_id));
    add_field(&b, "event", str_of(event));
    whole = b.n;
    for (; fields && fields->name; fields++) {
        add_field(&b, fields->name, fields->text);
        if (b.err)
            break;
        whole = b.n;
    }
    line[whole] = '}';
    line[whole + 1] = '\n';
    sent = write(STDERR_FILENO, line, whole + 2);
    (void)sent; /* there is nowhere to say that logging failed */
    errno = saved;
}

void log_note(enum log_level level, const char *event, const char *fmt, ...)
{
    char text[1024];
    va_list list;
    int n;

    if (level > threshold)
        return;
    va_start(list, fmt);
    n = vsnprintf(text, sizeof text, fmt, list);
    va_end(list);
    if (n >= (int)sizeof text)
        n = sizeof text - 1;
    log_event(level, event,
              (struct log_field[]){{"reason", {text, n < 0 ? 0 : (size_t)n}},
                                   {NULL, STR_NONE}});
}
