#pragma once
/*
 * guard - what a route's row asks for, before its handler runs: role and rate
 * of the caller; the body's type, encoding and size; and the body as BSON for
 * the handler.
 */
#include "fcgi-app/router.h"

typedef struct _bson_t bson_t;

/* The route does I/O itself, or the look-up of its caller may. */
bool guard_needs_io(const struct ctx *c, const struct route *route);

/* Who calls, may they, and how often: before anything of the body is read. */
MUST_CHECK enum err guard_caller(struct ctx *c, struct request *q,
                                 const struct route *route, struct reply *out);

/* After the handler, before the reply: what depends on the outcome. */
void guard_outcome(struct ctx *c, const struct request *q,
                   const struct route *route, struct reply *out, enum err err);

/* Reads and checks the body of a ROUTE_BODY row; else does nothing. */
MUST_CHECK enum err guard_body(struct ctx *c, struct request *q,
                               const struct route *route);

/* The body is read as a form: its members are texts. */
bool guard_is_form(const struct request *q);

/*
 * The body as an object, by its content type; no body is {}. An array
 * is ERR_VALIDATION_ERROR, a single value ERR_BAD_JSON.
 */
MUST_CHECK enum err guard_object(struct ctx *c, const struct request *q,
                                 bson_t **out);
