/* cluster_json - see cluster_json.h */
#include "fcgi-app/cluster_json.h"

#include "lib/base/conf.h"
#include "lib/base/jwrite.h"

static const char *service_name(enum leader_service which)
{
    return which == LEADER_CRON ? "cron-scheduler" : leader_name(which);
}

static void write_bool(struct buf *b, bool known, bool v)
{
    buf_add(b, !known ? STR("null") : v ? STR("true") : STR("false"));
}

static str own_id(const struct scene *s)
{
    return str_of(s->conf->cluster_instance_id);
}

void cluster_json_number(struct buf *b, bool known, int64_t v)
{
    if (known)
        buf_add_i64(b, v);
    else
        buf_add(b, STR("null"));
}

/* ---- leaders */

/* MongoDB's clock at this moment. */
static ms server_now(const struct scene *s)
{
    return s->cluster->view.server_wall + cluster_age_ms(s->cluster);
}

/* What is left of the term when the look is as old as it is. */
static ms left_ms(const struct scene *s, enum leader_service which)
{
    return s->cluster->view.terms[which].left_ms - cluster_age_ms(s->cluster);
}

/* NULL: nobody leads, or it is not known. */
static const struct view_instance *leader_of(const struct scene *s,
                                             enum leader_service which)
{
    if (!s->cluster->seen || left_ms(s, which) <= 0)
        return NULL;
    return view_leader(&s->cluster->view, which);
}

bool cluster_json_is_leader(const struct scene *s, enum leader_service which)
{
    const struct view_instance *row = leader_of(s, which);

    return row && str_eq(row->id, own_id(s));
}

static bool is_shutting_down(const struct scene *s)
{
    const struct view_instance *row = cluster_workers(s->cluster, s->conf);

    return s->refresh.stopping || (row && row->draining);
}

void cluster_json_current(struct buf *b, const struct scene *s,
                          enum leader_service which)
{
    const struct leader_term *t = &s->cluster->view.terms[which];
    bool leads = cluster_json_is_leader(s, which);
    ms led_ms = server_now(s) - t->since_wall;

    buf_addf(b, "{\"serviceName\":\"%s\",\"instanceId\":", service_name(which));
    jwrite_str(b, own_id(s));
    buf_add(b, STR(",\"isLeader\":"));
    write_bool(b, s->cluster->seen, leads);
    buf_add(b, STR(",\"leadershipStartTime\":"));
    cluster_json_number(b, leads && t->since_wall, t->since_wall);
    buf_add(b, STR(",\"leadershipDuration\":"));
    cluster_json_number(b, leads && t->since_wall, led_ms > 0 ? led_ms : 0);
    buf_add(b, STR(",\"isShuttingDown\":"));
    write_bool(b, true, is_shutting_down(s));
    buf_add(b, STR(",\"term\":"));
    cluster_json_number(b, s->cluster->seen && t->known, t->term);
    buf_add_char(b, '}');
}

static void write_leader_info(struct buf *b, const struct scene *s,
                              enum leader_service which,
                              const struct view_instance *row)
{
    const struct leader_term *t = &s->cluster->view.terms[which];

    buf_addf(b, "{\"serviceName\":\"%s\",\"instanceId\":", service_name(which));
    jwrite_str(b, row->id);
    jwrite_time(b, ",\"since\":", t->since_wall);
    buf_addf(b, ",\"ttl\":%lld,\"term\":%lld,\"isCurrentInstance\":",
             (long long)left_ms(s, which), (long long)t->term);
    write_bool(b, true, str_eq(row->id, own_id(s)));
    buf_add_char(b, '}');
}

void cluster_json_service(struct buf *b, const struct scene *s,
                          enum leader_service which)
{
    const struct view_instance *row = leader_of(s, which);

    buf_add(b, STR("{\"current\":"));
    cluster_json_current(b, s, which);
    if (!row) {
        buf_add(b, STR(",\"leader\":null,\"leaderInfo\":null}"));
        return;
    }
    buf_add(b, STR(",\"leader\":"));
    jwrite_str(b, row->id);
    buf_add(b, STR(",\"leaderInfo\":"));
    write_leader_info(b, s, which, row);
    buf_add_char(b, '}');
}

/* ---- instances */

void cluster_json_instance(struct buf *b, const struct scene *s,
                           const struct view_instance *row)
{
    const struct view_instance *leader = leader_of(s, LEADER_CRON);
    ms up = row->started_wall ? server_now(s) - row->started_wall : 0;

    buf_add(b, STR("{\"id\":"));
    jwrite_str(b, row->id);
    buf_add(b, STR(",\"hostname\":"));
    jwrite_str(b, row->host);
    buf_addf(b, ",\"pid\":%lld,\"version\":", (long long)row->pid);
    jwrite_str(b, row->version);
    jwrite_time(b, ",\"startTime\":", row->started_wall);
    buf_add(b, STR(",\"uptime\":"));
    jwrite_double(b, up > 0 ? (double)up / 1000 : 0);
    jwrite_time(b, ",\"lastSeen\":", row->seen_wall);
    buf_add(b, STR(",\"isLeader\":"));
    write_bool(b, true, leader && str_eq(leader->id, row->id));
    buf_add(b, STR(",\"mode\":"));
    jwrite_str(b, row->mode);
    buf_add(b, STR(",\"draining\":"));
    write_bool(b, true, row->draining);
    buf_addf(b, ",\"processes\":%lld}", (long long)row->processes);
}

