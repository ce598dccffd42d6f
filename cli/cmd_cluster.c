/* cmd_cluster - who leads, and giving up what this instance leads */
#include <stdio.h>
#include <time.h>

#include "cli/commands.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/program.h"
#include "lib/coord/view.h"

enum {
    CHANGE_MS = 2000, /* a leader has to obey */
    LOOK_MS = 50
};

static void pause_ms(ms span)
{
    const struct timespec t = {span / 1000, span % 1000 * 1000000};

    nanosleep(&t, NULL);
}

static bool is_led(const struct leader_term *t)
{
    return t->known && t->holder.n > 0 && t->left_ms > 0;
}

static void print_term(enum leader_service s, const struct leader_term *t)
{
    char since[CLOCK_ISO_MAX], left[32];
    bool led = is_led(t);

    if (!led || clock_iso(t->since_wall, since) == 0)
        snprintf(since, sizeof since, "-");
    snprintf(left, sizeof left, "%.1fs", (double)t->left_ms / 1000);
    printf("%-11s  ", leader_name(s));
    command_print(led ? t->holder : STR("-"), 24);
    printf("  %10lld  %-24s  %s\n", (long long)t->term, since,
           led ? left : "-");
}

int cmd_leader(struct ctx *c, const struct words *w)
{
    int code = command_options(w, NULL, 0);
    struct view view;

    if (code != PROGRAM_GO)
        return code;
    if (view_read(c, str_of(c->conf->cluster_instance_id), &view) != OK)
        return command_failed(c, w);
    printf("%-11s  %-24s  %10s  %-24s  LEFT\n", "SERVICE", "INSTANCE", "TERM",
           "SINCE");
    for (int s = 0; s < LEADER_N; s++)
        print_term((enum leader_service)s, &view.terms[s]);
    return fflush(stdout) != 0 ? PROGRAM_FAILED : PROGRAM_DONE;
}

static bool leads(const struct ctx *c, const struct leader_term *t)
{
    return is_led(t) && str_eq(t->holder, str_of(c->conf->cluster_instance_id));
}

/* Asks each term that this instance holds; *out_asked: which. */
static enum err ask_all(struct ctx *c, int64_t out_asked[LEADER_N])
{
    struct view view;
    enum err err = view_read(c, str_of(c->conf->cluster_instance_id), &view);

    for (int s = 0; err == OK && s < LEADER_N; s++) {
        bool asked = false;

        if (leads(c, &view.terms[s]))
            err = leader_ask_resign(c, (enum leader_service)s,
                                    view.terms[s].term, &asked);
        out_asked[s] = asked ? view.terms[s].term : 0;
    }
    return err;
}

/* Are all of these terms over? */
static enum err look(struct ctx *c, const int64_t asked[LEADER_N],
                     bool *out_over)
{
    struct view view;
    enum err err = view_read(c, str_of(c->conf->cluster_instance_id), &view);

    *out_over = err == OK;
    for (int s = 0; err == OK && s < LEADER_N; s++)
        if (asked[s] && view.terms[s].term == asked[s] &&
            leads(c, &view.terms[s]))
            *out_over = false;
    return err;
}

static int resign(struct ctx *c, const struct words *w)
{
    ms end = clock_mono_ms() + CHANGE_MS;
    int64_t asked[LEADER_N] = {0};
    bool any = false, over = false;

    if (ask_all(c, asked) != OK)
        return command_failed(c, w);
    for (int s = 0; s < LEADER_N; s++)
        any = any || asked[s];
    if (!any) {
        fprintf(stderr, "%s leads nothing.\n", c->conf->cluster_instance_id);
        return PROGRAM_DONE;
    }
    while (!over) {
        if (look(c, asked, &over) != OK)
            return command_failed(c, w);
        if (!over && clock_mono_ms() > end) {
            fprintf(stderr, "%s: %s was asked and still leads\n",
                    w->program->name, c->conf->cluster_instance_id);
            return PROGRAM_FAILED;
        }
        if (!over)
            pause_ms(LOOK_MS);
    }
    for (int s = 0; s < LEADER_N; s++)
        if (asked[s])
            fprintf(stderr, "Given up: %s, term %lld.\n",
                    leader_name((enum leader_service)s), (long long)asked[s]);
    return PROGRAM_DONE;
}

/* For stop hooks: the wait comes whatever the outcome was. */
int cmd_resign(struct ctx *c, const struct words *w)
{
    struct option o[] = {{"--linger", NULL}};
    int code = command_options(w, o, 1);
    ms linger = 0;

    if (code != PROGRAM_GO)
        return code;
    if (o[0].value && (!conf_span(str_of(o[0].value), &linger) || linger < 0 ||
                       linger > 3600000))
        return program_misuse(
            w->program, "--linger: expected a span as 15s, 1m, at most 1h");
    code = resign(c, w);
    pause_ms(linger);
    return code;
}
