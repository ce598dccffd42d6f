/* csv - see csv.h */
#include "lib/data/csv.h"

#include <math.h>

#include "lib/base/id.h"
#include "lib/base/jwrite.h"
#include "lib/data/json_out.h"

enum {
    PIECE_BYTES = 4096, /* of a cell's text that is held at a time */
    NEAR_COLUMNS = 8    /* looked at before an index of all is made */
};

/* A quoted cell that is being written. */
struct cell {
    struct buf *out;
    const struct csv_style *style;
    bool begun;
};

static void write_escaped(struct cell *cell, str s)
{
    char quote = cell->style->quote;

    if (!cell->begun && s.n > 0) {
        cell->begun = true;
        if (cell->style->formulas && memchr("=+-@", s.p[0], 4))
            buf_add_char(cell->out, '\'');
    }
    while (s.n > 0) {
        size_t at = str_find(s, quote, 0);

        buf_add(cell->out, str_head(s, at));
        if (at == SIZE_MAX)
            return;
        buf_add_char(cell->out, cell->style->escape);
        buf_add_char(cell->out, quote);
        s = str_from(s, at + 1);
    }
}

/* Of the cell's text: it may be of any length, few bytes wait here. */
static enum err drain_cell(void *arg, struct buf *b)
{
    struct cell *cell = arg;

    write_escaped(cell, buf_str(b));
    b->n = 0;
    return cell->out->err;
}

void csv_out_header(struct buf *b, const struct csv_style *s,
                    const str *columns, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct cell cell = {b, s, false};

        if (i > 0)
            buf_add_char(b, s->delimiter);
        buf_add_char(b, s->quote);
        write_escaped(&cell, columns[i]);
        buf_add_char(b, s->quote);
    }
}

struct row {
    struct buf *out;
    const struct csv_style *style;
    const bson_t *doc;
    const str *columns;
    size_t n;
    uint32_t seed;     /* names come from stored data: no made collisions */
    size_t slots_n;    /* power of two; 0 until the index is made */
    struct buf memory; /* two tables: .. */
    uint32_t *found;   /* by column: offset of its element, 0 is none */
    uint32_t *slots;   /* index of columns by name, number + 1 */
    struct buf piece;  /* text of one cell; made at first need */
};

static void write_items(struct buf *b, const bson_iter_t *array)
{
    bson_iter_t it;
    bool first = true;

    if (!bson_iter_recurse(array, &it))
        return;
    while (!b->err && bson_iter_next(&it)) {
        if (!first)
            buf_add(b, STR("; "));
        first = false;
        if (!json_out_text(b, &it))
            json_out_value(b, &it);
    }
}

static void write_text(struct row *row, const bson_iter_t *it)
{
    struct cell cell = {row->out, row->style, false};
    struct buf *piece = &row->piece;

    buf_add_char(row->out, row->style->quote);
    if (BSON_ITER_HOLDS_UTF8(it)) {
        uint32_t n = 0;
        const char *p = bson_iter_utf8(it, &n);

        write_escaped(&cell, (str){p, n});
    } else {
        piece->drain = drain_cell;
        piece->drain_arg = &cell;
        if (BSON_ITER_HOLDS_ARRAY(it))
            write_items(piece, it);
        else if (!json_out_text(piece, it))
            json_out_value(piece, it);
        buf_set_err(row->out, piece->err);
        (void)drain_cell(&cell, piece);
        piece->drain = NULL;
    }
    buf_add_char(row->out, row->style->quote);
}

static void write_decimal(struct buf *b, const bson_iter_t *it)
{
    char text[BSON_DECIMAL128_STRING];
    bson_decimal128_t v;

    if (!bson_iter_decimal128(it, &v))
        return;
    bson_decimal128_to_string(&v, text);
    if (!strpbrk(text, "Ny")) /* neither NaN nor Infinity */
        buf_add(b, str_of(text));
}

static void write_cell(struct row *row, const bson_iter_t *it)
{
    switch ((int)bson_iter_type(it)) {
    case BSON_TYPE_NULL:
    case BSON_TYPE_UNDEFINED:
        return;
    case BSON_TYPE_DOUBLE:
        if (isfinite(bson_iter_double(it)))
            jwrite_double(row->out, bson_iter_double(it));
        return;
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_BOOL:
        json_out_value(row->out, it);
        return;
    case BSON_TYPE_DECIMAL128:
        write_decimal(row->out, it);
        return;
    case BSON_TYPE_DATE_TIME:
        if (json_out_text(&row->piece, it)) {
            row->piece.n = 0;
            write_text(row, it);
        }
        return;
    }
    write_text(row, it);
}

