#pragma once
/* form_in - an urlencoded body as a document of texts */
#include <bson/bson.h>

#include "lib/base/ctx.h"

/* Brackets nest; dots stay in the keys. Faults note ERR_BAD_QUERY. */
MUST_CHECK enum err form_to_bson(struct ctx *c, str body, bson_t **out_doc);
