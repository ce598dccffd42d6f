/* support - see support.h */
#include "tests/unit/support.h"

#include "lib/base/clock.h"

static struct ctx ctx;

int support_setup(void **state)
{
    ctx_init(&ctx, NULL, 64 << 20);
    ctx.deadline = clock_mono_ms() + 10000;
    *state = &ctx;
    return 0;
}

int support_teardown(void **state)
{
    ctx_done(*state);
    return 0;
}

void support_assert_str(str got, const char *want, const char *file, int line)
{
    if (!str_eq(got, str_of(want))) {
        print_error("got  \"" STR_FMT "\"\nwant \"%s\"\n", STR_ARG(got), want);
        _fail(file, line);
    }
}