static bool find_key(bson_iter_t *it, str key)
{
    while (bson_iter_next(it))
        if (str_eq((str){bson_iter_key(it), bson_iter_key_len(it)}, key))
            return true;
    return false;
}

/* Through nested documents, one part of the name each. */
static bool find_inside(const struct row *row, str name, bson_iter_t *out)
{
    bson_iter_t at;
    str part;

    if (!bson_iter_init(&at, row->doc))
        return false;
    while (str_cut(&name, '.', &part)) {
        if (!find_key(&at, part))
            return false;
        *out = at;
        if (name.p &&
            (!BSON_ITER_HOLDS_DOCUMENT(out) || !bson_iter_recurse(out, &at)))
            return false;
    }
    return true;
}

static uint32_t hash_of(uint32_t seed, str s)
{
    uint32_t h = 2166136261u ^ seed;

    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h ^ h >> 15;
}

/* The slot of that column, or the free one where it belongs. */
static uint32_t *find_slot(const struct row *row, str name)
{
    size_t mask = row->slots_n - 1, at = hash_of(row->seed, name) & mask;

    while (row->slots[at] && !str_eq(row->columns[row->slots[at] - 1], name))
        at = (at + 1) & mask;
    return &row->slots[at];
}

static void make_index(struct row *row)
{
    static _Thread_local uint32_t seed; /* asked of the kernel once */

    if (seed == 0)
        seed = id_chance() | 1;
    row->seed = seed;
    row->slots_n = 4;
    while (row->slots_n < 2 * row->n)
        row->slots_n *= 2;
    for (size_t i = 0; i < row->n; i++) {
        uint32_t *slot = find_slot(row, row->columns[i]);

        if (*slot == 0)
            *slot = (uint32_t)i + 1;
    }
}

/* Members mostly come in the order of the columns, some left out. */
static size_t find_column(struct row *row, size_t guess, str name)
{
    uint32_t number;

    for (size_t i = guess; i < row->n && i < guess + NEAR_COLUMNS; i++)
        if (str_eq(row->columns[i], name))
            return i;
    if (row->slots_n == 0)
        make_index(row);
    number = *find_slot(row, name);
    return number ? number - 1 : row->n;
}

static bool make_tables(struct row *row)
{
    size_t bytes = 5 * (row->n + 1) * sizeof(uint32_t);
    char *p;

    buf_init(&row->memory, bytes + 1, ERR_OVERLOADED);
    p = buf_room(&row->memory, bytes);
    if (!p) {
        buf_set_err(row->out, row->memory.err);
        return false;
    }
    memset(p, 0, bytes);
    row->found = (void *)p;
    row->slots = row->found + row->n;
    return true;
}

static void find_all(struct row *row)
{
    bson_iter_t it;
    size_t guess = 0;

    if (!bson_iter_init(&it, row->doc))
        return;
    while (bson_iter_next(&it)) {
        str name = {bson_iter_key(&it), bson_iter_key_len(&it)};
        size_t i = find_column(row, guess, name);

        if (i == row->n)
            continue;
        guess = i + 1;
        row->found[i] = bson_iter_offset(&it);
    }
}

static bool find_value(const struct row *row, size_t i, bson_iter_t *out)
{
    if (row->found[i] == 0)
        return str_find(row->columns[i], '.', 0) != SIZE_MAX &&
               find_inside(row, row->columns[i], out);
    return bson_iter_init_from_data_at_offset(out, bson_get_data(row->doc),
                                              row->doc->len, row->found[i],
                                              (uint32_t)row->columns[i].n);
}

void csv_out_row(struct buf *b, const struct csv_style *s, const bson_t *doc,
                 const str *columns, size_t n)
{
    struct row row = {
        .out = b, .style = s, .doc = doc, .columns = columns, .n = n};
    bson_iter_t it;

    buf_add_char(b, '\n');
    if (!make_tables(&row))
        return;
    buf_init(&row.piece, PIECE_BYTES, ERR_INTERNAL);
    find_all(&row);
    for (size_t i = 0; i < n && !b->err; i++) {
        if (i > 0)
            buf_add_char(b, s->delimiter);
        if (find_value(&row, i, &it))
            write_cell(&row, &it);
    }
    buf_done(&row.piece);
    buf_done(&row.memory);
}
