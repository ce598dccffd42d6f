/* conf_vars - where settings come from: environment, env file, NAME_FILE */
#include <errno.h>
#include <stdio.h>

#include "lib/base/conf_row.h"

enum {
    ENV_FILE_MAX = 256 << 10, /* bytes */
    NEAR_MAX = CONF_NAME_MAX,
};

static const char *const prefixes[] = {
    "FCGI_",    "DB_",     "RATE_LIMIT_", "CSV_",     "BULK_", "REDIS_",
    "CLUSTER_", "WEBHOOK", "SCRIPT",      "OPENAPI_", "AUTH_", "JWT_"};

bool conf_file_read(struct conf *c, const char *path, size_t max, str *out)
{
    FILE *f = fopen(path, "re");
    char *p = f ? arena_alloc(&c->arena, max + 2) : NULL;
    size_t n = 0;
    bool is_ok = false;

    if (p != NULL) {
        n = fread(p, 1, max + 1, f);
        is_ok = !ferror(f) && n <= max;
    }
    if (f != NULL)
        fclose(f);
    if (is_ok) {
        p[n] = '\0';
        *out = (str){p, n};
    }
    return is_ok;
}

/* The first of a name stays for the environment, the last for the file. */
static void var_add(struct conf_judge *j, struct conf_vars *vars,
                    struct conf_var var)
{
    struct conf_var *grown;

    for (size_t i = 0; i < vars->n; i++)
        if (vars->v[i].source == var.source &&
            str_eq(vars->v[i].name, var.name)) {
            if (strcmp(var.source, "environment") != 0)
                vars->v[i].value = var.value;
            return;
        }
    if (vars->n == vars->cap) {
        vars->cap = vars->cap ? 2 * vars->cap : 256;
        grown = arena_alloc(&j->conf->arena, vars->cap * sizeof *grown);
        if (grown == NULL) {
            fprintf(j->out, "config: out of memory\n");
            j->problems++;
            vars->cap = vars->n;
            return;
        }
        if (vars->n > 0)
            memcpy(grown, vars->v, vars->n * sizeof *grown);
        vars->v = grown;
    }
    vars->v[vars->n++] = var;
}

