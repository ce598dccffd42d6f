/* regex - see regex.h */
#include "lib/data/regex.h"

#include <time.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

struct regex {
    pcre2_code *code;
};

static void *take(size_t n, void *arena)
{
    return arena_alloc(arena, n);
}

static void give(void *p, void *arena)
{
    (void)p;
    (void)arena;
}

static bool read_options(str options, uint32_t *out)
{
    *out = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C;
    for (size_t i = 0; i < options.n; i++) {
        switch (options.p[i]) {
        case 'i':
            *out |= PCRE2_CASELESS;
            break;
        case 'm':
            *out |= PCRE2_MULTILINE;
            break;
        case 's':
            *out |= PCRE2_DOTALL;
            break;
        case 'x':
            *out |= PCRE2_EXTENDED;
            break;
        default:
            return false;
        }
    }
    return true;
}

/* One of those that must stand first of all, "(*UTF)" and the like. */
static bool is_setting(str word)
{
    static const char *const words[] = {"UTF",
                                        "UCP",
                                        "CR",
                                        "LF",
                                        "CRLF",
                                        "ANYCRLF",
                                        "ANY",
                                        "NUL",
                                        "NOTEMPTY",
                                        "NOTEMPTY_ATSTART",
                                        "BSR_ANYCRLF",
                                        "BSR_UNICODE",
                                        "NO_AUTO_POSSESS",
                                        "NO_DOTSTAR_ANCHOR",
                                        "NO_JIT",
                                        "NO_START_OPT",
                                        "LIMIT_HEAP",
                                        "LIMIT_MATCH",
                                        "LIMIT_DEPTH",
                                        "LIMIT_RECURSION"};
    str name = str_head(word, str_find(word, '=', 0));

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (str_eq(name, str_of(words[i])))
            return true;
    return false;
}

static size_t settings_size(str pattern)
{
    size_t n = 0;

    while (str_starts(str_from(pattern, n), STR("(*"))) {
        str word = str_from(pattern, n + 2);

        word = str_head(word, str_find(word, ')', 0));
        if (!is_setting(word))
            break;
        n += word.n + 3;
    }
    return n < pattern.n ? n : pattern.n;
}

/*
 * A callout stands first, which is met at each place where a match may begin:
 * the step limit alone counts anew from each.
 */
static str with_callout(struct arena *a, str pattern)
{
    size_t at = settings_size(pattern);

    return arena_strf(a, "%.*s(?C)%.*s", STR_ARG(str_head(pattern, at)),
                      STR_ARG(str_from(pattern, at)));
}

enum regex_state regex_new(struct arena *a, str pattern, str options,
                           const struct regex **out)
{
    struct regex *re = arena_alloc(a, sizeof *re);
    pcre2_general_context *memory = pcre2_general_context_create(take, give, a);
    pcre2_compile_context *how = NULL;
    str text = with_callout(a, pattern);
    uint32_t flags;
    size_t at;
    int code;

    if (!read_options(options, &flags))
        return REGEX_BAD_OPTION;
    if (memchr(pattern.p, '\0', pattern.n))
        return REGEX_BAD_PATTERN;
    if (memory)
        how = pcre2_compile_context_create(memory);
    if (!re || !how || !text.p)
        return REGEX_NO_MEMORY;
    re->code =
        pcre2_compile((PCRE2_SPTR)text.p, text.n, flags, &code, &at, how);
    if (!re->code)
        return code == PCRE2_ERROR_NOMEMORY ? REGEX_NO_MEMORY
                                            : REGEX_BAD_PATTERN;
    *out = re;
    return REGEX_GOOD;
}

static int64_t read_ns(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t most_ns(const struct regex_run *run)
{
    const int64_t most = REGEX_CPU_MS * 1000000LL;

    return run->most_ns && run->most_ns < most ? run->most_ns : most;
}

/*
 * Met at each place. The CPU clock is a system call, so it is asked only when
 * the coarse one has moved. Something but 0 ends the match with that error.
 */
static int at_place(pcre2_callout_block *block, void *arg)
{
    struct regex_run *run = arg;
    int64_t now = read_ns(CLOCK_MONOTONIC_COARSE);

    (void)block;
    if (now != run->looked_ns) {
        run->looked_ns = now;
        now = read_ns(CLOCK_THREAD_CPUTIME_ID);
        if (run->start_ns == 0)
            run->start_ns = now;
        run->is_over = now - run->start_ns > most_ns(run);
    }
    return run->is_over ? PCRE2_ERROR_MATCHLIMIT : 0;
}

static bool open_tools(struct regex_run *run)
{
    pcre2_match_context *limits;

    if (!run->data)
        run->data = pcre2_match_data_create(1, NULL);
    if (run->limits)
        return run->data;
    limits = pcre2_match_context_create(NULL);
    if (!limits)
        return false;
    run->limits = limits;
    pcre2_set_match_limit(limits, REGEX_STEPS);
    pcre2_set_depth_limit(limits, REGEX_DEPTH);
    pcre2_set_heap_limit(limits, REGEX_HEAP_KIB);
    pcre2_set_callout(limits, at_place, run);
    return run->data;
}

void regex_done(struct regex_run *run)
{
    pcre2_match_data_free(run->data);
    pcre2_match_context_free(run->limits);
    *run = (struct regex_run){0};
}

bool regex_match(const struct regex *re, struct regex_run *run, str subject)
{
    int rc;

    if (run->is_over || !open_tools(run))
        return false;
    rc = pcre2_match(re->code, (PCRE2_SPTR)subject.p, subject.n, 0, 0,
                     run->data, run->limits);
    if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_DEPTHLIMIT ||
        rc == PCRE2_ERROR_HEAPLIMIT)
        run->overruns++;
    return rc >= 0;
}
