#pragma once
/*
 * jwrite - JSON text into a buf (RFC 8259): escapes and numbers. Separators
 * are the caller's; failures stick in the buf.
 */
#include "lib/base/buf.h"

/* Quoted; control characters escaped, invalid UTF-8 becomes U+FFFD. */
void jwrite_str(struct buf *b, str s);

/*
 * The shortest text that reads back as v, spelled as ECMA-262
 * Number::toString does; -0 is 0, NaN and infinities are null.
 */
void jwrite_double(struct buf *b, double v);

/*
 * `before`, then the time as quoted ISO 8601 text; null when it is 0, which
 * stands for not known, or when no such text can express it.
 */
void jwrite_time(struct buf *b, const char *before, ms wall);