/* ---- scripts and deliveries */

bool cluster_json_is_served(const struct scene *s)
{
    return s->cluster->seen && s->cluster->view.instances_n > 0;
}

/* ,"a":0,"b":0; without the first comma where it is the first member */
static void write_zeros(struct buf *b, const struct scene *s, const char *names)
{
    str rest = str_of(names), name;
    const char *sep = "";

    while (str_cut(&rest, ' ', &name)) {
        buf_addf(b, "%s\"" STR_FMT "\":", sep, STR_ARG(name));
        cluster_json_number(b, s->cluster->seen, 0);
        sep = ",";
    }
}

void cluster_json_scripts(struct buf *b, const struct scene *s)
{
    buf_add(b, STR("{\"isLeader\":"));
    write_bool(b, s->cluster->seen, cluster_json_is_leader(s, LEADER_CRON));
    buf_add(b, STR(",\"instanceId\":"));
    jwrite_str(b, own_id(s));
    buf_add_char(b, ',');
    write_zeros(b, s, "cronJobs runningExecutions scheduledScripts");
    buf_add(b, STR(",\"leadershipStatus\":"));
    cluster_json_current(b, s, LEADER_CRON);
    jwrite_time(b, ",\"timestamp\":", s->wall);
    buf_add_char(b, '}');
}

static const struct view_queue *queue_of(const struct scene *s)
{
    return &s->cluster->view.queues[QUEUE_WEBHOOK];
}

const struct figures *cluster_json_figures(const struct scene *s)
{
    const struct view_queue *q = queue_of(s);
    ms age = q->figures_age_ms + cluster_age_ms(s->cluster);

    if (!s->cluster->seen || !q->counted ||
        age > FIGURES_FRESH_MS + q->figures.rest_ms)
        return NULL;
    return &q->figures;
}

bool cluster_json_has_slots(const struct scene *s)
{
    return s->cluster->seen && view_slots(&s->cluster->view, QUEUE_WEBHOOK) > 0;
}

bool cluster_json_delivers(const struct scene *s)
{
    return cluster_json_has_slots(s) && !queue_of(s)->paused;
}

bool cluster_json_queue_is_healthy(const struct scene *s)
{
    return cluster_json_is_served(s) && cluster_json_figures(s);
}

/* "waiting":0,.. */
static void write_counts(struct buf *b, const struct figures *f)
{
    const struct {
        const char *name;
        int64_t v;
    } counts[] = {{"waiting", f ? f->waiting : 0},
                  {"active", f ? f->active : 0},
                  {"delayed", f ? f->delayed : 0},
                  {"completed", f ? f->completed : 0},
                  {"failed", f ? f->failed : 0}};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        buf_addf(b, "%s\"%s\":", i ? "," : "", counts[i].name);
        cluster_json_number(b, f != NULL, counts[i].v);
    }
}

void cluster_json_counts(struct buf *b, const struct scene *s)
{
    buf_add_char(b, '{');
    write_counts(b, cluster_json_figures(s));
    buf_add_char(b, '}');
}

void cluster_json_queue(struct buf *b, const struct scene *s)
{
    const struct figures *f = cluster_json_figures(s);

    buf_add_char(b, '{');
    write_counts(b, f);
    buf_add(b, STR(",\"deadLetters\":"));
    cluster_json_number(b, f != NULL, f ? f->dead : 0);
    buf_add(b, STR(",\"limited\":"));
    cluster_json_number(b, f != NULL, f ? f->limited : 0);
    buf_add(b, STR(",\"paused\":"));
    write_bool(b, s->cluster->seen && queue_of(s)->known, queue_of(s)->paused);
    buf_add(b, STR(",\"oldestWaitingMs\":"));
    cluster_json_number(b, f != NULL, f ? f->oldest_ms : 0);
    buf_add(b, STR(",\"queue\":"));
    cluster_json_counts(b, s);
    buf_add(b, STR(",\"instance\":"));
    jwrite_str(b, own_id(s));
    buf_addf(b,
             ",\"mode\":\"%s\",\"healthy\":", refresh_mode_text(&s->refresh));
    write_bool(b, true, cluster_json_queue_is_healthy(s));
    jwrite_time(b, ",\"timestamp\":", s->wall);
    buf_add_char(b, '}');
}
