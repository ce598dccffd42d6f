#pragma once
/*
 * clock - monotonic and wall milliseconds, ISO 8601 text. Tests replace the
 * clock by clock_set(); the pure functions take the time as an argument.
 */
#include "lib/base/str.h"

ms clock_mono_ms(void);      /* CLOCK_MONOTONIC */
ms clock_wall_ms(void);      /* CLOCK_REALTIME since 1970 */
int64_t clock_mono_us(void); /* CLOCK_MONOTONIC in microseconds */
ms clock_boot_ms(void);      /* CLOCK_BOOTTIME: counts suspend, for leases */

/* For tests: the clocks stand at these values (boot at mono); clock_unset()
 * lets go. */
void clock_set(ms mono, ms wall);
void clock_unset(void);

/*
 * The time of the database's server, as well as this process knows it: wall
 * clock less the offset last noted (0 at first). For times of events and for
 * candidates of a query; who may do what when is judged by $$NOW alone.
 */
ms clock_server_ms(void);
void clock_note_offset(ms wall_minus_server);

enum {
    CLOCK_ISO_MAX = 32
};

/*
 * "2025-09-01T08:00:00.000Z"; years outside 0-9999 as +YYYYYY or -YYYYYY
 * (ECMA-262 date time string format). Gives the length without NUL, or 0
 * when |wall| > 8.64e15, which no such text can express.
 */
size_t clock_iso(ms wall, char out[CLOCK_ISO_MAX]);

/*
 * A real calendar date YYYY-MM-DD, alone or followed by T or a space and
 * HH:MM[:SS[.fraction]] with Z, +HH:MM, -HH:MM or no zone (UTC).
 */
bool clock_parse_iso(str s, ms *out_wall);
