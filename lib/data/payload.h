#pragma once
/*
 * payload - the body of a delivery, made once: every try sends these bytes
 *
 * {event, webhook:{id,name}, collection, timestamp, data:{document,
 * oldDocument?, previousDocument?, changes?}, metadata:{deliveryId, messageId,
 * maxRetries, rateLimit, truncated}}. excludeFields are taken out of documents
 * and changes. A body over max_bytes drops changes and old documents, then
 * keeps only _id in the document, and says truncated; an _id of more than some
 * MiB is left out, too.
 */
#include "lib/base/buf.h"
#include "lib/data/webhook.h"

struct payload {
    const struct event *event;
    const struct webhook *webhook;
    str delivery_id, message_id;
    int64_t max_bytes;
};

/* *out is owned by the ctx until ctx_reset. */
MUST_CHECK enum err payload_make(struct ctx *c, const struct payload *p,
                                 str *out);

/* {event:"test",webhook:{id,name},collection,timestamp,data:{message,testId}}
 */
MUST_CHECK enum err payload_make_test(struct ctx *c, const struct webhook *w,
                                      str test_id, ms ts, str *out);
