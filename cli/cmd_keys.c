/* cmd_keys - API keys: create, list, revoke */
#include <stdio.h>

#include "cli/commands.h"
#include "lib/base/clock.h"
#include "lib/base/conf.h"
#include "lib/base/program.h"
#include "lib/data/apikey.h"

struct wish {
    str name;
    enum role role;
    ms expires_at; /* 0: never */
};

/* PROGRAM_GO, or the exit code. */
static int read_wish(const struct words *w, struct wish *out)
{
    struct option o[] = {
        {"--name", NULL}, {"--role", NULL}, {"--expires", NULL}};
    int code = command_options(w, o, sizeof o / sizeof *o);
    ms span = 0;

    if (code != PROGRAM_GO)
        return code;
    out->name = str_of(o[0].value);
    out->role = role_find(str_of(o[1].value));
    if (!apikey_is_name(out->name))
        return program_misuse(w->program,
                              "--name: expected 1 to %d bytes without control "
                              "characters",
                              APIKEY_NAME_MAX);
    if (out->role == ROLE_NONE)
        return program_misuse(w->program,
                              "--role: expected read, write or admin");
    if (o[2].value && (!conf_span(str_of(o[2].value), &span) || span <= 0 ||
                       span > 100 * 365 * 86400000LL))
        return program_misuse(w->program,
                              "--expires: expected a span as 90s, 15m, 24h, "
                              "7d, at most 36500d");
    out->expires_at = span ? clock_wall_ms() + span : 0;
    return PROGRAM_GO;
}

static const char *time_text(ms wall, char out[CLOCK_ISO_MAX])
{
    return wall && clock_iso(wall, out) > 0 ? out : "never";
}

int cmd_keys_create(struct ctx *c, const struct words *w)
{
    char text[APIKEY_MAX], time[CLOCK_ISO_MAX];
    struct wish wish = {STR(""), ROLE_NONE, 0};
    struct apikey key;
    int code = read_wish(w, &wish);

    if (code != PROGRAM_GO)
        return code;
    if (apikey_prepare(c) != OK ||
        apikey_create(c, wish.name, wish.role, wish.expires_at, &key, text) !=
            OK)
        return command_failed(c, w);
    fprintf(stderr,
            "This is the only time the key is shown.\n"
            "id %s, role %s, expires %s\n",
            key.id, role_name(key.role), time_text(key.expires_at, time));
    return puts(text) < 0 || fflush(stdout) != 0 ? PROGRAM_FAILED
                                                 : PROGRAM_DONE;
}

static void print_key(const struct apikey *key)
{
    char created[CLOCK_ISO_MAX], expires[CLOCK_ISO_MAX], used[CLOCK_ISO_MAX];

    printf("%-24s  %-5s  ", key->id, role_name(key->role));
    command_print(key->prefix, 0);
    printf("  %-24s  %-24s  %-24s  ", time_text(key->created_at, created),
           time_text(key->expires_at, expires),
           time_text(key->last_used_at, used));
    command_print(key->name, 0);
    putchar('\n');
}

int cmd_keys_list(struct ctx *c, const struct words *w)
{
    struct apikey key;
    struct rows *rows;
    bool more;
    int code = command_options(w, NULL, 0);

    if (code != PROGRAM_GO)
        return code;
    if (apikey_list(c, &rows) != OK || apikey_next(c, rows, &more, &key) != OK)
        return command_failed(c, w);
    printf("%-24s  %-5s  %-8s  %-24s  %-24s  %-24s  NAME\n", "ID", "ROLE",
           "PREFIX", "CREATED", "EXPIRES", "LAST USED");
    while (more) {
        print_key(&key);
        if (apikey_next(c, rows, &more, &key) != OK)
            return command_failed(c, w);
    }
    return fflush(stdout) != 0 ? PROGRAM_FAILED : PROGRAM_DONE;
}

int cmd_keys_revoke(struct ctx *c, const struct words *w)
{
    if (w->n != 1 || !id_is_object(str_of(w->v[0])))
        return program_misuse(w->program,
                              "keys revoke: expected one id of 24 hexadecimal "
                              "digits; `keys list` shows them");
    if (apikey_revoke(c, str_of(w->v[0])) != OK)
        return command_failed(c, w);
    fputs("Revoked; the key is dead everywhere within 5 s.\n", stderr);
    return PROGRAM_DONE;
}
