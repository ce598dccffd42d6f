/*
 * fuzz_webhook - any body and any stored row: what passes the judge is stored,
 * read and shown whole, and no row puts more than a header into a request
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/base/jread.h"
#include "lib/data/json_in.h"
#include "lib/data/webhook_inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
    if (!good)
        abort();
}

static const struct conf *settings(void)
{
    static struct conf *conf;
    char *none[] = {NULL};
    int problems;

    if (!conf)
        conf = conf_new(none, "", stderr, &problems);
    check(conf != NULL);
    return conf;
}

static void check_headers(const struct webhook *w)
{
    for (size_t i = 0; i < w->headers_n; i++) {
        const struct webhook_header *h = &w->headers[i];

        check(webhook_header_is_free(h->name));
        for (size_t n = 0; n < h->value.n; n++)
            check((unsigned char)h->value.p[n] >= ' ');
    }
}

static bool judge_row(struct ctx *c, const bson_t *row, struct webhook *w)
{
    bool usable = webhook_read(&c->arena, c->conf, row, w);
    struct jread_fault fault;
    struct buf b;

    if (usable)
        check_headers(w);
    buf_init(&b, 64 << 20, ERR_INTERNAL);
    webhook_write(&b, c->conf, row, true);
    check(b.err == OK && jread(buf_str(&b), &c->arena, NULL, &fault) == OK);
    buf_done(&b);
    return usable;
}

static void judge_body(struct ctx *c, str text, bool form)
{
    struct webhook_faults faults;
    bson_t *body, *set, row = BSON_INITIALIZER;
    const bson_oid_t id = {{0}};
    enum json_root root;
    struct webhook w;

    if (json_in(c, text, &root, &body) != OK || root != JSON_OBJECT)
        return;
    if (webhook_judge(c, body, form, true, &set, &faults) != OK) {
        check(c->err != OK && faults.n <= WEBHOOK_FAULTS_MAX);
        return;
    }
    BSON_APPEND_OID(&row, "_id", &id);
    bson_concat(&row, set);
    check(judge_row(c, &row, &w));
    check(w.events != 0 && w.name.n > 0 && w.name.n <= WEBHOOK_NAME_MAX);
    check(w.url.n > 0 && w.url.n <= WEBHOOK_URL_MAX);
    check(w.headers_n <= WEBHOOK_HEADERS_MAX && !w.gone && w.secret.n == 0);
    bson_destroy(&row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str text = {(const char *)data, size};
    struct webhook w;
    struct ctx c;
    bson_t row;

    ctx_init(&c, settings(), 64 << 20);
    if (bson_init_static(&row, data, size)) {
        (void)judge_row(&c, &row, &w);
    } else {
        judge_body(&c, text, false);
        ctx_reset(&c);
        judge_body(&c, text, true);
    }
    ctx_done(&c);
    return 0;
}
