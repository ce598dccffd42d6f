/* url - see url.h */
#include "lib/base/url.h"

#include "lib/base/utf8.h"

#define BAD(c, ...) ctx_fail((c), ERR_BAD_QUERY, __VA_ARGS__)

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The byte of the escape at s[i], or -1 when there is no whole escape. */
static int escape_at(str s, size_t i)
{
    int high, low;

    if (s.n - i < 3 || s.p[i] != '%')
        return -1;
    high = hex_digit(s.p[i + 1]);
    low = hex_digit(s.p[i + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool is_clean_text(str s)
{
    return str_find(s, '\0', 0) == SIZE_MAX && utf8_is_valid(s);
}

enum decode_mode {
    DECODE_PATH, /* `+` stands for itself, a broken escape is a fault */
    DECODE_PAIR
};

/* ERR_BAD_PATH stands for any fault: the caller knows what it reads. */
static enum err decode(struct arena *a, str raw, enum decode_mode mode,
                       str *out)
{
    char *p = arena_alloc(a, raw.n + 1);
    size_t n = 0;

    if (!p)
        return ERR_OVERLOADED;
    for (size_t i = 0; i < raw.n; i++) {
        int byte = escape_at(raw, i);

        if (byte >= 0) {
            p[n++] = (char)byte;
            i += 2;
        } else if (raw.p[i] == '%' && mode == DECODE_PATH) {
            return ERR_BAD_PATH;
        } else {
            p[n++] = raw.p[i] == '+' && mode == DECODE_PAIR ? ' ' : raw.p[i];
        }
    }
    *out = (str){p, n};
    return is_clean_text(*out) ? OK : ERR_BAD_PATH;
}

static str cut_host(str path)
{
    size_t slash;

    if (!str_starts_nocase(path, STR("http://")) &&
        !str_starts_nocase(path, STR("https://")))
        return path;
    slash = str_find(path, '/', STR("https://").n);
    return slash == SIZE_MAX ? STR("/") : str_from(path, slash);
}

enum err url_split_path(struct arena *a, str path, struct url_path *out)
{
    str piece;

    out->n = 0;
    path = cut_host(path);
    if (!str_starts(path, STR("/")))
        return ERR_ROUTE_NOT_FOUND;
    if (path.n > 1 && path.p[path.n - 1] == '/')
        path.n--;
    path = path.n == 1 ? STR_NONE : str_from(path, 1);
    while (str_cut(&path, '/', &piece)) {
        enum err err;

        if (piece.n == 0 || out->n == URL_SEGMENTS_MAX)
            return ERR_ROUTE_NOT_FOUND;
        err = decode(a, piece, DECODE_PATH, &piece);
        if (err)
            return err;
        if (str_eq(piece, STR(".")) || str_eq(piece, STR("..")))
            return ERR_BAD_PATH;
        out->segment[out->n++] = piece;
    }
    return OK;
}

/* Index of the `=` that ends the key, or SIZE_MAX. */
static size_t find_equals(str pair)
{
    bool inside = false;

    for (size_t i = 0; i < pair.n; i++) {
        int byte = escape_at(pair, i);

        if (pair.p[i] == '=' && !inside)
            return i;
        if (pair.p[i] == '[' || byte == '[')
            inside = true;
        if (pair.p[i] == ']' || byte == ']')
            inside = false;
    }
    return SIZE_MAX;
}

/* Fills name and level[] from the decoded key. */
static enum err split_levels(struct ctx *c, struct url_param *p)
{
    size_t open = str_find(p->key, '[', 0);
    str rest;

    p->name = p->key;
    if (!p->has_value) {
        str head = str_head(p->key, open);

        if (str_find(head, '<', 0) != SIZE_MAX ||
            str_find(head, '>', 0) != SIZE_MAX)
            return OK;
    }
    if (open == SIZE_MAX && str_find(p->key, ']', 0) == SIZE_MAX)
        return OK;
    p->name = str_head(p->key, open);
    rest = str_from(p->key, p->name.n);
    if (p->name.n == 0 || str_find(p->name, ']', 0) != SIZE_MAX)
        return BAD(c, "Misplaced bracket in '%.100s'", p->key.p);
    while (rest.n > 0) {
        size_t close = str_find(rest, ']', 0);

        if (rest.p[0] != '[' || close == SIZE_MAX)
            return BAD(c, "Misplaced bracket in '%.100s'", p->key.p);
        if (p->levels == URL_LEVELS_MAX)
            return BAD(c, "More than %d bracket levels in '%.100s'",
                       URL_LEVELS_MAX, p->key.p);
        p->level[p->levels++] = str_head(str_from(rest, 1), close - 1);
        rest = str_from(rest, close + 1);
    }
    for (size_t i = 0; i < p->levels; i++)
        if (str_find(p->level[i], '[', 0) != SIZE_MAX)
            return BAD(c, "Misplaced bracket in '%.100s'", p->key.p);
    return OK;
}

static enum err decode_pair(struct ctx *c, str raw, str *out)
{
    enum err err = decode(&c->arena, raw, DECODE_PAIR, out);

    if (err == ERR_OVERLOADED)
        return ctx_fail(c, err, "The request needs too much memory");
    return err ? BAD(c, "The query is not UTF-8 text without NUL") : OK;
}

static enum err split_pair(struct ctx *c, str pair, struct url_param *p)
{
    size_t equals = find_equals(pair);
    enum err err;

    p->has_value = equals != SIZE_MAX;
    err = decode_pair(c, str_head(pair, equals), &p->key);
    if (err)
        return err;
    err = decode_pair(c, p->has_value ? str_from(pair, equals + 1) : STR(""),
                      &p->value);
    if (err)
        return err;
    return split_levels(c, p);
}

enum err url_split_query(struct ctx *c, str query, struct url_param **out,
                         size_t *out_n)
{
    struct url_param *params;
    str rest = query, pair;
    size_t n = 0;

    while (str_cut(&rest, '&', &pair))
        n += pair.n > 0;
    if (n > URL_PAIRS_MAX)
        return BAD(c, "More than %d pairs", URL_PAIRS_MAX);
    params = ctx_alloc(c, (n + 1) * sizeof *params);
    if (!params)
        return ERR_OVERLOADED;
    n = 0;
    rest = query;
    while (str_cut(&rest, '&', &pair)) {
        enum err err;

        if (pair.n == 0)
            continue;
        params[n].pos = n;
        err = split_pair(c, pair, &params[n]);
        if (err)
            return err;
        n++;
    }
    *out = params;
    *out_n = n;
    return OK;
}

/* Finds a named child in constant time: (object, key) -> child. */
struct names {
    struct url_node **slot;
    size_t mask;
};

struct nest {
    struct ctx *c;
    struct names names;
};

static size_t hash(const struct url_node *up, str key)
{
    uint64_t h = 14695981039346656037u ^ (uintptr_t)up;

    for (size_t i = 0; i < key.n; i++)
        h = (h ^ (unsigned char)key.p[i]) * 1099511628211u;
    return (size_t)(h ^ (h >> 29));
}

/* The slot of that child, or the free one where it belongs. */
static struct url_node **find_named(const struct names *names,
                                    const struct url_node *up, str key)
{
    size_t i = hash(up, key) & names->mask;

    while (names->slot[i] &&
           !(names->slot[i]->up == up && str_eq(names->slot[i]->key, key)))
        i = (i + 1) & names->mask;
    return &names->slot[i];
}

static struct url_node *node_new(struct nest *b, str key, size_t pos)
{
    struct url_node *node = ctx_alloc(b->c, sizeof *node);

    if (node)
        *node = (struct url_node){.key = key, .pos = pos, .index = -1};
    return node;
}

static void append(struct url_node *up, struct url_node *node)
{
    node->up = up;
    if (up->last)
        up->last->next = node;
    else
        up->child = node;
    up->last = node;
}

/* Those with an index stand first, sorted: at most URL_INDEX_MAX + 1. */
static void insert_at_index(struct url_node *list, struct url_node *node)
{
    struct url_node **at = &list->child;

    while (*at && (*at)->index >= 0 && (*at)->index < node->index)
        at = &(*at)->next;
    node->up = list;
    node->next = *at;
    *at = node;
    if (!node->next)
        list->last = node;
}

static struct url_node *find_index(const struct url_node *list, int index)
{
    struct url_node *node = list->child;

    while (node && node->index >= 0 && node->index < index)
        node = node->next;
    return node && node->index == index ? node : NULL;
}

enum {
    LEVEL_NAME = -2,
    LEVEL_NEXT = -1 /* [] */
};

/* LEVEL_NAME, LEVEL_NEXT or an index as it is usually written. */
static int index_of(str level)
{
    int64_t v;

    if (level.n == 0)
        return LEVEL_NEXT;
    if (level.n > 2 || !str_is_digits(level) ||
        (level.n == 2 && level.p[0] == '0') || !str_to_i64(level, &v) ||
        v > URL_INDEX_MAX)
        return LEVEL_NAME;
    return (int)v;
}

/* The child of `up` that this level means, made when it is not there. */
static struct url_node *step(struct nest *b, struct url_node *up, str level,
                             size_t pos)
{
    int index = up->kind == URL_OBJECT ? LEVEL_NAME : index_of(level);
    struct url_node **slot = NULL, *node = NULL;

    if (index == LEVEL_NAME) {
        slot = find_named(&b->names, up, level);
        node = *slot;
    } else if (index >= 0) {
        node = find_index(up, index);
    }
    if (node)
        return node;
    node = node_new(b, level, pos);
    if (!node)
        return NULL;
    node->index = index >= 0 ? index : -1;
    if (index >= 0)
        insert_at_index(up, node);
    else
        append(up, node);
    if (slot)
        *slot = node;
    return node;
}

static bool is_fresh(const struct url_node *node)
{
    return node->kind == URL_TEXT && !node->text.p;
}

static enum err mixed(struct nest *b, const struct url_param *p)
{
    return BAD(b->c, "'%.100s' is given in two ways that clash", p->key.p);
}

/* Puts the value at the node: a text, or one more of a list of texts. */
static enum err put_text(struct nest *b, struct url_node *node,
                         const struct url_param *p)
{
    struct url_node *first, *more;

    if (is_fresh(node)) {
        node->text = p->value;
        return OK;
    }
    if (node->kind == URL_OBJECT || node->bracket)
        return mixed(b, p);
    if (node->kind == URL_TEXT) {
        first = node_new(b, STR(""), node->pos);
        if (!first)
            return ERR_OVERLOADED;
        first->text = node->text;
        node->kind = URL_LIST;
        append(node, first);
    }
    more = node_new(b, STR(""), p->pos);
    if (!more)
        return ERR_OVERLOADED;
    more->text = p->value;
    append(node, more);
    return OK;
}

/* Makes the node hold what this level asks for. */
static enum err open_node(struct nest *b, struct url_node *node, str level,
                          const struct url_param *p)
{
    enum url_kind want = index_of(level) == LEVEL_NAME ? URL_OBJECT : URL_LIST;

    if (is_fresh(node)) {
        node->kind = want;
        node->bracket = true;
        return OK;
    }
    return node->kind == want && node->bracket ? OK : mixed(b, p);
}

static enum err add_param(struct nest *b, struct url_node *root,
                          const struct url_param *p)
{
    struct url_node *node = step(b, root, p->name, p->pos);

    for (size_t i = 0; node && i < p->levels; i++) {
        enum err err = open_node(b, node, p->level[i], p);

        if (err)
            return err;
        node = step(b, node, p->level[i], p->pos);
    }
    return node ? put_text(b, node, p) : ERR_OVERLOADED;
}

enum err url_nest(struct ctx *c, const struct url_param *params, size_t n,
                  struct url_node **out_root)
{
    struct nest b = {.c = c};
    struct url_node *root = node_new(&b, STR(""), 0);
    size_t nodes = n, size = 16;

    for (size_t i = 0; i < n; i++)
        nodes += params[i].levels;
    while (size < 2 * nodes)
        size *= 2;
    b.names.slot = ctx_alloc(c, size * sizeof *b.names.slot);
    if (!root || !b.names.slot)
        return ERR_OVERLOADED;
    b.names.mask = size - 1;
    root->kind = URL_OBJECT;
    for (size_t i = 0; i < n; i++) {
        enum err err = add_param(&b, root, &params[i]);

        if (err)
            return err;
    }
    *out_root = root;
    return OK;
}
