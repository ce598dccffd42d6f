#pragma once
/*
 * text - bytes as text: base64 (RFC 4648, 4), base62, base36, percent escapes
 * (pure)
 */
#include "lib/base/buf.h"

/* Characters of n bytes in base64 with padding, without NUL. */
#define TEXT_BASE64_LEN(n) (((n) + 2) / 3 * 4)

/* With padding; out has TEXT_BASE64_LEN(n) + 1 bytes and gets a NUL. */
void text_base64(const void *bytes, size_t n, char *out);

/*
 * The bytes of padded standard base64. False when it is malformed (also when
 * padding or unused bits are not as an encoder makes them) or longer than max.
 */
bool text_base64_read(str s, unsigned char *out, size_t max, size_t *out_n);

/*
 * The n bytes as one big-endian number in base 62 (0-9A-Za-z), exactly
 * `digits` characters, leading zeros kept; NUL behind. n <= 32.
 */
void text_base62(const unsigned char *bytes, size_t n, int digits, char *out);

/* v in base 36 (0-9a-z), exactly `digits` characters, higher ones cut; NUL. */
void text_base36(uint64_t v, int digits, char *out);

/* All bytes but visible ASCII, and '%', as %XX: fit for a header's value. */
void text_percent(struct buf *b, str s);
