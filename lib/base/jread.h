#pragma once
/*
 * jread - strict RFC 8259 reader: bytes in, events out, limits first (pure)
 *
 * The whole text is one value. Strings are checked as UTF-8 and handed out
 * decoded; a lone surrogate escape becomes U+FFFD; NUL in a key is refused.
 * Numbers are handed out as they are written. Stops at the first fault.
 */
#include "lib/base/arena.h"
#include "lib/base/err.h"
#include "lib/base/str.h"

enum {
    JREAD_DEPTH_MAX = 100,      /* the root is level 1 */
    JREAD_VALUES_MAX = 1000000, /* values in one text */
};

enum jread_event {
    JREAD_OBJECT,
    JREAD_ARRAY,
    JREAD_END, /* of the innermost object or array */
    JREAD_KEY,
    JREAD_STRING,
    JREAD_NUMBER,
    JREAD_TRUE,
    JREAD_FALSE,
    JREAD_NULL
};

struct jread_sink {
    /* text is valid for the call only; a failure stops the reader. */
    enum err (*on)(void *arg, enum jread_event event, str text);
    void *arg;
};

struct jread_fault {
    size_t offset; /* byte in the text */
    const char *what;
};

/*
 * sink may be NULL: the text is only judged. ERR_BAD_JSON with *fault, the
 * sink's own failure, or ERR_OVERLOADED without memory in `scratch`. A
 * leading byte order mark is skipped.
 */
MUST_CHECK enum err jread(str text, struct arena *scratch,
                          const struct jread_sink *sink,
                          struct jread_fault *out_fault);
