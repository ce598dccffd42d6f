/* clock - to be preloaded into a program: its wall clock is wrong by the
 * milliseconds, signed, that stand in the file named by CLOCK_FILE.
 *
 * The file is read at most every 50 ms; one that is missing or holds no number
 * changes nothing. Clocks that count from the start of the machine stay right.
 * A wait until a wall time that the program computed is shifted back before
 * the kernel sees it. Memory is never allocated and no symbol looked up: an
 * allocator may ask for the time before this library is initialised. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    REREAD_NS = 50 * 1000 * 1000,
    SECOND_NS = 1000 * 1000 * 1000,
    DIGITS_MAX = 15,
    /* Seconds: an earlier "wall time" is one of the machine's uptime. */
    WALL_MIN = 1000 * 1000 * 1000
};

static char path[4096]; /* a copy: programs write over their environment */
static _Atomic int64_t offset_ns, read_again_ns;

/* Ours must not be called by ours; and dlsym may allocate. */
static int kernel_clock(clockid_t id, struct timespec *out)
{
    return (int)syscall(SYS_clock_gettime, id, out);
}

static int64_t to_ns(const struct timespec *t)
{
    return (int64_t)t->tv_sec * SECOND_NS + t->tv_nsec;
}

static void from_ns(int64_t ns, struct timespec *out)
{
    int64_t rest = ns % SECOND_NS;

    if (rest < 0)
        rest += SECOND_NS;
    out->tv_sec = (time_t)((ns - rest) / SECOND_NS);
    out->tv_nsec = (long)rest;
}

static void parse(const char *text)
{
    int64_t n = 0;
    int digits = 0, minus = *text == '-';

    for (text += minus || *text == '+'; *text >= '0' && *text <= '9'; text++) {
        n = n * 10 + (*text - '0');
        if (++digits > DIGITS_MAX)
            return;
    }
    if (digits > 0 && n < INT64_MAX / 4 / 1000000)
        atomic_store(&offset_ns, (minus ? -n : n) * 1000000);
}

static void read_file(void)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (read(fd, text, sizeof text - 1) > 0)
        parse(text);
    close(fd);
}

static int64_t offset(void)
{
    struct timespec now;
    int64_t again = atomic_load(&read_again_ns), ns;
    int saved = errno;

    if (path[0] == 0 || kernel_clock(CLOCK_MONOTONIC, &now) != 0)
        return 0;
    ns = to_ns(&now);
    /* One thread reads, the others go on with the value before. */
    if (ns >= again &&
        atomic_compare_exchange_strong(&read_again_ns, &again, ns + REREAD_NS))
        read_file();
    errno = saved;
    return atomic_load(&offset_ns);
}

__attribute__((constructor)) static void clock_start(void)
{
    const char *name = getenv("CLOCK_FILE");

    if (name && strlen(name) < sizeof path)
        memcpy(path, name, strlen(name) + 1);
    offset();
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    int result = kernel_clock(id, out);

    if (result == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        from_ns(to_ns(out) + offset(), out);
    return result;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;

    if (zone)
        memset(zone, 0, sizeof(struct timezone));
    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return -1;
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;

    if (clock_gettime(CLOCK_REALTIME, &now) != 0)
        return (time_t)-1;
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *out, int base)
{
    if (base != TIME_UTC || clock_gettime(CLOCK_REALTIME, out) != 0)
        return 0;
    return base;
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond,
                           pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until)
{
    struct timespec right;

    /* Which clock a condition has cannot be asked; the value tells. */
    if (until->tv_sec < WALL_MIN)
        return pthread_cond_clockwait(cond, mutex, CLOCK_MONOTONIC, until);
    from_ns(to_ns(until) - offset(), &right);
    return pthread_cond_clockwait(cond, mutex, CLOCK_REALTIME, &right);
}
