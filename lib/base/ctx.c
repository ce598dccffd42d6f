/* ctx - see ctx.h */
#include "lib/base/ctx.h"

#include <stdarg.h>
#include <stdio.h>

#include "lib/base/clock.h"

void ctx_init(struct ctx *c, const struct conf *conf, size_t arena_max)
{
    *c = (struct ctx){.conf = conf, .index = ""};
    arena_init(&c->arena, arena_max);
}

void ctx_done(struct ctx *c)
{
    arena_done(&c->arena);
}

void ctx_reset(struct ctx *c)
{
    arena_reset(&c->arena);
    ctx_forgive(c);
    c->request_id = c->committed = STR_NONE;
    c->deadline = 0;
    c->op_ms = 0;
}

enum err ctx_fail(struct ctx *c, enum err err, const char *fmt, ...)
{
    va_list list;

    if (c->err == OK) {
        c->err = err;
        va_start(list, fmt);
        vsnprintf(c->reason, sizeof c->reason, fmt, list);
        va_end(list);
    }
    return err;
}

enum err ctx_no_memory(struct ctx *c)
{
    return ctx_fail(c, ERR_OVERLOADED, "The request needs too much memory");
}

void ctx_forgive(struct ctx *c)
{
    c->err = OK;
    c->reason[0] = '\0';
}

void *ctx_alloc(struct ctx *c, size_t bytes)
{
    void *p = arena_alloc(&c->arena, bytes);

    if (!p)
        (void)ctx_no_memory(c);
    return p;
}

ms ctx_left_ms(const struct ctx *c)
{
    ms left = c->deadline - clock_mono_ms();

    return left > 0 ? left : 0;
}
