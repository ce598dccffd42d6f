#pragma once
/* utf8 - well-formed UTF-8 by RFC 3629: no surrogates, no overlong forms */
#include "lib/base/str.h"

enum {
    UTF8_REPLACEMENT = 0xfffd, /* shown for what cannot be shown */
    UTF8_MAX = 4               /* bytes of one character */
};

/* Bytes of the well-formed character at the front of s, or 0. */
size_t utf8_len(str s);

/*
 * For s that utf8_len() refuses and that is not empty: bytes that one U+FFFD
 * stands for (the maximal subpart of a character, else 1).
 */
size_t utf8_bad_len(str s);

bool utf8_is_valid(str s);

/*
 * Valid, and without control characters: C0, DEL and C1 (to a terminal U+009B
 * is as good as ESC [).
 */
bool utf8_is_line(str s);

/* Writes a code point up to 0x10FFFF; gives the number of bytes. */
size_t utf8_put(char to[UTF8_MAX], uint32_t code);

/*
 * Bytes at the front of s that are ASCII and stand for themselves inside a
 * JSON string: no control character, no `"`, no `\`.
 */
size_t utf8_plain_len(str s);
