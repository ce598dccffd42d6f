/* metrics_write - the sums as Prometheus text; see metrics.h */
#include "lib/base/jwrite.h"
#include "lib/base/metrics_inside.h"

/* `{a,b,c}` of those that are not empty; nothing without any. */
static void write_labels(struct buf *b, const struct metrics_row *r,
                         size_t series, const char *le)
{
    const struct metric_labels *second = metrics_labels(r->dim[1]);
    const char *part[] = {metrics_labels(r->dim[0])->text[series / second->n],
                          second->text[series % second->n], le};
    char sep = '{';

    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        if (!*part[i])
            continue;
        buf_add_char(b, sep);
        buf_add(b, str_of(part[i]));
        sep = ',';
    }
    if (sep == ',')
        buf_add_char(b, '}');
}

static void write_line(struct buf *b, const struct metrics_row *r,
                       const char *suffix, size_t series, const char *le)
{
    buf_add(b, str_of(r->family));
    buf_add(b, str_of(suffix));
    write_labels(b, r, series, le);
    buf_add_char(b, ' ');
}

static void write_value(struct buf *b, double v)
{
    jwrite_double(b, v);
    buf_add_char(b, '\n');
}

static void write_histogram(struct buf *b, const struct metrics_row *r,
                            size_t first, size_t series)
{
    int64_t count = 0;
    char le[40];

    for (size_t i = 0; i <= r->bounds->n; i++) {
        struct buf text = buf_over(le, sizeof le);

        count += metrics_sum_cell(first + i);
        buf_add(&text, STR("le=\""));
        if (i < r->bounds->n)
            jwrite_double(&text, (double)r->bounds->us[i] / 1e6);
        else
            buf_add(&text, STR("+Inf"));
        buf_add(&text, (str){"\"", 2});
        write_line(b, r, "_bucket", series, le);
        write_value(b, (double)count);
    }
    write_line(b, r, "_sum", series, "");
    write_value(b, (double)metrics_sum_cell(first + r->bounds->n + 1) / 1e6);
    write_line(b, r, "_count", series, "");
    write_value(b, (double)count);
}

static bool was_counted(const struct metrics_row *r, size_t first)
{
    for (size_t i = 0; i < metrics_series_cells(r); i++)
        if (metrics_sum_cell(first + i) != 0)
            return true;
    return false;
}

static void write_row(struct buf *b, enum metric m, double now)
{
    static const char *const types[] = {"counter", "gauge", "histogram",
                                        "gauge", "counter"};
    const struct metrics_row *r = &metrics_rows[m];

    if (!metrics_is_shown(m))
        return;
    buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", r->family, r->help, r->family,
             types[r->kind]);
    for (size_t i = 0; i < metrics_series_n(r); i++) {
        size_t first = metrics_cell(m, i);

        if (metrics_is_of_program(r) && !was_counted(r, first))
            continue;
        if (r->kind == HISTOGRAM) {
            write_histogram(b, r, first, i);
            continue;
        }
        write_line(b, r, "", i, "");
        write_value(b, metrics_series_cells(r) ? (double)metrics_sum_cell(first)
                                               : metrics_now(m, now));
    }
}

void metrics_write(struct buf *b, const double now[METRIC_N])
{
    for (int i = 0; metrics_are_set_up() && i < METRIC_N; i++)
        write_row(b, (enum metric)i, now[i]);
}
