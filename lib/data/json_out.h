#pragma once
/*
 * json_out - BSON to JSON text
 *
 * Compact. Object ids, dates, UUIDs and binaries are strings; NaN, infinities
 * and undefined are null; what JSON has no word for is relaxed Extended JSON
 * v2. Below 250 levels and in damaged documents what cannot be shown is null
 * or left out: the text is valid JSON always. Failures stick in the buf.
 */
#include <bson/bson.h>

#include "lib/base/buf.h"

void json_out_doc(struct buf *b, const bson_t *doc);              /* {..} */
void json_out_array(struct buf *b, const bson_t *array);          /* [..] */
void json_out_bytes(struct buf *b, const uint8_t *doc, size_t n); /* {..} */
void json_out_value(struct buf *b, const bson_iter_t *it);

/*
 * True for types whose JSON is one string: then its text without quotes and
 * escapes is added. False, and nothing added, for all others.
 */
bool json_out_text(struct buf *b, const bson_iter_t *it);

/* Member `name` of the document that `in` stands before, else `none`. */
void json_out_member(struct buf *b, const bson_iter_t *in, const char *name,
                     str none);

/* Member `name` as a text, borrowed, with a NUL behind; false: it is none. */
bool json_out_text_member(const bson_t *doc, const char *name, str *out);
