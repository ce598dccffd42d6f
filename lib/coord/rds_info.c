/* rds_info - see rds_info.h */
#include "lib/coord/rds_info.h"

#include <stdarg.h>
#include <stdio.h>

/* The value of "name:value\r\n"; what no text can hold makes it absent. */
static void copy_value(str info, str name, char *out, size_t out_n)
{
    str line, value = STR_NONE;

    while (value.n == 0 && str_cut(&info, '\n', &line))
        if (str_starts(line, name) && line.n > name.n && line.p[name.n] == ':')
            value = str_trim(str_from(line, name.n + 1));
    snprintf(out, out_n, STR_FMT, STR_ARG(value));
}

static bool is_on(str info, str name)
{
    char value[4];

    copy_value(info, name, value, sizeof value);
    return strcmp(value, "1") == 0;
}

void rds_info_read(str text, struct rds_info *out)
{
    str version, head;

    *out = (struct rds_info){.major = 0};
    copy_value(text, STR("redis_version"), out->version, sizeof out->version);
    copy_value(text, STR("role"), out->role, sizeof out->role);
    copy_value(text, STR("maxmemory_policy"), out->policy, sizeof out->policy);
    out->cluster = is_on(text, STR("cluster_enabled"));
    out->loading = is_on(text, STR("loading"));
    version = str_of(out->version);
    if (!str_cut(&version, '.', &head) || !str_to_i64(head, &out->major))
        out->major = 0;
}

bool rds_info_evicts(const struct rds_info *i)
{
    return i->policy[0] != '\0' && strcmp(i->policy, "noeviction") != 0;
}

static bool refuse(char reason[RDS_REFUSAL_MAX], const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static bool refuse(char reason[RDS_REFUSAL_MAX], const char *fmt, ...)
{
    va_list list;

    va_start(list, fmt);
    vsnprintf(reason, RDS_REFUSAL_MAX, fmt, list);
    va_end(list);
    return false;
}

bool rds_info_serves(const struct rds_info *i, char reason[RDS_REFUSAL_MAX])
{
    if (i->major < RDS_OLDEST_MAJOR)
        return refuse(reason, "version \"%s\" is older than %d", i->version,
                      RDS_OLDEST_MAJOR);
    if (strcmp(i->role, "master") != 0)
        return refuse(reason, "the server is a replica");
    if (i->cluster)
        return refuse(reason, "Redis Cluster is not supported");
    if (i->loading)
        return refuse(reason, "the server is loading its data");
    return true;
}
