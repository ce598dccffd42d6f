/* usage - see usage.h */
#include "lib/run/usage.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

enum {
    STAT_FIELDS = 24, /* up to rss */
    TEXT_MAX = 4096,
};

/* Positions in /proc/PID/stat, counted behind the name in parentheses. */
enum field {
    UTIME = 11,
    STIME = 12,
    CUTIME = 13, /* of children that were waited for */
    CSTIME = 14,
    RSS_PAGES = 21
};

static str read_text(char text[TEXT_MAX], const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static str read_text(char text[TEXT_MAX], const char *fmt, ...)
{
    char path[64];
    va_list list;
    ssize_t n = -1;
    int fd;

    va_start(list, fmt);
    vsnprintf(path, sizeof path, fmt, list);
    va_end(list);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        n = read(fd, text, TEXT_MAX - 1);
        close(fd);
    }
    return n > 0 ? (str){text, (size_t)n} : STR_NONE;
}

static void add_stat(pid_t pid, struct usage *out)
{
    int64_t tick_us = 1000000 / sysconf(_SC_CLK_TCK);
    int64_t v[STAT_FIELDS] = {0};
    char text[TEXT_MAX];
    str rest = read_text(text, "/proc/%d/stat", (int)pid), word;

    /* the name may hold blanks and parentheses */
    for (size_t i = rest.n; i > 0; i--)
        if (rest.p[i - 1] == ')') {
            rest = str_from(rest, i + 1);
            break;
        }
    for (size_t i = 0; i < STAT_FIELDS && str_cut(&rest, ' ', &word); i++)
        (void)str_to_i64(word, &v[i]);
    out->user_us += (v[UTIME] + v[CUTIME]) * tick_us;
    out->system_us += (v[STIME] + v[CSTIME]) * tick_us;
    out->rss_bytes += v[RSS_PAGES] * sysconf(_SC_PAGESIZE);
}

static void add_fds(pid_t pid, struct usage *out)
{
    char path[64], text[TEXT_MAX];
    str rest = read_text(text, "/proc/%d/limits", (int)pid), line, word;
    int64_t most;
    DIR *dir;

    while (str_cut(&rest, '\n', &line))
        if (str_starts(line, STR("Max open files"))) {
            line = str_trim(str_from(line, strlen("Max open files")));
            if (str_cut(&line, ' ', &word) && str_to_i64(word, &most))
                out->max_fds += most;
        }
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    if (!dir)
        return;
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir))
        out->open_fds += e->d_name[0] != '.';
    closedir(dir);
}

static void add_process(pid_t pid, struct usage *out)
{
    add_stat(pid, out);
    add_fds(pid, out);
    out->processes++;
}

void usage_read(pid_t supervisor, struct usage *out)
{
    char text[TEXT_MAX];
    str rest = read_text(text, "/proc/%d/task/%d/children", (int)supervisor,
                         (int)supervisor);
    int64_t pid;
    str word;

    *out = (struct usage){0};
    add_process(supervisor, out);
    while (str_cut(&rest, ' ', &word))
        if (str_to_i64(word, &pid))
            add_process((pid_t)pid, out);
}