static bool is_name(str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (c != '_' && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') &&
            (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return s.n > 0;
}

/* Quotes keep blanks and #; without them " #" starts a comment. */
static bool value_unquote(str v, str *out)
{
    size_t end;
    str rest;

    if (v.n > 0 && (v.p[0] == '"' || v.p[0] == '\'')) {
        end = str_find(v, v.p[0], 1);
        if (end == SIZE_MAX)
            return false;
        rest = str_trim(str_from(v, end + 1));
        *out = (str){v.p + 1, end - 1};
        return rest.n == 0 || rest.p[0] == '#';
    }
    for (size_t i = 0; i < v.n; i++)
        if (v.p[i] == '#' &&
            (i == 0 || v.p[i - 1] == ' ' || v.p[i - 1] == '\t')) {
            v = str_trim(str_head(v, i));
            break;
        }
    *out = v;
    return true;
}

static bool line_parse(str line, struct conf_var *out)
{
    size_t equals;

    if (str_starts(line, STR("export ")))
        line = str_trim(str_from(line, 7));
    equals = str_find(line, '=', 0);
    if (equals == SIZE_MAX)
        return false;
    out->name = str_trim(str_head(line, equals));
    return is_name(out->name) &&
           value_unquote(str_trim(str_from(line, equals + 1)), &out->value);
}

static void file_read(struct conf_judge *j, const char *path,
                      struct conf_vars *vars)
{
    bool is_named = path[0] != '\0';
    struct conf_var var = {.source = is_named ? path : ".env"};
    str rest, line;
    FILE *there = is_named ? NULL : fopen(var.source, "re");

    if (!is_named && there == NULL && errno == ENOENT)
        return;
    if (there != NULL)
        fclose(there);
    if (!conf_file_read(j->conf, var.source, ENV_FILE_MAX, &rest)) {
        fprintf(j->out,
                "config: --env-file: \"%s\": expected a readable file of at "
                "most 256kb\n",
                var.source);
        j->problems++;
        return;
    }
    if (str_starts(rest, STR("\xef\xbb\xbf")))
        rest = str_from(rest, 3);
    for (int number = 1; str_cut(&rest, '\n', &line); number++) {
        line = str_trim(line);
        if (line.n == 0 || line.p[0] == '#')
            continue;
        if (line_parse(line, &var)) {
            var_add(j, vars, var);
            continue;
        }
        fprintf(j->out, "config: %s: line %d: expected NAME=value\n",
                var.source, number);
        j->problems++;
    }
}

void conf_vars_read(struct conf_judge *j, char **env, const char *env_file,
                    struct conf_vars *out)
{
    for (; *env != NULL; env++) {
        str text = str_of(*env);
        size_t equals = str_find(text, '=', 0);
        struct conf_var var = {.name = str_head(text, equals),
                               .source = "environment"};

        if (equals == SIZE_MAX)
            continue;
        var.value = str_from(text, equals + 1);
        var_add(j, out, var);
    }
    file_read(j, env_file, out);
}

static bool has_end(str s, str end)
{
    return s.n >= end.n && str_eq(str_from(s, s.n - end.n), end);
}

/* *_SERVICE_HOST, *_SERVICE_PORT*, *_PORT_<n>_*, *_PORT=tcp://.. */
static bool is_kubernetes(const struct conf_var *var)
{
    str rest = var->name;

    if (has_end(rest, STR("_SERVICE_HOST")) ||
        str_find_str(rest, STR("_SERVICE_PORT")) != SIZE_MAX)
        return true;
    if (has_end(rest, STR("_PORT")))
        return str_find_str(var->value, STR("://")) != SIZE_MAX;
    for (size_t at = str_find_str(rest, STR("_PORT_")); at != SIZE_MAX;
         at = str_find_str(rest, STR("_PORT_"))) {
        size_t end = str_find(rest, '_', at + 6);

        if (end != SIZE_MAX &&
            str_is_digits((str){rest.p + at + 6, end - at - 6}))
            return true;
        rest = str_from(rest, at + 5);
    }
    return false;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein distance; names longer than the longest known are cut. */
static size_t distance(str a, str b)
{
    size_t row[NEAR_MAX + 1], before, above;

    a = str_head(a, NEAR_MAX);
    b = str_head(b, NEAR_MAX);
    for (size_t k = 0; k <= b.n; k++)
        row[k] = k;
    for (size_t i = 1; i <= a.n; i++) {
        before = row[0];
        row[0] = i;
        for (size_t k = 1; k <= b.n; k++) {
            above = row[k];
            row[k] = least(least(row[k] + 1, row[k - 1] + 1),
                           before + (a.p[i - 1] != b.p[k - 1]));
            before = above;
        }
    }
    return row[b.n];
}

static void nearest(str name, char out[CONF_NAME_MAX])
{
    char known[CONF_NAME_MAX];
    size_t best = SIZE_MAX, d;

    for (size_t i = 0; i < conf_rows_n; i++)
        for (int k = 0; conf_row_name(&conf_rows[i], k, known); k++) {
            d = distance(name, str_of(known));
            if (d < best) {
                best = d;
                memcpy(out, known, CONF_NAME_MAX);
            }
        }
}

static bool is_ours(str name)
{
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        if (str_starts(name, str_of(prefixes[i])))
            return true;
    return false;
}

void conf_vars_warn_unknown(struct conf_judge *j, const struct conf_vars *vars)
{
    char near[CONF_NAME_MAX] = "";

    for (size_t i = 0; i < vars->n; i++) {
        const struct conf_var *var = &vars->v[i];

        if (var->is_known || !is_ours(var->name) || is_kubernetes(var))
            continue;
        nearest(var->name, near);
        conf_warn(j, STR_FMT ": unknown name, the nearest known is %s",
                  STR_ARG(str_head(var->name, 2 * NEAR_MAX)), near);
    }
}
