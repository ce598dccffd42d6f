/*
 * test_match_mongod - filters and documents drawn from a seed: match_doc finds
 * what a mongod finds, match_check refuses what it refuses
 */
#include <stdio.h>
#include <stdlib.h>

#include <mongoc/mongoc.h>

#include "lib/data/match.h"
#include "tests/unit/gen_bson.h"
#include "tests/unit/mongod.h"

enum {
    DOCS = 400,
    FILTERS = 4000,
    COMPLAINTS = 12
};

struct world {
    mongoc_client_t *client;
    mongoc_collection_t *rows;
    const bson_t *docs[DOCS]; /* of the world's arena */
    int complaints, refused, hits;
    struct ctx c; /* documents */
};

static void world_open(struct world *w, struct gen *g)
{
    bson_t *plain = BCON_NEW("validate", BCON_BOOL(false)); /* empty keys */
    bson_error_t e;

    *w = (struct world){
        .client = mongoc_client_new(mongod.conf->mongodb_connection_string)};
    assert_non_null(w->client);
    ctx_init(&w->c, NULL, 16 << 20);
    mongoc_client_set_error_api(w->client, MONGOC_ERROR_API_VERSION_2);
    w->rows = mongoc_client_get_collection(
        w->client, mongod.conf->mongodb_database_name, "rows");
    for (int i = 0; i < DOCS; i++) {
        bson_t *body = gen_document(g), *doc = mongo_bson(&w->c);

        assert_non_null(doc);
        bson_append_int32(doc, "_id", -1, i);
        bson_concat(doc, body);
        bson_destroy(body);
        w->docs[i] = doc;
    }
    if (!mongoc_collection_insert_many(w->rows, w->docs, DOCS, plain, NULL, &e))
        fail_msg("%s", e.message);
    bson_destroy(plain);
}

static void world_close(struct world *w)
{
    ctx_done(&w->c);
    mongoc_collection_destroy(w->rows);
    mongoc_client_destroy(w->client);
}

/* False: mongod refuses the filter. By a command: the driver has rules of its
 * own for filters. */
static bool find(struct world *w, const bson_t *filter, bool found[DOCS],
                 bson_error_t *e)
{
    bson_t *cmd = BCON_NEW("find", "rows", "filter", BCON_DOCUMENT(filter),
                           "projection", "{", "_id", BCON_INT32(1), "}",
                           "batchSize", BCON_INT32(DOCS + 1));
    bson_t reply;
    bson_iter_t it, row, id;
    bool good = mongoc_client_command_simple(
        w->client, mongod.conf->mongodb_database_name, cmd, NULL, &reply, e);

    memset(found, 0, DOCS * sizeof *found);
    if (good) {
        assert_true(bson_iter_init(&it, &reply) &&
                    bson_iter_find_descendant(&it, "cursor.firstBatch", &row) &&
                    bson_iter_recurse(&row, &it));
        while (bson_iter_next(&it)) {
            assert_true(bson_iter_recurse(&it, &id) &&
                        bson_iter_find(&id, "_id"));
            found[bson_iter_int32(&id)] = true;
        }
    }
    bson_destroy(&reply);
    bson_destroy(cmd);
    return good;
}

static void complain(struct world *w, const bson_t *filter, const bson_t *doc,
                     const char *what)
{
    char *f = bson_as_canonical_extended_json(filter, NULL);
    char *d = doc ? bson_as_canonical_extended_json(doc, NULL) : NULL;

    if (w->complaints++ < COMPLAINTS)
        print_message("%s\n  filter %s\n  document %s\n", what, f, d ? d : "");
    bson_free(f);
    bson_free(d);
}

static void judge(struct world *w, struct ctx *c, const bson_t *filter)
{
    enum err err = match_check(c, filter);
    const struct match *m = match_new(&c->arena, filter);
    bson_error_t e = {0};
    bool found[DOCS];

    assert_non_null(m);
    if (err == ERR_FILTER_TOO_COMPLEX)
        return;
    if (!find(w, filter, found, &e)) {
        w->refused++;
        if (!err)
            complain(w, filter, NULL, e.message);
    } else if (err) {
        complain(w, filter, NULL, c->reason);
        memset(found, 0, sizeof found);
    }
    for (int i = 0; i < DOCS; i++) {
        w->hits += found[i];
        if (match_doc(m, w->docs[i], &(struct match_budget){0}) != found[i])
            complain(w, filter, w->docs[i],
                     found[i] ? "mongod finds it" : "mongod does not find it");
    }
}

static void compare(struct ctx *c, struct gen g, int rounds)
{
    struct world w;

    world_open(&w, &g);
    for (int i = 0; i < rounds; i++) {
        bson_t *filter = gen_filter(&g);

        ctx_reset(c);
        judge(&w, c, filter);
        bson_destroy(filter);
    }
    print_message("%d filters, %d refused, %d hits, %d differ\n", rounds,
                  w.refused, w.hits, w.complaints);
    assert_int_equal(w.complaints, 0);
    assert_true(w.hits > rounds); /* it is not empty talk */
    world_close(&w);
}

/* MATCH_SEED: another one, for a look around. */
static uint64_t seed(void)
{
    const char *text = getenv("MATCH_SEED");

    return text ? strtoull(text, NULL, 10) + 1 : 20250903;
}

static void finds_what_mongod_finds(void **state)
{
    compare(*state, (struct gen){.state = seed() * 0x9e3779b97f4a7c15},
            FILTERS);
}

static void refuses_what_mongod_refuses(void **state)
{
    compare(*state,
            (struct gen){.state = seed() * 0xbf58476d1ce4e5b9, .wrong = true},
            FILTERS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_MONGOD(finds_what_mongod_finds),
        WITH_MONGOD(refuses_what_mongod_refuses),
    };

    return cmocka_run_group_tests(tests, mongod_setup, mongod_teardown);
}
