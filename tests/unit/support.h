#pragma once
/* support - what unit tests share: a ctx with a deadline, cmocka's headers */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/base/ctx.h"

/* group setup and teardown: *state is a struct ctx with a 10 s deadline */
int support_setup(void **state);
int support_teardown(void **state);

#define assert_str(s, z) support_assert_str((s), (z), __FILE__, __LINE__)
void support_assert_str(str got, const char *want, const char *file, int line);
