#pragma once
/*
 * log - one JSON line per event on stderr, written by one write(2)
 *
 * {"time","level","process","event",...}. Fields are name, text pairs; their
 * bytes are escaped. errno survives. Secrets and user data are never passed.
 */
#include "lib/base/str.h"

enum log_level {
    LOG_ERROR,
    LOG_WARN,
    LOG_INFO,
    LOG_DEBUG
};

struct log_field {
    const char *name;
    str text;
};

/* Before any thread starts. title and instance are borrowed for ever. */
void log_setup(enum log_level most, const char *title, const char *instance);

/* event as noun.verb; fields end with {NULL}. */
void log_event(enum log_level level, const char *event,
               const struct log_field *fields);

/* One text field "reason", printf style. */
void log_note(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
