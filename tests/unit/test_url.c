/* test_url - paths and pairs */
#include "lib/base/url.h"
#include "tests/unit/support.h"

static enum err split(void **state, const char *path, struct url_path *out)
{
    struct ctx *c = *state;

    ctx_reset(c);
    return url_split_path(&c->arena, str_of(path), out);
}

static void path_is_decoded_once(void **state)
{
    struct url_path p;

    assert_int_equal(split(state, "/api/db/a%20b%2Fc+d%2525/", &p), OK);
    assert_int_equal(p.n, 3);
    assert_str(p.segment[0], "api");
    assert_str(p.segment[1], "db");
    assert_str(p.segment[2], "a b/c+d%25");
    assert_int_equal(split(state, "/", &p), OK);
    assert_int_equal(p.n, 0);
    assert_int_equal(split(state, "/1/2/3/4/5/6/7/8", &p), OK);
    assert_int_equal(p.n, 8);
}

static void absolute_form_is_cut(void **state)
{
    struct url_path p;

    assert_int_equal(split(state, "http://host:80/health", &p), OK);
    assert_int_equal(p.n, 1);
    assert_str(p.segment[0], "health");
    assert_int_equal(split(state, "http://host", &p), OK);
    assert_int_equal(p.n, 0);
}

static void bad_path_is_refused(void **state)
{
    static const struct {
        const char *path;
        enum err err;
    } rows[] = {
        {"/a%", ERR_BAD_PATH},
        {"/a%2", ERR_BAD_PATH},
        {"/a%zz", ERR_BAD_PATH},
        {"/a%00", ERR_BAD_PATH},
        {"/%ff", ERR_BAD_PATH},
        {"/%c0%af", ERR_BAD_PATH},
        {"/%ed%a0%80", ERR_BAD_PATH},
        {"/%f4%90%80%80", ERR_BAD_PATH},
        {"/a/./b", ERR_BAD_PATH},
        {"/a/..", ERR_BAD_PATH},
        {"/a/%2e%2E/b", ERR_BAD_PATH},
        {"/a/%2e", ERR_BAD_PATH},
        {"/a//b", ERR_ROUTE_NOT_FOUND},
        {"//a", ERR_ROUTE_NOT_FOUND},
        {"/a//", ERR_ROUTE_NOT_FOUND},
        {"/1/2/3/4/5/6/7/8/9", ERR_ROUTE_NOT_FOUND},
        {"*", ERR_ROUTE_NOT_FOUND},
        {"", ERR_ROUTE_NOT_FOUND},
    };
    struct url_path p;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(split(state, rows[i].path, &p), rows[i].err);
}

static void valid_utf8_passes(void **state)
{
    struct url_path p;

    assert_int_equal(
        split(state, "/%c3%a9%e2%82%ac%f0%9f%98%80%f4%8f%bf%bf", &p), OK);
    assert_int_equal(p.segment[0].n, 13);
}

static void pairs_keep_key_value_and_levels(void **state)
{
    struct ctx *c = *state;
    struct url_param *p;
    size_t n;

    ctx_reset(c);
    assert_int_equal(
        url_split_query(c, STR("a=b=c&&x[y=z]%5B%5D=1&flag&n>[1"), &p, &n), OK);
    assert_int_equal(n, 4);
    assert_str(p[0].key, "a");
    assert_str(p[0].value, "b=c");
    assert_str(p[1].name, "x");
    assert_int_equal(p[1].levels, 2);
    assert_str(p[1].level[0], "y=z");
    assert_str(p[1].level[1], "");
    assert_true(p[1].has_value);
    assert_str(p[2].key, "flag");
    assert_false(p[2].has_value);
    assert_str(p[3].name, "n>[1");
    assert_int_equal(p[3].levels, 0);
}

static void nest_keeps_order_and_closes_gaps(void **state)
{
    struct ctx *c = *state;
    struct url_param *p;
    struct url_node *root, *list;
    size_t n;

    ctx_reset(c);
    assert_int_equal(
        url_split_query(c, STR("b[20]=z&b[2]=y&a=1&b[]=last&b[0]=x"), &p, &n),
        OK);
    assert_int_equal(url_nest(c, p, n, &root), OK);
    list = root->child;
    assert_str(list->key, "b");
    assert_str(list->next->key, "a");
    assert_int_equal(list->next->pos, 2);
    assert_int_equal(list->kind, URL_LIST);
    assert_str(list->child->text, "x");
    assert_str(list->child->next->text, "y");
    assert_str(list->child->next->next->text, "z");
    assert_str(list->child->next->next->next->text, "last");
    assert_null(list->child->next->next->next->next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(path_is_decoded_once),
        cmocka_unit_test(absolute_form_is_cut),
        cmocka_unit_test(bad_path_is_refused),
        cmocka_unit_test(valid_utf8_passes),
        cmocka_unit_test(pairs_keep_key_value_and_levels),
        cmocka_unit_test(nest_keeps_order_and_closes_gaps),
    };

    return cmocka_run_group_tests(tests, support_setup, support_teardown);
}
